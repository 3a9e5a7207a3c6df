#!/bin/bash
# Runs the tests that start VMs. Without /dev/kvm they are skipped, with the
# reason; where CI has /dev/kvm, a test that skips is a failure. Arguments go to
# go test.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -e /dev/kvm ]; then
	echo "test-vm: SKIPPED: there is no /dev/kvm here" >&2
	exit 0
fi
if [ "${CI:-}" = true ]; then
	export CLEARRUN_REQUIRE_VM=1
fi
export CLEARRUN=$PWD/build/clearrun
go test -count=1 -timeout 60m "$@" ./test/vm/...

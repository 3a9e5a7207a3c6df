#!/bin/bash
# Vet, formatting and static analysis, the last two at the versions given. All
# run, so that one look shows everything.
set -euo pipefail
cd "$(dirname "$0")/.."
gofumpt=$1 staticcheck=$2

failed=0
go vet ./... || failed=1

differing=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r go run "$gofumpt" -l)
if [ -n "$differing" ]; then
	printf 'lint: not formatted, run go run %s -w on:\n%s\n' "$gofumpt" "$differing" >&2
	failed=1
fi

go run "$staticcheck" ./... || failed=1
exit $failed

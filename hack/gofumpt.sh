#!/bin/bash
# Fails if gofumpt, at the version given, would change a file.
set -euo pipefail
cd "$(dirname "$0")/.."

differing=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r go run "$1" -l)
if [ -n "$differing" ]; then
	echo "lint: not formatted, run go run $1 -w on:" >&2
	echo "$differing" >&2
	exit 1
fi

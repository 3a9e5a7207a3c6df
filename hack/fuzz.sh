#!/bin/bash
# Runs each fuzz target of the repository for FUZZTIME.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
while IFS=: read -r file target; do
	echo "fuzz: $target in $(dirname "$file")"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-5s}" -fuzzminimizetime 10x "./$(dirname "$file")" </dev/null || failed=1
done < <(git ls-files -z --cached --others --exclude-standard '*_test.go' | xargs -0 grep -HoE '^func Fuzz\w+' | sed 's/func //' | sort)
exit $failed

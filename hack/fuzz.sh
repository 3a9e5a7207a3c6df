#!/bin/bash
# Runs each fuzz target of the repository for FUZZTIME.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# fuzz runs one target. The fuzzer sometimes fails for nothing but that its time is over
# ("context deadline exceeded" without a failing input): then it is run again, twice at most.
fuzz() {
	for _ in 1 2 3; do
		go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-5s}" -fuzzminimizetime 10x "$1" </dev/null 2>&1 | tee "$out" && return
		grep -q 'context deadline exceeded' "$out" && ! grep -q 'Failing input written' "$out" || return 1
		echo "fuzz: $2 once more"
	done
	return 1
}

failed=0
while IFS=: read -r file target; do
	echo "fuzz: $target in $(dirname "$file")"
	fuzz "./$(dirname "$file")" "$target" || failed=1
done < <(git ls-files -z --cached --others --exclude-standard '*_test.go' | xargs -0 grep -HoE '^func Fuzz\w+' | sed 's/func //' | sort)
exit $failed

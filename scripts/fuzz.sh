#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given (default 10s) each.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-10s}
count=0
# Only packages that have a target are compiled.
for dir in $(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -rn1 dirname | sort -u); do
	targets=$(go test -list '^Fuzz' "$dir" | grep '^Fuzz')
	for target in $targets; do
		printf '%s %s for %s\n' "$dir" "$target" "$time"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$dir"
		count=$((count + 1))
	done
done
if [ "$count" = 0 ]; then
	echo "no fuzz target found: each decoder needs one" >&2
	exit 1
fi
echo "$count fuzz targets, $time each"

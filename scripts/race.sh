#!/usr/bin/env bash
# Runs all tests with the race detector. Packages that drive real processes (brokers,
# ZooKeeper) depend on the machine's mood: when only such packages fail they run once
# more, one after the other, and the first failure stays in the output for all to see.
set -uo pipefail
cd "$(dirname "$0")/.."

test() { go test -race -count=1 -timeout 15m "$@"; }

out=$(mktemp)
trap 'rm -f "$out"' EXIT
test "$@" 2>&1 | tee "$out"
[ "${PIPESTATUS[0]}" = 0 ] && exit 0

module=$(sed -n 's/^module //p' go.mod)
failed=$(awk -v module="$module/" '$1 == "FAIL" && index($2, module) == 1 { print $2 }' "$out" | sort -u)
[ -n "$failed" ] || exit 1
for p in $failed; do
	case $p in
	"$module"/cluster | "$module"/cluster/* | "$module"/cmd/metaq | "$module"/test/*) ;;
	*) exit 1 ;;
	esac
done
if grep -q '\[build failed\]\|\[setup failed\]\|WARNING: DATA RACE' "$out"; then
	exit 1
fi
printf '\n=== UNSTABLE: failed once, and once more alone:\n%s\n' "$failed"
# The names have no spaces.
# shellcheck disable=SC2086
test -p 1 $failed

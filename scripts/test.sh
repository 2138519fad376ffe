#!/usr/bin/env bash
# Runs the tests whose names match PATTERN in every package, with the race detector. It
# fails when there is none: a slip in a name is not a success.
# Usage: scripts/test.sh PATTERN
set -euo pipefail
cd "$(dirname "$0")/.."

pattern=${1:?usage: scripts/test.sh PATTERN}
packages=$(grep -rlE '^func (Test|Fuzz|Example)' --include='*_test.go' . | xargs -n1 dirname | sort -u)
# Which of them have such a test: only those are built.
matching=""
for dir in $packages; do
	if grep -hoE '^func ((Test|Fuzz|Example)[A-Za-z0-9_]*)' "$dir"/*_test.go | cut -d' ' -f2 | grep -qE -- "${pattern%%/*}"; then
		matching+=" $dir"
	fi
done
[ -n "$matching" ] || { echo "no test matches $pattern" >&2; exit 1; }
# The names have no spaces.
# shellcheck disable=SC2086
exec go test -race -trimpath -count=1 -timeout 15m -run "$pattern" $matching

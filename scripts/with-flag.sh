#!/usr/bin/env bash
# Runs `go test` on exactly those packages whose tests declare a flag: the others
# would refuse it.
# Usage: scripts/with-flag.sh FLAG [go test arguments]
set -euo pipefail
cd "$(dirname "$0")/.."

flag=$1
shift
packages=$(grep -rlE --include='*_test.go' "flag\.[A-Z][A-Za-z0-9]*\((&[a-zA-Z]+, )?\"$flag\"" . | xargs -rn1 dirname | sort -u)
if [ -z "$packages" ]; then
	echo "no test declares the flag -$flag" >&2
	exit 1
fi
# shellcheck disable=SC2086 # a list of folders without spaces
exec go test $packages "$@"

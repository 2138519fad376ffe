#!/usr/bin/env bash
# Builds the binary and type-checks every package, tests too, for all platforms
# that we support. One cheap analyzer stands for the type check: the full vet has
# its own step.
# Usage: scripts/cross.sh [-list]   -list prints the platforms, PLATFORMS replaces them
set -euo pipefail
cd "$(dirname "$0")/.."

platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}
if [ "${1:-}" = -list ]; then
	echo "$platforms"
	exit
fi
export CGO_ENABLED=0
host=$(go env GOHOSTOS)/$(go env GOHOSTARCH)
for platform in $platforms; do
	export GOOS=${platform%/*} GOARCH=${platform#*/}
	start=$SECONDS
	# Unoptimised code compiles a third faster; for the host the cache has the rest.
	flags="-gcflags=all=-N -l"
	[ "$platform" != "$host" ] || flags=-trimpath=false
	go build "$flags" -o /dev/null ./cmd/metaq
	go vet "$flags" -bools ./... ./test/bench/... ./test/interop/...
	printf 'ok  \t%s\t%ds\n' "$platform" $((SECONDS - start))
done

#!/usr/bin/env bash
# Builds the release in dist/: a static binary for each platform of scripts/cross.sh, a
# software bill of materials for each from what the linker recorded, and SHA256SUMS.
# The version is the tag that the commit has; without one it is a trial.
# Usage: scripts/release.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:?usage: scripts/release.sh VERSION}
case $version in
v[0-9]*-g* | *-dirty) echo "release: $version is no tag: the files are for a trial" >&2 ;;
v[0-9]*) ;;
*) echo "release: $version is no tag: the files are for a trial" >&2 ;;
esac

export CGO_ENABLED=0
rm -rf dist
mkdir dist
for platform in $(scripts/cross.sh -list); do
	export GOOS=${platform%/*} GOARCH=${platform#*/}
	name=metaq-${version#v}-$GOOS-$GOARCH
	[ "$GOOS" != windows ] || name+=.exe
	go build -trimpath -ldflags "-s -w -X main.described=$version" -o "dist/$name" ./cmd/metaq
	# Module, version and hash of all that is linked in, and how it was built.
	go version -m "dist/$name" | sed "1s|.*|$name: $(go env GOVERSION)|" >"dist/$name.sbom.txt"
	printf 'ok  \t%s\n' "dist/$name"
done
(cd dist && sha256sum metaq-* >SHA256SUMS)

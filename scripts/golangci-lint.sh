#!/usr/bin/env bash
# Runs the pinned golangci-lint with the arguments given; builds it into .bin
# when it is absent or of another version (about two minutes, once).
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.15.0
tool=$PWD/.bin/golangci-lint

case $("$tool" version 2>/dev/null || true) in
*"version $version "*) ;;
*)
	echo "installing golangci-lint $version into .bin"
	GOBIN=$PWD/.bin go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$version"
	;;
esac
exec "$tool" "$@"

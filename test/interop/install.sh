#!/usr/bin/env bash
# Installs the official NATS clients of the languages whose toolchain is there, by
# their own package managers, into .cache/interop. What is missing is said loudly,
# and is an error in CI.
set -euo pipefail
cd "$(dirname "$0")/../.."

dir=.cache/interop
mkdir -p "$dir"
missing=0

# have LANGUAGE COMMAND...
have() {
	local language=$1
	shift
	for command in "$@"; do
		if ! command -v "$command" >/dev/null; then
			echo "INTEROP: $language is NOT tested: $command is missing; install it and run make interop" >&2
			missing=1
			return 1
		fi
	done
}

# fresh STAMP FILE: is what was installed still what FILE asks for?
fresh() { [ -f "$dir/$1" ] && cmp -s "$dir/$1" "$2"; }

if have JavaScript node npm && ! fresh js.stamp test/interop/js/package.json; then
	mkdir -p "$dir/js"
	cp test/interop/js/package.json "$dir/js/"
	npm install --prefix "$dir/js" --no-audit --no-fund --loglevel=error
	cp test/interop/js/package.json "$dir/js.stamp"
fi
if have Python python3 && ! fresh python.stamp test/interop/python/requirements.txt; then
	python3 -m pip install --quiet --disable-pip-version-check --target "$dir/python" --upgrade -r test/interop/python/requirements.txt
	cp test/interop/python/requirements.txt "$dir/python.stamp"
fi
if have Java java javac mvn && ! fresh java.stamp test/interop/java/pom.xml; then
	mvn --batch-mode --quiet -f test/interop/java/pom.xml dependency:copy-dependencies "-DoutputDirectory=$PWD/$dir/java"
	cp test/interop/java/pom.xml "$dir/java.stamp"
fi
if [ "$missing" = 1 ] && [ "${CI:-}" = true ]; then
	exit 1
fi
echo "interop: the clients are in $dir"

#!/usr/bin/env bash
# Installs what the tests against a real ZooKeeper ensemble need: Java and Debian's
# package "zookeeper". Does nothing when both are there, or ZOOKEEPER_CLASSPATH names
# other jars.
set -euo pipefail

jar=/usr/share/java/zookeeper.jar

missing=()
command -v java >/dev/null 2>&1 || missing+=(default-jre-headless)
[ -n "${ZOOKEEPER_CLASSPATH:-}" ] || [ -f "$jar" ] || missing+=(zookeeper)
found() { echo "zookeeper: ${ZOOKEEPER_CLASSPATH:-$(readlink -f "$jar")}" >&2; }
if [ ${#missing[@]} -eq 0 ]; then
	found
	exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
	echo "zookeeper: needs ${missing[*]}, and there is no apt-get here." >&2
	echo "Install Java and ZooKeeper 3.8 or later, and set ZOOKEEPER_CLASSPATH to its jars." >&2
	exit 1
fi
run=()
[ "$(id -u)" -eq 0 ] || run=(sudo)
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -qq
"${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
[ -n "${ZOOKEEPER_CLASSPATH:-}" ] || [ -f "$jar" ] || { echo "zookeeper: installed, but $jar is not there" >&2; exit 1; }
found

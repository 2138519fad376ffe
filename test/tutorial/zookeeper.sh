#!/usr/bin/env bash
# Prints how the tutorial gets its three ZooKeeper servers: "java" when they can be
# processes of this machine, which it makes so where Debian's package can be installed,
# else "docker".
set -euo pipefail
cd "$(dirname "$0")/../.."

if why=$(bash test/zk/install.sh 2>&1); then
	[ -z "$why" ] || printf '%s\n' "$why" >&2
	echo java
elif docker info >/dev/null 2>&1; then
	echo "zookeeper: no Java and ZooKeeper on this machine, so it runs in containers" >&2
	echo docker
else
	printf '%s\n' "$why" >&2
	if command -v docker >/dev/null 2>&1; then
		echo "Or start the Docker engine: \`docker info\` does not reach it." >&2
	else
		echo "Or install Docker: then ZooKeeper runs in containers." >&2
	fi
	exit 1
fi

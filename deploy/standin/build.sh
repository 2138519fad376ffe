#!/usr/bin/env bash
# Builds stand-ins for the two public images of the compose file, for a machine that
# cannot pull: `zookeeper:3.9` from Debian's packages, with the environment, files and
# entry point of the official one as far as the compose file uses them, and
# `golang:1.26` from this machine's Go and module cache. Needs root, a Docker engine and
# debootstrap.
#
# Usage: deploy/standin/build.sh
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

have() { docker image inspect "$1" >/dev/null 2>&1; }

if ! have zookeeper:3.9; then
	echo "zookeeper:3.9 from Debian's packages" >&2
	debootstrap --variant=minbase --include=zookeeper,default-jre-headless,gosu \
		bookworm "$work/root" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
	install -m 755 zookeeper-entrypoint.sh "$work/root/docker-entrypoint.sh"
	rm -rf "$work/root"/var/cache/apt/* "$work/root"/var/lib/apt/lists/*
	mkdir -p "$work/root"/{conf,data,datalog,logs}
	tar -C "$work/root" -c . | docker import \
		--change 'ENV PATH=/usr/share/zookeeper/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		--change 'ENTRYPOINT ["/docker-entrypoint.sh"]' --change 'CMD ["zkServer.sh", "start-foreground"]' \
		--change 'VOLUME ["/data", "/datalog", "/logs"]' --change 'EXPOSE 2181 2888 3888 8080' \
		- zookeeper:3.9 >&2
fi

if ! have golang:1.26; then
	echo "golang:1.26 from $(go env GOROOT)" >&2
	mkdir "$work/go-image"
	(cd ../.. && go mod download)
	cp -r "$(go env GOROOT)" "$work/go-image/go"
	cp -r "$(go env GOMODCACHE)/cache/download" "$work/go-image/modules"
	cat >"$work/go-image/Dockerfile" <<'FILE'
FROM zookeeper:3.9
COPY go /usr/local/go
COPY modules /modules
ENV PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPROXY=file:///modules GOSUMDB=off GOTOOLCHAIN=local
ENTRYPOINT []
CMD ["bash"]
FILE
	docker build -q -t golang:1.26 "$work/go-image" >&2
fi

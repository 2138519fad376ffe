#!/usr/bin/env bash
# Runs the compose file on a Docker engine and shows what it does: the producer's
# messages reach both consumers, once each and none lost, also while a ZooKeeper server
# and a broker are killed, and they outlive their containers. Removes what it made. Where
# the two public images cannot be pulled, build stand-ins first: deploy/standin/build.sh.
#
# Usage: deploy/demo.sh
set -euo pipefail
cd "$(dirname "$0")"

tool=(docker compose)
docker compose version >/dev/null 2>&1 || tool=(docker-compose)
compose() { "${tool[@]}" -p metaq-demo -f docker-compose.yml "$@"; }
metaq() { compose exec -T broker0 /metaq "$@" 2>&1; }

say() { printf '== %s\n' "$*"; }
fail() {
	say "failed: $*" >&2
	compose logs --tail 20 >&2
	exit 1
}

# await COMMAND...: until it succeeds, for two minutes at most.
await() {
	for ((i = 0; i < 120; i++)); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 1
	done
	fail "waited two minutes for: $*"
}

id() { compose ps -q "$1" | head -n 1; }
healthy() {
	for service in zk1 zk2 zk3 broker0 broker1; do
		[ "$(docker inspect -f '{{.State.Health.Status}}' "$(id "$service")")" = healthy ] || return 1
	done
}
read_by() { docker logs "$(id "$1")" 2>/dev/null | wc -l; }
all_read() { [ $(($(read_by consumer1) + $(read_by consumer2))) -ge "$1" ]; }
distinct() {
	{ docker logs "$(id consumer1)"; docker logs "$(id consumer2)"; } 2>/dev/null |
		grep -o '"partition":"[^"]*","offset":[0-9]*' | sort -u | wc -l
}

trap 'compose down -v --timeout 5 >/dev/null 2>&1 || say "could not remove everything: docker ps -a"' EXIT

say "three ZooKeeper servers, two brokers, a producer, two consumers"
compose build -q broker0 >/dev/null 2>&1 || fail "build the image: docker build -f deploy/Dockerfile ."
compose up -d >/dev/null 2>&1
await healthy
[ "$(docker wait "$(id producer)")" = 0 ] || fail "the producer was not acknowledged"
await all_read 100000
docker ps -a --filter label=com.docker.compose.project=metaq-demo --format 'table {{.Names}}\t{{.Image}}\t{{.Status}}'

say "the producer"
docker logs "$(id producer)" 2>&1

say "metaq group info readers"
metaq group info readers

say "one ZooKeeper server is killed, and the producer runs again"
compose kill zk1 >/dev/null 2>&1
compose run --rm --no-deps producer 2>/dev/null | tail -n 2
await all_read 200000
metaq cluster --zookeeper zk1:2181,zk2:2181,zk3:2181

say "it is back; broker 1 is killed and started again, and the producer runs again"
compose start zk1 >/dev/null 2>&1
compose kill broker1 >/dev/null 2>&1
compose start broker1 >/dev/null 2>&1
await healthy
compose run --rm --no-deps producer 2>/dev/null | tail -n 2
await all_read 300000
say "the consumers: $(read_by consumer1) and $(read_by consumer2) messages, $(distinct) different ones of 300000"
[ "$(distinct)" = 300000 ] || fail "messages are missing"

say "all containers are removed and made again; the volumes stay"
compose down --timeout 60 >/dev/null 2>&1
compose up -d zk1 zk2 zk3 broker0 broker1 >/dev/null 2>&1
await healthy
kept=$(compose exec -T broker0 /metaq consume demo --timeout 3s 2>/dev/null | wc -l)
say "$kept messages are there"
[ "$kept" = 300000 ] || fail "messages are missing"

#!/usr/bin/env bash
# Starts a broker to play with in a fresh ./metaq-data and, once it answers,
# prints three commands to try. Older data is set aside, never deleted.
# Usage: scripts/run.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."

metaq=$1
if "$metaq" ping >/dev/null 2>&1; then
	echo "a broker answers already on 127.0.0.1:4222: stop it first, or use it" >&2
	exit 1
fi
if [ -e metaq-data ]; then
	n=1
	while [ -e "metaq-data.$n" ]; do n=$((n + 1)); done
	mv metaq-data "metaq-data.$n"
	echo "older data was moved to ./metaq-data.$n: delete it if you do not need it; '$metaq broker' continues with ./metaq-data"
fi

hints() {
	"$metaq" ping --wait 10s >/dev/null 2>&1 || return 0
	cat <<TEXT

Try, in another terminal (Ctrl-C here stops the broker):

  nats req metaq.put.hello "hi"
  echo "key1:hello again" | $metaq produce hello --key-sep :
  $metaq consume hello --timeout 1s

TEXT
}
hints &
exec "$metaq" broker

#!/usr/bin/env bash
# Stops the machine in every way that this repository knows, and prints how often
# and what came of it: simulated machines, one world for each seed; a power cut in
# each flush setting; every file operation failed once; damage; the planted defects
# that must be caught; and fifty kills of a real broker.
# Usage: scripts/crash.sh SEEDS
set -euo pipefail
cd "$(dirname "$0")/.."

# With -v go prints the counts. The lines that only say that a test begins, and the
# brokers' own logs, would bury them; a failure shows as ever.
counts() { grep -vE '^ *(=== (RUN|NAME|PAUSE|CONT)|time=[^ ]+ level=(WARN|ERROR) )'; }

scripts/with-flag.sh seeds -v -count=1 -timeout 60m -seeds="$1" \
	-run 'Crash|EveryOperationFailsOnce|Damage|TheTableWouldNotice' | counts
go test -tags planted -v -count=1 -timeout 20m -run 'PlantedDefects' ./persistence | counts
go test -v -count=1 -run 'FiftyKills' ./test/durability | counts

#!/usr/bin/env bash
# Runs the tests of the official Go client itself, with our broker in the place of their servers.
#
#   run.sh [go test flags, for example -run TestDrain]    without flags: all but those of JetStream
#   BASE=1 run.sh ...                                     the same tests on nats-server: the baseline
#
# nats.go's tests ask a "tester" (module orbit.go/ntf) for servers. A copy of it starts ours for
# each plain server (no TLS, users, cluster, websocket), on the same port. Prints the failures and
# the counts; exit 0 when none failed but those that want other settings of a server.
set -euo pipefail
cd "$(dirname "$0")/../../.."
top=$PWD
here=$top/test/interop/natsgo
dir=$top/.cache/interop/natsgo
version=$(go list -m -f '{{.Version}}' github.com/nats-io/nats.go)
export GOWORK=off

mkdir -p "$dir"
if [ ! -e "$dir/.done-$version" ] || ! cmp -s "$here/ours.go.txt" "$dir/ntf/ours.go"; then
	chmod -R u+w "$dir" && rm -rf "$dir/src" "$dir/ntf" "$dir"/.done-*
	modules=$(go env GOMODCACHE)
	cp -r "$modules/github.com/nats-io/nats.go@$version" "$dir/src"
	chmod -R u+w "$dir/src"
	cd "$dir/src"
	ntf=$(go list -modfile=go_test.mod -m -f '{{.Version}}' github.com/synadia-io/orbit.go/ntf)
	go mod download -modfile=go_test.mod github.com/synadia-io/orbit.go/ntf
	cp -r "$modules/github.com/synadia-io/orbit.go/ntf@$ntf" "$dir/ntf"
	chmod -R u+w "$dir/ntf"
	rm -f "$dir/ntf"/*_test.go
	cp "$here/ours.go.txt" "$dir/ntf/ours.go"
	# Where the tester has its options, it asks whether the server is to be ours, and where it
	# says that it has started one, ours is started.
	sed -i 's|^\topts\.NoSigs = true$|&\n\tours := oursFor(opts)|' "$dir/ntf/handlers.go"
	for said in 'Started:return nil, "", err' 'Restarted:return nil, err'; do
		line="\\tlog.Info(\"${said%%:*} server\", \"server\", srv.Name(), \"url\", srv.ClientURL())"
		sed -i "s|^$line\$|\\tif ours {\\n\\t\\tif err := spawnOurs(opts, srv); err != nil {\\n\\t\\t\\t${said#*:}\\n\\t\\t}\\n\\t}\\n&|" "$dir/ntf/handlers.go"
	done
	[ "$(grep -c 'oursFor\|spawnOurs' "$dir/ntf/handlers.go")" -ge 4 ] || { echo "the tester of $version looks different: adapt $0" >&2; exit 1; }
	go mod edit -replace github.com/synadia-io/orbit.go/ntf=../ntf go_test.mod
	touch "$dir/.done-$version"
fi

cd "$top"
if [ -z "${BASE:-}" ]; then
	go build -trimpath -o "$dir/metaq" ./cmd/metaq
	export OURS=$dir/metaq
fi
[ $# -gt 0 ] || set -- -skip 'JetStream|KeyValue|Object|JS|Pull|OrderedConsumer|Push'
cd "$dir/src"
go test -modfile=go_test.mod ./test -count=1 -timeout 900s -v "$@" >"$dir/out" 2>&1 || true
grep -E '^--- FAIL|^panic' "$dir/out" || true
echo "$(grep -cE '^--- PASS' "$dir/out") passed, $(grep -cE '^--- FAIL' "$dir/out") failed, $(grep -c '^OURS' "$dir/out") servers were ours"
grep -q '^--- PASS' "$dir/out" || { tail -5 "$dir/out" >&2; exit 1; }
[ -n "${BASE:-}" ] || grep -q '^OURS' "$dir/out" || { echo "no server was ours" >&2; exit 1; }
! grep -q '^panic' "$dir/out" || exit 1
# They want a server without headers, with other limits, or with 1 MiB as the largest payload.
settings='TestNoHeaderSupport|TestFailedChannelSend|TestAlwaysReconnectOnMaxConnectionsExceededErr|TestMaxSubscriptionsExceeded'
! grep -E '^--- FAIL' "$dir/out" | grep -vqE "$settings"

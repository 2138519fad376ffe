#!/usr/bin/env bash
# Moves the module to another path: the modules themselves, every import, the rules of the
# linters, and the scripts, tests and documents that name a package. It can be run again.
# Usage: scripts/rename-module.sh PATH   for example github.com/example/metaq
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { echo "rename-module: $1; usage: scripts/rename-module.sh PATH, such as github.com/example/metaq" >&2; exit 2; }

[ $# = 1 ] || usage "$# arguments instead of one"
new=$1
[[ $new =~ ^[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9._~-]+)*$ ]] || usage "'$new' is no module path that others can import: its first element is a domain"
[[ ! $new =~ /v[0-9]+$ ]] || usage "'$new' ends with a version: the project has none above v1, and its modules require one another as v0"
old=$(sed -n 's/^module //p' go.mod)
[ "$new" != "$old" ] || usage "the module is called $old already"

# A package is the module's path and one of its directories, so that bin/metaq,
# /etc/metaq/server.ini and the subject metaq.put.orders stay as they are.
skip=(--exclude-dir=.git --exclude-dir=.bin --exclude-dir=bin --exclude-dir=dist --exclude-dir=node_modules)
directories=$(grep -rl "${skip[@]}" --include='*.go' '^package ' . | sed 's|^\./||' | grep / | cut -d/ -f1 | sort -u | paste -sd'|' -)
grep -rlIF "${skip[@]}" -- "$old" . | OLD=$old NEW=$new DIRECTORIES=$directories xargs perl -pi -e '
	BEGIN { ($old, $new, $directories) = @ENV{qw(OLD NEW DIRECTORIES)} }
	s{(?<![\w/.~-])\Q$old\E(?=/(?:$directories)(?![\w-]))}{$new}g;
	s{"\Q$old\E/"}{"$new/"}g if $ARGV =~ /\.go$/;
	s{^(module |require |replace |\t)\Q$old\E(?=[/ \n])}{$1$new} if $ARGV =~ /go\.mod$/;
	s{(pkg: |module-path: |prefix\()\Q$old\E(?=[,)\n])}{$1$new} if $ARGV =~ /golangci\.yml$/;
	s{(-require=)\Q$old\E(?=@)}{$1$new}g, s{(-replace=)\Q$old\E(?==)}{$1$new}g if $ARGV =~ /\.md$/;
'
echo "renamed module $old to $new in $(grep -rlIF "${skip[@]}" -- "$new" . | wc -l | tr -d ' ') files"

#!/usr/bin/env bash
# Checks the spelling of code and documents, and that no file gains phrases that are
# retired: those a reader has to decode. scripts/words.txt says how many of them each file
# still has; the numbers may only shrink.
# Usage: scripts/words.sh [-update]   -update writes the numbers down that have shrunk
set -euo pipefail
cd "$(dirname "$0")/.."

files() { git ls-files '*.go' '*.md' '*.sh' '*.ini' | grep -v '/testdata/\|^scripts/words'; }

# The names have no spaces.
# shellcheck disable=SC2046
go run github.com/golangci/misspell/cmd/misspell@v0.8.0 -error $(files)

# meanwhile: while ...; by itself: automatically; so many: the number; says whether: reports
# whether; goes on: continues; too at the end: also; anew: again.
phrases='\bmeanwhile\b|\bby itself\b|\bso many\b|\b(say|says|said|saying) whether\b|\b(go|goes|went) on\b|, too\b|\banew\b'
# shellcheck disable=SC2046
now=$(grep -oiE -- "$phrases" $(files) /dev/null | cut -d: -f1 | sort | uniq -c | awk "{ print \$2, \$1 }" || true)

list=scripts/words.txt
if [ "${1:-}" = -update ]; then
	# Of a file that is not listed, or has more now, nothing is written down.
	awk 'NR == FNR { old[$1] = $2; next } $1 in old { print $1, ($2 < old[$1] ? $2 : old[$1]) }' "$list" - <<<"$now" >"$list.new"
	mv "$list.new" "$list"
fi
more=$(awk 'NR == FNR { old[$1] = $2; next } $2 > old[$1] + 0 { print $1 ": " $2 " retired phrases, " old[$1] + 0 " allowed" }' "$list" - <<<"$now")
if [ -n "$more" ]; then
	echo "$more"
	echo "say it in plain words: see the list in scripts/words.sh, and find them with"
	echo "  grep -niE '$phrases' FILE"
	exit 1
fi

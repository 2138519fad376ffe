#!/usr/bin/env bash
# Runs make targets one after the other, with a header for each and a closing
# summary, and stops at the first that fails.
# Usage: scripts/steps.sh TARGET...   TARGET=VALUE sets FUZZTIME for that target.
set -euo pipefail
cd "$(dirname "$0")/.."

summary=""
begin=$SECONDS
for step in "$@"; do
	target=${step%%=*}
	start=$SECONDS
	printf '\n=== %s\n' "$target"
	status=ok
	case $step in
	*=*) "${MAKE:-make}" --no-print-directory "$target" FUZZTIME="${step#*=}" || status=FAILED ;;
	*) "${MAKE:-make}" --no-print-directory "$target" || status=FAILED ;;
	esac
	summary+=$(printf '  %-9s %-7s %4d s' "$target" "$status" $((SECONDS - start)))$'\n'
	[ "$status" = ok ] || break
done

printf '\n=== summary\n%s  %-9s %-7s %4d s\n' "$summary" all "$status" $((SECONDS - begin))
if [ "$status" != ok ]; then
	echo "  run \`make $target\` to repeat the step that failed"
	exit 1
fi

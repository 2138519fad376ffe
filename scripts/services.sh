#!/usr/bin/env bash
# Installs the services that the tests talk to, if this checkout has any.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -f test/zk/install.sh ]; then
	bash test/zk/install.sh
else
	echo "no service needed"
fi
bash test/interop/install.sh

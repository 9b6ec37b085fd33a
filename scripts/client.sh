#!/usr/bin/env bash
# Serves the page from its sources with live reload; requests go to a server that is already
# running.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_client_modules
cd client
exec node_modules/.bin/vite "$@"

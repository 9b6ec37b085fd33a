#!/usr/bin/env bash
# Starts a server on a fresh directory, feeds it real data, and serves until Ctrl-C ends both. PORT
# is the port, SPEED the inserts per second (0: as fast as the server answers).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
need_client_modules
cargo build --locked --release --bin broker

dir=$(mktemp -d "${TMPDIR:-/tmp}/broker-demo.XXXXXX")
server=

stop() {
  trap - EXIT
  if [ -n "$server" ]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$target/release/broker" --host 127.0.0.1 --port "${PORT:-8080}" --data-dir "$dir/data" \
  --log info >"$dir/log" 2>&1 &
server=$!

# The server logs its address; polling the port could find another process.
url=
while [ -z "$url" ]; do
  kill -0 "$server" 2>/dev/null || die "the server ended: $(cat "$dir/log")"
  sleep 0.1
  url=$(sed -nE 's|.*listening on (http://127\.0\.0\.1:[0-9]+).*|\1|p' "$dir/log" | head -n 1)
done

printf 'Open %s/ and watch; /audit/stock.AAPL has ten years of history. Ctrl-C stops.\n' "$url"
node client/demo/feed.mjs --url "$url" --speed "${SPEED:-200}"
wait "$server"

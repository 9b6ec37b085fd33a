#!/usr/bin/env bash
# Compares Broker with Redis, NATS JetStream, PocketBase and bare sled, which it installs. Takes
# about half an hour on a quiet machine and 15 GB of disk. Arguments are passed to broker-bench,
# such as --records 1000000 --sustained-seconds 20 for a short run.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
need_peers
cargo build --locked --release --package broker --package broker-bench
"$target/release/broker-bench" compare --redis "$redis" --nats "$nats" --pocketbase "$pocketbase" \
  --json "$target/bench-peers.json" "$@"
say "results are in $target/bench-peers.json"

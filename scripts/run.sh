#!/usr/bin/env bash
# Builds Broker and runs it with the flags given here.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
cargo build --locked --release --bin broker
exec "$target/release/broker" "$@"

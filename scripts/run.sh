#!/usr/bin/env bash
# Builds Broker and runs it with the given flags. FEATURES=rabbitmq builds it with the bridge.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
cargo build --locked --release --bin broker ${FEATURES:+--features "$FEATURES"}
exec "$target/release/broker" "$@"

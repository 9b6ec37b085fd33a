#!/usr/bin/env bash
# Measures live delivery to thousands of subscribers with Broker, a bare write loop, nchan and
# Redis, which it installs. Takes about ten minutes on a quiet machine. Arguments are passed to
# broker-load, such as fan --targets broker,bare --seconds 1 for one scenario.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
need_load_peers
descriptors=$(ulimit -Hn)
if [ "$descriptors" != unlimited ] && [ "$descriptors" -lt 12000 ]; then
  die "10,000 subscribers need 12,000 descriptors per process, and this shell allows $descriptors.
Raise the hard limit (ulimit -Hn) as root."
fi
cargo build --locked --release --package broker --package broker-load
if [ $# -eq 0 ]; then set -- all; fi
"$target/release/broker-load" "$@" --json "$target/load.json" --svg "$target/load.svg"
say "results are in $target/load.json, the plot in $target/load.svg"

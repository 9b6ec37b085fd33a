#!/usr/bin/env bash
# Runs every fault campaign, for an hour or for DURATION seconds (90m and 2h are understood), with
# SEED or a new one. CAMPAIGNS names some of them. The report is also in target/torture.json.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
need_torture_tools

duration=${DURATION:-3600}
case $duration in
  *h) duration=$((${duration%h} * 3600)) ;;
  *m) duration=$((${duration%m} * 60)) ;;
  *s) duration=${duration%s} ;;
esac

cargo build --locked --release --package broker --package broker-torture
mkdir -p "$target"
# Several campaigns are several words.
# shellcheck disable=SC2086
exec "$target/release/broker-torture" ${CAMPAIGNS:-all} --duration "$duration" \
  ${SEED:+--seed "$SEED"} --json "$target/torture.json"

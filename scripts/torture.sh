#!/usr/bin/env bash
# Runs all fault campaigns and the simulation, for an hour or for DURATION (seconds, or such as 90m
# or 2h), with SEED or a new seed. CAMPAIGNS selects campaigns. The report is also in
# target/torture.json.
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

# A sixth of the time is for the simulation.
simulated=0
if [ -z "${CAMPAIGNS:-}" ]; then
  simulated=$((duration / 6))
fi
seed=${SEED:-$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')}

mkdir -p "$target"
cargo build --locked --release --package broker --package broker-torture
status=0
simulation=()
if [ "$simulated" -gt 0 ]; then
  say "simulation, starting at seed $seed"
  simulation=(--simulation "$target/simulation.jsonl")
  rm -f "${simulation[1]}"
  BROKER_SIM_SECONDS=$simulated BROKER_SIM_FIRST=$seed BROKER_SIM_REPORT=${simulation[1]} \
    cargo test --locked --release --lib simulation -- --no-capture --test-threads 4 || status=1
fi
say "campaigns"
# CAMPAIGNS may be several words.
# shellcheck disable=SC2086
"$target/release/broker-torture" ${CAMPAIGNS:-all} --duration $((duration - simulated)) \
  --seed "$seed" --json "$target/torture.json" "${simulation[@]}" || status=1
exit "$status"

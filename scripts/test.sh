#!/usr/bin/env bash
# Runs every test, all suites whatever the others said, and ends with their closing lines and a
# plain "N passed, N failed". Logs and that ending stay in target/test-logs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
need_client_modules
need_chromium
need_test_python
need_torture_tools
need_rabbitmq

logs=$target/test-logs
rm -rf "$logs"
mkdir -p "$logs"
passed=0
failed=0

if [ -t 1 ]; then
  export CARGO_TERM_COLOR=always FORCE_COLOR=1
fi

# What a runner's last lines look like, and how its counts read. A failing test of nextest repeats
# the lines of cargo test, so each runner has its own.
nextest_lines='^ *Summary \['
cargo_lines='^test result: '
vitest_lines='^ *(Test Files|Tests) +'

# suite NAME LINES COMMAND...: runs it and adds what it counted.
suite() {
  local name=$1 lines=$2 status=0 log counts
  shift 2
  log=$logs/$name.log
  say "$name"
  "$@" 2>&1 </dev/null | tee "$log" || status=1
  sed -E 's/\x1b\[[0-9;]*m//g' "$log" | grep -E "$lines" >"$logs/$name.closing" || true
  counts=$(sed '/Test Files/d' "$logs/$name.closing" | node scripts/count-tests.mjs "$status")
  passed=$((passed + ${counts% *}))
  failed=$((failed + ${counts#* }))
}

suite client "$vitest_lines" npm --prefix client run --silent test

# One build for the tests and the binary, so that both have the same features: all there are.
features=(--features broker/rabbitmq)
say "build"
if cargo build --locked --workspace "${features[@]}" --bins --tests </dev/null; then
  if cargo nextest --version >/dev/null 2>&1; then
    suite rust "$nextest_lines" cargo nextest run --locked --workspace "${features[@]}" --no-fail-fast
  else
    suite rust "$cargo_lines" cargo test --locked --workspace "${features[@]}" --tests --no-fail-fast
  fi
  suite doc "$cargo_lines" cargo test --locked --workspace "${features[@]}" --doc --no-fail-fast
  BROKER_BIN=$target/debug/broker BROKER_TEST_CHROMIUM=$chromium BROKER_TEST_PYTHON=$python \
    suite e2e "$vitest_lines" npm --prefix client run --silent test:e2e
else
  say "it does not build: no test of the server was run"
  failed=$((failed + 1))
fi

{
  for name in client rust doc e2e; do
    if [ -s "$logs/$name.closing" ]; then cat "$logs/$name.closing"; fi
  done
  printf '%s passed, %s failed\n' "$passed" "$failed"
} >"$logs/ending"
say "closing lines"
cat "$logs/ending"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

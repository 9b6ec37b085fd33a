#!/usr/bin/env bash
# Runs all tests, every suite even if another fails, and ends with their closing lines and a plain
# "N passed, N failed". Logs and these lines are kept in target/test-logs.
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

# The closing lines of each test runner, from which the counts are read. A failing test in nextest
# prints lines of cargo test, so each runner has its own pattern.
nextest_lines='^ *Summary \['
cargo_lines='^test result: '
vitest_lines='^ *(Test Files|Tests) +'

# suite NAME LINES COMMAND...: runs a suite and adds its counts.
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

# One build for the tests and the binary, so that both have the same features: all of them.
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
  say "the build failed: no test of the server was run"
  failed=$((failed + 1))
fi

# Another configuration of the library (src/sync.rs), so a build of its own.
shuttle_env=(env CARGO_TARGET_DIR="$target/shuttle" RUSTFLAGS="${RUSTFLAGS:-} --cfg shuttle")
suite shuttle "$cargo_lines" "${shuttle_env[@]}" \
  cargo test --locked --package broker --no-default-features --test shuttle

{
  for name in client rust doc e2e shuttle; do
    if [ -s "$logs/$name.closing" ]; then cat "$logs/$name.closing"; fi
  done
  printf '%s passed, %s failed\n' "$passed" "$failed"
} >"$logs/ending"
say "closing lines"
cat "$logs/ending"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

#!/usr/bin/env bash
# Everything but the tests that a change must pass. All steps run; the failed ones are named last.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
  die "rustfmt or clippy is missing. Run: rustup component add rustfmt clippy"
fi
command -v git >/dev/null || die "git is missing, and it tells whether client/dist is current."
need_client_modules
need_cargo_deny

failed=()

step() {
  local name=$1
  shift
  say "$name"
  "$@" </dev/null || failed+=("$name")
}

# The page is committed, so that building Broker needs no Node.
page_is_current() {
  (quietly npm --prefix client run build) || return 1
  local new
  new=$(git ls-files --others -- client/dist)
  if ! git --no-pager diff --stat --exit-code -- client/dist || [ -n "$new" ]; then
    printf 'client/dist was not built from these sources; it is now, so commit it.\n%s\n' "$new" >&2
    return 1
  fi
}

# A workspace of its own, which nothing here builds, so that nothing else would tell.
fuzz_lock_is_current() {
  (quietly cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml)
}

step "format" cargo fmt --all --check
step "clippy" cargo clippy --locked --workspace --features broker/rabbitmq --all-targets -- \
  --deny warnings
# Tests are built with the feature, users build without.
step "clippy without features" cargo clippy --locked --package broker --no-default-features -- --deny warnings
step "lock file of the fuzz targets" fuzz_lock_is_current
step "dependencies" "$cargo_deny" --locked check --hide-inclusion-graph bans licenses sources
step "client" npm --prefix client run --silent check
step "page" page_is_current

if [ "${#failed[@]}" -gt 0 ]; then
  die "failed: ${failed[*]}"
fi

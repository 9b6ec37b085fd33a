#!/usr/bin/env bash
# All checks except the tests. Every step runs; the failed ones are listed at the end.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
  die "rustfmt or clippy is missing. Run: rustup component add rustfmt clippy"
fi
command -v git >/dev/null ||
  die "git is missing: install it, because it checks that client/dist is current."
need_client_modules
need_cargo_deny

failed=()

step() {
  local name=$1
  shift
  say "$name"
  "$@" </dev/null || failed+=("$name")
}

# The built page is committed, so that building Broker does not need Node.
page_is_current() {
  (quietly npm --prefix client run build) || return 1
  local new
  new=$(git ls-files --others -- client/dist)
  if ! git --no-pager diff --stat --exit-code -- client/dist || [ -n "$new" ]; then
    printf 'client/dist was out of date and has been rebuilt: commit it.\n%s\n' "$new" >&2
    return 1
  fi
}

# The fuzz targets are a separate workspace that nothing here builds, so no other step checks their
# lock file.
fuzz_lock_is_current() {
  (quietly cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml)
}

step "format" cargo fmt --all --check
step "clippy" cargo clippy --locked --workspace --features broker/rabbitmq --all-targets -- \
  --deny warnings
# Tests are built with the feature, users build without it.
step "clippy without features" cargo clippy --locked --package broker --no-default-features -- --deny warnings
step "lock file of the fuzz targets" fuzz_lock_is_current
step "dependencies" "$cargo_deny" --locked check --hide-inclusion-graph bans licenses sources
step "client" npm --prefix client run --silent check
step "page" page_is_current

if [ "${#failed[@]}" -gt 0 ]; then
  die "failed: ${failed[*]}"
fi

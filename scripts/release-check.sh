#!/usr/bin/env bash
# Packs the crate and the public npm packages, and installs them into scratch projects outside of
# the checkout: what is published must work without the rest of the repository.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need_rust
need_node

scratch=$(mktemp -d "${TMPDIR:-/tmp}/broker-release.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

say "files of the crate"
cargo package --locked --allow-dirty --list >"$scratch/files"
for file in Cargo.lock Cargo.toml CHANGELOG.md LICENSE-APACHE LICENSE-MIT README.md \
  client/dist/index.html src/lib.rs src/main.rs; do
  grep -qxF "$file" "$scratch/files" || die "the crate lacks $file"
done
if grep -vE '^(\.cargo_vcs_info\.json|Cargo\.(lock|toml|toml\.orig)|CHANGELOG\.md|LICENSE-(APACHE|MIT)|README\.md|client/dist/.*|src/.*)$' \
  "$scratch/files"; then
  die "the crate holds these files, which do not belong in it: see include in Cargo.toml"
fi

say "package"
quietly cargo package --locked --allow-dirty --no-verify --target-dir "$scratch/package"
tar -xzf "$scratch"/package/package/broker-*.crate -C "$scratch"
crate=$(echo "$scratch"/broker-*/)

say "a scratch project on the packed crate"
mkdir -p "$scratch/project/src"
cat >"$scratch/project/Cargo.toml" <<TOML
[package]
name = "scratch"
version = "0.0.0"
edition = "2024"

[dependencies]
actix-rt = "2"
broker = { path = "$crate" }

[workspace]
TOML
cat >"$scratch/project/src/main.rs" <<'RUST'
//! Inserts and reads back, in-process.
use broker::{Broker, Config, NewEvent};

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(Config::default().data_dir("data")).await?;
    let inserted = broker.insert(NewEvent::new("greeting", &"hello")?).await?;
    assert_eq!(inserted.records[0].version(), 1);
    broker.shutdown().await;
    println!("inserted {}", inserted.records[0].id());
    Ok(())
}
RUST
cp Cargo.lock "$scratch/project/Cargo.lock"
(cd "$scratch/project" && cargo run --quiet --target-dir "$target/release-check")

say "npm packages"
packed=0
for manifest in client/package.json client/*/package.json; do
  [ -e "$manifest" ] || continue
  if node -e 'process.exit(require(require("node:path").resolve(process.argv[1])).private ? 0 : 1)' \
    "$manifest"; then
    continue
  fi
  package=$(dirname "$manifest")
  (cd "$package" && quietly npm pack --pack-destination "$scratch" --loglevel=error)
  packed=$((packed + 1))
done
if [ "$packed" -gt 0 ]; then
  mkdir -p "$scratch/page"
  (cd "$scratch/page" && quietly npm init --yes && quietly npm install --no-audit --no-fund \
    --loglevel=error "$scratch"/*.tgz)
fi
say "the crate and $packed npm packages can be published"

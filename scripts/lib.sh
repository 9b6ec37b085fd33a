# Functions shared by the other scripts, which source this file. Sourcing changes to the root of the
# checkout. Variables set by a function are used by the script that sources it.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Absolute, because processes with other working directories use it.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")

say() {
  printf '== %s\n' "$*"
}

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# Runs a command and shows its output only if it fails.
quietly() {
  local output
  if ! output=$("$@" 2>&1 </dev/null); then
    printf '%s\n' "$output" >&2
    die "failed: $*"
  fi
}

need_rust() {
  command -v cargo >/dev/null || die "cargo is missing: install Rust 1.89 or later with rustup."
}

need_node() {
  if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    die "node or npm is missing: install Node.js 20.19 or later, which brings npm."
  fi
  node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1);
  ' || die "Node.js $(node --version) is too old: install 20.19 or later."
}

# need_debian PACKAGE TEST...: installs the package unless the test command succeeds.
need_debian() {
  local package=$1
  shift
  if "$@" >/dev/null 2>&1; then return; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    die "$package is missing, and installing it needs root and apt-get. Run:
  sudo apt-get update && sudo apt-get install --yes --no-install-recommends $package"
  fi
  say "installing the Debian package $package"
  quietly apt-get -o DPkg::Lock::Timeout=300 -qq update
  DEBIAN_FRONTEND=noninteractive quietly \
    apt-get -o DPkg::Lock::Timeout=300 -qq install --yes --no-install-recommends "$package"
  hash -r
  "$@" >/dev/null 2>&1 || die "$package is installed, but this still fails: $*"
}

# Installs the packages of the lock file into client/node_modules.
need_client_modules() {
  need_node
  local lock=client/package-lock.json installed=client/node_modules/.installed-package-lock.json
  if cmp -s "$lock" "$installed"; then return; fi
  say "installing the packages of client/"
  (cd client && quietly npm ci --no-audit --no-fund --loglevel=error)
  cp "$lock" "$installed"
}

# need_python_environment DIRECTORY REQUIREMENTS: creates a Python environment with exactly those
# packages.
need_python_environment() {
  local venv=$1 wanted=$2
  if cmp -s "$wanted" "$venv/installed.txt" && "$venv/bin/python" -c '' 2>/dev/null; then return; fi
  need_debian python3 command -v python3
  need_debian python3-venv python3 -c 'import ensurepip, venv'
  say "creating a Python environment with $wanted"
  quietly python3 -m venv --clear "$venv"
  quietly "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement "$wanted"
  cp "$wanted" "$venv/installed.txt"
}

# Creates the Python environment of the tests, and sets $python.
need_test_python() {
  need_python_environment "$target/test-venv" scripts/test-requirements.txt
  python=$target/test-venv/bin/python
}

# Finds or installs the servers that Broker is compared with, and sets $redis, $nats and
# $pocketbase. Where systemd runs, the Debian package also starts a service on port 6379.
need_peers() {
  need_debian redis-server command -v redis-server
  redis=$(command -v redis-server)
  need_python_environment "$target/bench-venv" scripts/bench-requirements.txt
  nats=$target/bench-venv/bin/nats-server
  pocketbase=$target/bench-venv/bin/pocketbase
}

# Installs the servers that live delivery is compared with. The Debian packages also start them as
# services, on ports 80 and 6379; a service that was not there before is stopped again.
need_load_peers() {
  local had_nginx=yes had_redis=yes
  # /usr/sbin is not on the path of every user.
  test -x /usr/sbin/nginx || had_nginx=
  command -v redis-server >/dev/null || had_redis=
  need_debian iproute2 command -v ss
  need_debian libnginx-mod-nchan test -e /usr/lib/nginx/modules/ngx_nchan_module.so
  need_debian nginx test -x /usr/sbin/nginx
  need_debian redis-server command -v redis-server
  [ -n "$had_nginx" ] || stop_service nginx
  [ -n "$had_redis" ] || stop_service redis-server
}

# Stops a service that a package has just started, and disables it at boot.
stop_service() {
  if [ -d /run/systemd/system ]; then
    quietly systemctl disable --now "$1"
  elif command -v service >/dev/null && service "$1" status >/dev/null 2>&1; then
    quietly service "$1" stop
  fi
}

# Finds Chromium, or installs the Debian package, and sets $chromium.
need_chromium() {
  chromium=${BROKER_TEST_CHROMIUM:-}
  if [ -z "$chromium" ]; then
    need_debian chromium command -v chromium
    chromium=$(command -v chromium)
  fi
}

# Installs RabbitMQ for the tests of the bridge. Each test starts its own, on loopback, so the
# service of the Debian package is not needed. A policy keeps it from being started
# (invoke-rc.d(8)), unless the machine already has one.
need_rabbitmq() {
  local server=/usr/lib/rabbitmq/bin/rabbitmq-server policy=/usr/sbin/policy-rc.d
  if [ -x "$server" ]; then return; fi
  if [ "$(id -u)" -ne 0 ] || [ -e "$policy" ]; then
    need_debian rabbitmq-server test -x "$server"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  # Also if the installation fails, which ends the script.
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  need_debian rabbitmq-server test -x "$server"
  rm -f "$policy"
  trap - EXIT
  # Nor at the next boot, where systemd runs.
  if command -v systemctl >/dev/null; then
    systemctl disable rabbitmq-server.service epmd.service epmd.socket >/dev/null 2>&1 || true
  fi
}

# The tools of the fault campaigns: a compiler for the preloaded library, and small file systems.
need_torture_tools() {
  need_debian gcc command -v cc
  need_debian e2fsprogs command -v mkfs.ext4
  need_debian mount command -v mount
  need_debian util-linux command -v setpriv
}

# Finds cargo-deny 0.20, or builds it once into the cache of the user, and sets $cargo_deny.
need_cargo_deny() {
  local root=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/broker-tools
  for cargo_deny in cargo-deny "$root/bin/cargo-deny"; do
    case $("$cargo_deny" --version 2>/dev/null || true) in
      "cargo-deny 0.20."*) return ;;
    esac
  done
  say "building cargo-deny once, into $root (takes some minutes)"
  quietly env -u CARGO_TARGET_DIR \
    cargo install --quiet --locked --root "$root" cargo-deny --version ^0.20
}

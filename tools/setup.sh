#!/usr/bin/env bash
# Brings a fresh machine to where everything can be built: says what it does, and what is missing where it cannot.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

apt_packages=()
need() { command -v "$1" >/dev/null 2>&1 || apt_packages+=("${@:2}"); }
need cc gcc libc6-dev
need make make
need python3 python3
need node nodejs
need npm npm
python3 -c 'import ensurepip, venv' 2>/dev/null || apt_packages+=(python3-venv)
if [ ${#apt_packages[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing Debian packages: ${apt_packages[*]}"
    apt-get update -qq && apt-get install -y -qq "${apt_packages[@]}" >/dev/null
  else
    fail "these Debian packages (or their like) are missing: ${apt_packages[*]}"
  fi
fi
command -v cargo >/dev/null 2>&1 || fail "Rust is missing: install it with rustup (https://rustup.rs), version 1.89 or later"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "Python 3.10 or later is needed, this is $(python3 --version)"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || fail "Node 20 or later is needed, this is $(node --version)"

# Does nothing where the stamp is as new as what it was made from.
fresh() { [ -e "$1" ] && [ -z "$(find "${@:2}" -newer "$1" -print -quit 2>/dev/null)" ]; }

if ! fresh .venv/stamp tools/requirements.txt; then
  say "Python environment in .venv"
  python3 -m venv .venv
  .venv/bin/pip install -q --disable-pip-version-check -r tools/requirements.txt
  touch .venv/stamp
fi
for folder in node examples; do
  if ! fresh "$folder/node_modules/.stamp" "$folder/package-lock.json"; then
    say "npm packages in $folder/"
    (cd "$folder" && npm ci --silent --no-audit --no-fund)
    touch "$folder/node_modules/.stamp"
  fi
done

say "native modules (debug; the first time takes some minutes)"
cargo build --quiet --locked -p realtime-server -p realtime-python -p realtime-node -p chaos-service
(cd python && VIRTUAL_ENV="$PWD/../.venv" ../.venv/bin/maturin develop --quiet --locked --skip-install-check 2>/dev/null \
  || VIRTUAL_ENV="$PWD/../.venv" ../.venv/bin/maturin develop --quiet --locked)
(cd node && npm run --silent build:native && npm run --silent build)

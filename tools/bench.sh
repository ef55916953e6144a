#!/usr/bin/env bash
# Builds everything as it is shipped, installs the peers beside it, and runs the benches. Arguments go to benches/run.py;
# `--quick` is a smoke test. Everything stays below target/bench.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bench=$root/target/bench
target=${CARGO_TARGET_DIR:-$root/target}

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'bench: %s\n' "$*" >&2; exit 1; }
# Does nothing where the stamp is as new as what it was made from.
fresh() { [ -e "$1" ] && [ -z "$(find "${@:2}" -newer "$1" -print -quit)" ]; }

for tool in cargo python3 node npm; do command -v "$tool" >/dev/null || fail "$tool is missing (see tools/setup.sh)"; done
mkdir -p "$bench/packages"

environment() {
  fresh "$bench/$1/stamp" "benches/python/$2" && return
  say "peers for Python in target/bench/$1"
  python3 -m venv --clear "$bench/$1"
  "$bench/$1/bin/pip" install -q --disable-pip-version-check -r "benches/python/$2"
  touch "$bench/$1/stamp"
}
environment python requirements.txt
environment python-supabase requirements-supabase.txt

say "native modules, load server and Rust subjects (profile dist; the first time takes some minutes)"
cargo build --quiet --locked --profile dist -p bench-load -p bench-rust -p realtime-node
rm -f "$bench"/packages/*.whl
(cd python && VIRTUAL_ENV="$bench/python" "$bench/python/bin/maturin" build --locked --profile dist --out "$bench/packages") \
  >"$bench/maturin.log" 2>&1 || fail "maturin failed: $(cat "$bench/maturin.log")"
"$bench/python/bin/pip" install -q --disable-pip-version-check --no-deps --force-reinstall "$bench"/packages/*.whl

# In a copy of node/, so that the project's own build stays as it is.
say "packages for Node in target/bench/node"
stage=$bench/stage
mkdir -p "$stage"
rm -rf "$stage"/{bin,dist,npm,packed,scripts,src}
cp -r node/{bin,npm,scripts,src,README.md,package.json,package-lock.json,tsconfig.json} "$stage"
case $(uname -s) in Darwin) library=librealtime_node.dylib ;; *) library=librealtime_node.so ;; esac
triple=$(node -p '`${process.platform}-${process.arch}${process.platform === "linux" ? "-gnu" : ""}`')
cp "$target/dist/$library" "$stage/realtime.$triple.node"
if ! fresh "$stage/node_modules/.stamp" node/package-lock.json; then
  (cd "$stage" && npm ci --silent --no-audit --no-fund)
  touch "$stage/node_modules/.stamp"
fi
(cd "$stage" && npm run --silent build && node scripts/pack-all.mjs >/dev/null)
rm -f "$bench"/packages/*.tgz
cp "$stage"/packed/*.tgz "$bench/packages"
mkdir -p "$bench/node" "$bench/payloads"
cp benches/payloads/* "$bench/payloads"
cp benches/node/* "$bench/node"
if ! fresh "$bench/node/node_modules/.stamp" benches/node/package-lock.json; then
  (cd "$bench/node" && npm ci --silent --no-audit --no-fund)
  touch "$bench/node/node_modules/.stamp"
fi
(cd "$bench/node" && npm install --silent --no-save --no-audit --no-fund "$bench"/packages/*.tgz)

say "rounds"
exec "$bench/python/bin/python" benches/run.py --programs "$target/dist" "$@"

#!/usr/bin/env bash
# Measures the server's fan-out beside other servers. Arguments go to benches/fanout.py; `--quick` is a smoke test.
# NATS takes part where `nats-server` is installed. Everything stays below target/bench.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
place=$root/target/bench/fanout
target=${CARGO_TARGET_DIR:-$root/target}

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'bench-fanout: %s\n' "$*" >&2; exit 1; }

for tool in cargo python3 node npm; do command -v "$tool" >/dev/null || fail "$tool is missing (see tools/setup.sh)"; done

say "server and load client (profile dist; the first time takes some minutes)"
cargo build --quiet --locked --profile dist -p realtime-server -p bench-fanout

mkdir -p "$place"
if ! cmp -s benches/fanout/package-lock.json "$place/node_modules/.stamp"; then
  say "peers for Node in target/bench/fanout"
  cp benches/fanout/package{,-lock}.json "$place"
  (cd "$place" && npm ci --silent --no-audit --no-fund)
  cp benches/fanout/package-lock.json "$place/node_modules/.stamp"
fi
cp benches/fanout/*.mjs examples/relay.mjs "$place"

# A file descriptor a connection, on both sides.
limit=$(ulimit -Hn)
if [ "$limit" = unlimited ] || [ "$limit" -gt 65536 ]; then limit=65536; fi
ulimit -n "$limit"
[ "$limit" -ge 10100 ] || say "only $limit files may be open: use --connections $((limit - 100))"

say "rounds"
exec python3 benches/fanout.py --programs "$target/dist" "$@"

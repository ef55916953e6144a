#!/usr/bin/env bash
# Runs the chaos with what `make setup` has built, which is fast enough. With PROFILE=release everything is optimised, in copies
# below target/chaos, so that the project's own build stays as it is. MESSAGES and SEED are read by chaos/chaos.py.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
profile=${PROFILE:-debug}
target=${CARGO_TARGET_DIR:-$root/target}
packages=$root/python/src
node=$root/node
# The same packages as in `make setup`, so that nothing is built twice.
cargo build --quiet --locked --profile "${profile/debug/dev}" -p realtime-server -p realtime-python -p realtime-node -p chaos-service
if [ "$profile" != debug ]; then
  case $(uname -s) in Darwin) ending=dylib ;; *) ending=so ;; esac
  packages=$root/target/chaos/python
  node=$root/target/chaos/node
  rm -rf "$packages" "$node"
  mkdir -p "$packages" "$node"
  cp -r python/src/realtime_client "$packages"
  cp "$target/$profile/lib_realtime.$ending" "$packages/realtime_client/_realtime.abi3.so"
  cp -r node/package.json node/dist "$node"
  native=$(cd node && ls realtime.*.node)
  cp "$target/$profile/librealtime_node.$ending" "$node/$native"
fi
mkdir -p chaos/node_modules
ln -sfn "$node" chaos/node_modules/realtime-client
export PYTHONPATH=$packages:$root/demo
exec .venv/bin/python chaos/chaos.py --realtime "$target/$profile/realtime" --service "$target/$profile/chaos-service"

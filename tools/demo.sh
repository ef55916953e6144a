#!/usr/bin/env bash
# Runs the demo with what `make setup` has built. `tools/demo.sh 2000` sends fewer messages.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p demo/node_modules
ln -sfn ../../node demo/node_modules/realtime-client
exec .venv/bin/python demo/demo.py "$@"

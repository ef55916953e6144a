#!/usr/bin/env bash
# Builds the wheel and the npm tarballs into a folder: `tools/package.sh dist`. REALTIME_PROFILE is `dev` (default) or `dist`.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "$1" && cd "$1" && pwd)
profile=${REALTIME_PROFILE:-dev}
rm -f "$out"/realtime_client-*.whl "$out"/realtime-client-*.tgz
(cd python && ../.venv/bin/maturin build --quiet --locked --profile "$profile" --out "$out")
(cd node && REALTIME_PROFILE=$profile npm run --silent build:native && npm run --silent build && npm run --silent pack:all)
cp node/packed/*.tgz "$out"
ls -l "$out"

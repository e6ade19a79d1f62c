#!/usr/bin/env bash
# Builds the engine's module with the product that is timed alone, into `module`.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here/../../.."
export PATH="$PWD/target/web-tools/bin:$PATH"
RUSTFLAGS="-C target-feature=+simd128" \
    cargo build --quiet --profile web --target wasm32-unknown-unknown -p carat-web --no-default-features --features bench
wasm-bindgen --target web --no-typescript --out-name carat_bench --out-dir "$here/module" target/wasm32-unknown-unknown/web/carat_web.wasm

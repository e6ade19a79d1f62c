#!/usr/bin/env bash
# Builds the npm package's `dist`: the engine as wasm, its bindings, and a table of what weighs how much.
#
# Needs the target wasm32-unknown-unknown, wasm-bindgen-cli at the version of Cargo.lock (taken from
# target/web-tools/bin, PATH, or installed there) and Node.js; npm gives wasm-opt.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=runtime/web/npm/dist
tools=target/web-tools
version=$(grep -A1 '^name = "wasm-bindgen"$' Cargo.lock | sed -n 's/^version = "\(.*\)"/\1/p')
export PATH="$PWD/$tools/bin:$PATH"
if [ "$(wasm-bindgen --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
    # It runs for seconds: optimising it takes minutes.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_LTO=off \
        cargo install --quiet --root "$tools" --version "$version" wasm-bindgen-cli --bin wasm-bindgen
fi
if [ ! -x "$tools/npm/node_modules/.bin/wasm-opt" ]; then
    npm install --silent --no-fund --no-audit --prefix "$tools/npm" binaryen@132.0.0
fi

opt="$tools/npm/node_modules/.bin/wasm-opt"
features="--enable-simd --enable-bulk-memory --enable-sign-ext --enable-mutable-globals --enable-nontrapping-float-to-int --enable-reference-types --enable-multivalue"
mkdir -p "$out"

# Builds the module `name` of the crate's feature `feature` with further flags of the linker, and says what weighs how much.
module() {
    local name="$1" feature="$2" flags="$3"
    # Processors without 128-bit vectors are refused by the browser as a whole; every browser with WebGPU has them.
    RUSTFLAGS="-C target-feature=+simd128 $flags" \
        cargo build --quiet --profile web --target wasm32-unknown-unknown -p carat-web --no-default-features --features "$feature"
    local wasm=target/wasm32-unknown-unknown/web/carat_web.wasm
    wasm-bindgen --target web --no-typescript --keep-debug --out-name "$name" --out-dir "$tools/bindings" "$wasm"
    wasm-bindgen --target web --no-typescript --out-name "$name" --out-dir "$out" "$wasm"
    # Names are for the table alone.
    $opt $features -Oz --converge -g "$tools/bindings/${name}_bg.wasm" -o "$tools/named.wasm"
    $opt $features --strip-debug --strip-producers --strip-target-features "$tools/named.wasm" -o "$out/${name}_bg.wasm.new"
    mv "$out/${name}_bg.wasm.new" "$out/${name}_bg.wasm"
    node runtime/web/weigh.mjs "$feature" "$out/${name}_bg.wasm" "$tools/named.wasm"
}

module carat_web engine ""
# Schemas are compiled recursively.
module carat_grammar grammar "-C link-arg=-zstack-size=8388608"

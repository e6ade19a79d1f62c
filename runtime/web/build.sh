#!/usr/bin/env bash
# Builds the npm package's `dist`: the engine as wasm, its bindings, and a table of what weighs how much.
#
# Needs Rust with the target wasm32-unknown-unknown and Node.js with npm, which are checked before anything is compiled.
# wasm-bindgen-cli at the version of Cargo.lock (taken from web-tools/bin in Cargo's target directory, or from PATH) and
# wasm-opt (of npm's binaryen) are installed there where they are absent. CARGO_TARGET_DIR is respected.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=runtime/web/npm/dist
target="${CARGO_TARGET_DIR:-target}"
tools="$target/web-tools"
binaryen=132.0.0
version=$(grep -A1 '^name = "wasm-bindgen"$' Cargo.lock | sed -n 's/^version = "\(.*\)"/\1/p')
export PATH="$(mkdir -p "$tools" && cd "$tools" && pwd)/bin:$PATH"
opt="$tools/npm/node_modules/.bin/wasm-opt"

# Whether each tool is here; what is missing is named together, with how to get it.
missing=""
miss() { missing+="  $1"$'\n'"      $2"$'\n'; }
have() { command -v "$1" >/dev/null; }
rust="https://rustup.rs installs it"
have cargo || miss "cargo (Rust's build tool)" "$rust"
have rustc || miss "rustc (Rust's compiler)" "$rust"
if have rustc && [ ! -d "$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" ]; then
    miss "the Rust target wasm32-unknown-unknown" "rustup target add wasm32-unknown-unknown"
fi
have node || miss "node (Node.js 18 or newer)" "https://nodejs.org, or: sudo apt-get install nodejs"
[ -x "$opt" ] || have npm || miss "npm (for wasm-opt)" "it comes with https://nodejs.org, or: sudo apt-get install npm"
if [ -n "$missing" ]; then
    printf 'runtime/web/build.sh: missing:\n%s' "$missing" >&2
    exit 1
fi

if [ "$(wasm-bindgen --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
    echo "installing wasm-bindgen-cli $version into $tools" >&2
    # It runs for seconds: optimising it takes minutes.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_LTO=off \
        cargo install --quiet --root "$tools" --version "$version" wasm-bindgen-cli --bin wasm-bindgen || {
        echo "runtime/web/build.sh: wasm-bindgen-cli $version cannot be installed. Give access to crates.io, or put that version on PATH:" >&2
        echo "      cargo install wasm-bindgen-cli --version $version" >&2
        exit 1
    }
fi
if [ ! -x "$opt" ]; then
    npm install --silent --no-fund --no-audit --prefix "$tools/npm" "binaryen@$binaryen" || {
        echo "runtime/web/build.sh: wasm-opt cannot be installed. Give access to npm's registry, then try: npm install --prefix $tools/npm binaryen@$binaryen" >&2
        exit 1
    }
fi

features="--enable-simd --enable-bulk-memory --enable-sign-ext --enable-mutable-globals --enable-nontrapping-float-to-int --enable-reference-types --enable-multivalue"
mkdir -p "$out"

# Builds the module `name` of the crate's feature `feature` with further flags of the linker, and says what weighs how much.
module() {
    local name="$1" feature="$2" flags="$3"
    # Processors without 128-bit vectors are refused by the browser as a whole; every browser with WebGPU has them.
    RUSTFLAGS="-C target-feature=+simd128 $flags" \
        cargo build --quiet --profile web --target wasm32-unknown-unknown -p carat-web --no-default-features --features "$feature"
    local wasm="$target/wasm32-unknown-unknown/web/carat_web.wasm"
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

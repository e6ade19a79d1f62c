#!/usr/bin/env bash
# Lays out the page in examples/web/dist, which any static server can serve: the package, two libraries from npm,
# the bundled model at 4 bits and the list of models.
#
#   examples/web/build.sh [DIRECTORY]      instead of examples/web/dist
#
# Needs Node.js with npm, and what runtime/web/build.sh needs. CARAT_PACKAGE=runtime/web/npm takes a package that is
# built already, CARAT_BIN=FILE the program, CARAT_MODEL=FILE.gguf a file that is there already for the bundled model.
# CARAT_MODELS=FILE.json gives further models for the list, in the form of its `models`: see README.md.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
out="${1:-$here/dist}"

missing=""
for tool in node npm $([ -n "${CARAT_BIN:-}" ] || echo cargo); do
    command -v "$tool" >/dev/null || missing+=" $tool"
done
if [ -n "$missing" ]; then
    echo "examples/web/build.sh: missing:$missing. Node.js with npm: https://nodejs.org, or sudo apt-get install nodejs npm; cargo: https://rustup.rs" >&2
    exit 1
fi

mkdir -p "$out/models" "$out/vendor"
out="$(cd "$out" && pwd)"

echo "libraries"
(cd "$here" && npm ci --ignore-scripts --no-audit --no-fund --silent)
for library in "marked lib/marked.esm.js LICENSE" "dompurify dist/purify.es.mjs LICENSE"; do
    read -r name file licence <<<"$library"
    rm -rf "${out:?}/vendor/$name"
    mkdir -p "$out/vendor/$name"
    cp "$here/node_modules/$name/$licence" "$out/vendor/$name/LICENSE"
    # The map is not laid beside it: a browser would ask for it in vain.
    sed '/^\/\/# sourceMappingURL=/d' "$here/node_modules/$name/$file" >"$out/vendor/$name/$(basename "$file")"
done

echo "page"
rm -rf "$out/js" "$out/css"
cp -R "$root"/runtime/server/page/{index.html,icon.svg,css,js} "$out/"

echo "package"
package="${CARAT_PACKAGE:-}"
if [ -z "$package" ]; then
    "$root/runtime/web/build.sh"
    package="$root/runtime/web/npm"
fi
rm -rf "$out/carat-web"
mkdir -p "$out/carat-web/dist"
cp "$package"/*.js "$out/carat-web/"
cp "$package"/dist/carat_{web,grammar}.js "$package"/dist/carat_{web,grammar}_bg.wasm "$out/carat-web/dist/"

echo "model"
carat() {
    if [ -n "${CARAT_BIN:-}" ]; then "$CARAT_BIN" "$@"; else from_source "$@"; fi
}
from_source() { cargo run --release --quiet --manifest-path "$root/Cargo.toml" -p carat-cli -- "$@"; }
model="$out/models/facet-6m-4bit.gguf"
if [ -n "${CARAT_MODEL:-}" ]; then
    cp "$CARAT_MODEL" "$model"
else
    carat convert "$root/examples/models/facet-6m" -o "$model" --bits 4 --method none --force
fi
carat inspect "$model" --json | node "$here/list.mjs" models/facet-6m-4bit.gguf ${CARAT_MODELS:+"$CARAT_MODELS"} >"$out/models.json.partial"
mv "$out/models.json.partial" "$out/models.json"

echo "built in $out"

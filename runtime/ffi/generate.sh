#!/usr/bin/env bash
# Makes a binding's source: generate.sh LIBRARY_DIR kotlin|swift|python OUT. The folder has libcarat_ffi and uniffi-bindgen, both built with
# `cargo build --release -p carat-ffi --features bindgen`.
set -euo pipefail
[ $# = 3 ] || { echo "usage: generate.sh LIBRARY_DIR kotlin|swift|python OUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
library=$1/libcarat_ffi.so
[ -e "$library" ] || library=$1/libcarat_ffi.dylib
for file in "$library" "$1/uniffi-bindgen"; do
    [ -e "$file" ] || { echo "$file is not there: cargo build --release -p carat-ffi --features bindgen" >&2; exit 1; }
done
config=$(mktemp --suffix .toml)
trap 'rm -f "$config"' EXIT
# uniffi.toml beside this file is read for the crate.
printf '[crate-roots]\ncarat_ffi = "%s"\n' "$here" > "$config"
"$1/uniffi-bindgen" generate "$library" --language "$2" --out-dir "$3" --no-format --config "$config"

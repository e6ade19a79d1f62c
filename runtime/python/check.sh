#!/usr/bin/env bash
# Tests the Python package over a library that is built, without maturin.
#
#   runtime/python/check.sh LIBRARY_DIR MODEL [CHAT_MODEL]
#
# LIBRARY_DIR has libcarat_ffi.so (libcarat_ffi.dylib, carat_ffi.dll) of carat-ffi with the feature objects, uniffi-bindgen of its
# feature bindgen, and may have carat, whose tokens are then compared. MODEL is a Carat file; CHAT_MODEL is one that was trained to
# chat and call tools. PYTHON names the interpreter; what it lacks of pydantic, numpy, langchain-core, llm and nbclient is not
# tested, and each absence is told.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '4s/^# *//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
libraries=$(cd "$1" && pwd)
model=$(realpath "$2")
chat=${3:+$(realpath "$3")}
python=${PYTHON:-python3}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

library=""
for name in libcarat_ffi.so libcarat_ffi.dylib carat_ffi.dll; do
    [ ! -e "$libraries/$name" ] || library=$libraries/$name
done
[ -n "$library" ] || { echo "check.sh: $libraries has no library of carat-ffi; build it with --features objects" >&2; exit 1; }

cp -R "$here/carat" "$work/carat"
mkdir -p "$work/carat/_native"
"$libraries/uniffi-bindgen" generate "$library" --language python --out-dir "$work/carat/_native" --no-format
cp "$library" "$work/carat/_native/"
echo 'from .carat_native import *' >"$work/carat/_native/__init__.py"

export PYTHONPATH=$work PYTHONDONTWRITEBYTECODE=1
export CARAT_TEST_MODEL=$model CARAT_TEST_CHAT_MODEL=$chat CARAT_TEST_EXAMPLES=$here/../../examples/python
[ ! -x "$libraries/carat" ] || export CARAT_TEST_COMMAND=$libraries/carat
cd "$work"
"$python" -W error::ResourceWarning -m unittest discover -s "$here/tests" -t "$here/tests" -v

#!/usr/bin/env bash
# Every binding does the same: C, C++ and C under valgrind, and those of other languages that are named.
#
#   tests/bindings/check.sh FOLDER CARAT [NAME=COMMAND…]
#
# FOLDER has libcarat_ffi.so and libcarat_ffi.a, CARAT is the command line, and a further driver is as `run.py` takes it. With
# CARAT_CHAT_MODEL, a Carat file with a chat template, conversations with tools are compared too.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
folder=$(realpath -e "$1")
carat=$(realpath -e "$2")
shift 2
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"$carat" convert examples/models/facet-6m -o "$tmp/facet.gguf" --bits 4 2>"$tmp/log" || { cat "$tmp/log" >&2; exit 1; }
build() { # COMPILER OUTPUT FLAGS…
    local compiler=$1 out=$2
    shift 2
    "$compiler" -Wall -Wextra -Werror -O1 -g -Iruntime/ffi/include "$@" -o "$tmp/$out"
}
shared=(-L"$folder" -lcarat_ffi -Wl,-rpath,"$folder")
build gcc c -std=c99 -pedantic tests/bindings/driver.c "${shared[@]}"
build g++ cpp -std=c++11 -x c++ tests/bindings/driver.c -x none "${shared[@]}"
build gcc static -std=c99 tests/bindings/driver.c "$folder/libcarat_ffi.a" -lm -lpthread -ldl -lgcc_s
build gcc hostile -std=c99 tests/bindings/hostile.c "${shared[@]}" -lpthread
build gcc chat -std=c11 examples/c/chat.c "${shared[@]}"
printf 'One day\n' | "$tmp/chat" "$tmp/facet.gguf" >"$tmp/said"
[ "$(wc -c <"$tmp/said")" -gt 10 ] || { echo "examples/c says nothing" >&2; exit 1; }

chat=()
[ -z "${CARAT_CHAT_MODEL:-}" ] || chat=(--chat "$CARAT_CHAT_MODEL")
python3 tests/bindings/run.py --model "$tmp/facet.gguf" "${chat[@]}" --carat "$carat" \
    "C=$tmp/c" "C++=$tmp/cpp" "static=$tmp/static" "$@"
"$tmp/hostile" "$tmp/facet.gguf"
if command -v valgrind >/dev/null; then
    # Values are not traced: vectors of optimised code that are defined in part look undefined. What is possibly lost is the table of handles, which a hash map points into, and pools of threads that end with the process.
    kinds="definite,indirect"
    grind="valgrind -q --error-exitcode=9 --undef-value-errors=no --leak-check=full --show-leak-kinds=$kinds --errors-for-leak-kinds=$kinds"
    python3 tests/bindings/run.py --times 20 --model "$tmp/facet.gguf" --carat "$carat" "valgrind=$grind $tmp/c"
else
    echo "ABSENT: valgrind: memory is not watched (apt-get install valgrind)"
fi

#!/usr/bin/env bash
# Compiles the library for Kotlin with its tests and the example's twin, and runs them on the JVM.
#
#   check.sh LIBRARY_DIR MODEL
#
# LIBRARY_DIR has libcarat_ffi and uniffi-bindgen (cargo build --release -p carat-ffi --features bindgen), and the program `carat` if its
# hashes are to be compared; MODEL is examples/models/facet-6m as a Carat file. On Debian missing tools are installed. What is fetched
# and built is kept in CARAT_KOTLIN, by default ~/.cache/carat-kotlin.
set -euo pipefail
[ $# = 2 ] || { echo "usage: check.sh LIBRARY_DIR MODEL" >&2; exit 2; }
library=$(cd "$1" && pwd)
model=$(realpath "$2")
cd "$(dirname "$0")"
here=$PWD
. ./tools.sh
work=$tools/build
rm -rf "$work" && mkdir -p "$work"

step() { printf '\n== %s\n' "$*"; }

step "Binding"
../ffi/generate.sh "$library" kotlin "$work/generated"

step "Library"
compile "$work/carat.jar" "$work/generated" src/main/kotlin

step "Tests, and the example's twin"
classpath="$classpath:$work/carat.jar"
compile "$work/tests.jar" src/test/kotlin
compile "$work/twin.jar" ../../examples/android/app/src/main/kotlin/dev/carat/example/talk ../../examples/android/twin

run() {
    java -cp "$classpath:$1" -Djna.library.path="$library" -Djna.boot.library.path="$jni" -Djna.nosys=false \
        -Djava.library.path="$jni" "${@:2}"
}
export CARAT_TEST_MODEL=$model
if [ -x "$library/carat" ]; then
    CARAT_EXPECT=$("$library/carat" run "$model" "Once upon a time" --json -n 16 --temperature 0 --device cpu)
    export CARAT_EXPECT
else
    echo "$library/carat is not there: its tokens and hash are not compared"
fi
run "$work/tests.jar" MainKt

step "The twin: a message, a long answer that is stopped, another message"
printf '%s\n' "Tell me of the sea." "/stop 3" "Tell me of the sky." "/quit" | run "$work/twin.jar" TwinKt "$model" > "$work/twin.txt"
cat "$work/twin.txt"
[ "$(grep -c '^carat: ' "$work/twin.txt")" = 3 ] || { echo "the twin has not three answers" >&2; exit 1; }
grep -q '(stopped)$' "$work/twin.txt" || { echo "the twin's second answer was not stopped" >&2; exit 1; }

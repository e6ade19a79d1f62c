# Tools and jars for Kotlin on Debian, from its packages, npm and PyPI: sourced. Sets `tools`, `classpath` and `jni`, and `compile OUT FOLDER…`.

tools=${CARAT_KOTLIN:-$HOME/.cache/carat-kotlin}
mkdir -p "$tools"

missing() { echo "MISSING: $*" >&2; exit 1; }

# What the npm package and the wheel hold: change all of these together.
compiler_version=2.4.20
serialization_version=1.9.0
serialization_wheel=0.19.0.944

packages=()
command -v java >/dev/null || packages+=(default-jdk-headless)
command -v npm >/dev/null || packages+=(nodejs npm)
command -v unzip >/dev/null || packages+=(unzip)
[ -e /usr/share/java/jna.jar ] || packages+=(libjna-java)
if [ ${#packages[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || missing "${packages[*]}: install them"
    sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo"
    export DEBIAN_FRONTEND=noninteractive
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; } ||
        missing "${packages[*]}: apt-get cannot install them"
fi
jna=/usr/share/java/jna.jar
# JNA's own library, which Debian keeps beside the jar.
jni=$(dirname "$(find /usr/lib -name libjnidispatch.system.so 2>/dev/null | head -1)")
[ "$jni" != . ] || missing "libjnidispatch.system.so, of Debian's libjna-jni"

lib=$tools/node_modules/kotlin-compiler/lib
grep -qs "^$compiler_version" "$lib/../build.txt" ||
    npm install --silent --no-fund --no-audit --prefix "$tools" "kotlin-compiler@$compiler_version" >/dev/null ||
    missing "npm's kotlin-compiler $compiler_version"

# The runtime of kotlinx.serialization is in no package of Debian or npm; a wheel has the jars as they are published.
serialization=$tools/kotlinx-serialization-$serialization_version
if ! [ -e "$serialization/json.jar" ]; then
    fetched=$(mktemp -d)
    python3 -m pip download --quiet --disable-pip-version-check --no-deps -d "$fetched" "kotlin-jupyter-kernel==$serialization_wheel" ||
        missing "PyPI's kotlin-jupyter-kernel $serialization_wheel, which has the jars of kotlinx.serialization"
    mkdir -p "$serialization"
    for part in core json; do
        jar=run_kotlin_kernel/jars/kotlinx-serialization-$part-jvm-$serialization_version.jar
        unzip -p "$fetched"/*.whl "$jar" > "$fetched/$part.jar" || missing "$jar, in PyPI's kotlin-jupyter-kernel"
    done
    mv "$fetched/core.jar" "$fetched/json.jar" "$serialization"
    rm -rf "$fetched"
fi

classpath=$lib/kotlin-stdlib.jar:$lib/kotlinx-coroutines-core-jvm.jar:$serialization/core.jar:$serialization/json.jar:$jna

# compile OUT FOLDER…: against `classpath`. Warnings of the generated file are not ours to mend.
compile() {
    java -Xmx1500m -cp "$lib/kotlin-compiler.jar:$lib/kotlin-preloader.jar:$lib/kotlin-stdlib.jar:$lib/kotlin-script-runtime.jar:$lib/kotlin-reflect.jar:$lib/kotlin-daemon-client.jar:$lib/annotations-13.0.jar:$lib/kotlinx-coroutines-core-jvm.jar" \
        org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -no-stdlib -no-reflect -jvm-target 17 -nowarn \
        -Xplugin="$lib/kotlinx-serialization-compiler-plugin.jar" -cp "$classpath" -d "$1" "${@:2}"
}

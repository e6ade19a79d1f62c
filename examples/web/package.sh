#!/usr/bin/env bash
# The package carat-web, built, in the directory that is named.
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
echo "$root/runtime/web: not here" >&2
exit 1

#!/usr/bin/env python3
"""Takes the flags of llama.cpp's llama-server and runs `carat serve`, for llama.cpp's own server tests.

CARAT is the program, CARAT_MODEL the model of every test. Flags that have no counterpart are left out.
"""

import os
import pathlib
import sys
import tempfile

# Flags with a value, and what they are called here; None: nothing is.
VALUES = {
    "--port": "--port",
    "--host": "--host",
    "--parallel": "--parallel",
    "--threads": "--threads",
    "--temp": "--temp",
    "--seed": "--seed",
    "--n-predict": "--max-tokens",
    "--chat-template-file": "--template",
    "--slot-save-path": "--slot-save-path",
}
SWITCHES = {"--no-ui": "--no-page"}
# Flags without a value.
PLAIN = {
    "--cont-batching", "--embedding", "--reranking", "--metrics", "--kv-unified", "--swa-full", "--slots",
    "--no-slots", "--verbose", "--context-shift", "--no-models-autoload", "--jinja", "--no-jinja",
    "--no-mmproj", "--no-cache-idle-slots", "--ui-mcp-proxy", "--backend_sampling", "--offline",
}


def main() -> None:
    given = sys.argv[1:]
    flags: dict[str, str] = {}
    out = [os.environ["CARAT"], "serve", os.environ["CARAT_MODEL"], "--device", "cpu", "--fast"]
    while given:
        flag = given.pop(0)
        if flag in PLAIN:
            continue
        if flag in SWITCHES:
            out.append(SWITCHES[flag])
            continue
        value = given.pop(0) if given else ""
        flags[flag] = value
        if flag in VALUES:
            out += [VALUES[flag], value]
    slots = int(flags.get("--parallel", "1"))
    if "--parallel" not in flags:
        out += ["--parallel", "1"]
    # There the context is all slots' together.
    if "--ctx-size" in flags:
        out += ["--ctx", str(int(flags["--ctx-size"]) // slots)]
    if "--alias" in flags:
        out += ["--alias", flags["--alias"].split(",")[0]]
    # A model without a template has ChatML there.
    if "--chat-template-file" not in flags:
        out += ["--template", str(pathlib.Path(__file__).with_name("chatml.jinja"))]
    if "--api-key" in flags:
        with tempfile.NamedTemporaryFile("w", suffix=".key", delete=False) as file:
            file.write(flags["--api-key"] + "\n")
        out += ["--api-key-file", file.name]
    if "--cors-origins" in flags:
        out += ["--cors", flags["--cors-origins"]]
    os.execv(out[0], out)


main()

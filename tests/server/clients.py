"""Unmodified clients against `carat serve`, and whatever passed against the server's description.

    python tests/server/clients.py PROGRAM MODEL.gguf [--only WORD] [--npm DIRECTORY]

PROGRAM is `target/release/carat`; MODEL a small model that chats, as SmolLM2-135M-Instruct.
Packages: `pip install -r tests/server/requirements.txt`. The clients of npm need `npm ci` in tests/server, or DIRECTORY with a
node_modules; without them their checks are left out, loudly.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import described
import with_anthropic  # noqa: F401: it registers its checks.
import with_openai
import with_others  # noqa: F401
from checks import ALL, Tally, equal
from serving import Served

HERE = Path(__file__).resolve().parent


def node(tally, served, place, only):
    """Runs clients.mjs; each of its lines is a check."""
    name = "npm: ai, @ai-sdk/openai-compatible and openai"
    if only and "npm" not in only:
        return
    if not shutil.which("node") or not (place / "node_modules/ai").is_dir():
        return tally.line(None, name, f"ABSENT: node, or {place}/node_modules; run npm ci in {HERE}")
    script = place / "clients.mjs"
    if place != HERE:
        shutil.copy(HERE / "clients.mjs", script)
    environment = {**os.environ, "CARAT_URL": served.url, "CARAT_KEY": served.key, "CARAT_MODEL": served.model}
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, env=environment, timeout=100)
    seen = 0
    for line in done.stdout.splitlines():
        verdict, _, text = line.partition(" ")
        if verdict in ("ok", "SKIP", "FAIL"):
            title, _, why = text.partition(": ") if verdict != "ok" else (text, "", "")
            tally.line({"ok": True, "SKIP": None, "FAIL": False}[verdict], f"npm {title}", why)
            seen += 1
    if done.returncode not in (0, 1) or seen == 0:
        tally.line(False, name, f"status {done.returncode}: {done.stderr[-2000:]}")


def same_as_run(served, program, model):
    """A server's answer is that of `carat run`, to the bit."""
    messages = [{"role": "user", "content": "Tell me a story of a cat and a king."}]
    command = [program, "run", model, "--messages", "-", "--json", "-n", "12", "--temp", "0.8", "--seed", "5", "--device", "cpu"]
    done = subprocess.run(command, input=json.dumps({"messages": messages}), capture_output=True, text=True, timeout=60)
    equal(done.returncode, 0, f"status of carat run, with {done.stderr[-500:]}")
    run = json.loads(done.stdout)
    answer = with_openai.client(served).chat.completions.create(model=served.model, messages=messages, max_tokens=12, temperature=0.8, seed=5)
    equal(answer.choices[0].message.content, run["text"], "text")
    equal(answer.choices[0].model_extra["logits_hash"], run["logits_hash"], "hash")


def main():
    arguments = argparse.ArgumentParser(description="Unmodified clients against carat serve.")
    arguments.add_argument("program")
    arguments.add_argument("model")
    arguments.add_argument("--only", default="", help="checks whose names have this in them")
    arguments.add_argument("--npm", type=Path, default=HERE, help="where node_modules is")
    given = arguments.parse_args()
    for path in (given.program, given.model):
        if not Path(path).is_file():
            print(f"ABSENT: {path}: no such file; give the program and a model", file=sys.stderr)
            return 2
    tally = Tally()
    served = Served(given.program, given.model)
    try:
        for name, function in ALL:
            if given.only in name:
                tally.run(name, function, served)
        node(tally, served, given.npm.resolve(), given.only)
        if not given.only:
            tally.run("an answer is that of carat run", same_as_run, served, given.program, given.model)
            tally.run("description: it is one", lambda: described.Description(served.url).check())
            tally.run("description: openapi-core takes it", described.core_agrees, served)
            tally.run("description: whatever passed is as it says", described.all_described, served)
    finally:
        tally.run("the server ends when it is asked to", served.close)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped, {len(served.recorder.exchanges)} exchanges")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())

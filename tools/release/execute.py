"""Released programs, executed: each must say its version and compute the logits that the native build computes."""

import functools
import json
import os
import shutil
import tempfile
from pathlib import Path

import build
import contents
from release import HERE, Failure, have, run, say
from targets import TARGETS

PROMPT = "It was late in the evening when the stranger came to the door of the inn."
RUN = ("--prompt", PROMPT, "--json", "-n", "16", "--temperature", "0", "--device", "cpu")
# The same bytes on every machine.
CONVERT = ("--bits", "4", "--method", "none", "--force", "--json")


def hash_of(output):
    return json.loads(output)["logits_hash"]


@functools.lru_cache(maxsize=None)
def reference(program, folder):
    """The bundled model as a Carat file, and the hash of what it says, by the native build."""
    model = Path(folder) / "facet-6m.gguf"
    run(program, "convert", contents.MODEL, "-o", model, *CONVERT)
    return model, hash_of(run(program, "run", model, *RUN))


def runner(release, target):
    """What stands in front of a program of that target here; None and a reason where nothing runs it."""
    if target.triple == release.host:
        return (), ""
    if target.arch == release.host.split("-")[0] and target.static and "linux" in release.host:
        return (), ""
    if not target.runner:
        return None, f"nothing here runs programs for {target.triple}"
    if not have(target.runner[0]):
        return None, f"{target.runner[0]} is not here"
    return target.runner, ""


def wine(folder):
    """Variables for Wine, and beside the program a library that Wine 8 lacks and every Windows has."""
    library = "bcryptprimitives"
    run("x86_64-w64-mingw32-gcc", "-shared", "-o", folder / f"{library}.dll", HERE / f"{library}.c", "-ladvapi32")
    return {"WINEPREFIX": str(folder / "wine"), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": f"{library}=n;mscoree,mshtml="}


def checked(release, target, program, what, model_folder=None):
    """Executes a program of `target`: version, conversion of the bundled model to the byte, logits."""
    front, why = runner(release, target)
    if front is None:
        return release.not_executed(what, why)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        env = {"CARAT_CACHE": str(folder / "cache")}
        if target.windows:
            program = Path(shutil.copy(program, folder))
            env |= wine(folder)
        same(release, lambda *words: run(*front, program, *words, env=env, cwd=folder), folder, what, model_folder)


def same(release, call, folder, what, checkpoint=None, seen=lambda path: path):
    """That `call` is this release's program. `seen` gives the path under which it finds a file of `folder`."""
    said = call("--version").strip()
    if said != f"{release.program} {release.version}":
        raise Failure(f"{what}: --version says {said!r}, expected '{release.program} {release.version}'")
    model, expected = reference(build.native(release), str(release.work))
    here = Path(folder) / "converted.gguf"
    if checkpoint is None:
        shutil.copy(model, here)
    else:
        call("convert", checkpoint, "-o", seen(here), *CONVERT)
        if here.read_bytes() != model.read_bytes():
            raise Failure(f"{what}: the bundled model becomes another file than by the native build")
    found = hash_of(call("run", seen(here), *RUN))
    if found != expected:
        raise Failure(f"{what}: logits have the hash {found}, expected {expected} as by the native build")
    say(f"executed: {what}: logits {found[:16]}… as the native build's")

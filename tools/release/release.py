"""What every part of a release needs: the project's facts, the folders, commands that fail loudly.

Facts come from Cargo.toml through `cargo metadata`, the date from the commit.
"""

import functools
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# The package whose program is released.
PACKAGE = "carat-cli"


class Failure(Exception):
    """What failed, why, and what to do, on one line."""


def say(text):
    print(f"  {text}", flush=True)


def step(text):
    print(f"== {text}", flush=True)


def have(command):
    """Whether a command is on PATH."""
    return any(os.access(Path(p) / command, os.X_OK) for p in os.environ.get("PATH", "").split(os.pathsep) if p)


def need(command, remedy):
    if not have(command):
        raise Failure(f"{command} is not here; {remedy}")


def run(*command, env=None, cwd=ROOT, stdin=None, shown=False):
    """Runs a command and returns what it wrote to stdout. With `shown` its output goes to the terminal."""
    words = [str(c) for c in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            text=True,
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.PIPE,
        )
    except OSError as error:
        raise Failure(f"{words[0]} cannot be started: {error}") from error
    if done.returncode != 0:
        said = "" if shown else "\n" + (done.stdout + done.stderr)[-4000:]
        raise Failure(f"{' '.join(words)[:300]}: exit code {done.returncode}{said}")
    return done.stdout or ""


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def fill(template, **values):
    """A file of templates/ in which every `@NAME@` is replaced."""
    text = (HERE / "templates" / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    left = [word for word in text.split() if word.startswith("@") and word.endswith("@")]
    if left:
        raise Failure(f"templates/{template}: nothing was given for {' '.join(left)}")
    return text


class Release:
    """A release of this commit, into the folder `out`."""

    def __init__(self, out, quick=False):
        self.out = Path(out).resolve()
        # Only what the release build that is there already gives.
        self.quick = quick
        # What was made and could not be executed here, with the reason.
        self.unexecuted = []
        # Targets whose program is built.
        self.built = set()
        self._folder = tempfile.TemporaryDirectory()
        self.work = Path(self._folder.name)
        facts = json.loads(run("cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"))
        self.target_dir = Path(facts["target_directory"])
        self.crates = [p for p in facts["packages"] if p["publish"] is None]
        self.package = next(p for p in facts["packages"] if p["name"] == PACKAGE)
        self.program = next(t["name"] for t in self.package["targets"] if "bin" in t["kind"])
        self.version = self.package["version"]
        self.description = self.package["description"]
        self.repository = self.package["repository"]
        self.licence = self.package["license"]
        self.maintainer = self.package["authors"][0]
        self.epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct"))

    @functools.cached_property
    def host(self):
        return next(l.split()[1] for l in run("rustc", "-vV").splitlines() if l.startswith("host:"))

    def name(self, target, extension):
        """The name of an artefact."""
        return f"{self.program}-{self.version}-{target}.{extension}"

    def url(self, name):
        """Where a file of this release is downloaded from."""
        return f"{self.repository}/releases/download/v{self.version}/{name}"

    def not_executed(self, what, why):
        say(f"NOT EXECUTED: {what}: {why}")
        self.unexecuted.append(f"{what}: {why}")

    def summary(self):
        if self.unexecuted:
            step("built, not executed")
            for line in dict.fromkeys(self.unexecuted):
                say(line)

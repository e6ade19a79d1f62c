"""Checks that are counted: one line each, and a sentence for what fails."""

import time
import traceback

ALL = []


def check(name):
    """Registers a function of a `Served` as a check."""

    def register(function):
        ALL.append((name, function))
        return function

    return register


def equal(found, expected, what="value"):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def fails(kind, call, what):
    """The error of that kind that a call raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{what}: found no error, expected {kind.__name__}")


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0

    def run(self, name, function, *arguments):
        start = time.monotonic()
        try:
            function(*arguments)
        except Exception as error:  # Whatever a client raises is why the check fails.
            self.failed += 1
            lines = traceback.format_exc().strip().splitlines()
            told = [f"{type(error).__name__}: {error}"[:2000], *lines[-8:-1]]
            print(f"FAIL  {name}\n      " + "\n      ".join(told), flush=True)
        else:
            self.passed += 1
            print(f"ok    {name} ({(time.monotonic() - start) * 1e3:.0f} ms)", flush=True)

    def line(self, ok, name, text):
        """A check that something else made."""
        if ok is None:
            self.skipped += 1
            print(f"SKIP  {name}: {text}", flush=True)
        elif ok:
            self.passed += 1
            print(f"ok    {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {name}\n      {text}", flush=True)

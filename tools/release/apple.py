"""Programs for macOS: archives on macOS, elsewhere the compiler's check alone."""

import archive
import build
from release import Failure, have, say
from targets import TARGETS


files = archive.files


def make(release, triple):
    if "apple" in release.host:
        return archive.make(release, triple)
    if not have("zig"):
        release.not_executed(triple, "zig, which compiles C for macOS, is not here (pip install ziglang): nothing is checked")
        return {}
    build.cargo(release, TARGETS[triple], "check")
    release.not_executed(triple, "programs for macOS are built on macOS; here the compiler only checked it")
    return {}


def check(release, triple):
    archive.check(release, triple)

"""Everything that a release consists of: the table that `make` and `check` follow, in its order."""

from dataclasses import dataclass
from functools import partial
from typing import Callable

import apple
import archive
import crates
import debian
import homebrew
import oci
import sbom
import sums
import texts
import winget
from release import Failure
from targets import TARGETS


@dataclass(frozen=True)
class Artefact:
    # As on the command line.
    name: str
    # (release) → files by their names in the folder.
    make: Callable
    # (release): fails, or says what was executed.
    check: Callable
    # (release) → names of the files.
    files: Callable
    what: str


def _rows():
    for triple, target in TARGETS.items():
        part = apple if target.apple else archive
        yield triple, part, triple, "archive of the program" + (" with GPUs" if target.gpu else ", linked statically, CPU only")
    for triple, target in TARGETS.items():
        if "linux-gnu" in triple:
            yield f"deb-{target.arch}", debian, triple, f"Debian's package for {debian.ARCHITECTURES[target.arch]}"
        if target.static:
            yield f"oci-{target.arch}", oci, triple, f"image for containers on {target.arch}"
    for triple in TARGETS:
        yield f"sbom-{triple}", sbom, triple, "bill of materials (CycloneDX)"
    yield "manual", texts, None, "manual pages and completions alone"
    yield "crates", crates, None, "crates, packaged and built as crates.io would have them"
    # Python's wheels, the XCFramework for Apple's systems and the AAR for Android go here, a module each.
    # What names other files comes behind them.
    yield "homebrew", homebrew, None, "formula for Homebrew"
    yield "winget", winget, None, "manifests for winget"
    yield "sums", sums, None, "SHA256SUMS"


def _artefact(name, part, triple, what):
    bound = [partial(f, triple=triple) if triple else f for f in (part.make, part.check, part.files)]
    return Artefact(name, *bound, what)


ARTEFACTS = {row[0]: _artefact(*row) for row in _rows()}


def chosen(names):
    """Artefacts of these names, in the table's order."""
    if unknown := [n for n in names if n not in ARTEFACTS]:
        raise Failure(f"there is no artefact {', '.join(unknown)}; --help lists them")
    return [a for a in ARTEFACTS.values() if a.name in names]


def quick(release):
    """What the release build for this machine gives within seconds."""
    target = TARGETS[release.host]
    wanted = (release.host, f"deb-{target.arch}", f"oci-{target.arch}", f"sbom-{release.host}")
    return chosen([*wanted, "manual", "crates", "homebrew", "sums"])

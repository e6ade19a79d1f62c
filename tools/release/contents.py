"""What a user gets with the program, the same in every archive and package."""

import tempfile
from pathlib import Path

import build
import dependencies
from pack import Entry
from release import ROOT, run

# The bundled model, which `carat demo` finds beside the program.
MODEL = ROOT / "examples/models/facet-6m"
COMPLETIONS = {"bash": "{}.bash", "zsh": "_{}", "fish": "{}.fish", "powershell": "_{}.ps1", "elvish": "{}.elv"}


def documents():
    names = ("README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE")
    return {name: Entry((ROOT / name).read_bytes()) for name in names}


def notices(release, target):
    """Licences of what is linked into the program."""
    return {"THIRD-PARTY.txt": Entry(dependencies.notices(release, target).encode())}


def model():
    return {f"{MODEL.name}/{p.name}": Entry(p.read_bytes()) for p in MODEL.iterdir()}


def manual(release):
    """A page of each command, by its file name."""
    with tempfile.TemporaryDirectory() as folder:
        run(build.native(release), "man", folder)
        return {p.name: Entry(p.read_bytes()) for p in Path(folder).iterdir()}


def completions(release):
    """A script for each shell, by the shell."""
    return {shell: Entry(run(build.native(release), "completions", shell).encode()) for shell in COMPLETIONS}


def texts(release):
    """Manual pages and completions in the folders of archives."""
    tree = {f"man/{name}": entry for name, entry in manual(release).items()}
    for shell, entry in completions(release).items():
        tree[f"completions/{COMPLETIONS[shell].format(release.program)}"] = entry
    return tree


def tree(release, target):
    """All of an archive."""
    return {
        release.program + target.suffix: Entry(build.stripped(release, target), 0o755),
        **documents(),
        **notices(release, target),
        **model(),
        **texts(release),
    }

"""An archive of the program for one target, with its manual pages, completions, licences and the bundled model."""

import tarfile
import tempfile
import zipfile
from pathlib import Path

import contents
import execute
import pack
from release import Failure
from targets import TARGETS


def name(release, triple):
    return release.name(triple, TARGETS[triple].extension)


def files(release, triple):
    return [name(release, triple)]


def make(release, triple):
    target = TARGETS[triple]
    tree = pack.under(f"{release.program}-{release.version}-{triple}", contents.tree(release, target))
    packed = pack.zipped if target.windows else pack.tar_gz
    return {name(release, triple): packed(tree, release.epoch)}


def unpack_tar(path, folder):
    """Unpacks with modes as they are. Old versions of Python know no filter and need none."""
    filtered = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
    with tarfile.open(path) as archive:
        archive.extractall(folder, **filtered)


def unpack(path, folder):
    """Unpacks an archive; returns the one folder in it."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    else:
        unpack_tar(path, folder)
    found = list(Path(folder).iterdir())
    if len(found) != 1:
        raise Failure(f"{path.name}: {len(found)} entries at its top, expected one folder")
    return found[0]


def check(release, triple):
    target = TARGETS[triple]
    with tempfile.TemporaryDirectory() as folder:
        inside = unpack(release.out / name(release, triple), folder)
        for part in ("LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.txt", "README.md", "man", "completions"):
            if not (inside / part).exists():
                raise Failure(f"{name(release, triple)}: {part} is missing")
        execute.checked(
            release,
            target,
            inside / (release.program + target.suffix),
            name(release, triple),
            inside / contents.MODEL.name,
        )

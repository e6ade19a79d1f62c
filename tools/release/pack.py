"""Archives whose bytes depend on their contents and on the commit's date alone."""

import gzip
import io
import tarfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Entry:
    """A file, or with `data` of None a directory."""

    data: bytes | None
    mode: int = 0o644
    owner: int = 0


def with_parents(tree):
    """The tree with the directories that its names imply, sorted."""
    whole = dict(tree)
    for name in tree:
        for parent in PurePosixPath(name).parents:
            if str(parent) != ".":
                whole.setdefault(str(parent), Entry(None, 0o755))
    return dict(sorted(whole.items()))


def under(folder, tree):
    """The same tree in a folder."""
    return {f"{folder}/{name}": entry for name, entry in tree.items()}


def tar(tree, epoch):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, entry in with_parents(tree).items():
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = entry.mode, epoch
            info.uid = info.gid = entry.owner
            if entry.data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(entry.data)
                archive.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def gz(data):
    # Neither a name nor a time is in the header.
    return gzip.compress(data, 9, mtime=0)


def tar_gz(tree, epoch):
    return gz(tar(tree, epoch))


def zipped(tree, epoch):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, entry in with_parents(tree).items():
            info = zipfile.ZipInfo(name + ("/" if entry.data is None else ""), time.gmtime(epoch)[:6])
            # As written on Unix, on every machine.
            info.create_system = 3
            kind = 0o040000 if entry.data is None else 0o100000
            info.external_attr = (kind | entry.mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.data or b"")
    return out.getvalue()

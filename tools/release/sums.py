"""SHA256SUMS of the files that are downloaded: those of the folder itself."""

from release import Failure, say, sha256

NAME = "SHA256SUMS"


def files(release):
    return [NAME]


def listed(release):
    return sorted(p for p in release.out.iterdir() if p.is_file() and p.name != NAME)


def make(release):
    return {NAME: "".join(f"{sha256(p)}  {p.name}\n" for p in listed(release)).encode()}


def check(release):
    lines = dict(reversed(line.split("  ", 1)) for line in (release.out / NAME).read_text().splitlines())
    found = {p.name: sha256(p) for p in listed(release)}
    for name in sorted(lines.keys() | found.keys()):
        if lines.get(name) != found.get(name):
            raise Failure(f"{NAME}: {name} is missing, not listed or another one; make the sums last")
    say(f"{NAME}: {len(found)} files")

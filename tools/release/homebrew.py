"""A formula for Homebrew with the archives of this release."""

import re

import archive
from release import Failure, fill, have, run, say, sha256
from targets import TARGETS

NAME = "homebrew/carat.rb"
# Homebrew's words for systems and processors, and the archive for each.
PLACES = {
    ("macos", "arm"): "aarch64-apple-darwin",
    ("macos", "intel"): "x86_64-apple-darwin",
    ("linux", "arm"): "aarch64-unknown-linux-gnu",
    ("linux", "intel"): "x86_64-unknown-linux-gnu",
}


def files(release):
    return [NAME]


def make(release):
    blocks = []
    for system in ("macos", "linux"):
        lines = []
        for (_, processor), triple in ((p, t) for p, t in PLACES.items() if p[0] == system):
            file = archive.name(release, triple)
            path = release.out / file
            if not path.is_file():
                release.not_executed(f"{NAME} for {triple}", f"{file} is not in {release.out}, so the formula lacks it")
                continue
            lines += [f"    on_{processor} do", f'      url "{release.url(file)}"', f'      sha256 "{sha256(path)}"', "    end"]
        if lines:
            blocks.append("\n".join([f"  on_{system} do", *lines, "  end"]))
    if not blocks:
        raise Failure(f"no archive that Homebrew could install is in {release.out}; make one first")
    text = fill(
        "carat.rb",
        CLASS=release.program.capitalize(),
        PROGRAM=release.program,
        DESCRIPTION=release.description,
        HOMEPAGE=release.repository,
        VERSION=release.version,
        LICENCES=", ".join(f'"{word}"' for word in release.licence.split(" OR ")),
        ARCHIVES="\n\n".join(blocks),
    )
    return {NAME: text.encode()}


def problems(text):
    """What `brew audit` would refuse in a description."""
    found = re.search(r'^  desc "(.*)"$', text, re.MULTILINE)
    if not found:
        yield "desc is missing"
    elif len(found[1]) > 80 or found[1].endswith(".") or re.match(r"(an?|the|carat)\b", found[1], re.IGNORECASE):
        yield f"desc is too long, ends with a full stop or begins with an article or the name: {found[1]}"
    for field in ("homepage", "version", "license", "def install", "test do"):
        if f"  {field}" not in text:
            yield f"{field} is missing"


def check(release):
    path = release.out / NAME
    text = path.read_text()
    for problem in problems(text):
        raise Failure(f"{NAME}: {problem}")
    pairs = re.findall(r'url "(.+)"\n\s+sha256 "([0-9a-f]{64})"', text)
    for url, digest in pairs:
        file = url.rsplit("/", 1)[1]
        if release.url(file) != url or sha256(release.out / file) != digest:
            raise Failure(f"{NAME}: {url} is not of {file}, or has another hash; make the formula after the archives")
    if have("ruby"):
        run("ruby", "-wc", path)
    else:
        release.not_executed(f"{NAME} read by ruby", "ruby is not here")
    say(f"{NAME}: {len(pairs)} archives with their hashes")

"""Debian's package, with the program that uses GPUs."""

import email.utils
import os
import re
import tempfile
from pathlib import Path

import build
import contents
import execute
import pack
from pack import Entry
from release import Failure, fill, have, need, run, say
from targets import TARGETS

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Debian's packages of the libraries that a program may need.
LIBRARIES = {"libc.so.6": "libc6", "libm.so.6": "libc6", "ld-linux": "libc6", "libgcc_s.so.1": "libgcc-s1"}
SHELLS = {
    "bash": "usr/share/bash-completion/completions/{}",
    "zsh": "usr/share/zsh/vendor-completions/_{}",
    "fish": "usr/share/fish/vendor_completions.d/{}.fish",
}


def name(release, triple):
    return release.name(triple, "deb")


def depends(path):
    """What a program needs, as Debian names it, with the least version of the C library that has its symbols."""
    need("readelf", "sudo apt-get install binutils")
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-dW", path))
    found = set()
    for library in needed:
        package = next((p for name, p in LIBRARIES.items() if library.startswith(name)), None)
        if package is None:
            raise Failure(f"{path} needs {library}, which LIBRARIES of debian.py does not know; name its package there")
        found.add(package)
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", run("readelf", "-VW", path))
    if versions:
        least = max((int(a), int(b)) for a, b in versions)
        found = {f"libc6 (>= {least[0]}.{least[1]})" if p == "libc6" else p for p in found}
    return ", ".join(sorted(found))


def tree(release, triple):
    """The files of the package, without its description."""
    program, target = release.program, TARGETS[triple]
    day = email.utils.formatdate(release.epoch)
    facts = {
        "NAME": program,
        "VERSION": release.version,
        "MAINTAINER": release.maintainer,
        "DATE": day,
        "REPOSITORY": release.repository,
    }
    out = {f"usr/bin/{program}": Entry(build.stripped(release, target), 0o755)}
    out |= pack.under(f"usr/share/{program}", contents.model())
    for page, entry in contents.manual(release).items():
        out[f"usr/share/man/man1/{page}.gz"] = Entry(pack.gz(entry.data))
    scripts = contents.completions(release)
    for shell, place in SHELLS.items():
        out[place.format(program)] = scripts[shell]
    mit = contents.documents()["LICENSE-MIT"].data.decode()
    facts["MIT"] = "\n".join(f" {line}" if line else " ." for line in mit.splitlines())
    documents = {
        "copyright": fill("debian/copyright", **facts).encode(),
        "THIRD-PARTY.txt.gz": pack.gz(contents.notices(release, target)["THIRD-PARTY.txt"].data),
        "changelog.gz": pack.gz(contents.documents()["CHANGELOG.md"].data),
        "changelog.Debian.gz": pack.gz(fill("debian/changelog", **facts).encode()),
    }
    return out | {f"usr/share/doc/{program}/{file}": Entry(data) for file, data in documents.items()}


def files(release, triple):
    return [name(release, triple)]


def make(release, triple):
    need("dpkg-deb", "sudo apt-get install dpkg")
    files = pack.with_parents(tree(release, triple))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir(mode=0o755)
        for path, entry in files.items():
            place = root / path
            if entry.data is None:
                place.mkdir()
            else:
                place.write_bytes(entry.data)
            place.chmod(entry.mode)
        program = root / "usr/bin" / release.program
        control = fill(
            "debian/control",
            NAME=release.program,
            VERSION=release.version,
            ARCHITECTURE=ARCHITECTURES[TARGETS[triple].arch],
            MAINTAINER=release.maintainer,
            SIZE=sum(-(-len(e.data) // 1024) for e in files.values() if e.data is not None),
            DEPENDS=depends(program),
            REPOSITORY=release.repository,
            DESCRIPTION=release.description,
        )
        (root / "DEBIAN").mkdir(mode=0o755)
        (root / "DEBIAN/control").write_text(control)
        (root / "DEBIAN/control").chmod(0o644)
        for path in (root, *root.rglob("*")):
            os.utime(path, (release.epoch, release.epoch))
        out = Path(folder) / "out.deb"
        packer = "-Zgzip" if release.quick else "-Zxz"
        run(
            *("dpkg-deb", "--root-owner-group", packer, "--build", root, out),
            env={"SOURCE_DATE_EPOCH": str(release.epoch)},
        )
        return {name(release, triple): out.read_bytes()}


def check(release, triple):
    path = release.out / name(release, triple)
    fields = dict(re.findall(r"^(\S+): (.*)$", run("dpkg-deb", "--field", path), re.MULTILINE))
    say(f"{path.name}: {fields['Package']} {fields['Version']} {fields['Architecture']}, depends on {fields['Depends']}")
    if have("lintian"):
        # Errors alone fail; quick programs are Rust's, whose absence of a stack protector is a warning.
        said = run("lintian", "--fail-on", "error", "--no-cfg", path)
        errors = sum(line.startswith("E:") for line in said.splitlines())
        say(f"lintian: {errors} errors, {sum(l.startswith('W:') for l in said.splitlines())} warnings")
    else:
        release.not_executed(f"lintian of {path.name}", "lintian is not here")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        run("dpkg-deb", "--extract", path, root)
        target, program = TARGETS[triple], release.program
        # A conversion under an emulator takes minutes; that of the archive, which has the same program, is enough.
        emulated = execute.runner(release, target)[0]
        model = None if emulated else root / "usr/share" / program / contents.MODEL.name
        execute.checked(release, target, root / "usr/bin" / program, path.name, model)
    installed(release, path, fields)


def installed(release, path, fields):
    """Installs the package and removes it again, in a system of dpkg of its own."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for place in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"):
            (root / place).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        (root / "var/lib/dpkg/arch").write_text(fields["Architecture"] + "\n")
        dpkg = ("dpkg", "--root", root, "--log=/dev/null", "--force-not-root", "--force-depends", "--force-architecture")
        run(*dpkg, "--install", path)
        program = root / "usr/bin" / release.program
        if not program.is_file():
            raise Failure(f"{path.name}: dpkg did not install /usr/bin/{release.program}")
        run(*dpkg, "--purge", fields["Package"])
        left = [p for p in (root / "usr").rglob("*") if p.is_file()] if (root / "usr").exists() else []
        if left:
            raise Failure(f"{path.name}: its removal leaves {left[0]}")
        say("installed by dpkg into an empty root, and removed without a rest")

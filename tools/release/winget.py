"""Manifests for winget with the archive for Windows."""

import json
import re
from datetime import datetime, timezone

import archive
from release import Failure, fill, have, run, say, sha256

TRIPLE = "x86_64-pc-windows-gnu"
IDENTIFIER = "CaratLM.Carat"
# The file of each kind of manifest, and the fields that winget requires of it (schema 1.6.0).
KINDS = {
    "version": ("{}.yaml", ("DefaultLocale",)),
    "installer": ("{}.installer.yaml", ("Installers",)),
    "defaultLocale": (
        "{}.locale.en-US.yaml",
        ("PackageLocale", "Publisher", "PackageName", "License", "ShortDescription"),
    ),
}
ALL = ("PackageIdentifier", "PackageVersion", "ManifestType", "ManifestVersion")
INSTALLER = ("Architecture", "InstallerType", "InstallerUrl", "InstallerSha256", "NestedInstallerType")


def by_kind():
    return {kind: f"winget/{pattern.format(IDENTIFIER)}" for kind, (pattern, _) in KINDS.items()}


def files(release):
    return list(by_kind().values())


def make(release):
    file = archive.name(release, TRIPLE)
    path = release.out / file
    if not path.is_file():
        raise Failure(f"{file} is not in {release.out}; make {TRIPLE} first")
    values = {
        "IDENTIFIER": IDENTIFIER,
        "VERSION": release.version,
        "PROGRAM": release.program,
        "FOLDER": file.removesuffix(".zip"),
        "URL": release.url(file),
        "SHA256": sha256(path).upper(),
        "DATE": datetime.fromtimestamp(release.epoch, timezone.utc).strftime("%Y-%m-%d"),
        "PUBLISHER": release.maintainer.split(" <")[0],
        "NAME": release.program.capitalize(),
        "REPOSITORY": release.repository,
        "LICENCE": release.licence,
        "DESCRIPTION": release.description,
    }
    made = {}
    for kind, name in by_kind().items():
        made[name] = fill(f"winget/{kind}.yaml", **values).encode()
    return made


def problems(kind, manifest):
    """What winget would refuse in a manifest that was read."""
    for field in (*ALL, *KINDS[kind][1]):
        if not manifest.get(field):
            yield f"{field} is missing"
            return
    if manifest["ManifestType"] != kind:
        yield f"ManifestType is {manifest['ManifestType']}, expected {kind}"
    if not isinstance(manifest["PackageVersion"], str):
        yield f"PackageVersion is {manifest['PackageVersion']!r}, expected a text"
    if kind == "defaultLocale" and not 3 <= len(manifest["ShortDescription"]) <= 256:
        yield "ShortDescription has not 3 to 256 characters"
    for installer in manifest.get("Installers", ()):
        for field in INSTALLER:
            if not {**manifest, **installer}.get(field):
                yield f"an installer's {field} is missing"
                return
        if not re.fullmatch(r"[0-9A-F]{64}", installer["InstallerSha256"]):
            yield f"InstallerSha256 is {installer['InstallerSha256']}"
        if not installer["InstallerUrl"].startswith("https://"):
            yield f"InstallerUrl is {installer['InstallerUrl']}"


def check(release):
    if not have("ruby"):
        return release.not_executed("winget's manifests read", "ruby, which reads YAML, is not here")
    for kind, name in by_kind().items():
        read = "require 'date'; require 'json'; require 'yaml'; puts JSON.dump(YAML.safe_load(STDIN.read, permitted_classes: [Date]))"
        manifest = json.loads(run("ruby", "-e", read, stdin=(release.out / name).read_text()))
        for problem in problems(kind, manifest):
            raise Failure(f"{name}: {problem}")
        for installer in manifest.get("Installers", ()):
            file = installer["InstallerUrl"].rsplit("/", 1)[1]
            if sha256(release.out / file).upper() != installer["InstallerSha256"]:
                raise Failure(f"{name}: {file} has another hash; make the manifests after the archive")
    say(f"winget: {len(KINDS)} manifests have what winget requires")

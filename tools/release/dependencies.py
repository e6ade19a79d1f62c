"""The packages that are linked into the program for a target: their bill of materials (CycloneDX) and their licences."""

import json
import re
import uuid
from datetime import datetime, timezone
from pathlib import Path

from release import PACKAGE, ROOT, Failure, run

# Files in which a package states its licence.
_LICENCE = re.compile(r"^(licen[cs]e|copying|notice|unlicense)", re.IGNORECASE)


def linked(release, target):
    """Packages of the program, itself included, by name and version: facts of `cargo metadata`, with `needs`."""
    features = [] if target.gpu else ["--no-default-features"]
    facts = json.loads(run("cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target.triple))
    packages = {(p["name"], p["version"]): p for p in facts["packages"]}
    # cargo metadata unites the features of all crates of the workspace; cargo tree knows this program's.
    lines = run(
        *("cargo", "tree", "--locked", "-p", PACKAGE, "--target", target.triple, *features),
        *("--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", " {p}"),
    ).splitlines()
    found, above = {}, []
    for line in lines:
        depth, name, version = line.split()[:3]
        key = (name, version.removeprefix("v"))
        if key not in packages:
            raise Failure(f"cargo tree names {name} {version}, which cargo metadata does not know; update cargo")
        found.setdefault(key, {**packages[key], "needs": set()})
        above[int(depth) :] = [key]
        if len(above) > 1:
            found[above[-2]]["needs"].add(key)
    return dict(sorted(found.items()))


def _checksums():
    """SHA-256 of the packages of a registry, by name and version."""
    lock = (ROOT / "Cargo.lock").read_text()
    entry = r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"'
    return {(name, version): sum for name, version, sum in re.findall(entry, lock)}


def _purl(key):
    return f"pkg:cargo/{key[0]}@{key[1]}"


def bill(release, target):
    """The bill of materials in CycloneDX 1.5, as text."""
    packages, sums = linked(release, target), _checksums()

    def component(key):
        package = packages[key]
        out = {
            "type": "application" if key[0] == PACKAGE else "library",
            "bom-ref": _purl(key),
            "name": key[0],
            "version": key[1],
            "description": " ".join((package["description"] or "").split()),
            "licenses": [{"expression": package["license"].replace("/", " OR ")}] if package["license"] else [],
            "purl": _purl(key),
        }
        if key in sums:
            out["hashes"] = [{"alg": "SHA-256", "content": sums[key]}]
        if package["repository"]:
            out["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        return out

    root = (PACKAGE, release.version)
    day = datetime.fromtimestamp(release.epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, release.url(target.triple))}",
        "version": 1,
        "metadata": {
            "timestamp": day,
            "component": component(root),
            "properties": [{"name": "cargo:target", "value": target.triple}],
        },
        "components": [component(k) for k in packages if k != root],
        "dependencies": [
            {"ref": _purl(k), "dependsOn": sorted(_purl(n) for n in p["needs"])} for k, p in packages.items()
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def notices(release, target):
    """Names and licences of the packages of others, and each text of a licence once."""
    by_text = {}
    for (name, version), package in linked(release, target).items():
        if package["source"] is None:
            continue
        folder = Path(package["manifest_path"]).parent
        files = sorted(p for p in folder.iterdir() if p.is_file() and _LICENCE.match(p.name))
        texts = [p.read_text(errors="replace").strip() for p in files] or [""]
        for text in texts:
            by_text.setdefault(text, []).append(f"{name} {version} ({package['license']})")
    out = [f"{release.program} {release.version} for {target.triple} contains the following packages of others.\n"]
    for text, names in sorted(by_text.items(), key=lambda item: item[1]):
        out += ["=" * 80, *names, "", text or "The package states its licence by name only.", ""]
    return "\n".join(out)

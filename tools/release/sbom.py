"""Bills of materials: what is linked into each program, as CycloneDX."""

import json

import dependencies
from release import Failure, say
from targets import TARGETS


def name(release, triple):
    return release.name(triple, "cdx.json")


def files(release, triple):
    return [name(release, triple)]


def make(release, triple):
    return {name(release, triple): dependencies.bill(release, TARGETS[triple]).encode()}


def problems(bill):
    """What a reader of CycloneDX 1.5 would refuse, and references to nothing."""
    for field, value in (("bomFormat", "CycloneDX"), ("specVersion", "1.5"), ("version", 1)):
        if bill.get(field) != value:
            yield f"{field} is {bill.get(field)!r}, expected {value!r}"
    parts = [bill["metadata"]["component"], *bill["components"]]
    refs = [part["bom-ref"] for part in parts]
    if len(set(refs)) != len(refs):
        yield "a bom-ref is there twice"
    for part in parts:
        if not (part.get("type") and part.get("name") and part.get("version") and part.get("licenses")):
            yield f"{part.get('name')} lacks its type, version or licence"
    for entry in bill["dependencies"]:
        for ref in (entry["ref"], *entry["dependsOn"]):
            if ref not in refs:
                yield f"{ref} is needed and is no component"


def check(release, triple):
    bill = json.loads((release.out / name(release, triple)).read_text())
    for problem in problems(bill):
        raise Failure(f"{name(release, triple)}: {problem}")
    hashed = sum("hashes" in part for part in bill["components"])
    say(f"{name(release, triple)}: {len(bill['components'])} packages, {hashed} with hashes")

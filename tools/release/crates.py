"""The crates, as crates.io would get them: packaged, and built from their packages alone."""

import tarfile

from release import Failure, run, say

# Most bytes of a package on crates.io.
MOST = 10_000_000


def files(release):
    # They lie in target/package, and `cargo publish` makes them itself.
    return []


def make(release):
    words = ["cargo", "package", "--locked", "--quiet", "--allow-dirty"]
    for crate in release.crates:
        words += ["--package", crate["name"]]
    # To build every package from what it holds takes as long as to build everything once.
    if release.quick:
        words += ["--no-verify"]
        release.not_executed("crates built from their packages", "the quick run leaves it out")
    run(*words, shown=True)
    return {}


def check(release):
    for crate in release.crates:
        path = release.target_dir / "package" / f"{crate['name']}-{crate['version']}.crate"
        if path.stat().st_size > MOST:
            raise Failure(f"{path.name} has {path.stat().st_size} bytes, crates.io takes {MOST}")
        with tarfile.open(path) as archive:
            names = [name.split("/", 1)[1] for name in archive.getnames()]
        for file in ("LICENSE-MIT", "LICENSE-APACHE", "README.md", "Cargo.toml"):
            if file not in names:
                raise Failure(f"{path.name} lacks {file}")
        for field in ("description", "license", "repository", "documentation", "readme", "keywords", "categories"):
            if not crate[field]:
                raise Failure(f"{crate['name']}: Cargo.toml says no {field}")
        say(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {len(names)} files")

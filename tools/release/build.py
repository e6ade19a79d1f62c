"""The program, built for a target from this commit."""

import os
from pathlib import Path

from release import PACKAGE, ROOT, Failure, have, need, run, say
from targets import TARGETS


def environment(release, target):
    """Variables of a build that depends on no folder and no time of this machine."""
    cargo_home = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    flags = [
        f"--remap-path-prefix={ROOT}=/carat",
        f"--remap-path-prefix={cargo_home}=/cargo",
        f"--remap-path-prefix={release.target_dir}=/target",
        *target.flags,
    ]
    return {
        "CARAT_RELEASE": "1",
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_RELEASE_STRIP": "symbols",
        # Paths of what C compilers see.
        "CFLAGS": f"-ffile-prefix-map={cargo_home}=/cargo -ffile-prefix-map={release.target_dir}=/target",
        **target.build,
    }


def cargo(release, target, verb):
    """`cargo build` or `cargo check` of the program for a target."""
    for command, package in target.needs.items():
        need(command, f"sudo apt-get install {package}")
    words = ["cargo", verb, "--release", "--locked", "--quiet", "-p", PACKAGE, "--target", target.triple]
    if not target.gpu:
        words += ["--no-default-features"]
    library = run("rustc", "--print", "target-libdir", "--target", target.triple).strip()
    if not Path(library).is_dir():
        raise Failure(f"Rust's library for {target.triple} is not here; rustup target add {target.triple}")
    run(*words, env=environment(release, target), shown=True)


def program(release, target):
    """The path of the built program."""
    name = release.program + target.suffix
    if release.quick:
        # It stands for every program of its kind of machine.
        path = release.target_dir / "release" / name
        if not path.is_file() or target.arch != TARGETS[release.host].arch:
            raise Failure(f"{path} for {target.arch} is not there; cargo build --release -p {PACKAGE}")
        return path
    path = release.target_dir / target.triple / "release" / name
    if target.triple not in release.built:
        say(f"cargo build of {release.program} for {target.triple}")
        cargo(release, target, "build")
        for folder in (str(ROOT), str(Path.home()), str(release.target_dir)):
            if folder.encode() in path.read_bytes():
                raise Failure(f"{path} names {folder}, a folder of this machine; its path is not remapped")
        release.built.add(target.triple)
    return path


def native(release):
    """The program for this machine, which writes manual pages and which others are compared with."""
    return program(release, TARGETS[release.host])


def stripped(release, target):
    """The bytes of the program; the quick one has its symbols still."""
    path = program(release, target)
    if not release.quick or not have("strip"):
        return path.read_bytes()
    out = release.work / (path.name + ".stripped")
    run("strip", "-o", out, path)
    return out.read_bytes()

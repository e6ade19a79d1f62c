"""The machines that programs are built for."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    triple: str
    # With GPUs. A statically linked program cannot load a driver's library.
    gpu: bool
    # Further variables of the build.
    build: dict = field(default_factory=dict)
    # Flags of rustc.
    flags: tuple = ()
    # Commands that the build needs, and Debian's packages that have them.
    needs: dict = field(default_factory=dict)
    # What runs the program where it is not the host's: a command in front of it.
    runner: tuple = ()

    @property
    def windows(self):
        return "windows" in self.triple

    @property
    def apple(self):
        return "apple" in self.triple

    @property
    def static(self):
        return "musl" in self.triple

    @property
    def arch(self):
        return self.triple.split("-")[0]

    @property
    def extension(self):
        return "zip" if self.windows else "tar.gz"

    @property
    def suffix(self):
        return ".exe" if self.windows else ""


_ARM = {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"}

TARGETS = {
    t.triple: t
    for t in (
        Target("x86_64-unknown-linux-gnu", gpu=True, needs={"gcc": "gcc libc6-dev"}),
        Target(
            "aarch64-unknown-linux-gnu",
            gpu=True,
            build={"CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc"},
            needs=_ARM,
            runner=("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"),
        ),
        Target(
            "x86_64-unknown-linux-musl",
            gpu=False,
            build={"CC_x86_64_unknown_linux_musl": "musl-gcc"},
            needs={"musl-gcc": "musl-tools"},
        ),
        Target(
            "aarch64-unknown-linux-musl",
            gpu=False,
            build={
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER": "rust-lld",
                "CC_aarch64_unknown_linux_musl": "aarch64-linux-gnu-gcc",
            },
            needs=_ARM,
            runner=("qemu-aarch64",),
        ),
        Target(
            "x86_64-pc-windows-gnu",
            gpu=True,
            # The time of linking is no part of the program.
            flags=("-Clink-arg=-Wl,--no-insert-timestamp",),
            needs={"x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64-win32"},
            runner=("wine",),
        ),
        Target("aarch64-apple-darwin", gpu=True),
        Target("x86_64-apple-darwin", gpu=True),
    )
}

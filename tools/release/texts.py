"""Manual pages and completions of shells alone, for packagers."""

import tempfile

import archive
import contents
import pack
from release import Failure, have, run, say


def name(release):
    return release.name("manual", "tar.gz")


def files(release):
    return [name(release)]


def make(release):
    tree = {**contents.texts(release), **contents.documents()}
    return {name(release): pack.tar_gz(pack.under(name(release).removesuffix(".tar.gz"), tree), release.epoch)}


def check(release):
    with tempfile.TemporaryDirectory() as folder:
        inside = archive.unpack(release.out / name(release), folder)
        pages = sorted((inside / "man").iterdir())
        # Every command that the help of the program lists has a page.
        for page in pages:
            if not page.read_text().startswith((".ie", ".TH", "'")):
                raise Failure(f"{page.name} is no manual page")
            if have("man"):
                run("man", "--warnings=w", "--local-file", "--pager=cat", page, env={"LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
        program = release.program
        for shell, words in {
            "bash": ("bash", "-n", inside / f"completions/{program}.bash"),
            "zsh": ("zsh", "-n", inside / f"completions/_{program}"),
            "fish": ("fish", "--no-execute", inside / f"completions/{program}.fish"),
        }.items():
            if have(shell):
                run(*words)
            else:
                release.not_executed(f"completions of {shell}", f"{shell} is not here")
        say(f"{len(pages)} manual pages, completions of {len(contents.COMPLETIONS)} shells")

#!/usr/bin/env python3
"""Measures Carat's files beside llama.cpp's quants of the same models, at the same bytes and on the same text.

  tests/real/table.py --carat target/release/carat --peers quality-real.json --model smollm2=SMOLLM2.gguf \\
      --eval eval.txt --calib calibration.txt --out FOLDER [--sweep 2:8:0.5] [--presets] [--svg plot.svg]

Each row of the peers' file is measured once: `carat convert --target-size` with its bytes, `carat compare` with the
checkpoint. What is known is kept in FOLDER/results.json after every file, so that a second call goes on where the
first was ended; what was measured with other settings or files is measured again. Files are removed when they are
measured. Markdown goes to stdout, everything else to stderr.
"""

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from xml.sax.saxutils import escape

PRESETS = ["best-4", "best-3", "best-2", "tiny"]


def note(text):
    print(text, file=sys.stderr, flush=True)


# ---- arguments


def name_and_path(text):
    name, sep, path = text.partition("=")
    if not (sep and name and path):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=PATH")
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{path}: no such file")
    return name, Path(path)


def existing(text):
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return Path(text)


def steps(text):
    try:
        first, last, step = map(float, text.split(":"))
        count = math.floor((last - first) / step + 1e-9) + 1
        if not (step > 0 and first > 0 and count > 0):
            raise ValueError
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is not FIRST:LAST:STEP, like 2.0:8.0:0.5") from None
    return [round(first + i * step, 6) for i in range(count)]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--carat", type=existing, required=True, metavar="BIN")
    p.add_argument("--peers", type=existing, required=True, metavar="JSON", help="rows of llama.cpp's quants")
    p.add_argument("--model", type=name_and_path, action="append", required=True, metavar="NAME=PATH")
    p.add_argument("--eval", type=existing, required=True, metavar="FILE", help="the text that is scored")
    p.add_argument("--calib", type=existing, required=True, metavar="FILE", help="the text that rows and sweep calibrate on")
    p.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    p.add_argument("--tokens", type=int, default=16384, metavar="N", help="of the calibration [16384]")
    p.add_argument("--only", action="append", metavar="NAME", help="this model alone; may be given several times")
    p.add_argument("--ctx", type=int, default=512)
    p.add_argument("--chunks", type=int, default=12)
    p.add_argument("--all", action="store_true", help="also rows that another of llama.cpp's beats at no more bytes")
    p.add_argument("--sweep", type=steps, default=[], metavar="A:B:STEP", help="--target-bpw from A to B as well")
    p.add_argument("--presets", action="store_true", help="presets, the default and --bits 4 as well, on the bundled text")
    p.add_argument("--svg", type=Path, metavar="FILE", help="draw it; of several models: FILE-NAME.svg each")
    args = p.parse_args()
    args.model = dict(args.model)
    args.carat = args.carat.resolve()
    for name in args.only or []:
        if name not in args.model:
            p.error(f"--only {name}: there is no --model {name}=PATH")
    if args.only:
        args.model = {n: path for n, path in args.model.items() if n in args.only}
    return args


# ---- measuring


def digest(path):
    """What a file holds, or a folder's files by their names and sizes."""
    h = hashlib.sha256()
    if path.is_dir():
        for f in sorted(path.rglob("*")):
            h.update(f"{f.relative_to(path)} {f.stat().st_size}\n".encode())
    else:
        with open(path, "rb") as f:
            while block := f.read(1 << 20):
                h.update(block)
    return h.hexdigest()[:16]


class Failed(Exception):
    pass


class Bench:
    def __init__(self, args):
        self.args = args
        self.folder = args.out
        self.file = args.out / "results.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.binary = digest(args.carat)
        self.eval, self.calib = digest(args.eval), digest(args.calib)
        self.models = {name: digest(path) for name, path in args.model.items()}

    def results(self):
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def keep(self, key, value):
        # Read again: another call may measure another model meanwhile.
        results = self.results()
        results[key] = value
        new = self.file.with_suffix(f".{os.getpid()}.tmp")
        new.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        os.replace(new, self.file)

    def call(self, *command):
        command = [str(c) for c in (self.args.carat, *command)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace") as p:
            try:
                out, err = p.communicate()
            except KeyboardInterrupt:
                # It got the signal too, and keeps what a conversion has done.
                p.communicate()
                raise
        if p.returncode:
            # Drivers may write to stderr too; the reason is Carat's last line.
            last = ([line for line in err.splitlines() if line.strip()] or ["no reason given"])[-1].removeprefix("error: ")
            raise Failed(last if p.returncode in (1, 2) else f"exit code {p.returncode}: {last}")
        return json.loads(out)

    def settings(self, model, options, bundled):
        """All that a result depends on but the program, which changes while it is worked on."""
        a = self.args
        found = {"model": self.models[model], "options": options, "ctx": a.ctx, "chunks": a.chunks, "eval": self.eval}
        if not bundled:
            found |= {"calib": self.calib, "tokens": a.tokens}
        return found

    def known(self, model, name, options, bundled=False):
        """What was measured before, if that was the same."""
        found = self.results().get(f"{model} {name}")
        same = found and found["settings"] == self.settings(model, options, bundled)
        return found if same and "error" not in found else None

    def measure(self, model, name, options, bundled=False):
        """The file that these options make, measured; from the results where it is in them."""
        known = self.known(model, name, options, bundled)
        if known:
            return known
        a, source = self.args, self.args.model[model]
        out = self.folder / f"{model}-{name}.gguf"
        value = {"settings": self.settings(model, options, bundled), "carat": self.binary}
        calibration = [] if bundled else ["--calib", a.calib, "--calib-tokens", a.tokens]
        began = time.monotonic()
        try:
            made = self.call("convert", source, "-o", out, *options, *calibration, "--card-tokens", 0, "--force", "--json")
            value["convert_seconds"] = round(made["seconds"], 1)
            said = self.call("compare", out, "--text", a.eval, "--ctx", a.ctx, "--chunks", a.chunks,
                             "--reference", source, "--device", "cpu", "--json")
            row = said["files"][0]
            value["file_bytes"] = out.stat().st_size
            value |= {k: row[k] for k in ("bytes", "bpw", "kl_mean", "kl_p99", "ppl", "reference_ppl", "top1", "tokens")}
            told = f"{row['bytes']:,} bytes, mean KL {row['kl_mean']:.6f}"
        except Failed as e:
            value["error"] = told = str(e)
        finally:
            out.unlink(missing_ok=True)
        self.keep(f"{model} {name}", value)
        note(f"{model} {name}: {told} ({time.monotonic() - began:.0f} s)")
        return value


# ---- tables


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def figures(r):
    """Bytes, bits per weight, mean KL, 99 %, perplexity."""
    return [f"{r['bytes']:,}", f"{r['bpw']:.3f}", f"{r['kl_mean']:.5f}", f"{r['kl_p99']:.4f}", f"{r['ppl']:.3f}"]


def fault(error):
    return error.replace("|", "\\|")


def shortfall(peer, r):
    if r["bytes"] > peer["payload_bytes"]:
        return "short: more bytes"
    if r["kl_mean"] > peer["kl_mean"]:
        return "short"
    return "short at 99 %" if r["kl_p99"] > peer["kl_p99"] else ""


def beside(found):
    """Carat at the bytes of each of llama.cpp's rows."""
    rows, short = [], 0
    for peer, r in found:
        row = [peer["type"], f"{peer['bpw']:.2f}", f"{peer['payload_bytes']:,}", f"{peer['kl_mean']:.5f}", f"{peer['kl_p99']:.4f}"]
        if "error" in r:
            row += ["–", "–", "–", "–", f"short: {fault(r['error'])}"]
            missed = True
        else:
            missed = shortfall(peer, r)
            row += [f"{r['bytes']:,}", f"{r['kl_mean']:.5f}", f"{r['kl_p99']:.4f}", f"{r['kl_mean'] / peer['kl_mean']:.3f}", missed]
        if missed:
            short += 1
            row = [f"**{cell}**" if cell else "" for cell in row]
        rows.append(row)
    table(["llama.cpp", "bits per weight", "bytes", "mean KL", "99 %", "Carat: bytes", "mean KL", "99 %", "ratio of means", ""], rows)
    print(f"{len(found) - short} of {len(found)} rows hold; {short} fall short.\n")


def listed(first, found):
    """Carat alone."""
    rows = []
    for name, r in found:
        rows.append([name] + ([fault(r["error"])] + ["–"] * 4 if "error" in r else figures(r)))
    table([first, "bytes", "bits per weight", "mean KL", "99 %", "perplexity"], rows)


def doubts(peers, measured, binary):
    """What speaks against reading the figures together."""
    sound = [r for r in measured if "error" not in r]
    if len({r["carat"] for r in sound} | {binary}) > 1:
        print("Not all figures are of this build of Carat: remove results.json to measure them again.\n")
    bases = {p["ppl_base"] for p in peers if "ppl_base" in p}
    for base in sorted(bases):
        off = [r for r in sound if abs(r["reference_ppl"] / base - 1) > 0.002]
        if off:
            print(f"The checkpoint's perplexity is {off[0]['reference_ppl']:.3f} here and was {base:.3f} where llama.cpp's rows"
                  " were measured: another text, context or number of chunks.\n")


# ---- drawing

WIDTH, HEIGHT = 800, 500
LEFT, RIGHT, TOP, BOTTOM = 78, 24, 46, 58
CARAT, PEERS, INK, FAINT = "#0b5fa5", "#c2410c", "#1f2933", "#e3e7eb"


def log_ticks(low, high):
    """Values of an axis in logarithms, with whether they are powers of ten."""
    ticks = []
    for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1):
        ticks += [(m * 10.0**e, m == 1) for m in (1, 2, 5)]
    return [t for t in ticks if low <= t[0] <= high]


def step_of(span):
    """A round step that cuts a span into ten parts at most."""
    e = 10.0 ** math.floor(math.log10(span / 10))
    return next(m * e for m in (1, 2, 5, 10, 20) if span / (m * e) <= 10)


def crosses(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class Plot:
    """Bits a weight against mean KL."""

    def __init__(self, title, points):
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        pad = max(0.05 * (max(xs) - min(xs)), 0.1)
        self.x0, self.x1 = min(xs) - pad, max(xs) + pad
        self.y0, self.y1 = min(ys) / 1.4, max(ys) * 1.4
        # What labels must not cover.
        self.taken = [(self.x(x) - 5, self.y(y) - 5, self.x(x) + 5, self.y(y) + 5) for x, y in points]
        self.out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            ' font-family="system-ui, sans-serif" font-size="12">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        ]
        self.text(LEFT, 27, title, size=16, weight=600)
        self.axes()

    def x(self, v):
        return LEFT + (v - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, v):
        share = math.log(v / self.y0) / math.log(self.y1 / self.y0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, text, color=INK, size=12, anchor="start", weight=400, more=""):
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" font-size="{size}" text-anchor="{anchor}"'
                        f' font-weight="{weight}"{more}>{escape(text)}</text>')

    def line(self, x0, y0, x1, y1, color, width=1.0):
        self.out.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{color}" stroke-width="{width}"/>')

    def axes(self):
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        step = step_of(self.x1 - self.x0)
        for i in range(math.ceil(self.x0 / step), math.floor(self.x1 / step) + 1):
            at = self.x(i * step)
            self.line(at, TOP, at, bottom, FAINT)
            self.text(at, bottom + 18, f"{i * step:g}", anchor="middle")
        for value, whole in log_ticks(self.y0, self.y1):
            at = self.y(value)
            self.line(LEFT, at, right, at, "#c8cfd6" if whole else FAINT)
            self.text(LEFT - 8, at + 4, f"{value:g}", anchor="end")
        self.line(LEFT, bottom, right, bottom, INK)
        self.line(LEFT, TOP, LEFT, bottom, INK)
        self.text((LEFT + right) / 2, HEIGHT - 16, "bits per weight, all tensors", size=13, anchor="middle")
        middle = (TOP + bottom) / 2
        self.text(20, middle, "mean KL from the checkpoint, nats (log)", size=13, anchor="middle",
                  more=f' transform="rotate(-90 20 {middle:.1f})"')

    def mark(self, x, y, kind, color, hollow=False):
        """At a place of the drawing."""
        style = f'fill="{"#ffffff" if hollow else color}" stroke="{color}" stroke-width="1.6"'
        if kind == "circle":
            self.out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {style}/>')
        elif kind == "square":
            self.out.append(f'<rect x="{x - 3.7:.1f}" y="{y - 3.7:.1f}" width="7.4" height="7.4" {style}/>')
        else:
            self.out.append(f'<path d="M{x:.1f} {y - 5.6:.1f}l5.6 5.6l-5.6 5.6l-5.6 -5.6z" {style}/>')

    def series(self, points, kind, color, joined=False, hollow=False):
        at = [(self.x(x), self.y(y)) for x, y in sorted(points)]
        if joined and len(at) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
            self.out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        for x, y in at:
            self.mark(x, y, kind, color, hollow)

    def label(self, x, y, text, color):
        """Beside a point, where there is room."""
        x, y, wide = self.x(x), self.y(y), 6.2 * len(text)
        for far in (8, 14, 22, 32):
            for dx, dy in ((far, 4), (far * 0.7, -far * 0.8), (-far - wide, 4), (-wide / 2, -far), (far * 0.7, far * 1.3),
                           (-wide - far * 0.7, -far * 0.8), (-wide - far * 0.7, far * 1.3), (-wide / 2, far + 9)):
                box = (x + dx, y + dy - 9, x + dx + wide, y + dy + 2)
                inside = box[0] > LEFT and box[2] < WIDTH - 2 and box[1] > TOP and box[3] < HEIGHT - BOTTOM
                if inside and not any(crosses(box, t) for t in self.taken):
                    self.taken.append(box)
                    self.text(box[0], y + dy, text, color, size=11)
                    return

    def legend(self, entries):
        """In the corner that covers fewer points: small files are not close, large ones not far. Labels come after it."""
        wide, high = max(len(text) for *_, text in entries) * 6.4 + 40, 12 + 19 * len(entries)
        corners = [(WIDTH - RIGHT - wide - 8, TOP + 8), (LEFT + 10, HEIGHT - BOTTOM - high - 10)]

        def covered(corner):
            x, y = corner
            return sum(crosses((x - 20, y - 20, x + wide + 20, y + high + 20), t) for t in self.taken)

        x, y = min(corners, key=covered)
        box = (x, y, x + wide, y + high)
        self.taken.append(box)
        self.out.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{box[3] - y}" rx="4" fill="#ffffff"'
                        ' fill-opacity="0.9" stroke="#c8cfd6"/>')
        for i, (kind, color, hollow, joined, text) in enumerate(entries):
            at = y + 16 + 19 * i
            if joined:
                self.line(x + 8, at, x + 30, at, color, 1.6)
            self.mark(x + 19, at, kind, color, hollow)
            self.text(x + 38, at + 4, text)

    def svg(self):
        return "\n".join([*self.out, "</svg>", ""])


def draw(model, peers, same, sweep, presets):
    """llama.cpp's rows, Carat's at their sizes and between, and what its options give by themselves."""

    def points(found):
        return [(r["bpw"], r["kl_mean"]) for _, r in found if "error" not in r]

    best = [(p["bpw"], p["kl_mean"]) for p in peers if p.get("best_at_size")]
    rest = [(p["bpw"], p["kl_mean"]) for p in peers if not p.get("best_at_size")]
    curve = points(same) + points(sweep)
    alone = points(presets)
    plot = Plot(f"{model}: divergence by size", [p for p in best + rest + curve + alone if p[1] > 0])
    legend = []
    for found, kind, color, joined, hollow, text in (
        (rest, "square", PEERS, False, True, "llama.cpp, beaten by another of its own"),
        (best, "square", PEERS, True, False, "llama.cpp, importance matrix"),
        (curve, "circle", CARAT, True, False, "Carat, same calibration text"),
        (alone, "diamond", CARAT, False, True, "Carat, bundled text"),
    ):
        if found:
            plot.series(found, kind, color, joined, hollow)
            legend.append((kind, color, hollow, joined, text))
    plot.legend(legend[::-1])
    for name, r in presets:
        if "error" not in r:
            plot.label(r["bpw"], r["kl_mean"], name, CARAT)
    for p in sorted(peers, key=lambda p: not p.get("best_at_size")):
        plot.label(p["bpw"], p["kl_mean"], p["type"], PEERS)
    return plot.svg()


# ---- all of it


def plan(args, peers):
    """(table, label, name, options, bundled) of every file that is measured of a model; peers' label is their row."""
    rows = sorted((p for p in peers if args.all or p["best_at_size"]), key=lambda p: p["payload_bytes"])
    for p in rows:
        yield "same", p, p["type"], ["--target-size", str(p["payload_bytes"])], False
    for bits in args.sweep:
        yield "sweep", f"{bits:g}", f"bpw{bits:g}", ["--target-bpw", f"{bits:g}"], False
    if args.presets:
        yield "presets", "default", "default", [], True
        yield "presets", "bits 4", "bits4", ["--bits", "4"], True
        for preset in PRESETS:
            yield "presets", preset, preset, ["--preset", preset], True


def main():
    args = arguments()
    bench = Bench(args)
    every = json.loads(args.peers.read_text())["rows"]
    ended = False
    for model in args.model:
        peers = [p for p in every if p["model"] == model]
        if not peers:
            note(f"{args.peers} has no rows of {model}")
        found = {"same": [], "sweep": [], "presets": []}
        for kind, label, name, options, bundled in plan(args, peers):
            try:
                # After Ctrl-C the tables have what is known.
                r = bench.known(model, name, options, bundled) if ended else bench.measure(model, name, options, bundled)
            except KeyboardInterrupt:
                ended, r = True, None
            if r:
                found[kind].append((label, r))
        print(f"## {model}\n")
        if found["same"]:
            beside(found["same"])
        if found["sweep"]:
            listed("bits asked for", found["sweep"])
        if found["presets"]:
            listed("options", found["presets"])
        measured = [r for rows in found.values() for _, r in rows]
        doubts(peers, measured, bench.binary)
        sys.stdout.flush()
        if args.svg and (peers or any("error" not in r for r in measured)):
            path = args.svg if len(args.model) == 1 else args.svg.with_name(f"{args.svg.stem}-{model}.svg")
            path.write_text(draw(model, peers, **found))
            note(f"{path}: drawn")
    if ended:
        note("ended early; the same command goes on")
        sys.exit(130)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""How well the divergence of a division of bytes is foretold.

usage: additivity.py --carat BIN --model PATH --calib TEXT --eval TEXT [--divisions 20] [--tokens 4096] [--ctx 512] [--chunks 12]

Each division gives every matrix a random coding (seeded). Carat foretells its mean KL (`predicted_kl`) and the written file is
measured on another text; printed are both and Spearman's rank correlation. Exit code 1 where that is below 0.9.
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:2])}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    out = [0.0] * len(values)
    for rank, i in enumerate(order):
        out[i] = float(rank)
    return out


def spearman(a, b):
    a, b = ranks(a), ranks(b)
    middle = (len(a) - 1) / 2
    across = sum((x - middle) * (y - middle) for x, y in zip(a, b))
    return across / sum((x - middle) ** 2 for x in a)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--carat", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--calib", required=True)
    p.add_argument("--eval", required=True)
    p.add_argument("--divisions", type=int, default=20)
    p.add_argument("--tokens", type=int, default=4096)
    p.add_argument("--ctx", type=int, default=512)
    p.add_argument("--chunks", type=int, default=12)
    a = p.parse_args()
    described = run(a.carat, "inspect", a.model, "--tensors", "--json")
    names = [t["name"] for t in described["tensors"] if len(t["shape"]) == 2]
    predicted, measured = [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(a.divisions):
            draw = random.Random(i)
            # Some divisions are of few bits, others of many, each with its own spread.
            middle = draw.uniform(0, 4)
            codings = ["2,g64", "3,g64", "4,g64", "5,g64", "6,g64"]
            rules = []
            for name in names:
                at = round(min(4, max(0, draw.gauss(middle, 1.2))))
                rules += ["--tensor", f"^{name.removesuffix('.weight').replace('.', '[.]')}={codings[at]}"]
            path = str(Path(folder) / "division.gguf")
            made = run(a.carat, "convert", a.model, "-o", path, "--target-bpw", "16", "--calib", a.calib,
                       "--calib-tokens", str(a.tokens), "--card-tokens", "0", "--force", "--json", *rules)
            found = run(a.carat, "compare", path, "--text", a.eval, "--ctx", str(a.ctx), "--chunks", str(a.chunks),
                        "--reference", a.model, "--device", "cpu", "--json")["files"][0]
            predicted.append(made["predicted_kl"])
            measured.append(found["kl_mean"])
            print(f"{found['bpw']:.3f} bits per weight: foretold {predicted[-1]:.4f}, measured {measured[-1]:.4f}", flush=True)
    correlation = spearman(predicted, measured)
    print(f"rank correlation over {len(predicted)} divisions: {correlation:.3f}")
    sys.exit(correlation < 0.9)


main()

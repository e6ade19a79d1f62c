"""Writes tests/data/gguf_blocks.json: random rows of every quantized GGUF type that is read, and what
`dequantize` of the Python package gguf makes of them. Run it in converter/ (pip install gguf).

A row of 256 weights is its blocks in hexadecimal and either the FNV-1a hash of the 64-bit kind over the
bytes of its f32 values, or, where a value is not finite, the first of those: its index and "inf", "-inf"
or "NaN".
"""

import json
import random

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Type, and where its block has f16 numbers.
TYPES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [], "TQ1_0": [52], "TQ2_0": [64],
}
COLS = 256
# ±0, subnormal and normal extremes.
EDGES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00]
# Infinities, a quiet NaN, a signalling one.
FAULTS = [0x7C00, 0xFC00, 0x7E00, 0xFD01]


def row(rng, name, halves, kind):
    ty = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[ty]
    data = bytearray()
    for _ in range(COLS // elements):
        if kind == "zeros":
            block = bytearray(size)
        elif kind == "ones":
            block = bytearray(b"\xff" * size)
        else:
            block = bytearray(rng.randbytes(size))
        for at in halves:
            if kind == "edges":
                bits = rng.choice(EDGES)
            elif kind == "random":
                bits = rng.randrange(0x10000)
            else:
                bits = rng.randrange(2) << 15 | rng.randrange(0x7C00)
            block[at : at + 2] = bits.to_bytes(2, "little")
        if name == "MXFP4" and kind != "random":
            block[0] = rng.choice([0, 1, 2, 3, 127, 128, 250, 251])
        data += block
    if kind == "fault":
        # In one block, so that the index says something.
        at = rng.randrange(COLS // elements) * size
        if halves:
            at += rng.choice(halves)
            data[at : at + 2] = rng.choice(FAULTS).to_bytes(2, "little")
        else:
            data[at] = 255
    return bytes(data)


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def expected(name, data):
    with np.errstate(all="ignore"):
        values = dequantize(np.frombuffer(data, np.uint8), GGMLQuantizationType[name])
    assert values.dtype == np.float32 and values.shape == (COLS,)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        value = values[wrong[0]]
        text = "NaN" if np.isnan(value) else "inf" if value > 0 else "-inf"
        return {"not_finite": [int(wrong[0]), text]}
    return {"fnv": f"{fnv(values.tobytes()):016x}"}


def main():
    rng = random.Random(20)
    kinds = ["zeros", "ones"] + ["finite"] * 10 + ["edges"] * 8 + ["random"] * 4 + ["fault"] * 6
    out = {}
    for name, halves in TYPES.items():
        out[name] = []
        for kind in kinds:
            data = row(rng, name, halves, kind)
            out[name].append({"blocks": data.hex(), **expected(name, data)})
    with open("tests/data/gguf_blocks.json", "w") as f:
        f.write("{\n")
        for i, (name, rows) in enumerate(out.items()):
            lines = ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows)
            f.write(f'"{name}":[\n{lines}\n]{"," if i + 1 < len(out) else ""}\n')
        f.write("}\n")


main()

"""Writes tests/data/gguf_blocks.json: random rows of every quantized GGUF type that is read, and what
`dequantize` of the Python package gguf makes of them; of types that it does not decode, what the formulas below
do, which are those of ggml's `dequantize_row_*`. Run it in converter/ (pip install gguf).

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
    "IQ1_S": [0], "IQ1_M": [], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0],
    "NVFP4": [], "Q1_0": [0], "Q2_0": [0], "PQ2_0": [0], "PTQ1_0": [26], "Q8_K": [],
}
# Elements and bytes of blocks that the package does not know.
SIZES = {"Q2_0": (64, 18), "PQ2_0": (128, 34), "PTQ1_0": (128, 28)}
COLS = 256
# ±0, subnormal and normal extremes.
EDGES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00]
# Infinities, a quiet NaN, a signalling one.
FAULTS = [0x7C00, 0xFC00, 0x7E00, 0xFD01]


def trits(data):
    """Digits of five in a byte, plane after plane."""
    planes = []
    for first, last, digits in [(0, 16, 5), (16, 24, 5), (24, 26, 4)]:
        for n in range(digits):
            byte = (data[:, first:last].astype(int) * 3**n & 255) * 3 >> 8
            planes.append(byte)
    return np.concatenate(planes, axis=1) - 1


def reference(name, data):
    """The values of blocks."""
    if name not in ["Q1_0", "Q2_0", "PQ2_0", "PTQ1_0", "Q8_K"]:
        return dequantize(data, GGMLQuantizationType[name])
    blocks = data.reshape(-1, sizes(name)[1])
    if name == "Q8_K":
        scale, codes = blocks[:, :4].copy().view("<f4"), blocks[:, 4:260].view(np.int8)
    elif name == "PTQ1_0":
        scale, codes = blocks[:, 26:].copy().view("<f2"), trits(blocks)
    else:
        bits = 1 if name == "Q1_0" else 2
        shifts = np.arange(0, 8, bits)
        codes = (blocks[:, 2:, None] >> shifts & (1 << bits) - 1).reshape(len(blocks), -1).astype(int)
        scale, codes = blocks[:, :2].copy().view("<f2"), 2 * codes - 1 if bits == 1 else codes - 1
    return (scale.astype(np.float32) * codes.astype(np.float32)).reshape(-1)


def sizes(name):
    return SIZES.get(name) or GGML_QUANT_SIZES[GGMLQuantizationType[name]]


def put_iq1_m(block, bits):
    """The f16 of a block of IQ1_M lies in the highest four bits of its four u16."""
    for i in range(4):
        block[49 + 2 * i] = block[49 + 2 * i] & 15 | (bits >> 4 * i & 15) << 4


def row(rng, name, halves, kind):
    elements, size = sizes(name)
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
        if name == "IQ1_M" and kind != "random":
            finite = rng.randrange(2) << 15 | rng.randrange(0x7C00)
            put_iq1_m(block, rng.choice(EDGES) if kind == "edges" else finite)
        if name == "NVFP4" and kind == "edges":
            block[:4] = bytes(rng.choice([0, 1, 7, 8, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF]) for _ in range(4))
        if name == "Q8_K" and kind != "random":
            scale = rng.choice([0.0, -0.0, 1e-45, -1e-38, 1e36, 1.0]) if kind == "edges" else rng.uniform(-1, 1)
            block[:4] = np.float32(scale).tobytes()
        data += block
    if kind == "fault":
        # In one block, so that the index says something.
        at = rng.randrange(COLS // elements) * size
        if halves:
            at += rng.choice(halves)
            data[at : at + 2] = rng.choice(FAULTS).to_bytes(2, "little")
        elif name == "IQ1_M":
            block = data[at : at + size]
            put_iq1_m(block, rng.choice(FAULTS))
            data[at : at + size] = block
        elif name == "Q8_K":
            data[at : at + 4] = rng.choice([0x7F800000, 0xFF800000, 0x7FC00000]).to_bytes(4, "little")
        elif name == "MXFP4":
            data[at] = 255
    return bytes(data)


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def expected(name, data):
    with np.errstate(all="ignore"):
        values = reference(name, np.frombuffer(data, np.uint8)).astype(np.float32)
    assert values.shape == (COLS,)
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

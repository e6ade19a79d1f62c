"""Writes tests/data/packed.json: quantized matrices as safetensors hold them, and the weights that the library which
packs them makes of them. Run it in converter/ (pip install torch compressed-tensors autoawq; transformers is needed
by their imports alone).

compressed-tensors and AWQ are asked themselves; for FP8, gpt-oss's MXFP4 and GPTQ, whose libraries need a GPU or have
the formula inside a forward pass, it is written out here: DeepSeek-V3's `weight_dequant`, transformers'
`convert_moe_packed_tensors`, AutoGPTQ's `qlinear_cuda_old.py`.

A matrix has its `quantization_config`, its tensors by the end of their names, in hexadecimal, and of each row of f32 the
64-bit FNV-1a hash.
"""

import json

import torch
from awq.utils.packing_utils import dequantize_gemm
from compressed_tensors.compressors.mxfp4.base import MXFP4PackedCompressor
from compressed_tensors.compressors.naive_quantized.base import NaiveQuantizationCompressor
from compressed_tensors.compressors.nvfp4.base import NVFP4PackedCompressor
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

NAMES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2", torch.float8_e8m0fnu: "F8_E8M0", torch.uint8: "U8", torch.int8: "I8",
    torch.int32: "I32", torch.int64: "I64",
}
torch.manual_seed(20)
cases = []


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def add(name, config, tensors, weight):
    weight = weight.float().contiguous()
    assert torch.isfinite(weight).all(), name
    stored = {
        end: {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data": bytes(t.contiguous().reshape(-1).view(torch.uint8).tolist()).hex()}
        for end, t in tensors.items()
    }
    rows = [fnv(row.numpy().tobytes()) for row in weight]
    shape = list(weight.shape)
    cases.append({"name": name, "config": config, "shape": shape, "tensors": stored, "rows": rows})


def fp8(rows, cols, dtype=torch.float8_e4m3fn):
    """Every bit pattern but those that are not finite."""
    codes = torch.randint(0, 256, (rows, cols), dtype=torch.uint8)
    value = codes.view(dtype)
    return torch.where(torch.isfinite(value.float()), codes, 0x35).to(torch.uint8).view(dtype)


def scales(shape, dtype, edges=True):
    s = torch.rand(shape) * 2 - 0.5
    flat = s.view(-1)
    if edges and flat.numel() > 4:
        # Zero, less than zero, the smallest of an f16, one whose products are subnormal there.
        flat[:4] = torch.tensor([0.0, -0.75, 6e-8, 3e-6])
    return s.to(dtype)


def words(*shape):
    return torch.randint(-(2**31), 2**31, shape, dtype=torch.int64).to(torch.int32)


def spread(s, block, rows, cols):
    return s.repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :cols]


def deepseek():
    rows, cols = 40, 88
    for dtype, block, name in [(torch.float32, [16, 32], "f32"), (torch.bfloat16, [128, 128], "bf16"), (torch.float8_e8m0fnu, [16, 16], "e8m0")]:
        config = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": block}
        shape = -(-rows // block[0]), -(-cols // block[1])
        s = scales(shape, torch.float32).abs().add(0.001).to(dtype) if name == "e8m0" else scales(shape, dtype)
        w = fp8(rows, cols)
        tensors = {".weight": w, ".weight_scale_inv": s}
        add(f"fp8 {name}", config, tensors, w.float() * spread(s.float(), block, rows, cols))
    w, s = fp8(21, 30, torch.float8_e5m2), torch.tensor(0.0123)
    tensors = {".weight": w, ".weight_scale_inv": s, ".activation_scale": torch.tensor(3.0)}
    add("fp8 e5m2 of a tensor", {"quant_method": "fp8", "fmt": "e5m2"}, tensors, w.float() * s)


def scheme(format, **weights):
    """The configuration of compressed-tensors, the library's own object of it."""
    args = QuantizationArgs(**weights)
    group = {"targets": ["Linear"], "weights": {k: v for k, v in weights.items()}}
    config = {"quant_method": "compressed-tensors", "format": format, "ignore": ["lm_head"], "config_groups": {"group_0": group}}
    return config, QuantizationScheme(targets=["Linear"], weights=args)


def compressed(name, compressor, format, tensors, **weights):
    config, of = scheme(format, **weights)
    state = {end.removeprefix("."): t for end, t in tensors.items()}
    add(name, config, tensors, compressor.decompress(state, of)["weight"])


def compressed_tensors():
    rows, cols = 40, 96
    naive = NaiveQuantizationCompressor
    w = fp8(rows, cols)
    for strategy, shape, more in [
        ("tensor", (1,), {}), ("channel", (rows, 1), {}), ("group", (rows, 3), {"group_size": 32}),
        ("block", (3, 3), {"block_structure": [16, 32]}),
    ]:
        dtype = torch.bfloat16 if strategy != "block" else torch.float16
        tensors = {".weight": w, ".weight_scale": scales(shape, dtype), ".input_scale": torch.tensor([3.0])}
        compressed(f"float-quantized {strategy}", naive, "float-quantized", tensors, num_bits=8, type="float", symmetric=True, strategy=strategy, **more)
    w = torch.randint(-128, 128, (rows, cols), dtype=torch.int8)
    for symmetric in [True, False]:
        tensors = {".weight": w, ".weight_scale": scales((rows, 1), torch.bfloat16)}
        if not symmetric:
            tensors[".weight_zero_point"] = torch.randint(-128, 128, (rows, 1), dtype=torch.int8)
        compressed(f"int-quantized symmetric {symmetric}", naive, "int-quantized", tensors, num_bits=8, type="int", symmetric=symmetric, strategy="channel")

    for bits, rows, cols, group, dtype in [
        (4, 24, 96, 32, torch.bfloat16), (4, 21, 64, 16, torch.float16), (4, 21, 90, None, torch.float32),
        (8, 9, 64, 64, torch.bfloat16), (2, 24, 64, 16, torch.float16), (2, 19, 37, None, torch.bfloat16),
    ]:
        for symmetric in [True, False]:
            groups = cols // group if group else 1
            packed = words(rows, -(-cols * bits // 32))
            tensors = {".weight_packed": packed, ".weight_scale": scales((rows, groups), dtype), ".weight_shape": torch.tensor([rows, cols])}
            if not symmetric:
                tensors[".weight_zero_point"] = words(-(-rows * bits // 32), groups)
            more = {"group_size": group, "strategy": "group"} if group else {"strategy": "channel"}
            compressed(f"pack-quantized {bits} bits, {rows}x{cols}, symmetric {symmetric}", PackedQuantizationCompressor, "pack-quantized", tensors, num_bits=bits, type="int", symmetric=symmetric, **more)

    # Columns in the order of their activations, as before the library's version 0.21: those of a group need not be neighbours.
    rows, cols, group = 24, 64, 16
    codes = torch.randint(-8, 8, (rows, cols), dtype=torch.int8)
    s, order = scales((rows, cols // group), torch.bfloat16), (torch.arange(cols) // group)[torch.randperm(cols)]
    tensors = {".weight_packed": pack_to_int32(codes, 4), ".weight_scale": s, ".weight_shape": torch.tensor([rows, cols]), ".weight_g_idx": order.to(torch.int32)}
    config, _ = scheme("pack-quantized", num_bits=4, type="int", symmetric=True, strategy="group", group_size=group)
    config["config_groups"]["group_0"]["weights"]["actorder"] = "group"
    add("pack-quantized by activations", config, tensors, codes.to(torch.bfloat16) * s[:, order])

    rows, cols = 24, 96
    packed = torch.randint(0, 256, (rows, cols // 2), dtype=torch.uint8)
    exponents = torch.randint(0, 250, (rows, cols // 32), dtype=torch.uint8)
    compressed("mxfp4-pack-quantized", MXFP4PackedCompressor, "mxfp4-pack-quantized", {".weight_packed": packed, ".weight_scale": exponents}, num_bits=4, type="float", symmetric=True, strategy="group", group_size=32)
    tensors = {".weight_packed": packed, ".weight_scale": fp8(rows, cols // 16), ".weight_global_scale": torch.tensor([1234.5])}
    compressed("nvfp4-pack-quantized", NVFP4PackedCompressor, "nvfp4-pack-quantized", tensors, num_bits=4, type="float", symmetric=True, strategy="tensor_group", group_size=16)


def gpt_oss():
    rows, groups = 24, 3
    blocks = torch.randint(0, 256, (rows, groups, 16), dtype=torch.uint8)
    exponents = torch.randint(0, 250, (rows, groups), dtype=torch.uint8)
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    levels = torch.cat([levels, -levels])
    pairs = torch.stack([blocks & 15, blocks >> 4], dim=-1).reshape(rows, groups, 32).long()
    # In two steps: torch's 2^-127 in f32 is 0.
    weight = torch.ldexp(torch.ldexp(levels[pairs], torch.tensor(-60)), exponents[..., None].int() - 67)
    add("mxfp4", {"quant_method": "mxfp4"}, {"_blocks": blocks, "_scales": exponents}, weight.reshape(rows, -1))


def unpack(t, bits, dim):
    """Codes of words, side by side or below each other."""
    codes = t.unsqueeze(dim + 1) >> torch.arange(0, 32, bits, dtype=torch.int32).reshape((-1, 1) if dim == 0 else (1, 1, -1))
    return (codes & (1 << bits) - 1).flatten(dim, dim + 1)


def gptq():
    for bits, rows, cols, group, ordered, version in [
        (4, 24, 96, 32, False, "gptq"), (4, 40, 64, 16, True, "gptq"), (4, 24, 64, -1, False, "gptq_v2"),
        (8, 12, 64, 32, False, "gptq"), (2, 32, 64, 16, True, "gptq_v2"), (4, 24, 72, 32, False, "gptq"),
    ]:
        wide = cols if group == -1 else group
        groups = -(-cols // wide)
        qweight, qzeros = words(cols * bits // 32, rows), words(groups, rows * bits // 32)
        s = scales((groups, rows), torch.float16 if bits != 8 else torch.bfloat16)
        order = torch.arange(cols) // wide
        if ordered:
            order = order[torch.randperm(cols)]
            order[0] = order[1]
        maximum = (1 << bits) - 1
        zeros = unpack(qzeros, bits, 1) + (version == "gptq") & maximum
        weight = (s[order] * (unpack(qweight, bits, 0) - zeros[order])).T
        config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": ordered, "sym": False, "checkpoint_format": version, "dynamic": {}}
        tensors = {".qweight": qweight, ".qzeros": qzeros, ".scales": s, ".g_idx": order.to(torch.int32), ".bias": torch.zeros(rows, dtype=torch.float16)}
        add(f"{version} of {bits} bits, {rows}x{cols}, ordered {ordered}", config, tensors, weight)


def awq():
    for rows, cols, group in [(24, 96, 32), (40, 64, 16), (8, 64, -1)]:
        wide = cols if group == -1 else group
        qweight, qzeros = words(cols, rows // 8), words(cols // wide, rows // 8)
        s = scales((cols // wide, rows), torch.float16)
        weight = dequantize_gemm(qweight, qzeros, s, 4, wide).T
        config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
        add(f"awq {rows}x{cols}", config, {".qweight": qweight, ".qzeros": qzeros, ".scales": s}, weight)


def main():
    deepseek()
    compressed_tensors()
    gpt_oss()
    gptq()
    awq()
    with open("tests/data/packed.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")


main()

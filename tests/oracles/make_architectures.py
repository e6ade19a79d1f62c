"""Logits of tiny random models of every architecture, by Hugging Face transformers in f32.

    pip install torch transformers numpy
    python make_architectures.py > architectures.json

Weights come from an integer hash of the tensor's name and the element's index, which
`tests/src/architectures.rs` computes likewise, so that only configurations, names, shapes and some
logits are kept here. Every value is a short multiple of a power of two: exact in bf16.
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

POSITIONS = 40
IDS_A_POSITION = 4
VOCAB = 4096


def mix(index, seed):
    """MurmurHash3's finaliser of a counter."""
    h = (index.astype(np.uint64) * 0x9E3779B1 + seed) & 0xFFFFFFFF
    h ^= h >> 16
    h = (h * 0x85EBCA6B) & 0xFFFFFFFF
    h ^= h >> 13
    h = (h * 0xC2B2AE35) & 0xFFFFFFFF
    return h ^ (h >> 16)


def seed(name):
    """FNV-1a."""
    h = 0x811C9DC5
    for b in name.encode():
        h = ((h ^ b) * 0x01000193) & 0xFFFFFFFF
    return h


def fill(name, shape, base, exponent, most):
    """base + 2^exponent times integers in -most..=most."""
    n = math.prod(shape)
    h = mix(np.arange(n, dtype=np.uint64), seed(name))
    values = base + ((h % (2 * most + 1)).astype(np.float64) - most) * 2.0**exponent
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def kind(config, name, shape):
    """(base, exponent, most) of a tensor."""
    if name.endswith(".bias"):
        return 0.0, -9, 127
    if len(shape) == 1:  # gains; gemma stores what is added to one
        return (0.0 if config["model_type"].startswith("gemma") else 1.0), -7, 64
    if "embed_tokens" in name or "lm_head" in name:
        return 0.0, -9, 127
    return 0.0, round(-math.log2(73 * math.sqrt(shape[1]))), 127


def configurations():
    common = dict(
        hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=VOCAB, max_position_embeddings=256, rms_norm_eps=1e-6,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=1, pad_token_id=None, torch_dtype="bfloat16",
    )

    def model(model_type, **more):
        return {**common, "model_type": model_type, **more}

    silu = dict(hidden_act="silu")
    gelu = dict(hidden_activation="gelu_pytorch_tanh", head_dim=32, tie_word_embeddings=True)
    local = ["sliding_attention", "full_attention", "sliding_attention"]
    return {
        "llama": model(
            "llama", **silu, attention_bias=True, mlp_bias=True, rope_theta=5e5,
            rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                              original_max_position_embeddings=32),
        ),
        "llama-linear": model("llama", **silu, rope_theta=1e4, rope_scaling=dict(type="linear", factor=4.0)),
        "mistral": model("mistral", **silu, sliding_window=8, rope_theta=1e4),
        "qwen2": model(
            "qwen2", **silu, num_hidden_layers=3, tie_word_embeddings=True, rope_theta=1e6, sliding_window=12,
            use_sliding_window=True, max_window_layers=1,
        ),
        "qwen3": model("qwen3", **silu, head_dim=64, rope_theta=1e6, attention_bias=False),
        "qwen3-yarn": model(
            "qwen3", **silu, head_dim=32, rope_theta=1e4, attention_bias=True,
            rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64),
        ),
        "phi3": model(
            "phi3", **silu, rope_theta=1e4, partial_rotary_factor=0.75, sliding_window=12,
            original_max_position_embeddings=256, rms_norm_eps=1e-5,
        ),
        "phi3-longrope": model(
            "phi3", **silu, rope_theta=1e4, partial_rotary_factor=0.5, original_max_position_embeddings=64,
            rope_scaling=dict(type="longrope", short_factor=[1.0 + i / 8 for i in range(8)],
                              long_factor=[1.0 + i for i in range(8)]),
        ),
        "phi3-longrope-whole": model(
            "phi3", **silu, rope_theta=1e4, original_max_position_embeddings=64,
            rope_scaling=dict(type="longrope", short_factor=[1.0 + i / 8 for i in range(16)],
                              long_factor=[1.0 + i for i in range(16)]),
        ),
        "gemma2": model(
            "gemma2", **gelu, num_hidden_layers=3, sliding_window=8, query_pre_attn_scalar=24,
            attn_logit_softcapping=2.0, final_logit_softcapping=3.0, rope_theta=1e4,
        ),
        "gemma3": model(
            "gemma3_text", **gelu, num_hidden_layers=3, sliding_window=8, query_pre_attn_scalar=24,
            sliding_window_pattern=2, rope_theta=1e6, rope_local_base_freq=1e4,
            rope_scaling=dict(rope_type="linear", factor=8.0),
        ),
        "gemma3-new": model(
            "gemma3_text", **{**gelu, "tie_word_embeddings": False}, num_hidden_layers=3, sliding_window=8,
            query_pre_attn_scalar=32, layer_types=local, final_logit_softcapping=4.0,
            rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e4),
                                 full_attention=dict(rope_type="default", rope_theta=1e6)),
        ),
        "bitnet": model("bitnet", hidden_act="relu2", tie_word_embeddings=True, rope_theta=5e5, rms_norm_eps=1e-5),
    }


def run(config):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        loaded = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(loaded, dtype=torch.float32, attn_implementation="eager").eval()
    state = model.state_dict()
    tied = config["tie_word_embeddings"]
    tensors, weights = [], {}
    for name, tensor in state.items():
        if tied and name == "lm_head.weight":
            continue
        shape = list(tensor.shape)
        how = kind(config, name, shape)
        tensors.append([name, shape, *how])
        weights[name] = fill(name, shape, *how)
    if tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict(weights)
    ids = (mix(np.arange(POSITIONS, dtype=np.uint64), 1) % VOCAB).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double().numpy()
    seen = [(mix(np.arange(IDS_A_POSITION, dtype=np.uint64), p + 2) % VOCAB).tolist() for p in range(POSITIONS)]
    return {
        "config": config,
        "tensors": tensors,
        "ids": ids,
        "rms": round(float(np.sqrt((logits**2).mean())), 6),
        "seen": seen,
        "logits": [[round(float(logits[p, i]), 6) for i in row] for p, row in enumerate(seen)],
    }


def main():
    print('{"versions":', json.dumps({"torch": torch.__version__, "transformers": transformers.__version__}) + ",")
    print('"models": {')
    models = configurations()
    for n, (name, config) in enumerate(models.items()):
        print(name, file=sys.stderr)
        print(json.dumps(name) + ":", json.dumps(run(config)) + ("," if n + 1 < len(models) else ""))
    print("}}")


main()

#!/usr/bin/env python3
"""Expected token ids for tests/hf_tokenizer.rs, by the PyPI package `tokenizers` (0.23).

    pip install tokenizers
    python converter/tests/scripts/tokenizer_golden.py TRAIN.txt EVAL.txt

TRAIN.txt is any English text (the tokenizers of tests/data were trained on the project's calibration
text); EVAL.txt is the evaluation text. Writes tests/data/tokenizers.json: small tokenizers of every
structure that is supported, with texts and their ids, and the ids of texts and of EVAL.txt for the
bundled model facet-6m. The ids of EVAL.txt are kept as their number and the 64-bit FNV-1a hash of their
little-endian u32s.
"""

import json
import pathlib
import sys

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parents[3]
FACET = ROOT / "examples/models/facet-6m/tokenizer.json"
OUT = ROOT / "converter/tests/data/tokenizers.json"

COMMON = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = COMMON % r"\p{N}{1,3}"
QWEN2 = COMMON % r"\p{N}"

TEXTS = [
    "",
    " ",
    "   ",
    "\n\n \t\n",
    "Hello, world! It's 1234567 o'clock; they'LL see.",
    " leading and trailing ",
    "the  double   triple    spaces\n\n\nand lines\r\n",
    "naïve café — “quoted” … 東京 привет 🦙🦙 e\u0301 \u2581mark",
    "<|im_start|>user\nHi<|im_end|>\n<s>x</s> <s> y [A] [B] z[A]",
    "camelCase XMLHttpRequest 3.14159 ½²٣ a1b22c333 don't DON'T",
    "\u0000\u0001\ufeff\u200b",
    "She had been looking at him, and he was looking at the house on the hill.",
]


def fnv1a(ids):
    h = 0xCBF29CE484222325
    for i in ids:
        for b in i.to_bytes(4, "little"):
            h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def byte_level(train, pre, normalizer=None, **model):
    """Byte-level BPE: 256 bytes and 100 merges."""
    t = Tokenizer(models.BPE(**model))
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=356, initial_alphabet=alphabet, show_progress=False)
    t.train_from_iterator([train], trainer)
    t.add_special_tokens(["<|im_start|>", "<|im_end|>", "<s>", "</s>"])
    t.add_tokens([AddedToken("[A]", lstrip=True), AddedToken("[B]", rstrip=True)])
    return t


def sentencepiece(train, normalizer, pre):
    """BPE over characters with a token for every byte, as converted from SentencePiece."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizer or normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(Regex("▁[^▁]*|[^▁]+"), "isolated")
    t.train_from_iterator([train], trainers.BpeTrainer(vocab_size=260, show_progress=False))
    trained = json.loads(t.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    merges = [tuple(m) for m in trained["merges"]]
    pieces += ["".join(m) for m in merges]
    pieces += sorted(set(trained["vocab"]) - set(pieces))
    # Every way to make a piece is a merge, the best piece first, as transformers writes them.
    known = set(pieces[259:])
    merges = [(p[:i], p[i:]) for p in pieces[259:] for i in range(1, len(p)) if p[:i] in known and p[i:] in known]
    vocab = {p: i for i, p in enumerate(pieces)}
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.add_special_tokens([AddedToken(s, normalized=False) for s in ["<unk>", "<s>", "</s>"]])
    t.add_tokens([AddedToken("[A]", normalized=False, lstrip=True), AddedToken("[B]", normalized=False, rstrip=True)])
    return t


def main():
    train = pathlib.Path(sys.argv[1]).read_text()[:200_000]
    evaluation = pathlib.Path(sys.argv[2]).read_text()
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def split(regex):
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), bytes_only])

    prepend = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])

    def metaspace(scheme):
        return pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)

    kinds = {
        "gpt-2": byte_level(train, plain),
        "llama-bpe": byte_level(train, split(LLAMA3), ignore_merges=True),
        "qwen2": byte_level(train, split(QWEN2), normalizers.NFC()),
        "smollm": byte_level(train, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), plain])),
        "prepend": sentencepiece(train, prepend, None),
        "metaspace-always": sentencepiece(train, None, metaspace("always")),
        "metaspace-first": sentencepiece(train, None, metaspace("first")),
        "metaspace-never": sentencepiece(train, None, metaspace("never")),
        "gemma": sentencepiece(train, normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous")),
    }
    out = {"texts": TEXTS, "kinds": {}}
    for name, t in kinds.items():
        ids = [t.encode(x, add_special_tokens=False).ids for x in TEXTS]
        out["kinds"][name] = {"ids": ids, "tokenizer": json.loads(t.to_str())}
    facet = Tokenizer.from_file(str(FACET))
    ids = facet.encode(evaluation, add_special_tokens=False).ids
    out["facet"] = {
        "ids": [facet.encode(x, add_special_tokens=False).ids for x in TEXTS],
        "eval_count": len(ids),
        "eval_hash": fnv1a(ids),
        "eval_first": ids[:16],
    }
    OUT.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes")


main()

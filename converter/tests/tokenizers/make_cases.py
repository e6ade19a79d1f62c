#!/usr/bin/env python3
"""Makes cases.json: the ids that PyPI `tokenizers` gives for the pipelines of present models, over two small vocabularies.

    pip install tokenizers==0.23.3
    python3 make_cases.py

Each family is a pipeline after that of a model's tokenizer.json: normalizer, pre-tokenizer, flags of the model, a few added tokens.
They were not compared with the models' files: see docs/tokenizers.md. The
vocabularies are trained here on the mixed text without any cut, so that tokens cross what pipelines cut: one over bytes, one over
characters with tokens for bytes. tests/families.rs makes the same 300 kB of mixed text and the same 10,000 strings from the same
samples by the same generator; a family's ids are kept as hashes, of every BLOCK strings one, and whole for the first strings.
"""

import json
import pathlib
import re

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).with_name("cases.json")
SAMPLES = json.loads(pathlib.Path(__file__).with_name("samples.json").read_text())
MASK = 0xFFFFFFFFFFFFFFFF
MIXED_BYTES = 300_000
STRINGS = 10_000
BLOCK = 500
SHOWN = 12

# Expressions as llama.cpp quotes them from the models' files, or after those; the letters of DeepSeek LLM are shortened.
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+%s|" + r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*%s|"
SLASHED = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = CASED % (CONTRACTIONS + "?", CONTRACTIONS + "?") + r"\p{N}{1,3}" + SLASHED
TEKKEN = CASED % ("", "") + r"\p{N}" + SLASHED
KIMI = (
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + CONTRACTIONS
    + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + CONTRACTIONS
    + r"?|\p{N}{1,3}" + TAIL
)
DEEPSEEK3 = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
DEEPSEEK_CODER = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"]
DEEPSEEK_LLM = [
    "[\r\n]",
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗ]+",
    "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
    r"\s+$",
    "[一-龥ࠀ-一가-퟿]+",
]
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
SEED = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}" + "\r\n" + r"]+|\s*[" + "\r\n" + r"]+|\s+(?!\S)|\s+"
EXAONE_MOE = CONTRACTIONS + (
    r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
RUNS = "|".join(r"\s{%d}(?!\S)" % n for n in (512, 256, 128, 64, 32, 16, 8, 4))
JAIS2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" + RUNS + r"|\s{1,2}(?!\S)|\s{1}"


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def level(regex=False, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def digits(each=True):
    return {"type": "Digits", "individual_digits": each}


def metaspace(scheme, splits=False):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}


def added(text, special=False, **flags):
    token = {"content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    return token | flags


NFC = {"type": "NFC"}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPEND = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, REPLACE]}
SPACES = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
END = [added("<|endoftext|>", True), added("<|im_end|>", True)]
TOOLS = [*END, added("<tool_call>"), added("</tool_call>")]
RUNS_OF_SPACES = [added(" " * n, normalized=True) for n in range(2, 9)]


def family(pre, normalizer=None, tokens=TOOLS, characters=False, **model):
    return {"pre_tokenizer": pre, "normalizer": normalizer, "added": tokens, "characters": characters, "model": model}


FAMILIES = {
    "gpt-2": family(level(True), tokens=[added("<|endoftext|>", True, normalized=True)]),
    "pythia": family(level(True), NFC, [added("<|endoftext|>", True), *RUNS_OF_SPACES]),
    "roberta": family(level(True, True), tokens=[added("<mask>", True, lstrip=True)]),
    "llama-3": family(sequence(split(LLAMA3), level()), ignore_merges=True),
    "llama-4, gpt-oss": family(sequence(split(O200K), level()), ignore_merges=True),
    "qwen-2.5, qwen-3": family(sequence(split(QWEN2), level()), NFC),
    "qwen-3.5": family(sequence(split(QWEN35), level()), NFC),
    "smollm-2, starcoder-2, granite": family(sequence(digits(), level(True))),
    "command-r": family(sequence(digits(), level(True)), NFC),
    "mistral-nemo, ministral": family(sequence(split(TEKKEN), level()), ignore_merges=True),
    "deepseek-v3, hunyuan": family(sequence(*map(split, DEEPSEEK3), level())),
    "deepseek-coder": family(sequence(*map(split, DEEPSEEK_CODER), digits(), level())),
    "deepseek-llm": family(sequence(*map(split, DEEPSEEK_LLM), digits(), level())),
    "phi-4, olmo-2": family(sequence(split(LLAMA3, "Removed", True), level()), tokens=[*END, added("<|im_sep|>", True, rstrip=True)]),
    "cl100k, possessive": family(sequence(split(CL100K, "Removed", True), level())),
    "glm-4": family(sequence(split(LLAMA3), level()), tokens=[*END, added("[gMASK]", True), added("<sop>", True)]),
    "falcon": family(
        sequence({"type": "Punctuation", "behavior": "Contiguous"}, level(True), digits(False), split("[0-9][0-9][0-9]"))
    ),
    "bloom": family(sequence(split(BLOOM), level())),
    "viking": family(sequence(split(BLOOM), digits(), level())),
    "kimi-k2": family(sequence(split(KIMI), level())),
    "seed-coder": family(sequence(split(SEED), level())),
    "ling": family(sequence(split(BAILING), level())),
    "exaone-moe": family(sequence(split(EXAONE_MOE), level()), NFC),
    "jais-2": family(sequence(split(JAIS2), level())),
    "superbpe": family(sequence(split(r"\p{N}+"), split(r"(?=(\d{3})+(?!\d))"), level())),
    "tiny-aya": family(sequence(split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(O200K), level()), NFC),
    "llama-2, tinyllama": family(None, PREPEND, [added("<s>", True), added("</s>", True)], True),
    "phi-3": family(
        None, PREPEND, [added("</s>", rstrip=True), added("<|user|>", True, rstrip=True), added("<|end|>", True, rstrip=True)], True
    ),
    "mistral-v0.3": family(metaspace("first"), None, [added("<s>", True), added("[INST]", True)], True),
    "gemma-2, gemma-3": family(
        SPACES, REPLACE, [added("<bos>", True), added("\n\n"), added("▁▁"), added("▁▁▁▁"), added("<table>")], True
    ),
    "metaspace that splits": family(metaspace("always", True), None, [added("<s>", True)], True),
    "llama-2 with normalized tokens": family(
        None, PREPEND, [added("</s>", True, normalized=True), added("<tool_call>", normalized=True), added("a b", normalized=True)], True
    ),
    "normalization form KC, small letters": family(
        sequence(split(LLAMA3), level()),
        {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        [added("<|endoftext|>", True), added("Don't", normalized=True), added("ﬁ", normalized=True), added("he", single_word=True)],
    ),
    "form D without accents": family(
        sequence({"type": "Whitespace"}, level()), {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}
    ),
}


class Generator:
    """SplitMix64."""

    def __init__(self, seed):
        self.state = seed

    def next(self, below):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        return (z ^ z >> 31) % below


def mixed():
    """Lines of languages and code, with numbers and odd pieces between."""
    g, out, size = Generator(1), [], 0
    while size < MIXED_BYTES:
        piece = SAMPLES["lines"][g.next(len(SAMPLES["lines"]))]
        words = piece.split(" ")
        start = g.next(len(words))
        piece = " ".join(words[start:] + words[:start])
        kind = g.next(4)
        if kind == 0:
            piece += str(g.next(10 ** (1 + g.next(12))))
        elif kind == 1:
            piece += SAMPLES["pieces"][g.next(len(SAMPLES["pieces"]))]
        piece += "\n" if g.next(5) else " "
        out.append(piece)
        size += len(piece.encode())
    return "".join(out)


def string(g):
    """A string of up to 24 pieces: of a list, characters of ranges, or words of the lines."""
    out = []
    for _ in range(g.next(25)):
        kind = g.next(8)
        if kind == 0:
            low, high = SAMPLES["ranges"][g.next(len(SAMPLES["ranges"]))]
            out.append(chr(low + g.next(high - low + 1)))
        elif kind == 1:
            words = SAMPLES["lines"][g.next(len(SAMPLES["lines"]))].split(" ")
            out.append(words[g.next(len(words))])
        else:
            out.append(SAMPLES["pieces"][g.next(len(SAMPLES["pieces"]))])
    return "".join(out)


def fnv1a(hash, ids):
    for i in [len(ids), *ids]:
        hash = ((hash ^ i) * 0x100000001B3) & MASK
    return hash


def hashed(lists):
    hash = 0xCBF29CE484222325
    for ids in lists:
        hash = fnv1a(hash, ids)
    return f"{hash:016x}"


def vocabularies(text):
    pieces = [text[i : i + 60] for i in range(0, 150_000, 60)]
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(pieces, trainers.BpeTrainer(vocab_size=1100, initial_alphabet=alphabet, show_progress=False))
    model = json.loads(t.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    of_bytes = {"tokens": tokens, "merges": [" ".join(m) for m in model["merges"]]}
    t = Tokenizer(models.BPE())
    pieces = [p.replace(" ", "▁").replace("\n", "") for p in pieces]
    t.train_from_iterator(pieces, trainers.BpeTrainer(vocab_size=1000, limit_alphabet=250, show_progress=False))
    model = json.loads(t.to_str())["model"]
    tokens = ["<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + ["\n", "\n\n"]
    merges = [["\n", "\n"]] + model["merges"]
    tokens += sorted(model["vocab"], key=model["vocab"].get)
    tokens += [t for t in ["▁▁", "▁▁▁▁"] if t not in tokens]
    for pair in (["▁", "▁"], ["▁▁", "▁▁"]):
        if pair not in merges:
            merges.append(pair)
    return {"bytes": of_bytes, "characters": {"tokens": tokens, "merges": [" ".join(m) for m in merges]}}


def document(family, vocabulary):
    """The tokenizer.json of a family. tests/families.rs makes the same."""
    vocab = {t: i for i, t in enumerate(vocabulary["tokens"])}
    tokens, count = [], len(vocab)
    for token in family["added"]:
        id = vocab.get(token["content"])
        if id is None:
            id, count = count, count + 1
        tokens.append({"id": id} | token)
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"fuse_unk": False, "byte_fallback": family["characters"], "ignore_merges": False} | family["model"]
    model |= {"vocab": vocab, "merges": [m.split(" ") for m in vocabulary["merges"]]}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": family["normalizer"],
        "pre_tokenizer": family["pre_tokenizer"], "post_processor": None, "decoder": None, "model": model,
    }


def main():
    text = mixed()
    g = Generator(2)
    strings = [string(g) for _ in range(STRINGS)]
    sets = vocabularies(text)
    out = {"vocabularies": sets, "mixed": len(text.encode()), "strings": STRINGS, "block": BLOCK, "families": {}}
    out["text_hash"] = hashed([list(text.encode())])
    out["strings_hash"] = hashed([list(s.encode()) for s in strings])
    for name, family in FAMILIES.items():
        kind = "characters" if family["characters"] else "bytes"
        t = Tokenizer.from_str(json.dumps(document(family, sets[kind])))
        ids = [e.ids for e in t.encode_batch(strings, add_special_tokens=False)]
        lines = [t.encode(line, add_special_tokens=False).ids for line in re.findall("[^\n]*\n|[^\n]+", text)]
        whole = t.encode(text, add_special_tokens=False).ids
        out["families"][name] = family | {
            "first": ids[:SHOWN],
            "hashes": [hashed(ids[i : i + BLOCK]) for i in range(0, STRINGS, BLOCK)],
            "lines": hashed(lines),
            "whole": [len(whole), hashed([whole])],
        }
    OUT.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes, {len(FAMILIES)} families")


main()

//! The names of pre-tokenizers that are known, as llama.cpp spells them.

use super::split;

/// Pre-tokenizers of byte-level BPE that are implemented. llama.cpp's `default` is not among them: it
/// stands for a source whose rule was not known.
pub const KNOWN_PRE: &[&str] = &[
    "gpt-2",
    "phi-2",
    "roberta-bpe",
    "jina-v1-en",
    "jina-v2-es",
    "jina-v2-de",
    "jina-v2-code",
    "jina-es",
    "jina-de",
    "gigachat",
    "a.x-4.0",
    "mellum",
    "modern-bert",
    "exaone4",
    "mpt",
    "olmo",
    "jais",
    "trillion",
    "granite-docling",
    "llama-bpe",
    "dbrx",
    "smaug-bpe",
    "glm4",
    "qwen2",
    "deepseek-r1-qwen",
    "kormo",
    "megrez",
    "stablelm2",
    "hunyuan",
    "solar-open",
    "grok-2",
    "qwen35",
    "falcon",
    "starcoder",
    "refact",
    "command-r",
    "smollm",
    "codeshell",
    "exaone",
    "minerva-7b",
    "deepseek-llm",
    "deepseek-coder",
];

/// The spelling under which a pre-tokenizer is known; `None` if it is not.
pub fn canonical_pre(name: &str) -> Option<&'static str> {
    let name = match name {
        "gpt2" => "gpt-2",
        "llama3" | "llama-v3" => "llama-bpe",
        other => other,
    };
    KNOWN_PRE.iter().copied().find(|known| *known == name)
}

/// The pre-tokenizer that splits with one regular expression, compared character by character; `None`
/// if none does.
pub fn pre_of_pattern(pattern: &str) -> Option<&'static str> {
    let known = [
        (split::GPT2, "gpt-2"),
        (split::LLAMA3, "llama-bpe"),
        (split::QWEN2, "qwen2"),
        (split::QWEN35, "qwen35"),
    ];
    known.iter().find(|k| k.0 == pattern).map(|k| k.1)
}

/// Whether a pre-tokenizer's models keep a word whole that is a token.
pub(super) fn ignores_merges(pre: &str) -> bool {
    pre == "llama-bpe"
}

/// Whether a pre-tokenizer's models begin every text with BOS where the file does not say.
pub(super) fn adds_bos(pre: &str) -> bool {
    pre == "llama-bpe"
}

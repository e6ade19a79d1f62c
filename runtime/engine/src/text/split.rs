//! Where byte-level BPE cuts a text into words, which merges do not cross: llama.cpp's lists of expressions by the name of the
//! pre-tokenizer.

use super::pattern::Pattern;

pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(super) const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LINE_BREAK: &str = r"[\r\n]";
const DIGIT: &str = r"\p{N}";
const DEEPSEEK_CJK: &str = "[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+";
const DEEPSEEK_LETTERS: &str = "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";

/// The expressions of a pre-tokenizer; each cuts the pieces that those before it have left. `None`: the name is not known.
fn patterns(pre: &str) -> Option<&'static [&'static str]> {
    Some(match pre {
        "gpt-2" | "phi-2" | "roberta-bpe" | "jina-v1-en" | "jina-v2-es" | "jina-v2-de"
        | "jina-v2-code" | "jina-es" | "jina-de" | "gigachat" | "a.x-4.0" | "mellum"
        | "modern-bert" | "exaone4" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" => {
            &[GPT2]
        }
        "llama-bpe" | "dbrx" | "smaug-bpe" | "glm4" => &[LLAMA3],
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "megrez" | "stablelm2" | "hunyuan"
        | "solar-open" | "grok-2" => &[QWEN2],
        "qwen35" => &[QWEN35],
        "falcon" => &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
        "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b" => {
            &[DIGIT, GPT2]
        }
        "deepseek-llm" => &[
            LINE_BREAK,
            DEEPSEEK_LETTERS,
            "\\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+",
            r"\s+$",
            DEEPSEEK_CJK,
            r"\p{N}+",
        ],
        "deepseek-coder" => &[LINE_BREAK, r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, DIGIT],
        _ => return None,
    })
}

/// Cuts texts into words.
pub(super) struct Split {
    passes: Vec<Pattern>,
}

impl Split {
    /// The split of a pre-tokenizer; `None` if it is not known.
    pub(super) fn new(pre: &str) -> Option<Self> {
        let passes = patterns(pre)?.iter().map(|p| Pattern::new(p));
        let passes: Option<_> = passes.collect();
        Some(Self { passes: passes? })
    }

    /// Words of a text in order; together they are the text.
    pub(super) fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut words = vec![text];
        for pass in &self.passes {
            let mut finer = Vec::with_capacity(words.len());
            for word in words {
                let mut from = 0;
                while let Some((start, end)) = pass.find(word, from) {
                    if start > from {
                        finer.push(&word[from..start]);
                    }
                    finer.push(&word[start..end]);
                    from = end;
                }
                if from < word.len() {
                    finer.push(&word[from..]);
                }
            }
            words = finer;
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::normal::KNOWN_PRE;
    use super::*;

    #[test]
    fn every_known_name_has_a_split_that_keeps_the_text() {
        let text = "It's 12345 naïve\u{301} 汉字 …\r\n \t x🙂  ";
        for pre in KNOWN_PRE {
            let split = Split::new(pre).unwrap();
            let words = split.words(text);
            assert!(words.iter().all(|w| !w.is_empty()));
            assert_eq!(words.concat(), text, "{pre}");
            assert!(split.words("").concat().is_empty());
        }
        assert!(Split::new("default").is_none());
    }
}

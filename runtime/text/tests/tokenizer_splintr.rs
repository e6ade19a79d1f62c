//! The tokenizer against another implementation of the same algorithms, splintr.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod vocabularies;

use carat_gguf::Parse;
use carat_text::tokenizer::{Model, SpacePrefix, TokenType, Tokenizer, TokenizerData};
use proptest::prelude::*;
use splintr::{AnyTokenizer, Backend, GgufVocab, Tokenize};
use std::collections::HashSet;
use std::path::PathBuf;
use vocabularies::{byte_level, sentencepiece};

/// A vocabulary as both see it, with every token that no text may become spelled so that none can for splintr.
struct Pair {
    ours: Tokenizer,
    theirs: AnyTokenizer,
    user_defined: Vec<String>,
}

impl Pair {
    fn new(data: &TokenizerData) -> Self {
        let mut data = data.clone();
        // What is put before a text and around it is no part of the algorithms.
        data.space_prefix = SpacePrefix::Never;
        data.normalizers.clear();
        let typed = |id: usize| data.token_type(id);
        let markers: HashSet<u32> = [data.bos, data.eos, data.eot]
            .into_iter()
            .flatten()
            .chain(data.eos_ids.iter().copied())
            .collect();
        let mut hidden: Vec<bool> = (0..data.tokens.len())
            .map(|id| {
                matches!(
                    typed(id),
                    TokenType::Control | TokenType::UserDefined | TokenType::Unused
                ) || data.tokens[id].is_empty()
                    || data.token_types.is_empty() && markers.contains(&(id as u32))
            })
            .collect();
        let pre = data.pre.as_str();
        if data.model == Model::Gpt2 && !data.ignore_merges.unwrap_or(pre == "llama-bpe") {
            // splintr takes a word that is a token whole, also one that no merge makes.
            let made: HashSet<String> =
                data.merges.iter().map(|m| m.replacen(' ', "", 1)).collect();
            for (token, hidden) in data.tokens.iter().zip(&mut hidden) {
                *hidden |= token.chars().count() > 1 && !made.contains(token);
            }
        }
        let bytes = (0..=255u8).all(|b| data.tokens.contains(&format!("<0x{b:02X}>")));
        if data.model == Model::Llama && bytes {
            for (id, hidden) in hidden.iter_mut().enumerate() {
                *hidden |= typed(id) == TokenType::Unknown || data.unk == Some(id as u32);
            }
        }
        let spelled = data.tokens.iter().zip(&hidden).enumerate();
        let tokens: Vec<String> = spelled
            .map(|(id, (token, hidden))| {
                if *hidden {
                    format!(" {id}")
                } else {
                    token.clone()
                }
            })
            .collect();
        let merges = (data.model == Model::Gpt2).then(|| {
            let known: HashSet<&str> = tokens.iter().map(String::as_str).collect();
            let usable = |merge: &&String| {
                let (left, right) = merge.split_once(' ').unwrap();
                [left, right, &[left, right].concat()]
                    .iter()
                    .all(|t| known.contains(t))
            };
            data.merges.iter().filter(usable).cloned().collect()
        });
        let theirs = splintr::from_gguf_vocab(GgufVocab {
            model: data.model.name().into(),
            tokens,
            scores: (data.model == Model::Llama).then(|| data.scores.clone()),
            merges,
            pre: (data.model == Model::Gpt2).then(|| data.pre.clone()),
            add_space_prefix: Some(false),
            unknown_token_id: data.unk,
            ..GgufVocab::default()
        });
        let user_defined = (0..data.tokens.len()).filter(|id| typed(*id) == TokenType::UserDefined);
        Self {
            user_defined: user_defined.map(|id| data.tokens[id].clone()).collect(),
            ours: Tokenizer::new(&data).unwrap(),
            theirs: theirs.unwrap(),
        }
    }

    fn check(&self, name: &str, text: &str) {
        // These are cut out before.
        if self.user_defined.iter().any(|t| text.contains(t.as_str())) {
            return;
        }
        let theirs = match self.theirs.backend() {
            Backend::Bpe(t) => Tokenize::encode(t, text),
            Backend::Spm(t) => Tokenize::encode(t, text),
            Backend::WordPiece(t) => Tokenize::encode(t, text),
            Backend::Unigram(t) => Tokenize::encode(t, text),
        };
        assert_eq!(self.ours.encode(text, false), theirs, "{name}: {text:?}");
    }
}

/// WordPiece with both ways of marking.
fn word_piece(marked: bool) -> TokenizerData {
    let plain = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "he", "e", "t", "a", "b", "汉", "字", "!", "-",
        "$", "1", "n", "s",
    ];
    let further = ["e", "s", "t", "1", "he", "n", "é", "a"];
    let mut tokens = Vec::new();
    for t in plain {
        tokens.push(if marked && !t.starts_with('[') {
            format!("\u{2581}{t}")
        } else {
            t.into()
        });
    }
    tokens.extend(further.map(|t| if marked { t.into() } else { format!("##{t}") }));
    let mut data = TokenizerData::new(Model::Bert, tokens);
    data.unk = Some(1);
    data
}

/// Pre-tokenizers that splintr has as well.
const THEIRS: [&str; 42] = [
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

fn small() -> Vec<(String, TokenizerData)> {
    let mut all: Vec<(String, TokenizerData)> = THEIRS
        .iter()
        .map(|pre| {
            let mut data = byte_level();
            data.pre = (*pre).into();
            (format!("byte level, {pre}"), data)
        })
        .collect();
    all.push(("SentencePiece".into(), sentencepiece()));
    all.push(("WordPiece".into(), word_piece(false)));
    all.push(("WordPiece, marked".into(), word_piece(true)));
    all
}

/// Texts of what the algorithms tell apart.
fn text() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "the",
        "hello",
        "he",
        "THE",
        "It's",
        "we'LL",
        "'s",
        "'S",
        "'",
        "1",
        "23",
        "4567",
        "٣",
        "½",
        "Ⅷ",
        " ",
        "  ",
        "   ",
        "\t",
        "\n",
        "\r\n",
        "\n\n",
        "\u{a0}",
        "\u{3000}",
        "\u{2028}",
        "\u{85}",
        "é",
        "e\u{301}",
        "ǅ",
        "İ",
        "Σ",
        "ß",
        "ʰ",
        "汉字",
        "ひら",
        "カナ",
        "한글",
        "ไทย",
        "हिन्दी",
        "ب",
        "א",
        "🙂",
        "👍🏽",
        "\u{200d}",
        "\u{ad}",
        "\u{feff}",
        "\u{fffd}",
        "\0",
        "\u{7f}",
        "!",
        "...",
        "(",
        "$",
        "+",
        "<",
        "|",
        "`",
        "«",
        "–",
        "…",
        "、",
        "。",
        "！",
        "_",
        "-",
        "#",
        "##",
        "\u{2581}",
        "<s>",
        "\u{e000}",
        "\u{10ffff}",
        "\u{fb01}",
        "豈",
        "\u{378}",
        "Ġ",
        "\u{1f7d}",
        "K",
    ]);
    prop::collection::vec(
        prop_oneof![8 => parts.prop_map(String::from), 1 => any::<char>().prop_map(String::from)],
        0..24,
    )
    .prop_map(|v| v.concat())
}

#[test]
fn small_vocabularies_and_many_texts() {
    let pairs: Vec<(String, Pair)> = small()
        .into_iter()
        .map(|(name, data)| (name, Pair::new(&data)))
        .collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    runner
        .run(&text(), |text| {
            for (name, pair) in &pairs {
                pair.check(name, &text);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn real_vocabularies() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if !dir.exists() {
        eprintln!(
            "ABSENT: {}, the check against its vocabularies is skipped",
            dir.display()
        );
        return;
    }
    let eval = std::fs::read_to_string(dir.join("text/eval.txt")).unwrap();
    for name in [
        "llama-spm",
        "phi-3",
        "llama-bpe",
        "qwen2",
        "gpt-2",
        "bert-bge",
        "falcon",
        "starcoder",
    ] {
        let bytes =
            std::fs::read(dir.join(format!("oracles/tokenizers/ggml-vocab-{name}.gguf"))).unwrap();
        let Parse::Complete(header) = carat_gguf::parse(&bytes, bytes.len() as u64).unwrap() else {
            panic!("incomplete header");
        };
        let pair = Pair::new(&TokenizerData::from_gguf(&header).unwrap());
        for line in eval.split_inclusive('\n') {
            pair.check(name, line);
        }
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2000));
        runner
            .run(&text(), |text| {
                pair.check(name, &text);
                Ok(())
            })
            .unwrap();
    }
}

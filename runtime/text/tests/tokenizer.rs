//! Tokenizers against llama.cpp's test vectors, and what the vectors do not say.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod vocabularies;

use carat_gguf::{Parse, Writer};
use carat_text::tokenizer::{Normalizer, SpacePrefix, Step, Tokenizer, TokenizerData};
use proptest::prelude::*;
use std::path::PathBuf;
use vocabularies::{byte_level, id, sentencepiece};

fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "ABSENT: {}, the check against it is skipped",
        path.display()
    );
    None
}

fn from_bytes(bytes: &[u8]) -> TokenizerData {
    let Parse::Complete(header) = carat_gguf::parse(bytes, bytes.len() as u64).unwrap() else {
        panic!("incomplete header");
    };
    TokenizerData::from_gguf(&header).unwrap()
}

fn pieces(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let text = |&id| String::from_utf8_lossy(tokenizer.decode_bytes(id, true)).into_owned();
    ids.iter().map(text).collect()
}

fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<u8> {
    ids.iter()
        .flat_map(|&id| tokenizer.decode_bytes(id, false))
        .copied()
        .collect()
}

#[test]
fn llama_cpp_vectors() {
    let Some(dir) = shared("oracles/tokenizers") else {
        return;
    };
    let eval = std::fs::read_to_string(shared("text/eval.txt").unwrap()).unwrap();
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
        let file = |suffix: &str| dir.join(format!("ggml-vocab-{name}.gguf{suffix}"));
        let data = from_bytes(&std::fs::read(file("")).unwrap());
        let tokenizer = Tokenizer::new(&data).unwrap();
        let texts = std::fs::read_to_string(file(".inp")).unwrap();
        let expected = std::fs::read_to_string(file(".out")).unwrap();
        let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        let expected: Vec<Vec<u32>> = expected
            .lines()
            .map(|line| {
                line.split_whitespace()
                    .map(|id| id.parse().unwrap())
                    .collect()
            })
            .collect();
        // The last text ends with a separator.
        assert_eq!((texts.len(), expected.len()), (47, 46), "{name}");
        for (text, expected) in texts.iter().zip(&expected) {
            for special in [false, true] {
                assert_eq!(
                    &tokenizer.encode(text, special),
                    expected,
                    "{name}: {text:?}"
                );
            }
        }
        let start = std::time::Instant::now();
        let ids = tokenizer.encode(&eval, false);
        let took = start.elapsed();
        eprintln!(
            "{name}: {} bytes to {} tokens in {took:?}",
            eval.len(),
            ids.len()
        );
        assert!(took.as_millis() < 1000, "{name}: {took:?}");
        if name != "bert-bge" {
            let text = decode(&tokenizer, &ids);
            let text = text.strip_prefix(b" ").unwrap_or(&text);
            assert!(
                text == eval.as_bytes(),
                "{name}: the text does not come back"
            );
        }
    }
}

#[test]
fn text_never_becomes_a_special_token() {
    let data = byte_level();
    let tokenizer = Tokenizer::new(&data).unwrap();
    let bos = data.bos.unwrap();
    // As a marker, as a whole word that is a control token, as the result of merges.
    for text in ["<|bos|>", "hello", "<|eos|> hello<|bos|>"] {
        let ids = tokenizer.encode(text, false);
        let control = |id: &u32| data.token_types[*id as usize] == 3;
        assert!(
            !ids.iter().any(control),
            "{text:?}: {:?}",
            pieces(&tokenizer, &ids)
        );
        assert_eq!(decode(&tokenizer, &ids), text.as_bytes());
    }
    assert_eq!(
        pieces(&tokenizer, &tokenizer.encode("hello", false)),
        ["he", "llo"]
    );
    assert_eq!(tokenizer.encode("<|bos|>", true), [bos]);
    assert_eq!(
        pieces(&tokenizer, &tokenizer.encode("the<|bos|> hello", true)),
        ["the", "<|bos|>", " ", "hello"]
    );
    assert_eq!(tokenizer.special_id("hello"), id(&data, "hello"));
    assert_eq!(tokenizer.special_id("the"), None);

    let data = sentencepiece();
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(
        pieces(&tokenizer, &tokenizer.encode("hello", false)),
        [" h", "e", "llo"]
    );
    assert_eq!(
        pieces(&tokenizer, &tokenizer.encode("<s>", false)),
        [" ", "<s", ">"]
    );
    assert_eq!(
        pieces(&tokenizer, &tokenizer.encode("<s>hel", true)),
        ["<s>", " hel"]
    );
}

#[test]
fn user_defined_tokens_are_found_in_every_text() {
    let data = byte_level();
    let tokenizer = Tokenizer::new(&data).unwrap();
    for special in [false, true] {
        assert_eq!(
            pieces(
                &tokenizer,
                &tokenizer.encode("the<tool><tool><tool>the", special)
            ),
            ["the", "<tool><tool>", "<tool>", "the"]
        );
    }
    assert_eq!(
        decode(&tokenizer, &tokenizer.encode("<tool>", false)),
        b"<tool>"
    );
}

#[test]
fn a_marker_of_type_user_defined_is_special_all_the_same() {
    let mut data = byte_level();
    data.eot = id(&data, "<tool>");
    let tokenizer = Tokenizer::new(&data).unwrap();
    let eot = data.eot.unwrap();
    assert!(!tokenizer.encode("<tool>", false).contains(&eot));
    assert_eq!(tokenizer.encode("<tool>", true), [eot]);
    assert_eq!(tokenizer.decode_bytes(eot, false), b"");
}

#[test]
fn prompts_begin_with_one_bos() {
    let mut data = byte_level();
    let bos = data.bos.unwrap();
    assert_ne!(
        Tokenizer::new(&data).unwrap().encode_prompt("the", false)[0],
        bos
    );
    data.add_bos = Some(true);
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert!(tokenizer.adds_bos());
    let the = tokenizer.encode("the", false);
    assert_eq!(
        tokenizer.encode_prompt("the", false),
        [&[bos], &*the].concat()
    );
    assert_eq!(
        tokenizer.encode_prompt("<|bos|>the", true),
        [&[bos], &*the].concat()
    );
    assert_eq!(tokenizer.encode_prompt("", false), [bos]);
    // What a user writes is not BOS.
    assert_eq!(tokenizer.encode_prompt("<|bos|>", false)[0], bos);
    assert!(tokenizer.encode_prompt("<|bos|>", false).len() > 1);
    // SentencePiece models have it unless the file says no.
    let mut data = sentencepiece();
    assert_eq!(
        Tokenizer::new(&data).unwrap().encode_prompt("o", false)[0],
        1
    );
    data.add_bos = Some(false);
    assert_ne!(
        Tokenizer::new(&data).unwrap().encode_prompt("o", false)[0],
        1
    );
    data.add_bos = Some(true);
    data.bos = None;
    assert!(!Tokenizer::new(&data).unwrap().adds_bos());
}

#[test]
fn every_end_ends() {
    let mut data = byte_level();
    data.eot = id(&data, "hello");
    data.eos_ids = vec![id(&data, "<|eos|>").unwrap(), 7];
    let tokenizer = Tokenizer::new(&data).unwrap();
    let ends: Vec<u32> = (0..tokenizer.vocab_size() as u32 + 9)
        .filter(|&id| tokenizer.is_end(id))
        .collect();
    assert_eq!(ends, [7, data.eos.unwrap(), data.eot.unwrap()]);
}

#[test]
fn hidden_tokens_have_no_text_unless_asked() {
    let mut data = byte_level();
    let bos = data.bos.unwrap();
    data.token_types[300 - 35] = 5;
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.decode_bytes(bos, false), b"");
    assert_eq!(tokenizer.decode_bytes(bos, true), b"<|bos|>");
    assert_eq!(tokenizer.decode_bytes(0, false), [0]);
    assert_eq!(tokenizer.decode_bytes(0xAD, false), [0xAD]);
    assert_eq!(tokenizer.decode_bytes(u32::MAX, true), b"");
    let tokenizer = Tokenizer::new(&sentencepiece()).unwrap();
    assert_eq!(tokenizer.decode_bytes(0, false), b"");
    assert_eq!(tokenizer.decode_bytes(3 + 0xE4, false), [0xE4]);
    assert_eq!(tokenizer.decode_bytes(3 + 256 + 5, false), b"  ");
}

#[test]
fn spaces_go_in_front_as_the_file_says() {
    let mut data = sentencepiece();
    let mut run = |prefix: SpacePrefix, text: &str| {
        data.space_prefix = prefix;
        let tokenizer = Tokenizer::new(&data).unwrap();
        pieces(&tokenizer, &tokenizer.encode(text, true)).concat()
    };
    assert_eq!(run(SpacePrefix::Never, "e<s>e"), "e<s>e");
    assert_eq!(run(SpacePrefix::Always, "e<s>e"), " e<s> e");
    assert_eq!(run(SpacePrefix::Always, " e<s> e"), "  e<s>  e");
    assert_eq!(run(SpacePrefix::UnlessSpace, " e<s>e"), " e<s> e");
    assert_eq!(run(SpacePrefix::StartUnlessSpace, "e<s>e"), " e<s>e");
    assert_eq!(run(SpacePrefix::StartUnlessSpace, "<s>e"), "<s>e");
}

#[test]
fn special_tokens_swallow_white_space_where_the_file_says() {
    let mut data = byte_level();
    let tool = id(&data, "<tool>").unwrap();
    let text = "e \n<tool>\n <tool> e";
    let mut run = |left: &[u32], right: &[u32]| {
        data.strip_left = left.to_vec();
        data.strip_right = right.to_vec();
        let tokenizer = Tokenizer::new(&data).unwrap();
        decode(&tokenizer, &tokenizer.encode(text, false))
    };
    assert_eq!(run(&[], &[]), text.as_bytes());
    assert_eq!(run(&[tool], &[]), b"e<tool><tool> e");
    assert_eq!(run(&[], &[tool]), b"e \n<tool><tool>e");
}

#[test]
fn normalization_form_c_composes() {
    let mut data = byte_level();
    let plain = Tokenizer::new(&data).unwrap();
    data.normalizers = vec![Normalizer::Nfc];
    let nfc = Tokenizer::new(&data).unwrap();
    assert_ne!(plain.encode("e\u{301}", false), plain.encode("é", false));
    assert_eq!(nfc.encode("e\u{301}", false), plain.encode("é", false));
}

#[test]
fn metadata_comes_back() {
    let mut full = byte_level();
    full.eot = Some(3);
    full.unk = Some(4);
    full.pad = Some(5);
    full.eos_ids = vec![3, 9];
    full.add_bos = Some(true);
    full.add_eos = Some(false);
    full.normalizers = vec![Normalizer::Nfkc, Normalizer::Lowercase];
    full.prefix = vec![2, 4];
    full.suffix = vec![4, 1];
    full.normalized = vec![2];
    full.single_word = vec![1, 2];
    full.steps = vec![Step::Prefix, Step::gpt2(), Step::Bytes];
    full.ignore_merges = Some(true);
    full.strip_left = vec![1];
    full.strip_right = vec![2, 3];
    let mut spm = sentencepiece();
    spm.space_prefix = SpacePrefix::StartUnlessSpace;
    let mut never = sentencepiece();
    never.space_prefix = SpacePrefix::Never;
    never.pre = "default".into();
    for data in [full, byte_level(), sentencepiece(), spm, never] {
        let mut writer = Writer::new();
        for (key, value) in data.to_gguf() {
            writer.kv(key, value).unwrap();
        }
        let bytes = writer.finish().unwrap();
        assert_eq!(from_bytes(&bytes.header), data);
    }
}

#[test]
fn the_end_of_a_turn_is_found_by_its_spelling() {
    let mut data = byte_level();
    assert_eq!(data.find_end_of_turn(), None);
    let text = data.tokens.len();
    data.tokens.push("<|im_end|>".into());
    data.token_types.push(1);
    assert_eq!(data.find_end_of_turn(), None);
    data.token_types[text] = 3;
    assert_eq!(data.find_end_of_turn(), Some(text as u32));
}

proptest! {
    #[test]
    fn any_text_comes_back(text in any::<String>(), special in any::<bool>()) {
        let tokenizer = Tokenizer::new(&byte_level()).unwrap();
        let ids = tokenizer.encode(&text, special);
        prop_assert_eq!(decode(&tokenizer, &ids), text.as_bytes());
        let mut data = sentencepiece();
        data.space_prefix = SpacePrefix::Never;
        let tokenizer = Tokenizer::new(&data).unwrap();
        let ids = tokenizer.encode(&text, special);
        let text = text.replace('\u{2581}', " ");
        prop_assert_eq!(String::from_utf8(decode(&tokenizer, &ids)).unwrap(), text);
    }
}

#[test]
fn tokenizers_are_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Tokenizer>();
}

//! Tokenizer definitions that are wrong: an error that names the fault, never a panic.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod vocabularies;

use carat_gguf::{OwnedValue, Parse, Writer};
use carat_text::tokenizer::{
    MAX_TOKEN_BYTES, MAX_TOKENS, Model, SpacePrefix, Tokenizer, TokenizerData, TokenizerError as E,
};
use proptest::prelude::*;
use vocabularies::{byte_level, sentencepiece};

/// What building says about a definition after a change.
fn error(mut data: TokenizerData, change: impl FnOnce(&mut TokenizerData)) -> E {
    change(&mut data);
    Tokenizer::new(&data).unwrap_err()
}

#[test]
fn every_fault_has_its_error() {
    let tokens = byte_level().tokens.len();
    assert_eq!(error(byte_level(), |d| d.tokens.clear()), E::NoTokens);
    let many = error(byte_level(), |d| {
        d.tokens.resize(MAX_TOKENS + 1, String::new())
    });
    assert_eq!(
        many,
        E::TooManyTokens {
            found: MAX_TOKENS + 1
        }
    );
    let long = error(byte_level(), |d| {
        d.tokens[9] = "x".repeat(MAX_TOKEN_BYTES + 1)
    });
    assert_eq!(
        long,
        E::TokenTooLong {
            id: 9,
            found: MAX_TOKEN_BYTES + 1
        }
    );
    let too_long = error(byte_level(), |d| {
        d.tokens.extend((0..200).map(|i| format!("{i:04096}")));
        d.token_types.resize(d.tokens.len(), 1);
    });
    assert!(matches!(too_long, E::TokensTooLong { .. }), "{too_long}");
    for id in [tokens - 1, tokens - 5] {
        assert_eq!(
            error(byte_level(), |d| d.tokens[id].clear()),
            E::EmptySpecialToken { id }
        );
    }
    assert_eq!(
        error(byte_level(), |d| {
            d.tokens[7].clear();
            d.eos_ids = vec![7];
        }),
        E::EmptySpecialToken { id: 7 }
    );
    let twice = error(byte_level(), |d| d.tokens[70] = "A".into());
    assert_eq!(
        twice,
        E::DuplicateToken {
            text: "A".into(),
            first: 65,
            second: 70
        }
    );
    assert!(matches!(
        error(byte_level(), |d| d.token_types.truncate(5)),
        E::Length { found: 5, .. }
    ));
    assert_eq!(
        error(byte_level(), |d| d.token_types[2] = 7),
        E::TokenType { id: 2, found: 7 }
    );
    assert_eq!(
        error(byte_level(), |d| d.token_types[2] = -1),
        E::TokenType { id: 2, found: -1 }
    );
    assert!(matches!(
        error(sentencepiece(), |d| d.tokens[3] = "<0x0>".into()),
        E::ByteToken { id: 3, .. }
    ));
    for change in [
        (|d, id| d.bos = Some(id)) as fn(&mut TokenizerData, u32),
        |d, id| d.eos = Some(id),
        |d, id| d.eot = Some(id),
        |d, id| d.unk = Some(id),
        |d, id| d.pad = Some(id),
        |d, id| d.eos_ids = vec![0, id],
        |d, id| d.strip_left = vec![id],
        |d, id| d.strip_right = vec![id],
    ] {
        for id in [tokens as u32, u32::MAX] {
            let error = error(byte_level(), |d| change(d, id));
            assert!(
                matches!(error, E::IdOutOfRange { found, .. } if found == id),
                "{error}"
            );
        }
    }
    assert!(matches!(
        error(sentencepiece(), |d| d.scores.clear()),
        E::Length { found: 0, .. }
    ));
    assert!(matches!(
        error(sentencepiece(), |d| d.scores.push(0.0)),
        E::Length { .. }
    ));
    assert!(matches!(
        error(sentencepiece(), |d| d.scores[8] = f32::NAN),
        E::Score { id: 8, .. }
    ));
    assert!(matches!(
        error(sentencepiece(), |d| d.scores[8] = f32::NEG_INFINITY),
        E::Score { id: 8, .. }
    ));
    let model = Model::Gpt2;
    assert_eq!(
        error(byte_level(), |d| d.merges.clear()),
        E::NoMerges { model }
    );
    for text in ["he", "", " ", "h ", " e", "h e l"] {
        let error = error(byte_level(), |d| d.merges[1] = text.into());
        assert_eq!(
            error,
            E::Merge {
                index: 1,
                text: text.into()
            }
        );
    }
    let pre = error(byte_level(), |d| d.pre = "no such".into());
    assert!(
        pre.to_string().contains("\"no such\"") && pre.to_string().contains("llama-bpe"),
        "{pre}"
    );
    assert_eq!(error(byte_level(), |d| d.model = Model::Bert), E::NoUnknown);
    assert!(
        Model::from_name("t5")
            .unwrap_err()
            .to_string()
            .contains("llama, gpt2, bert, gemma4")
    );
}

#[test]
fn a_vocabulary_without_some_bytes_encodes_the_rest() {
    let mut data = byte_level();
    data.tokens[usize::from(b'z')] = "zzz".into();
    let tokenizer = Tokenizer::new(&data).unwrap();
    let with = tokenizer.encode("the z the", false);
    let text: Vec<u8> = with
        .iter()
        .flat_map(|&id| tokenizer.decode_bytes(id, false))
        .copied()
        .collect();
    assert_eq!(text, b"the  the");
}

#[test]
fn long_and_odd_texts_are_encoded_in_time() {
    let start = std::time::Instant::now();
    for data in [byte_level(), sentencepiece()] {
        let tokenizer = Tokenizer::new(&data).unwrap();
        let long = [
            "a",
            " ",
            "he",
            "<",
            "<tool>",
            "\n",
            "é",
            "\u{10FFFF}",
            "\0",
            "1",
            "'",
        ];
        for text in long {
            let text = text.repeat(60_000);
            for special in [false, true] {
                assert!(!tokenizer.encode(&text, special).is_empty());
            }
        }
    }
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

fn header_error(keys: &[(&str, OwnedValue)]) -> String {
    let mut writer = Writer::new();
    for (key, value) in keys {
        writer.kv(*key, value.clone()).unwrap();
    }
    let layout = writer.finish().unwrap();
    let bytes = layout.header.as_slice();
    let Parse::Complete(header) = carat_gguf::parse(bytes, bytes.len() as u64).unwrap() else {
        panic!("incomplete header");
    };
    TokenizerData::from_gguf(&header).unwrap_err().to_string()
}

#[test]
fn metadata_of_other_types_is_refused_by_name() {
    use carat_text::tokenizer::keys;
    let model = (keys::MODEL, OwnedValue::from("gpt2"));
    let tokens = (keys::TOKENS, OwnedValue::from(vec!["a"]));
    let pre = (keys::PRE, OwnedValue::from("gpt-2"));
    assert!(header_error(&[]).contains(keys::MODEL));
    assert!(header_error(&[(keys::MODEL, 7u32.into())]).contains(keys::MODEL));
    assert!(header_error(&[(keys::MODEL, "rwkv".into())]).contains("\"rwkv\""));
    assert!(header_error(std::slice::from_ref(&model)).contains(keys::TOKENS));
    assert!(
        header_error(&[model.clone(), (keys::TOKENS, vec![1u32].into())]).contains(keys::TOKENS)
    );
    assert!(
        header_error(&[model.clone(), tokens.clone(), (keys::PRE, 1u32.into())])
            .contains(keys::PRE)
    );
    for (key, value) in [
        (keys::SCORES, OwnedValue::from(vec![1i32])),
        (keys::TOKEN_TYPES, "x".into()),
        (keys::MERGES, vec![1u32].into()),
        (keys::BOS, 1.5f32.into()),
        (keys::EOS, (1u64 << 40).into()),
        (keys::EOS, "2".into()),
        (keys::ADD_BOS, 1u32.into()),
        (keys::EOS_IDS, vec!["a"].into()),
        (keys::SPACE_PREFIX, "sometimes".into()),
        (keys::NORMALIZER, "nfc,nfx".into()),
        (keys::STEPS, vec!["sometimes x"].into()),
    ] {
        let error = header_error(&[model.clone(), tokens.clone(), pre.clone(), (key, value)]);
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn unknown_characters_become_the_unknown_token() {
    let mut data = sentencepiece();
    data.tokens[3] = "no byte".into();
    data.token_types[3] = 1;
    for ty in [2, 3] {
        data.token_types[0] = ty;
        let tokenizer = Tokenizer::new(&data).unwrap();
        assert_eq!(tokenizer.encode("o\u{10FFFF}", false).last(), Some(&0));
    }
}

/// Definitions that are mostly nonsense and sometimes valid.
fn definition() -> impl Strategy<Value = TokenizerData> {
    let piece = prop_oneof![
        4 => "[abĠ▁<># é]{0,4}",
        1 => any::<String>(),
        1 => any::<u8>().prop_map(|b| format!("<0x{b:02X}>")),
        1 => any::<u8>().prop_map(|b| vocabularies::byte_char(b).to_string()),
    ];
    (
        prop::sample::select(Model::ALL.to_vec()),
        prop::collection::vec(piece, 1..40),
        any::<bool>(),
        prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            0..20,
        ),
        prop::collection::vec(0i32..7, 40),
        prop::collection::vec(prop_oneof![-5f32..5.0, any::<f32>()], 40),
        prop::collection::vec(0u32..45, 8),
        prop::sample::select(vec![
            "gpt-2",
            "llama-bpe",
            "qwen2",
            "falcon",
            "smollm",
            "deepseek-coder",
            "deepseek-llm",
            "gpt-4o",
            "superbpe",
            "?",
        ]),
        prop::sample::select(vec![
            SpacePrefix::Never,
            SpacePrefix::Always,
            SpacePrefix::UnlessSpace,
        ]),
    )
        .prop_map(
            |(model, mut tokens, bytes, pairs, types, scores, ids, pre, space_prefix)| {
                if bytes {
                    tokens.extend((0..=255).map(|b| match model {
                        Model::Llama | Model::Gemma4 => format!("<0x{b:02X}>"),
                        _ => vocabularies::byte_char(b).to_string(),
                    }));
                }
                let mut merges = Vec::new();
                for (a, b) in pairs {
                    let (a, b) = (a.get(&tokens).clone(), b.get(&tokens).clone());
                    if a.is_empty() || b.is_empty() || a.contains(' ') || b.contains(' ') {
                        continue;
                    }
                    tokens.push(format!("{a}{b}"));
                    merges.push(format!("{a} {b}"));
                }
                let mut seen = std::collections::HashSet::new();
                tokens.retain(|t| seen.insert(t.clone()));
                let mut data = TokenizerData::new(model, tokens);
                data.token_types = types;
                for (ty, token) in data.token_types.iter_mut().zip(&data.tokens) {
                    if *ty == 6 && !token.starts_with("<0x") || *ty > 2 && token.is_empty() {
                        *ty = 1;
                    }
                }
                data.token_types.resize(data.tokens.len(), 1);
                data.scores = scores
                    .iter()
                    .map(|s| if s.is_finite() { *s } else { 0.0 })
                    .collect();
                data.scores.resize(data.tokens.len(), -1.0);
                data.merges = merges;
                data.pre = pre.into();
                data.space_prefix = space_prefix;
                let mut ids = ids.into_iter().map(|id| (id < 40).then_some(id));
                let mut next = || ids.next().flatten();
                (data.bos, data.eos, data.eot, data.unk, data.pad) =
                    (next(), next(), next(), next(), next());
                data.strip_left = next().into_iter().collect();
                data.strip_right = next().into_iter().collect();
                data
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nonsense_never_panics(data in definition(), texts in prop::collection::vec(any::<String>(), 1..4)) {
        let Ok(tokenizer) = Tokenizer::new(&data) else { return Ok(()) };
        let mut texts = texts;
        texts.push(data.tokens.concat());
        texts.push("ab aab  <0x41>é\u{301}▁▁a #b 'll 123\r\n".into());
        for text in texts {
            for special in [false, true] {
                for id in tokenizer.encode_prompt(&text, special) {
                    prop_assert!((id as usize) < tokenizer.vocab_size());
                    tokenizer.decode_bytes(id, special);
                    let expected = Some(id) == tokenizer.bos() || Some(id) == data.unk;
                    prop_assert!(special || expected || data.token_types[id as usize] != 3);
                }
            }
        }
    }
}

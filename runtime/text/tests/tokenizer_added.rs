//! Added tokens, ends, and what files leave out or write oddly.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod vocabularies;

use carat_gguf::{OwnedValue, Parse, Writer};
use carat_text::tokenizer::{
    Model, NEVER_MADE, Normalizer, OWN_PRE, SpacePrefix, Step, Tokenizer, TokenizerData, keys,
};
use vocabularies::{byte_level, id, sentencepiece};

fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let piece = |id: &u32| String::from_utf8_lossy(tokenizer.decode_bytes(*id, true)).into_owned();
    tokenizer.encode(text, true).iter().map(piece).collect()
}

fn push(data: &mut TokenizerData, text: &str, kind: i32) -> u32 {
    data.tokens.push(text.into());
    data.token_types.push(kind);
    if data.model == Model::Llama {
        data.scores.push(NEVER_MADE);
    }
    data.tokens.len() as u32 - 1
}

/// The data that a file with these keys instead has.
fn reread(data: &TokenizerData, change: &[(&str, Option<OwnedValue>)]) -> TokenizerData {
    let mut writer = Writer::new();
    for (key, value) in data.to_gguf() {
        if change.iter().all(|c| c.0 != key) {
            writer.kv(key, value).unwrap();
        }
    }
    for (key, value) in change {
        if let Some(value) = value {
            writer.kv(*key, value.clone()).unwrap();
        }
    }
    let bytes = writer.finish().unwrap().header;
    let Parse::Complete(header) = carat_gguf::parse(&bytes, bytes.len() as u64).unwrap() else {
        panic!("incomplete header");
    };
    TokenizerData::from_gguf(&header).unwrap()
}

#[test]
fn normalized_tokens_are_found_behind_the_others_in_what_normalization_makes() {
    let mut data = byte_level();
    data.normalizers = vec![Normalizer::Nfkc, Normalizer::Lowercase];
    let late = push(&mut data, "Don't", 4);
    let early = push(&mut data, "n't the", 4);
    data.normalized = vec![late];
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.encode("DON'T", false), [late]);
    assert_eq!(tokenizer.encode("ｄｏｎ't", false), [late]);
    // The other begins later and is found first all the same.
    assert_eq!(pieces(&tokenizer, "don't the"), ["d", "o", "n't the"]);
    assert_eq!(tokenizer.encode("n't the", false), [early]);
    // As merges mark spaces, so does what is looked for.
    let mut data = sentencepiece();
    let late = push(&mut data, "l l", 4);
    data.normalized = vec![late];
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(pieces(&tokenizer, "e l l"), [" ", "e", "l l"]);
    assert_eq!(pieces(&tokenizer, "l l"), ["l l"]);
}

#[test]
fn what_normalization_makes_of_a_users_text_is_no_control_token() {
    let mut data = byte_level();
    data.normalizers = vec![Normalizer::Nfkc];
    let bos = data.bos.unwrap();
    data.normalized = vec![bos];
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.encode("＜|bos|>", true), [bos]);
    assert!(!tokenizer.encode("＜|bos|>", false).contains(&bos));
    let masked = tokenizer.mask("<|bos|> ＜|bos|>", '\u{e000}');
    let text = format!("<|bos|>{masked}");
    let ids = tokenizer.encode_masked(&text, '\u{e000}');
    assert_eq!(ids.iter().filter(|id| **id == bos).count(), 1, "{ids:?}");
    assert_eq!(tokenizer.special_id("<|bos|>"), Some(bos));
    assert_eq!(tokenizer.control_id("<|bos|>"), Some(bos));
    assert_eq!(tokenizer.control_id("<tool>"), None);
}

#[test]
fn single_words_stand_alone() {
    let mut data = byte_level();
    let tool = id(&data, "<tool>").unwrap();
    let he = push(&mut data, "he!", 4);
    data.single_word = vec![he, tool];
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(pieces(&tokenizer, "he! he!"), ["he!", " ", "he!"]);
    assert_eq!(tokenizer.encode("<tool>", false), [tool]);
    for text in ["the!", "he!t", "é<tool>", "<tool>_", "<tool>\u{301}"] {
        let ids = tokenizer.encode(text, false);
        assert!(!ids.contains(&he) && !ids.contains(&tool), "{text}");
    }
}

#[test]
fn merges_make_user_defined_tokens_too() {
    // Two marks are one in the text as it is, and what merges make of two spaces.
    let mut data = sentencepiece();
    let two = id(&data, "▁▁").unwrap();
    data.token_types[two as usize] = 4;
    data.space_prefix = SpacePrefix::Never;
    let unmade = push(&mut data, "▁h▁", 4);
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.encode("▁▁", false), [two]);
    assert_eq!(tokenizer.encode("  ", false), [two]);
    assert_eq!(tokenizer.encode("▁h▁", false), [unmade]);
    assert!(!tokenizer.encode(" h ", false).contains(&unmade));
    // As llama.cpp's conversion writes it.
    data.tokens[two as usize] = "  ".into();
    let tokenizer = Tokenizer::new(&data).unwrap();
    for text in ["▁▁", "  ", " ▁"] {
        assert_eq!(tokenizer.encode(text, false), [two], "{text}");
    }
    // The same by a list of merges.
    let mut data = sentencepiece();
    data.model = Model::Gemma4;
    data.space_prefix = SpacePrefix::Never;
    data.merges = ["▁ ▁", "l l", "▁ h", "l lo"].map(String::from).to_vec();
    data.token_types[two as usize] = 4;
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.encode("  ", false), [two]);
    assert_eq!(pieces(&tokenizer, " hello"), [" h", "e", "ll", "o"]);
    assert_eq!(pieces(&tokenizer, "   h"), ["  ", " h"]);
    let euro = tokenizer.encode("€", false);
    assert_eq!(euro, [3 + 0xe2, 3 + 0x82, 3 + 0xac]);
    data.pre = OWN_PRE.into();
    data.steps = vec![Step::from_text("next ▁").unwrap()];
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(pieces(&tokenizer, "  h"), [" ", " h"]);
    data.ignore_merges = Some(true);
    data.steps.clear();
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(pieces(&tokenizer, "llo"), ["llo"]);
}

#[test]
fn control_tokens_with_the_name_of_an_end_end() {
    let named = |names: &[(&str, i32)]| {
        let mut data = byte_level();
        let ids: Vec<u32> = names.iter().map(|n| push(&mut data, n.0, n.1)).collect();
        let tokenizer = Tokenizer::new(&data).unwrap();
        ids.iter()
            .map(|id| tokenizer.is_end(*id))
            .collect::<Vec<_>>()
    };
    for name in [
        "<|endoftext|>",
        "<|end_of_text|>",
        "</s>",
        "<|eom_id|>",
        "<end_of_turn>",
        "<|eot_id|>",
        "<|return|>",
        "<|im_end|>",
        "<|end|>",
        "<EOT>",
        "<eos>",
        "<turn|>",
        "<｜end▁of▁sentence｜>",
    ] {
        // A control token, one that a file calls user-defined, ordinary text.
        assert_eq!(named(&[(name, 3)]), [true], "{name}");
        assert_eq!(named(&[(name, 4)]), [true], "{name}");
        assert_eq!(named(&[(name, 1)]), [false], "{name}");
    }
    assert_eq!(named(&[("<|tool|>", 3)]), [false]);
    let harmony = [("<|end|>", 3), ("<|return|>", 3), ("<|call|>", 3)];
    assert_eq!(named(&harmony), [false, true, true]);
    assert_eq!(
        named(&[("</s>", 3), ("<|tool_response>", 3)]),
        [false, true]
    );
    let mut data = byte_level();
    push(&mut data, "<|end|>", 3);
    assert!(data.find_end_of_turn().is_some());
    push(&mut data, "<|return|>", 3);
    push(&mut data, "<|call|>", 3);
    assert_eq!(data.find_end_of_turn(), id(&data, "<|return|>"));
}

#[test]
fn whole_texts_end_as_the_file_says() {
    let mut data = byte_level();
    let (bos, eos) = (data.bos.unwrap(), data.eos.unwrap());
    data.add_bos = Some(true);
    let ids = |data: &TokenizerData| Tokenizer::new(data).unwrap().encode_whole("!", false);
    assert_eq!(ids(&data), [bos, 33]);
    data.add_eos = Some(true);
    assert_eq!(ids(&data), [bos, 33, eos]);
    data.suffix = vec![7, eos];
    assert_eq!(ids(&data), [bos, 33, 7, eos]);
    assert_eq!(reread(&data, &[]), data);
    let prompt = Tokenizer::new(&data).unwrap().encode_prompt("!", false);
    assert_eq!(prompt, [bos, 33]);
}

#[test]
fn what_nothing_needs_refuses_no_file() {
    let data = byte_level();
    let plain = Tokenizer::new(&data).unwrap().encode("the hello 12", true);
    let none = u32::MAX;
    let types: Vec<u32> = data.token_types.iter().map(|t| *t as u32).collect();
    let mut merges = data.merges.clone();
    merges.push("zq xq".into());
    let odd: [&[(&str, Option<OwnedValue>)]; 9] = [
        &[(keys::PADDING, Some(none.into()))],
        &[(keys::PADDING, Some((-1i32).into()))],
        &[(keys::UNKNOWN, Some(99_999u32.into()))],
        &[
            (keys::EOT, Some(99_999u32.into())),
            (keys::EOM, Some(99_999u32.into())),
        ],
        &[
            (keys::BOS, Some(99_999u32.into())),
            (keys::ADD_BOS, Some(false.into())),
        ],
        &[(keys::EOS, Some(none.into()))],
        &[(keys::TOKEN_TYPES, Some(types.into()))],
        &[(keys::MERGES, Some(merges.into()))],
        &[(keys::PRE, None)],
    ];
    for change in odd {
        let data = reread(&data, change);
        let tokenizer = Tokenizer::new(&data).unwrap_or_else(|e| panic!("{change:?}: {e}"));
        assert_eq!(tokenizer.encode("the hello 12", true), plain, "{change:?}");
    }
    let eom = reread(&data, &[(keys::EOM, Some(9u32.into()))]);
    assert!(Tokenizer::new(&eom).unwrap().is_end(9));
    let needed: [&[(&str, Option<OwnedValue>)]; 2] = [
        &[(keys::EOS, Some(99_999u32.into()))],
        &[
            (keys::BOS, Some(99_999u32.into())),
            (keys::ADD_BOS, Some(true.into())),
        ],
    ];
    for change in needed {
        assert!(
            Tokenizer::new(&reread(&data, change)).is_err(),
            "{change:?}"
        );
    }
    // Unused tokens may share a text.
    let mut data = byte_level();
    push(&mut data, "[UNUSED]", 5);
    push(&mut data, "[UNUSED]", 5);
    assert_eq!(
        Tokenizer::new(&data).unwrap().encode("the hello 12", true),
        plain
    );
    // A byte-level model's file with one over characters.
    let mut data = sentencepiece();
    data.merges = vec!["l l".into()];
    let change = [
        (keys::MODEL, Some("gpt2".into())),
        (keys::PRE, Some("gemma4".into())),
    ];
    assert_eq!(reread(&data, &change).model, Model::Gemma4);
}

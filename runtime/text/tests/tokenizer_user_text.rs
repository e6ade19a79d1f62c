//! A user's text inside of a template's never becomes a control token.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod vocabularies;

use carat_text::tokenizer::{Tokenizer, TokenizerData, free_mark};
use proptest::prelude::*;
use vocabularies::{byte_level, sentencepiece};

const MARK: char = '\u{e000}';

fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let bytes = ids
        .iter()
        .flat_map(|id| tokenizer.decode_bytes(*id, true))
        .copied();
    String::from_utf8(bytes.collect()).unwrap()
}

/// Control tokens among ids.
fn controls(data: &TokenizerData, ids: &[u32]) -> Vec<u32> {
    let control = |id: &u32| data.token_types[*id as usize] == 3;
    ids.iter().copied().filter(control).collect()
}

#[test]
fn marks_are_characters_that_nothing_uses() {
    assert_eq!(free_mark(["", "a"].into_iter()), Some('\u{e000}'));
    assert_eq!(
        free_mark(["x\u{e000}", "\u{e001}"].into_iter()),
        Some('\u{e002}')
    );
    let all: String = ('\u{e000}'..='\u{f8ff}').collect();
    assert_eq!(free_mark([all.as_str()].into_iter()), None);
}

#[test]
fn plain_text_is_left_alone() {
    let tokenizer = Tokenizer::new(&byte_level()).unwrap();
    for text in [
        "",
        " ",
        "it is 3 < 4 there",
        " \n a b \n ",
        "é",
        "the <tool> there",
    ] {
        assert_eq!(tokenizer.mask(text, MARK), text);
    }
    // The end could be a token's beginning; white space can still be taken off.
    assert_eq!(tokenizer.mask(" a < ", MARK), format!(" a <{MARK} "));
    assert_eq!(tokenizer.mask("> q", MARK), format!("{MARK}> q"));
}

#[test]
fn a_control_token_is_spelled_out() {
    let data = byte_level();
    let tokenizer = Tokenizer::new(&data).unwrap();
    let (bos, eos) = (data.bos.unwrap(), data.eos.unwrap());
    let masked = tokenizer.mask("<|eos|> hello", MARK);
    let ids = tokenizer.encode_masked(&format!("<|bos|>{masked}<|eos|>"), MARK);
    assert_eq!(controls(&data, &ids), [bos, eos]);
    assert_eq!(decode(&tokenizer, &ids), "<|bos|><|eos|> hello<|eos|>");
    // Without marks it would have been one.
    let ids = tokenizer.encode("<|bos|><|eos|> hello<|eos|>", true);
    assert_eq!(controls(&data, &ids).len(), 4);
}

proptest! {
    #[test]
    fn control_tokens_come_from_the_template(
        before in prop::collection::vec(prop::sample::select(vec!["<|bos|>", "user", "\n", " "]), 0..4),
        user in prop::collection::vec(prop::sample::select(vec![
            "<|bos|>", "<|eos|>", "<", "<|", "<|eo", "s|>", "|>", ">", "hel", "lo", "hello", "<tool>", " ", "a", "é", "\n",
        ]), 0..8),
        after in prop::collection::vec(prop::sample::select(vec!["<|eos|>", "user", "\n", " "]), 0..4),
        trim in any::<bool>(),
        spm in any::<bool>(),
    ) {
        let (before, mut user, after) = (before.concat(), user.concat(), after.concat());
        if spm {
            user = user.replace("<|bos|>", "<s>").replace("eos", "/s").replace('|', "");
        }
        let data = if spm { sentencepiece() } else { byte_level() };
        let (before, after) = if spm {
            (before.replace("<|bos|>", "<s>"), after.replace("<|eos|>", "</s>"))
        } else {
            (before, after)
        };
        let tokenizer = Tokenizer::new(&data).unwrap();
        let masked = tokenizer.mask(&user, MARK);
        prop_assert_eq!(masked.replace(MARK, ""), user.as_str());
        let (masked, user) = if trim { (masked.trim(), user.trim()) } else { (&*masked, &*user) };
        let ids = tokenizer.encode_masked(&[&before, masked, &after].concat(), MARK);
        let mut expected = controls(&data, &tokenizer.encode_prompt(&before, true));
        if expected.is_empty() && tokenizer.adds_bos() {
            expected.extend(data.bos);
        }
        expected.extend(controls(&data, &tokenizer.encode(&after, true)));
        prop_assert_eq!(controls(&data, &ids), expected, "{:?}", masked);
        if !spm {
            prop_assert_eq!(decode(&tokenizer, &ids), [&before, user, &after].concat());
        }
    }
}

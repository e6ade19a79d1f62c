//! Tokens that are declared outside `tokenizer.json`, and what a post-processor puts in front: the ids of
//! `transformers` and PyPI `tokenizers`.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod hf;

use carat_text::tokenizer::{TokenType, Tokenizer};
use hf::{changed, fault, load};
use serde_json::{Value, json};
use tempfile::TempDir;

const END: &str = "<|im_end|>";
const END_ID: u32 = 3;

/// The bundled tokenizer, whose vocabulary alone knows the end of a turn.
fn undeclared(change: impl FnOnce(&mut [Value; 4])) -> TempDir {
    changed(|files| {
        let added = files[0]["added_tokens"].as_array_mut().unwrap();
        added.retain(|t| t["content"] != END);
        files[0]["model"]["vocab"][END] = json!(END_ID);
        change(files);
    })
}

fn ids(dir: &TempDir, text: &str) -> Vec<u32> {
    let loaded = load(dir);
    Tokenizer::new(&loaded.data).unwrap().encode(text, true)
}

#[test]
fn settings_declare_added_tokens() {
    assert!(!ids(&undeclared(|_| {}), END).contains(&END_ID));
    for (field, value) in [
        (
            "added_tokens_decoder",
            json!({"3": {"content": END, "special": true}}),
        ),
        ("eos_token", json!(END)),
        ("pad_token", json!({"content": END})),
        ("additional_special_tokens", json!([END])),
        ("extra_special_tokens", json!([END])),
        ("extra_special_tokens", json!({"end": END})),
    ] {
        let dir = undeclared(|files| files[1][field] = value.clone());
        assert_eq!(ids(&dir, END), [END_ID], "{field} {value}");
        let kind = load(&dir).data.token_types[END_ID as usize];
        assert_eq!(kind, TokenType::Control as i32, "{field}");
    }
    let dir = undeclared(|files| {
        files[1]["added_tokens_decoder"] = json!({"3": {"content": END, "rstrip": true}});
    });
    let data = load(&dir).data;
    assert_eq!(
        data.token_types[END_ID as usize],
        TokenType::UserDefined as i32
    );
    assert_eq!(data.strip_right, [END_ID]);
}

#[test]
fn older_files_declare_added_tokens() {
    for (name, text) in [
        (
            "special_tokens_map.json",
            json!({"additional_special_tokens": [END]}),
        ),
        ("added_tokens.json", json!({END: END_ID})),
    ] {
        let dir = undeclared(|_| {});
        std::fs::write(dir.path().join(name), text.to_string()).unwrap();
        assert_eq!(ids(&dir, END), [END_ID], "{name}");
        // Settings that list them are all there is.
        let dir = undeclared(|files| files[1]["added_tokens_decoder"] = json!({}));
        std::fs::write(dir.path().join(name), text.to_string()).unwrap();
        assert!(!ids(&dir, END).contains(&END_ID), "{name}");
    }
}

#[test]
fn a_declared_token_without_an_id_comes_behind_all_others() {
    let list = |files: &mut [Value; 4]| {
        files[1]["additional_special_tokens"] = json!(["<|new|>", "<|newer|>"]);
    };
    let rows = load(&changed(|_| {})).data.tokens.len() as u32;
    let more = |n: u32| {
        changed(move |files| {
            files[2]["vocab_size"] = json!(rows + n);
            list(files);
        })
    };
    assert_eq!(ids(&more(2), "<|newer|><|new|>"), [rows + 1, rows]);
    // One that has no row is left out, which a note says.
    let dir = more(1);
    assert_eq!(ids(&dir, "<|new|>"), [rows]);
    assert!(!ids(&dir, "<|newer|>").contains(&(rows + 1)));
    assert!(load(&dir).notes[0].contains("<|newer|>"));
    // What is only named need not exist, and a single character stays a text's.
    let dir = changed(|files| {
        files[1]["pad_token"] = json!("[PAD]");
        files[1]["sep_token"] = json!("!");
    });
    let plain = changed(|_| {});
    assert_eq!(load(&dir).data.tokens, load(&plain).data.tokens);
    assert_eq!(load(&dir).data.token_types, load(&plain).data.token_types);
}

#[test]
fn prompts_begin_as_the_post_processor_says() {
    let template = |single: Value, tokens: Value| json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": tokens});
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = || json!({"Sequence": {"id": "A", "type_id": 0}});
    let (bos, start) = ("<|begin_of_text|>", "<|im_start|>");
    let token = |ids: &[u32]| json!({"id": "x", "ids": ids, "tokens": []});
    for (what, single, tokens, bos_token, front) in [
        (
            "two",
            json!([special(bos), special(start), text()]),
            json!({bos: token(&[0]), start: token(&[2])}),
            json!(bos),
            vec![0, 2],
        ),
        (
            "another than BOS",
            json!([special(start), text()]),
            json!({start: token(&[2])}),
            json!(bos),
            vec![2],
        ),
        (
            "a name",
            json!([special("first"), text()]),
            json!({"first": token(&[0])}),
            json!(bos),
            vec![0],
        ),
        (
            "a name of two",
            json!([special("first"), text()]),
            json!({"first": token(&[0, 2])}),
            json!(bos),
            vec![0, 2],
        ),
        (
            "without BOS",
            json!([special(start), text()]),
            json!({}),
            Value::Null,
            vec![2],
        ),
    ] {
        let dir = changed(|files| {
            files[0]["post_processor"] = template(single.clone(), tokens.clone());
            files[1]["bos_token"] = bos_token.clone();
            files[1].as_object_mut().unwrap().remove("add_bos_token");
        });
        let loaded = load(&dir);
        let tokenizer = Tokenizer::new(&loaded.data).unwrap();
        let plain = tokenizer.encode("Hi", true);
        let expected = [front.clone(), plain.clone()].concat();
        assert_eq!(tokenizer.encode_prompt("Hi", true), expected, "{what}");
        // A rendered conversation that begins so gets nothing twice.
        let spelled: String = front
            .iter()
            .map(|id| loaded.data.tokens[*id as usize].as_str())
            .collect();
        assert_eq!(
            tokenizer.encode_prompt(&format!("{spelled}Hi"), true),
            expected,
            "{what}"
        );
    }
    let wrong = changed(|files| {
        files[0]["post_processor"] = template(json!([special("nowhere"), text()]), json!({}));
    });
    assert!(
        fault(&wrong).contains("special_tokens, or a token"),
        "{}",
        fault(&wrong)
    );
}

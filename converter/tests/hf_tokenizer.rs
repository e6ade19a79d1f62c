//! Tokenizers of Hugging Face directories: the ids of PyPI `tokenizers` (tests/scripts/tokenizer_golden.py),
//! and directories that are wrong.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod hf;

use carat_converter::hf_tokenizer::{HfTokenizer, HfTokenizerError};
use carat_text::tokenizer::{Normalizer, SpacePrefix, TokenType, Tokenizer, TokenizerData};
use hf::{changed, directory, fault, load, root};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

fn golden() -> Value {
    let path = root("converter/tests/data/tokenizers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as u32)
        .collect()
}

/// 64-bit FNV-1a of the little-endian ids.
fn fnv1a(ids: &[u32]) -> String {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("{hash:016x}")
}

fn facet() -> HfTokenizer {
    HfTokenizer::load(&root("examples/models/facet-6m")).unwrap()
}

#[test]
fn the_bundled_model() {
    let hf = facet();
    let data = &hf.data;
    assert_eq!(
        (data.pre.as_str(), data.tokens.len(), data.merges.len()),
        ("gpt-2", 4096, 3836)
    );
    assert_eq!(
        (data.bos, data.eos, data.eot, &data.eos_ids[..]),
        (Some(0), Some(1), Some(3), &[1, 3][..])
    );
    assert_eq!(
        (data.add_bos, data.add_eos, data.normalizers.as_slice()),
        (Some(true), Some(false), &[][..])
    );
    assert_eq!(data.token_types[..5], [3, 3, 3, 3, 1]);
    let json = std::fs::read_to_string(root("examples/models/facet-6m/tokenizer.json")).unwrap();
    assert_eq!(hf.json, json);
    let [(name, source)] = &hf.chat_template.as_ref().unwrap().sources[..] else {
        panic!("one template");
    };
    assert_eq!(name, "default");
    assert!(source.starts_with("{% for message in messages %}<|im_start|>"));

    let tokenizer = Tokenizer::new(data).unwrap();
    let golden = golden();
    for (text, expected) in golden["texts"]
        .as_array()
        .unwrap()
        .iter()
        .zip(golden["facet"]["ids"].as_array().unwrap())
    {
        assert_eq!(
            tokenizer.encode(text.as_str().unwrap(), true),
            ids(expected),
            "{text}"
        );
    }
    assert_eq!(
        tokenizer.encode_prompt("<|begin_of_text|>Hello", true),
        tokenizer.encode_prompt("Hello", false)
    );
    let eval = root("../shared/text/eval.txt");
    let Ok(text) = std::fs::read_to_string(&eval) else {
        eprintln!(
            "ABSENT: {}, the ids of a long text are not compared",
            eval.display()
        );
        return;
    };
    let start = std::time::Instant::now();
    let found = tokenizer.encode(&text, false);
    eprintln!(
        "{} bytes to {} tokens in {:?}",
        text.len(),
        found.len(),
        start.elapsed()
    );
    let facet = &golden["facet"];
    assert_eq!(found[..16], ids(&facet["eval_first"]));
    assert_eq!(Some(found.len() as u64), facet["eval_count"].as_u64());
    assert_eq!(Some(fnv1a(&found).as_str()), facet["eval_hash"].as_str());
}

#[test]
fn every_known_structure_gives_the_same_ids() {
    let golden = golden();
    let expected = [
        ("gpt-2", "gpt-2", SpacePrefix::Always),
        ("llama-bpe", "llama-bpe", SpacePrefix::Always),
        ("qwen2", "qwen2", SpacePrefix::Always),
        ("smollm", "smollm", SpacePrefix::Always),
        ("prepend", "default", SpacePrefix::Always),
        ("metaspace-always", "default", SpacePrefix::UnlessSpace),
        ("metaspace-first", "default", SpacePrefix::StartUnlessSpace),
        ("metaspace-never", "default", SpacePrefix::Never),
        ("gemma", "default", SpacePrefix::Never),
    ];
    assert_eq!(golden["kinds"].as_object().unwrap().len(), expected.len());
    for (name, pre, prefix) in expected {
        let kind = &golden["kinds"][name];
        let hf = load(&directory(&[(
            "tokenizer.json",
            &kind["tokenizer"].to_string(),
        )]));
        assert_eq!(
            (hf.data.pre.as_str(), hf.data.space_prefix),
            (pre, prefix),
            "{name}"
        );
        let nfc = hf.data.normalizers.contains(&Normalizer::Nfc);
        assert_eq!(nfc, name == "qwen2");
        // What a file keeps is all that is needed.
        let mut writer = carat_gguf::Writer::new();
        for (key, value) in hf.to_gguf() {
            writer.kv(key, value).unwrap();
        }
        let bytes = writer.finish().unwrap().header;
        let carat_gguf::Parse::Complete(header) =
            carat_gguf::parse(&bytes, bytes.len() as u64).unwrap()
        else {
            panic!("incomplete header");
        };
        let data = TokenizerData::from_gguf(&header).unwrap();
        assert_eq!(data, hf.data, "{name}");
        assert_eq!(header.str("tokenizer.huggingface.json").unwrap(), hf.json);
        let tokenizer = Tokenizer::new(&data).unwrap();
        let texts = golden["texts"].as_array().unwrap();
        for (text, expected) in texts.iter().zip(kind["ids"].as_array().unwrap()) {
            assert_eq!(
                tokenizer.encode(text.as_str().unwrap(), true),
                ids(expected),
                "{name}: {text}"
            );
        }
    }
}

#[test]
fn rows_without_a_token_are_unused_tokens() {
    let hf = load(&changed(|[_, _, config, _]| {
        config["vocab_size"] = json!(4100)
    }));
    assert_eq!(hf.data.tokens.len(), 4100);
    assert_eq!(hf.data.tokens[4099], "[PAD4099]");
    assert_eq!(hf.data.token_types[4096..], [TokenType::Unused as i32; 4]);
    // Not by any text.
    let ids = Tokenizer::new(&hf.data).unwrap().encode("[PAD4099]", true);
    assert!(ids.len() > 1 && ids.iter().all(|&id| id < 4096));
    // A hole inside.
    let hf = load(&changed(|[tokenizer, _, config, _]| {
        tokenizer["model"]["vocab"]["extra"] = json!(4100);
        config["vocab_size"] = json!(4101);
    }));
    assert_eq!(hf.data.tokens[4100], "extra");
    assert_eq!(hf.data.tokens[4098], "[PAD4098]");
}

#[test]
fn every_end_is_kept() {
    let hf = load(&changed(|[_, settings, config, generation]| {
        settings["eos_token"] = json!({"content": "<|im_end|>", "lstrip": false});
        config["eos_token_id"] = json!([9, 1]);
        generation["eos_token_id"] = json!([1, 17]);
    }));
    assert_eq!((hf.data.eos, hf.data.eot), (Some(3), Some(3)));
    assert_eq!(hf.data.eos_ids, [1, 3, 9, 17]);
    let hf = load(&changed(|[_, settings, config, generation]| {
        settings.as_object_mut().unwrap().remove("eos_token");
        config["eos_token_id"] = json!(-1);
        generation["eos_token_id"] = json!(2);
        config["pad_token_id"] = json!(-1);
    }));
    assert_eq!(
        (hf.data.eos, &hf.data.eos_ids[..], hf.data.pad),
        (Some(2), &[2, 3][..], None)
    );
}

#[test]
fn bos_is_added_as_configured_or_as_the_post_processor_does() {
    let template = json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel"},
        {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}}
        ]}
    ]});
    let add_bos = |config: Value, post: Value| {
        let hf = load(&changed(|[tokenizer, settings, ..]| {
            settings["add_bos_token"] = config;
            tokenizer["post_processor"] = post;
        }));
        hf.data.add_bos
    };
    assert_eq!(add_bos(Value::Null, Value::Null), Some(false));
    assert_eq!(add_bos(Value::Null, template.clone()), Some(true));
    assert_eq!(add_bos(json!(false), template), Some(false));
    assert_eq!(add_bos(json!(true), Value::Null), Some(true));
}

#[test]
fn what_stands_around_a_whole_text() {
    let template = |after: &[&str]| {
        let mut parts = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
        parts.extend(
            after
                .iter()
                .map(|t| json!({"SpecialToken": {"id": t, "type_id": 0}})),
        );
        json!({"type": "TemplateProcessing", "single": parts})
    };
    let around = |flag: Value, post: Value| {
        let hf = load(&changed(|[tokenizer, settings, ..]| {
            settings["add_bos_token"] = Value::Null;
            settings["add_eos_token"] = flag;
            tokenizer["post_processor"] = post;
        }));
        (hf.data.add_bos, hf.data.add_eos, hf.data.suffix)
    };
    let eos = "<|end_of_text|>";
    assert_eq!(
        around(json!(true), Value::Null),
        (Some(false), Some(true), vec![])
    );
    assert_eq!(
        around(Value::Null, template(&[eos])),
        (Some(false), Some(true), vec![])
    );
    assert_eq!(
        around(json!(false), template(&[eos])),
        (Some(false), Some(false), vec![])
    );
    let two = template(&["<|im_end|>", eos]);
    assert_eq!(around(Value::Null, two), (Some(false), None, vec![3, 1]));
    let roberta =
        json!({"type": "RobertaProcessing", "cls": ["<|begin_of_text|>", 0], "sep": [eos, 1]});
    assert_eq!(
        around(Value::Null, roberta),
        (Some(true), Some(true), vec![])
    );
}

#[test]
fn tokens_past_the_embedding_are_left_out() {
    let pad = json!({"id": 4096, "content": "[PAD]", "single_word": false, "lstrip": true, "rstrip": false, "normalized": true, "special": true});
    let more = |name: &str| {
        changed(|[tokenizer, settings, config, _]| {
            tokenizer["added_tokens"]
                .as_array_mut()
                .unwrap()
                .push(pad.clone());
            settings[name] = json!("[PAD]");
            config["vocab_size"] = json!(4096);
        })
    };
    let hf = load(&more("pad_token"));
    assert_eq!((hf.data.tokens.len(), hf.data.pad), (4096, None));
    assert!(hf.data.strip_left.is_empty() && hf.data.normalized.is_empty());
    assert!(
        hf.notes[0].contains("[PAD]") && hf.notes[0].contains("4096"),
        "{:?}",
        hf.notes
    );
    for needed in ["bos_token", "eos_token"] {
        assert!(fault(&more(needed)).contains("[PAD]"), "{needed}");
    }
    // Merges of what is left out are none.
    let hf = load(&changed(|[tokenizer, _, config, _]| {
        tokenizer["model"]["vocab"]["#q"] = json!(4096);
        tokenizer["model"]["vocab"]["#q#q"] = json!(4097);
        let merges = tokenizer["model"]["merges"].as_array_mut().unwrap();
        merges.extend([json!(["#", "q"]), json!(["#q", "#q"])]);
        config["vocab_size"] = json!(4096);
    }));
    assert_eq!(hf.data.merges.len(), 3836);
    assert_eq!(facet().notes, [""; 0]);
}

#[test]
fn ids_that_nothing_needs_may_be_anything() {
    let hf = load(&changed(|[_, settings, config, generation]| {
        for name in ["pad_token", "unk_token"] {
            settings[name] = json!("<nowhere>");
        }
        config["pad_token_id"] = json!(4096);
        config["unk_token_id"] = json!([5000]);
        generation["pad_token_id"] = json!(-1);
    }));
    assert_eq!((hf.data.pad, hf.data.unk), (None, None));
    let hf = load(&changed(|[_, settings, config, generation]| {
        settings["bos_token"] = Value::Null;
        generation["bos_token_id"] = Value::Null;
        settings["add_bos_token"] = json!(false);
        config["bos_token_id"] = json!(1 << 30);
    }));
    assert_eq!(hf.data.bos, None);
}

#[test]
fn chat_templates_come_from_files_or_fields() {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).into(), (*b).into()))
            .collect()
    };
    let sources = |dir: &TempDir| load(dir).chat_template.unwrap().sources;
    let named = changed(|[_, settings, ..]| {
        settings["chat_template"] =
            json!([{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]);
    });
    assert_eq!(
        sources(&named),
        pairs(&[("tool_use", "T"), ("default", "D")])
    );
    // What a file holds and a reader finds there is the same.
    let hf = load(&named);
    let keys: Vec<String> = hf.to_gguf().into_iter().map(|kv| kv.0).collect();
    for key in [
        "tokenizer.chat_template",
        "tokenizer.chat_template.tool_use",
        "tokenizer.chat_templates",
    ] {
        assert!(keys.iter().any(|k| k == key), "{key}");
    }
    let object = changed(|[_, settings, ..]| {
        settings["chat_template"] = json!({"default": "D", "rag": "R"});
    });
    assert_eq!(sources(&object), pairs(&[("default", "D"), ("rag", "R")]));
    // Files go before fields, and a mark of the byte order is no part of one.
    std::fs::write(named.path().join("chat_template.jinja"), "\u{feff}J").unwrap();
    assert_eq!(sources(&named), pairs(&[("default", "J")]));
    let more = named.path().join("additional_chat_templates");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("tool_use.jinja"), "U").unwrap();
    std::fs::write(more.join("notes.txt"), "N").unwrap();
    assert_eq!(
        sources(&named),
        pairs(&[("default", "J"), ("tool_use", "U")])
    );
    let none = changed(|[_, settings, ..]| settings["chat_template"] = Value::Null);
    assert_eq!(load(&none).chat_template, None);
    let file = none.path().join("chat_template.json");
    std::fs::write(file, r#"{"chat_template": "P"}"#).unwrap();
    assert_eq!(sources(&none), pairs(&[("default", "P")]));
}

/// The variables of templates are what tokenizer_config.json says: null is no token, whatever config.json says.
#[test]
fn templates_see_the_tokens_of_the_tokenizer() {
    let tokens = |dir: &TempDir| load(dir).chat_template.unwrap().tokens;
    let dir = changed(|[_, settings, config, _]| {
        settings["chat_template"] = json!("x");
        settings["bos_token"] = Value::Null;
        settings["eos_token"] = json!({"content": "<|im_end|>", "lstrip": false});
        settings["pad_token"] = json!("");
        settings["added_tokens_decoder"] = json!({});
        settings["extra_special_tokens"] = json!({"image_token": "<|im_start|>"});
        config["bos_token_id"] = json!(0);
    });
    let older = dir.path().join("special_tokens_map.json");
    std::fs::write(&older, r#"{"bos_token": "<s>", "sep_token": "<sep>"}"#).unwrap();
    let found = tokens(&dir);
    let expected = [("eos_token", "<|im_end|>"), ("image_token", "<|im_start|>")];
    assert_eq!(found, expected.map(|(n, t)| (n.to_owned(), t.to_owned())));
    assert_eq!(load(&dir).data.bos, Some(0));
    let dir = changed(|[_, settings, ..]| {
        settings["chat_template"] = json!("x");
        let fields = settings.as_object_mut().unwrap();
        for name in ["bos_token", "added_tokens_decoder", "extra_special_tokens"] {
            fields.remove(name);
        }
    });
    let older = dir.path().join("special_tokens_map.json");
    std::fs::write(older, r#"{"bos_token": "<s>", "eos_token": "no"}"#).unwrap();
    let found = tokens(&dir);
    assert!(
        found.contains(&("bos_token".into(), "<s>".into())),
        "{found:?}"
    );
    assert!(!found.iter().any(|t| t.1 == "no"), "{found:?}");
}

#[test]
fn unknown_structures_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        let error = fault(&changed(|[tokenizer, ..]| change(tokenizer)));
        for part in [&["tokenizer.json"], parts].concat() {
            assert!(error.contains(part), "{error} does not name {part}");
        }
    };
    refused(
        &|t| t["model"]["type"] = json!("Unigram"),
        &["model type", "Unigram", "BPE"],
    );
    refused(
        &|t| t["pre_tokenizer"] = Value::Null,
        &["pre_tokenizer", "none", "llama-bpe"],
    );
    refused(
        &|t| t["pre_tokenizer"] = json!({"type": "Whitespace"}),
        &["Whitespace", "ByteLevel"],
    );
    refused(
        &|t| t["pre_tokenizer"] = json!({"type": "UnicodeScripts"}),
        &["UnicodeScripts", "ByteLevel"],
    );
    let split = |regex: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}
        ]})
    };
    refused(
        &|t| t["pre_tokenizer"] = split("(?<name>a)|\\s+"),
        &["pre_tokenizer", "(?<name>a)"],
    );
    refused(
        &|t| t["normalizer"] = json!({"type": "Nmt"}),
        &["normalizer", "Nmt", "NFC"],
    );
    refused(
        &|t| {
            t["normalizer"] = json!({"type": "Replace", "pattern": {"Regex": "a"}, "content": "b"})
        },
        &["normalizer", "Replace"],
    );
    refused(
        &|t| t["model"]["end_of_word_suffix"] = json!("</w>"),
        &["end_of_word_suffix", "</w>"],
    );
    refused(
        &|t| t["model"]["continuing_subword_prefix"] = json!("##"),
        &["continuing_subword_prefix"],
    );
    refused(&|t| t["model"]["dropout"] = json!(0.1), &["dropout"]);
    refused(
        &|t| {
            t["model"]["byte_fallback"] = json!(true);
            t["pre_tokenizer"] = Value::Null;
        },
        &["pre_tokenizer", "byte_fallback"],
    );
    refused(
        &|t| {
            t["model"]["byte_fallback"] = json!(true);
            t["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
        },
        &["byte_fallback", "<0x00>"],
    );
}

#[test]
fn hostile_files_are_refused_with_their_name() {
    assert!(matches!(
        HfTokenizer::load(Path::new("/nonexistent")),
        Err(HfTokenizerError::Missing { .. })
    ));
    let nested = "[".repeat(100_000) + &"]".repeat(100_000);
    let deep = format!(
        "{{\"model\":{}1{}}}",
        "{\"a\":".repeat(50_000),
        "}".repeat(50_000)
    );
    for text in [
        "",
        "{",
        "nonsense",
        "\u{0}",
        "[]",
        "7",
        "null",
        "{}",
        "{\"model\": 5}",
        &nested,
        &deep,
    ] {
        let error = fault(&directory(&[("tokenizer.json", text)]));
        assert!(error.contains("tokenizer.json"), "{error}");
        assert!(error.len() < 1000, "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), b"{\"a\": \"\xFF\"}").unwrap();
    assert!(fault(&dir).contains("UTF-8"));
    // A directory where a file should be.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tokenizer.json")).unwrap();
    assert!(fault(&dir).contains("tokenizer.json"));

    // Which of the files, the changed field, what the error names.
    let names = [
        "tokenizer.json",
        "tokenizer_config.json",
        "config.json",
        "generation_config.json",
    ];
    let cases: [(usize, &str, Value, &str); 34] = [
        (0, "/model", json!([]), "model"),
        (0, "/model/vocab", json!([]), "model.vocab"),
        (0, "/model/vocab", json!({}), "tokens of the vocabulary"),
        (
            0,
            "/model/vocab/the",
            json!(1_000_000_000),
            "model.vocab.the",
        ),
        (0, "/model/vocab/the", json!(-1), "model.vocab.the"),
        (0, "/model/vocab/the", json!(1.5), "model.vocab.the"),
        (0, "/model/vocab/the", json!("x"), "model.vocab.the"),
        (0, "/model/vocab/the", json!(5), "id 5"),
        (0, "/model/merges", Value::Null, "model.merges"),
        (0, "/model/merges", json!("a b"), "model.merges"),
        (0, "/model/merges", json!([]), "merges"),
        (0, "/model/merges/0", json!(1), "model.merges[0]"),
        (0, "/model/merges/0", json!("ab"), "model.merges[0]"),
        (
            0,
            "/model/merges/0",
            json!(["a", "b", "c"]),
            "model.merges[0]",
        ),
        (0, "/model/merges/0", json!(["a", 1]), "model.merges[0][1]"),
        (0, "/model/merges/0", json!(["a", "zzzzzz"]), "zzzzzz"),
        (0, "/model/merges/0", json!(["a b", "c"]), "model.merges[0]"),
        (0, "/model/byte_fallback", json!("yes"), "byte_fallback"),
        (0, "/added_tokens", json!({}), "added_tokens"),
        (
            0,
            "/added_tokens/1/id",
            json!(1_000_000_000),
            "added_tokens[1].id",
        ),
        (0, "/added_tokens/1/id", Value::Null, "added_tokens[1].id"),
        (0, "/added_tokens/1/content", json!(""), "id 1"),
        (0, "/added_tokens/1/content", json!("other"), "id 1"),
        (
            0,
            "/added_tokens/1/special",
            json!(1),
            "added_tokens[1].special",
        ),
        (0, "/pre_tokenizer", json!("ByteLevel"), "pre_tokenizer"),
        (0, "/pre_tokenizer/type", json!(3), "pre_tokenizer.type"),
        (0, "/normalizer", json!({"type": "Sequence"}), "normalizers"),
        (1, "/bos_token", json!(5), "bos_token"),
        (1, "/bos_token", json!("<nowhere>"), "<nowhere>"),
        (1, "/add_bos_token", json!("yes"), "add_bos_token"),
        (1, "/chat_template", json!(5), "chat_template"),
        (2, "/vocab_size", json!(1_000_000_000), "vocab_size"),
        (2, "/vocab_size", json!(100), "vocab_size"),
        (3, "/eos_token_id", json!([1, 5000]), "eos_token_id[1]"),
    ];
    for (file, pointer, value, named) in cases {
        let dir = changed(|files| {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = files[file].pointer_mut(parent).unwrap();
            match parent.as_array_mut() {
                Some(list) => list[field.parse::<usize>().unwrap()] = value.clone(),
                None => parent[field] = value.clone(),
            }
        });
        let error = fault(&dir);
        assert!(
            error.contains(names[file]) && error.contains(named),
            "{pointer} = {value}: {error}"
        );
        assert!(error.len() < 1000, "{error}");
    }
    for name in &names[1..] {
        let dir = changed(|_| {});
        std::fs::write(dir.path().join(name), "{").unwrap();
        assert!(fault(&dir).contains(name));
    }
}

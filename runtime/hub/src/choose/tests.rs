//! Which files are taken of listings as they are.
#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

fn files(names: &[&str]) -> Vec<Entry> {
    let entry = |name: &&str| Entry {
        name: (*name).into(),
        bytes: 1,
        digest: None,
    };
    let mut files: Vec<Entry> = names.iter().map(entry).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Names and what is given, or the error.
fn take(names: &[&str], wanted: Option<&str>) -> Result<(Vec<String>, String, bool), Error> {
    let files = files(names);
    let choice = choose("a/b", &files, wanted)?;
    let names = choice.files.iter().map(|f| f.name.clone()).collect();
    Ok((names, choice.give, choice.by_default))
}

const QUANTS: [&str; 6] = [
    "README.md",
    "m-Q4_K.gguf",
    "m-Q4_K_M.gguf",
    "m-UD-Q4_K_M.gguf",
    "m-Q8_0.gguf",
    "mmproj-m-F16.gguf",
];

#[test]
fn quantizations() {
    let one = |wanted| {
        let (names, give, _) = take(&QUANTS, Some(wanted)).unwrap();
        assert_eq!(names[..], [&give[..]]);
        give
    };
    assert_eq!(one("Q4_K_M"), "m-Q4_K_M.gguf");
    assert_eq!(one("q4_k"), "m-Q4_K.gguf");
    assert_eq!(one("UD-Q4_K_M"), "m-UD-Q4_K_M.gguf");
    assert_eq!(one("m-Q8_0.gguf"), "m-Q8_0.gguf");
    assert_eq!(one("mmproj-m-F16.gguf"), "mmproj-m-F16.gguf");
    assert_eq!(one("README.md"), "README.md");
    for wanted in ["8_0", "F16", "Q5_K_M"] {
        let error = take(&QUANTS, Some(wanted)).unwrap_err();
        let Error::FileNotFound { near, .. } = &error else {
            panic!("{error}");
        };
        assert!(!near.is_empty());
    }
    let usual = take(&QUANTS, None).unwrap();
    assert_eq!(
        usual,
        (vec!["m-Q8_0.gguf".into()], "m-Q8_0.gguf".into(), true)
    );
    let two = take(&["a-Q8_0.gguf", "b-Q8_0.gguf"], None).unwrap_err();
    assert!(matches!(two, Error::Ambiguous { found, .. } if found.len() == 2));
    let two = take(&["a-Q8_0.gguf", "b-Q8_0.gguf"], Some("Q8_0")).unwrap_err();
    assert!(matches!(two, Error::Ambiguous { .. }));
}

#[test]
fn parts() {
    let names = [
        "Q8/m-Q8_0-00001-of-00002.gguf",
        "Q8/m-Q8_0-00002-of-00002.gguf",
        "m-Q4_0.gguf",
    ];
    for wanted in ["Q8_0", "Q8", "Q8/m-Q8_0-00002-of-00002.gguf"] {
        let (found, give, _) = take(&names, Some(wanted)).unwrap();
        assert_eq!(found, &names[..2], "{wanted}");
        assert_eq!(give, names[0]);
    }
    let cut = take(&names[1..], Some("Q8_0")).unwrap_err();
    assert!(matches!(cut, Error::PartsMissing { missing, .. } if missing == [names[0]]));
    let many = take(&["m-00001-of-99999.gguf"], None).unwrap_err();
    assert!(matches!(many, Error::TooLarge { .. }));
}

#[test]
fn checkpoints() {
    let all = [
        "README.md",
        "config.json",
        "generation_config.json",
        "chat_template.jinja",
        "tokenizer.json",
        "1_Pooling/config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "consolidated.safetensors",
        "onnx/model.safetensors",
        "pytorch_model.bin",
        "m-Q8_0.gguf",
    ];
    let (found, give, _) = take(&all, None).unwrap();
    let expected = [
        "1_Pooling/config.json",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ];
    assert_eq!(
        (&found[..], &give[..]),
        (&expected.map(String::from)[..], "")
    );
    let cut = take(&["model-00001-of-00002.safetensors"], None).unwrap_err();
    assert!(matches!(cut, Error::PartsMissing { .. }));
    let below = ["x/config.json", "x/model.safetensors", "a.bin"];
    let (found, give, _) = take(&below, Some("x")).unwrap();
    assert_eq!((found.len(), &give[..]), (2, "x"));
    let none = take(&below, None).unwrap_err();
    assert!(matches!(none, Error::NoModel { found, .. } if found.len() == 3));
    let adapter = ["adapter_model.safetensors", "adapter_config.json"];
    assert_eq!(take(&adapter, None).unwrap().0.len(), 2);
}

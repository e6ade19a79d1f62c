//! Pipelines of present models: the ids of PyPI `tokenizers` (tests/tokenizers/make_cases.py) on 300 kB of mixed text and 10,000
//! strings, which are made here as they are there.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_converter::hf_tokenizer::HfTokenizer;
use carat_text::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Bytes of the mixed text, the random text's parts of a string at most.
const MIXED: usize = 300_000;
const PARTS: u64 = 25;

fn read(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tokenizers")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// SplitMix64.
struct Generator(u64);

impl Generator {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = self.0;
        let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) % below
    }

    fn of<'v, T>(&mut self, list: &'v [T]) -> &'v T {
        &list[self.next(list.len() as u64) as usize]
    }
}

struct Samples {
    lines: Vec<String>,
    pieces: Vec<String>,
    ranges: Vec<(u32, u32)>,
}

impl Samples {
    fn read() -> Self {
        let value = read("samples.json");
        let texts = |name: &str| serde_json::from_value(value[name].clone()).unwrap();
        Self {
            lines: texts("lines"),
            pieces: texts("pieces"),
            ranges: serde_json::from_value(value["ranges"].clone()).unwrap(),
        }
    }

    fn mixed(&self) -> String {
        let g = &mut Generator(1);
        let mut out = String::new();
        while out.len() < MIXED {
            let words: Vec<&str> = g.of(&self.lines).split(' ').collect();
            let start = g.next(words.len() as u64) as usize;
            out += &[&words[start..], &words[..start]].concat().join(" ");
            match g.next(4) {
                0 => {
                    let digits = 1 + g.next(12) as u32;
                    out += &g.next(10u64.pow(digits)).to_string();
                }
                1 => out += g.of::<String>(&self.pieces),
                _ => {}
            }
            out += if g.next(5) > 0 { "\n" } else { " " };
        }
        out
    }

    fn string(&self, g: &mut Generator) -> String {
        let mut out = String::new();
        for _ in 0..g.next(PARTS) {
            match g.next(8) {
                0 => {
                    let (low, high) = *g.of(&self.ranges);
                    let c = low + g.next(u64::from(high - low + 1)) as u32;
                    out.push(char::from_u32(c).unwrap());
                }
                1 => {
                    let words: Vec<&str> = g.of(&self.lines).split(' ').collect();
                    out += g.of::<&str>(&words);
                }
                _ => out += g.of::<String>(&self.pieces),
            }
        }
        out
    }
}

/// FNV-1a with its 64-bit numbers over lists of u32s, each behind its length.
struct Hash(u64);

impl Hash {
    fn of<'l>(lists: impl IntoIterator<Item = &'l [u32]>) -> String {
        let mut hash = Self(0xCBF2_9CE4_8422_2325);
        for list in lists {
            hash.add(list.len() as u32);
            list.iter().for_each(|n| hash.add(*n));
        }
        format!("{:016x}", hash.0)
    }

    fn add(&mut self, n: u32) {
        self.0 = (self.0 ^ u64::from(n)).wrapping_mul(0x0100_0000_01B3);
    }
}

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

/// The tokenizer.json of a family: the pipeline with one of the two vocabularies.
fn document(family: &Value, vocabularies: &Value) -> Value {
    let characters = family["characters"].as_bool().unwrap();
    let vocabulary = &vocabularies[if characters { "characters" } else { "bytes" }];
    let tokens = vocabulary["tokens"].as_array().unwrap();
    let vocab: Map<String, Value> = (0u32..)
        .zip(tokens)
        .map(|(id, token)| (token.as_str().unwrap().to_owned(), id.into()))
        .collect();
    let mut count = vocab.len() as u64;
    let mut added = family["added"].clone();
    for token in added.as_array_mut().unwrap() {
        let known = vocab.get(token["content"].as_str().unwrap());
        token["id"] = known.cloned().unwrap_or_else(|| count.into());
        count += u64::from(known.is_none());
    }
    let mut model = json!({
        "type": "BPE", "byte_fallback": characters, "vocab": vocab, "merges": vocabulary["merges"],
    });
    for (name, value) in family["model"].as_object().unwrap() {
        model[name] = value.clone();
    }
    json!({
        "added_tokens": added, "normalizer": family["normalizer"],
        "pre_tokenizer": family["pre_tokenizer"], "model": model,
    })
}

#[test]
fn present_families_give_the_same_ids() {
    let (cases, samples) = (read("cases.json"), Samples::read());
    let text = samples.mixed();
    let g = &mut Generator(2);
    let count = cases["strings"].as_u64().unwrap() as usize;
    let strings: Vec<String> = (0..count).map(|_| samples.string(g)).collect();
    assert_eq!(
        cases["text_hash"],
        Hash::of([&*bytes(&text)]),
        "the text is another"
    );
    let spelled: Vec<Vec<u32>> = strings.iter().map(|s| bytes(s)).collect();
    assert_eq!(
        cases["strings_hash"],
        Hash::of(spelled.iter().map(Vec::as_slice)),
        "the strings are others"
    );
    let block = cases["block"].as_u64().unwrap() as usize;
    let families = cases["families"].as_object().unwrap();
    assert!(families.len() >= 30);
    let mut faults = Vec::new();
    for (name, family) in families {
        let dir = tempfile::tempdir().unwrap();
        let json = document(family, &cases["vocabularies"]).to_string();
        std::fs::write(dir.path().join("tokenizer.json"), json).unwrap();
        let hf = HfTokenizer::load(dir.path()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let tokenizer = Tokenizer::new(&hf.data).unwrap();
        let ids: Vec<Vec<u32>> = strings.iter().map(|s| tokenizer.encode(s, true)).collect();
        for (i, expected) in family["first"].as_array().unwrap().iter().enumerate() {
            let expected: Vec<u32> = serde_json::from_value(expected.clone()).unwrap();
            if ids[i] != expected {
                faults.push(format!(
                    "{name}: {:?}: {:?}, not {expected:?}",
                    strings[i], ids[i]
                ));
            }
        }
        let hashes = family["hashes"].as_array().unwrap();
        for (i, (lists, expected)) in ids.chunks(block).zip(hashes).enumerate() {
            if *expected != Hash::of(lists.iter().map(Vec::as_slice)) {
                faults.push(format!("{name}: strings from {}", i * block));
            }
        }
        let lines: Vec<Vec<u32>> = text
            .split_inclusive('\n')
            .map(|line| tokenizer.encode(line, true))
            .collect();
        if family["lines"] != Hash::of(lines.iter().map(Vec::as_slice)) {
            faults.push(format!("{name}: the lines of the mixed text"));
        }
        let whole = tokenizer.encode(&text, true);
        if family["whole"] != json!([whole.len(), Hash::of([&*whole])]) {
            faults.push(format!("{name}: the mixed text, {} tokens", whole.len()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

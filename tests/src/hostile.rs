//! Damaged checkpoints: what opens, reads and converts one, and seeded damage.

use crate::rng::Rng;
use carat_converter::convert::{Options, convert};
use carat_converter::hf_tokenizer::HfTokenizer;
use carat_converter::progress::Silent;
use carat_converter::source::{Checkpoint, TokenizerSource};
use carat_text::tokenizer::{Tokenizer, TokenizerData};
use serde_json::{Value, json};
use std::path::Path;

/// What came of a checkpoint.
#[derive(Debug, PartialEq)]
pub enum End {
    /// An error, as the user sees it.
    Refused(String),
    /// Every weight was read.
    Read,
}

/// Opens a checkpoint, builds its tokenizer and reads every weight; converts it too where `whole`.
pub fn drive(path: &Path, whole: bool) -> End {
    let checkpoint = match Checkpoint::open(path) {
        Ok(checkpoint) => checkpoint,
        Err(e) => return End::Refused(e.to_string()),
    };
    // Each part may refuse on its own.
    match checkpoint.tokenizer() {
        TokenizerSource::Directory(directory) => {
            if let Ok(t) = HfTokenizer::load(directory) {
                let _ = Tokenizer::new(&t.data).map(|t| t.encode_prompt("a b", true));
            }
        }
        TokenizerSource::Metadata => {
            let data = checkpoint.header().map(|h| TokenizerData::from_gguf(&h));
            if let Some(Ok(data)) = data {
                let _ = Tokenizer::new(&data).map(|t| t.encode_prompt("a b", true));
            }
        }
    }
    let mut row = Vec::new();
    for tensor in checkpoint.hyper().tensors() {
        let (rows, _) = checkpoint.hyper().shape(tensor);
        for start in (0..rows).step_by(16) {
            if let Err(e) = checkpoint.read_rows(tensor, start..rows.min(start + 16), &mut row) {
                return End::Refused(e.to_string());
            }
        }
    }
    if whole && let Ok(directory) = tempfile::tempdir() {
        let options = Options {
            source: path.into(),
            output: directory.path().join("out.gguf"),
            threads: Some(1),
            ..Options::default()
        };
        if let Err(e) = convert(&options, &Silent) {
            return End::Refused(e.to_string());
        }
    }
    End::Read
}

/// One seeded mutation of `bytes` within `range`.
pub fn mutate(bytes: &mut [u8], range: std::ops::Range<usize>, rng: &mut Rng) {
    const EXTREMES: [u64; 10] = [
        0,
        u64::MAX,
        1,
        0x7fff_ffff,
        0x8000_0000,
        1 << 63,
        0x8000,
        0xff80,
        0x80,
        255,
    ];
    if range.is_empty() {
        return;
    }
    for _ in 0..1 + rng.below(4) {
        let at = range.start + rng.below(range.len() as u64) as usize;
        let (value, width) = match rng.below(4) {
            0 => (rng.bits(), 1),
            1 => (u64::from(bytes[at]) ^ 1 << rng.below(8), 1),
            n => (EXTREMES[rng.below(10) as usize], if n == 2 { 4 } else { 8 }),
        };
        let bytes = bytes[at..range.end].iter_mut();
        for (b, v) in bytes.zip(value.to_le_bytes()).take(width) {
            *b = v;
        }
    }
}

/// A value that is not what a field expects.
pub fn odd(rng: &mut Rng) -> Value {
    let all = [
        Value::Null,
        json!(-1),
        json!(0),
        json!(3),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(4_294_967_296_u64),
        json!(1e308),
        json!(-1e-308),
        json!(0.5),
        json!(""),
        json!("NaN"),
        json!("\u{1b}[2J/../../etc/passwd"),
        json!(true),
        json!([]),
        json!({}),
        json!([[[[[[[[-1]]]]]]]]),
        json!({"type": {"type": {"type": []}}}),
        json!([u32::MAX, "a", null]),
    ];
    let i = rng.below(all.len() as u64) as usize;
    all.into_iter().nth(i).unwrap_or_default()
}

/// Replaces, removes or doubles one value somewhere in a document.
pub fn disturb(value: &mut Value, rng: &mut Rng) {
    let deeper = rng.below(5) != 0;
    match value {
        Value::Object(map) if deeper && !map.is_empty() => {
            let i = rng.below(map.len() as u64) as usize;
            let key = map.keys().nth(i).cloned().unwrap_or_default();
            match rng.below(12) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert("unheard_of".into(), odd(rng))),
                _ => {
                    if let Some(value) = map.get_mut(&key) {
                        disturb(value, rng);
                    }
                }
            }
        }
        Value::Array(list) if deeper && !list.is_empty() => {
            let i = rng.below(list.len() as u64) as usize;
            match rng.below(8) {
                0 => drop(list.remove(i)),
                1 => list.push(list[i].clone()),
                _ => disturb(&mut list[i], rng),
            }
        }
        other => *other = odd(rng),
    }
}

//! A model whose blocks differ: other heads, other widths, a window, no feed-forward part, no attention.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_converter::budget::Target;
use carat_converter::calibrate::{Calibration, Methods, Text};
use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use carat_converter::source::Checkpoint;
use carat_gguf::{OwnedArray, OwnedValue, TensorType, Writer};
use carat_tests::divergence;
use carat_tests::drivers::{self, Driver};
use carat_tests::hashes::{Request, hashes};
use carat_tests::rng::Rng;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_logits_hash");
/// Positions of the hash: beyond every window, and into a second page of the cache.
const TOKENS: u32 = 330;

/// Rows of the embedding.
const VOCAB: u64 = 128;
const WIDTH: u64 = 64;
const HEAD_DIM: u64 = 16;
/// Of each block: query heads, key/value heads, width of the feed-forward part, whether it has a window.
const BLOCKS: [[u32; 4]; 5] = [
    [4, 2, 96, 1],
    [2, 1, 64, 0],
    [4, 2, 0, 1],
    [0, 0, 96, 0],
    [4, 1, 96, 0],
];
const WINDOW: u32 = 20;

/// A checkpoint of these blocks: a GGUF file that says heads, widths and windows as lists, as llama.cpp's files do.
fn source(dir: &Path) -> PathBuf {
    let list = |i: usize| OwnedValue::Array(OwnedArray::U32(BLOCKS.map(|b| b[i]).into()));
    let windows = BLOCKS.map(|b| b[3] == 1).to_vec();
    let mut w = Writer::new();
    let mut put = |key: &str, value: OwnedValue| {
        w.kv(key, value).unwrap();
    };
    put("general.architecture", "gemma3".to_string().into());
    put("gemma3.context_length", 512u32.into());
    put("gemma3.embedding_length", (WIDTH as u32).into());
    put("gemma3.block_count", (BLOCKS.len() as u32).into());
    put("gemma3.attention.head_count", list(0));
    put("gemma3.attention.head_count_kv", list(1));
    put("gemma3.feed_forward_length", list(2));
    put("gemma3.attention.key_length", (HEAD_DIM as u32).into());
    put("gemma3.attention.value_length", (HEAD_DIM as u32).into());
    put("gemma3.attention.layer_norm_rms_epsilon", 1e-5f32.into());
    put("gemma3.attention.sliding_window", WINDOW.into());
    put("gemma3.attention.sliding_window_pattern", windows.into());
    let text = |i: u64| match i {
        0 => "<".into(),
        1 => "1".into(),
        2 => "<1".into(),
        i => format!("<{i}>"),
    };
    let tokens: Vec<String> = (0..VOCAB).map(text).collect();
    put("tokenizer.ggml.model", "gpt2".to_string().into());
    put("tokenizer.ggml.pre", "gpt-2".to_string().into());
    put("tokenizer.ggml.tokens", tokens.into());
    put("tokenizer.ggml.merges", vec!["< 1".to_string()].into());

    let mut tensors = vec![
        ("token_embd".to_string(), vec![WIDTH, VOCAB]),
        ("output_norm".into(), vec![WIDTH]),
        ("output".into(), vec![WIDTH, VOCAB]),
    ];
    for (b, [heads, kv, ff, _]) in BLOCKS.into_iter().enumerate() {
        let [q, kv] = [heads, kv].map(|n| u64::from(n) * HEAD_DIM);
        let ff = u64::from(ff);
        let mut part = |name: &str, dims: &[u64]| {
            tensors.push((format!("blk.{b}.{name}"), dims.to_vec()));
        };
        if heads > 0 {
            part("attn_norm", &[WIDTH]);
            part("attn_q", &[WIDTH, q]);
            part("attn_k", &[WIDTH, kv]);
            part("attn_v", &[WIDTH, kv]);
            part("attn_q_norm", &[HEAD_DIM]);
            part("attn_k_norm", &[HEAD_DIM]);
            part("attn_output", &[q, WIDTH]);
            part("post_attention_norm", &[WIDTH]);
        }
        if ff > 0 {
            part("ffn_norm", &[WIDTH]);
            part("ffn_gate", &[WIDTH, ff]);
            part("ffn_up", &[WIDTH, ff]);
            part("ffn_down", &[ff, WIDTH]);
            part("post_ffw_norm", &[WIDTH]);
        }
    }
    let mut rng = Rng(3);
    let mut data = Vec::new();
    for (name, dims) in &tensors {
        let n: u64 = dims.iter().product();
        let cols = dims[0] as f32;
        let mut next = || (rng.below(2001) as f32 - 1000.0) / 1000.0;
        let values = (0..n).map(|_| match dims.len() {
            1 => 1.0 + 0.3 * next(),
            _ => next() * (3.0 / cols).sqrt(),
        });
        data.push(values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
        w.tensor(format!("{name}.weight"), dims, TensorType::F32, n * 4)
            .unwrap();
    }
    let layout = w.finish().unwrap();
    let mut file = layout.header.clone();
    for (at, data) in layout.tensor_offsets.iter().zip(&data) {
        file.resize(*at as usize, 0);
        file.extend(data);
    }
    file.resize(layout.file_len as usize, 0);
    let path = dir.join("source.gguf");
    std::fs::write(&path, file).unwrap();
    path
}

/// Tokens that the synthetic tokenizer has.
fn text(dir: &Path) -> PathBuf {
    let (path, mut rng) = (dir.join("text.txt"), Rng(5));
    let letter = |_| if rng.below(2) == 0 { '<' } else { '1' };
    let text: String = (0..2000).map(letter).collect();
    std::fs::write(&path, text).unwrap();
    path
}

fn converted(source: &Path, options: Options) -> PathBuf {
    let output = source.with_extension(format!("{}.gguf", options.bits));
    let options = Options {
        source: source.into(),
        output: output.clone(),
        force: true,
        ..options
    };
    convert(&options, &Silent).unwrap();
    output
}

#[test]
fn its_blocks_are_what_the_lists_say() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(source(dir.path())).unwrap();
    let blocks = checkpoint.hyper().blocks.iter().map(|b| {
        let heads = b.attention().map_or([0; 2], |a| [a.heads, a.kv_heads]);
        let window = b.attention().is_some_and(|a| a.window == Some(WINDOW));
        let width = b.gated().map_or(0, |g| g.width);
        [heads[0], heads[1], width, window.into()]
    });
    assert!(blocks.eq(BLOCKS));
}

#[test]
fn it_converts_near_its_f32_pass_and_has_one_hash() {
    let dir = tempfile::tempdir().unwrap();
    let (source, text) = (source(dir.path()), text(dir.path()));
    let mut rng = Rng(7);
    let ids: Vec<u32> = (0..200).map(|_| rng.below(128) as u32).collect();
    let eight = converted(
        &source,
        Options {
            bits: 8.0,
            ..Options::default()
        },
    );
    let kl = divergence::mean(&source, &eight, &ids);
    eprintln!("mean KL {kl:.6} at 8 bits");
    assert!(kl < 1e-3, "{kl}");
    // Everything that a calibration may do, and a division of the size.
    let calibrated = converted(
        &source,
        Options {
            bits: 4.0,
            target: Some(Target::BitsPerWeight(5.0)),
            calibration: Some(Calibration {
                text: Text::File(text),
                tokens: 768,
                seed: 0,
                methods: Methods {
                    awq: true,
                    rotate_heads: true,
                    exponent: true,
                    ..Methods::default()
                },
            }),
            accept_useless: true,
            ..Options::default()
        },
    );
    let fitted = divergence::mean(&source, &calibrated, &ids);
    eprintln!("mean KL {fitted:.4} at 5 bits");
    assert!(fitted > kl && fitted < 0.5, "{fitted}");

    let files = [eight, calibrated];
    let runs = |batch| -> Vec<Request<'_>> {
        files.iter().map(|f| (f.as_path(), batch, TOKENS)).collect()
    };
    let expected = hashes(&mut Command::new(PROGRAM), "cpu", &runs(64));
    for batch in [0, 7] {
        let found = hashes(&mut Command::new(PROGRAM), "cpu", &runs(batch));
        for (v, expected) in found.iter().zip(&expected) {
            assert_eq!(v["hash"], expected["hash"], "batch {batch}");
        }
    }
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let mut command = Command::new(PROGRAM);
        let program = command.envs(Driver::environment(manifest));
        let found = hashes(program, driver.adapter, &runs(64));
        for (v, expected) in found.iter().zip(&expected) {
            assert!(v["dispatches"].as_u64().unwrap() > 0, "{v}");
            assert_eq!(v["hash"], expected["hash"], "{}", driver.name);
        }
    }
}

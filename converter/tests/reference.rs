//! The forward pass in f32 against llama.cpp's and transformers' logits.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::eval::Dump;
use carat_converter::progress::Progress;
use carat_converter::reference::{Arithmetic, Reference, ReferenceError, Run};
use carat_converter::source::Checkpoint;
use carat_format::{Part, Tensor};
use carat_gguf::{TensorType, Writer};
use common::{checkpoint, config, facet, shared, tensors};
use std::collections::BTreeMap;
use std::path::Path;

const GB: u64 = 1 << 30;

/// All logits of a text.
fn logits(reference: &Reference<'_>, ids: &[u32]) -> Vec<f32> {
    let mut all = Vec::new();
    let mut next = 0;
    let mut sink = |sequence: usize, position: usize, row: &[f32]| {
        assert_eq!((sequence, position), (0, next));
        next += 1;
        all.extend_from_slice(row);
    };
    reference
        .forward(&[ids.to_vec()], 0, &mut Run::default(), &mut sink)
        .unwrap();
    all
}

/// Largest difference over the root mean square of what is expected.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let squares: f64 = expected.iter().map(|z| f64::from(*z).powi(2)).sum();
    let rms = (squares / expected.len() as f64).sqrt();
    let far = found
        .iter()
        .zip(expected)
        .fold(0f64, |m, (a, b)| m.max(f64::from((a - b).abs())));
    far / rms
}

fn check(model: &str, dump: &str) {
    let (Some(model), Some(dump)) = (shared(model), shared(dump)) else {
        return;
    };
    let c = Checkpoint::open(&model).unwrap();
    let dump = Dump::read(&dump).unwrap();
    assert_eq!(dump.vocab, c.hyper().vocab_size);
    for (budget, arithmetic) in [
        (GB, Arithmetic::Fast),
        (0, Arithmetic::Fast),
        (1 << 20, Arithmetic::Reproducible),
    ] {
        let reference = Reference::open(&c, budget).unwrap().arithmetic(arithmetic);
        let d = distance(&logits(&reference, &dump.ids), &dump.logits);
        eprintln!(
            "{}: {arithmetic:?}, budget {budget}: {d:.1e} of rms",
            model.display()
        );
        assert!(d <= 1e-3, "{}: {d}", model.display());
    }
}

#[test]
fn tiny256_of_every_type() {
    check(
        "oracles/tiny256/tiny256-f32.gguf",
        "oracles/tiny256/tiny256-f32.logits.bin",
    );
    for ty in [
        "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q6_k", "iq4_nl",
    ] {
        let stem = format!("oracles/tiny256/tiny256-{ty}");
        check(
            &format!("{stem}.gguf"),
            &format!("{stem}.deq-f32.logits.bin"),
        );
    }
}

#[test]
fn stories260k_of_both_versions() {
    for version in ["v1", "v3"] {
        let model = format!("oracles/stories260k/stories260k-{version}-f32.gguf");
        check(&model, "oracles/stories260k/stories260k-once.logits.bin");
    }
}

/// The checkpoint as a GGUF in f32, a llama's rows of queries and keys in ggml's order, with rope factors
/// that turn `base^(-2i/head_dim)` into these frequencies.
fn as_gguf(c: &Checkpoint, base: f64, frequencies: &[f64], path: &Path) {
    let h = c.hyper();
    let architecture = match h.source_architecture.as_str() {
        "mistral" => "llama",
        own => own,
    };
    let mut w = Writer::new();
    w.kv("general.architecture", architecture.to_string())
        .unwrap();
    let a = h.blocks[0].attention().unwrap();
    let width = h.blocks[0].gated().unwrap().width;
    if let Some(window) = a.window {
        w.kv("llama.attention.sliding_window", window).unwrap();
    }
    for (key, value) in [
        ("context_length", h.context_length),
        ("embedding_length", h.embedding_length),
        ("block_count", h.block_count()),
        ("feed_forward_length", width),
        ("attention.head_count", a.heads),
        ("attention.head_count_kv", a.kv_heads),
        ("attention.key_length", a.head_dim),
        ("rope.dimension_count", a.head_dim),
    ] {
        w.kv(format!("{architecture}.{key}"), value).unwrap();
    }
    for (key, value) in [
        ("attention.layer_norm_rms_epsilon", h.epsilon),
        ("rope.freq_base", base),
    ] {
        w.kv(format!("{architecture}.{key}"), value as f32).unwrap();
    }
    let dim = f64::from(a.head_dim);
    let plain = |i: usize| base.powf(-2.0 * i as f64 / dim);
    let factors = frequencies
        .iter()
        .enumerate()
        .map(|(i, f)| (plain(i) / f) as f32)
        .collect();
    let mut data: Vec<Vec<f32>> = vec![factors];
    let pairs = frequencies.len() as u64;
    w.tensor("rope_freqs.weight", &[pairs], TensorType::F32, pairs * 4)
        .unwrap();
    for t in h.tensors() {
        let (rows, cols) = h.shape(t);
        let mut all = Vec::new();
        c.read_rows(t, 0..rows, &mut all).unwrap();
        if architecture == "llama" && matches!(t, Tensor::Block(_, Part::AttnQ | Part::AttnK)) {
            let (half, wide) = (a.head_dim as usize / 2, cols as usize);
            let mut ggml = Vec::new();
            for head in all.chunks_exact(2 * half * wide) {
                for i in 0..half {
                    ggml.extend_from_slice(&head[i * wide..][..wide]);
                    ggml.extend_from_slice(&head[(half + i) * wide..][..wide]);
                }
            }
            all = ggml;
        }
        let dims = if t.is_vector() {
            vec![cols]
        } else {
            vec![cols, rows]
        };
        w.tensor(t.name(), &dims, TensorType::F32, rows * cols * 4)
            .unwrap();
        data.push(all);
    }
    let layout = w.finish().unwrap();
    let mut file = layout.header.clone();
    for (at, data) in layout.tensor_offsets.iter().zip(&data) {
        file.resize(*at as usize, 0);
        file.extend_from_slice(bytemuck::cast_slice(data));
    }
    file.resize(layout.file_len as usize, 0);
    std::fs::write(path, file).unwrap();
}

/// These oracles ran with rotary frequencies rounded to bf16 (the whole module was cast, buffers
/// included), which real checkpoints are not run with. So each is met through a GGUF whose rope factors give
/// those frequencies, and the directory itself through one whose factors give its own. The directory's logits
/// are those of transformers 5.23 in f32 (torch 2.15), of which `data/architectures_exact.json` has one a
/// position `p`: that of token `(7p + 1) mod 4096`.
#[test]
fn architectures_of_the_oracle() {
    let exact_logits: BTreeMap<String, Vec<f32>> =
        serde_json::from_str(include_str!("data/architectures_exact.json")).unwrap();
    for (name, base) in [
        ("llama3-rope-untied", 5e5),
        ("mistral-window", 1e4),
        ("qwen2-tied", 1e6),
        ("qwen3-untied", 1e6),
    ] {
        let directory = format!("oracles/architectures/{name}");
        let (Some(model), Some(dump)) = (
            shared(&directory),
            shared(&format!("{directory}/logits.bin")),
        ) else {
            continue;
        };
        let c = Checkpoint::open(model).unwrap();
        let dump = Dump::read(&dump).unwrap();
        let exact = c.hyper().rope_tables[0].clone();
        let rounded: Vec<f64> = exact
            .iter()
            .map(|f| half::bf16::from_f64(*f).to_f64())
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let run = |frequencies: &[f64]| {
            let path = dir.path().join("x.gguf");
            as_gguf(&c, base, frequencies, &path);
            let g = Checkpoint::open(path).unwrap();
            logits(&Reference::open(&g, GB).unwrap(), &dump.ids)
        };
        let own = logits(&Reference::open(&c, GB).unwrap(), &dump.ids);
        let (d, far) = (
            distance(&run(&rounded), &dump.logits),
            distance(&own, &dump.logits),
        );
        eprintln!("{name}: frequencies in bf16 {d:.1e} of rms, exact ones {far:.1e}");
        assert!(d <= 1e-3, "{name}: {d}");
        assert!(distance(&own, &run(&exact)) <= 1e-3, "{name}");
        let picked: Vec<f32> = own
            .chunks_exact(4096)
            .enumerate()
            .map(|(p, row)| row[(7 * p + 1) % 4096])
            .collect();
        let d = distance(&picked, &exact_logits[name]);
        assert!(d <= 1e-3, "{name}, exact frequencies: {d}");
    }
}

#[test]
fn greedy_ids_of_stories260k() {
    let Some(oracle) = shared("oracles/stories260k/stories260k-greedy.json") else {
        return;
    };
    let oracle: serde_json::Value =
        serde_json::from_slice(&std::fs::read(oracle).unwrap()).unwrap();
    let ids = |key: &str| -> Vec<u32> {
        oracle[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap() as u32)
            .collect()
    };
    for version in ["v1", "v3"] {
        let file = shared(&format!(
            "oracles/stories260k/stories260k-{version}-f32.gguf"
        ))
        .unwrap();
        let c = Checkpoint::open(file).unwrap();
        for arithmetic in [Arithmetic::Fast, Arithmetic::Reproducible] {
            let reference = Reference::open(&c, GB).unwrap().arithmetic(arithmetic);
            assert_eq!(
                reference.greedy(&ids("prompt_ids"), 64).unwrap(),
                ids("greedy_ids")
            );
        }
    }
}

#[test]
fn batches_windows_and_steps_agree() {
    let c = Checkpoint::open(facet()).unwrap();
    let reference = Reference::open(&c, GB).unwrap();
    let sequence =
        |n: u32, seed: u32| -> Vec<u32> { (0..n).map(|i| (i * 997 + seed) % 4096).collect() };
    let sequences = [sequence(70, 1), sequence(1, 5), sequence(131, 9)];
    let alone: Vec<Vec<f32>> = sequences.iter().map(|s| logits(&reference, s)).collect();
    let mut seen = 0;
    reference
        .forward(&sequences, 60, &mut Run::default(), &mut |s, p, row| {
            seen += 1;
            assert!(
                distance(row, &alone[s][p * 4096..][..4096]) < 1e-4,
                "sequence {s}, position {p}"
            );
        })
        .unwrap();
    assert_eq!(seen, 10 + 71);
    let mut decoder = reference.decoder();
    let (first, rest) = sequences[0].split_at(30);
    decoder.push(first).unwrap();
    for (i, t) in rest.iter().enumerate() {
        let row = decoder.push(&[*t]).unwrap();
        assert!(
            distance(row, &alone[0][(30 + i) * 4096..][..4096]) < 1e-4,
            "position {}",
            30 + i
        );
    }
}

#[test]
fn reproducible_bits_do_not_depend_on_threads_or_budget() {
    let c = Checkpoint::open(facet()).unwrap();
    let ids: Vec<u32> = (0..90).map(|i| i * 31 % 4096).collect();
    let bits = |threads: usize, budget: u64| -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let r = Reference::open(&c, budget)
                .unwrap()
                .arithmetic(Arithmetic::Reproducible);
            logits(&r, &ids).iter().map(|z| z.to_bits()).collect()
        })
    };
    let one = bits(1, GB);
    assert!(one == bits(3, 0));
    let hash = blake3::hash(bytemuck::cast_slice(&one));
    // The same on every machine: no processor-dependent instruction decides a bit.
    assert_eq!(
        hash.to_hex().as_str(),
        "ec0b8e5afd5d45cebd32712cb1bf91ca677320c091a781f6861e10177fe3446c"
    );
}

#[test]
fn intermediates_have_names_and_shapes() {
    let dir = checkpoint(&config(), &tensors());
    let c = Checkpoint::open(dir.path()).unwrap();
    let reference = Reference::open(&c, GB).unwrap();
    let mut widths = BTreeMap::new();
    let mut blocks = Vec::new();
    let mut observe = |block: u32, name: &str, values: &[f32]| {
        assert!(values.iter().all(|v| v.is_finite()));
        widths.insert(name.to_string(), values.len() / 3);
        blocks.push(block);
    };
    let mut run = Run {
        observe: Some(&mut observe),
        ..Run::default()
    };
    reference.hidden(&[&[1, 2], &[3]], &mut run).unwrap();
    let expected = [
        ("embedding", 16),
        ("attention_norm", 16),
        ("query", 32),
        ("key", 16),
        ("value", 16),
        ("attention", 32),
        ("attention_residual", 16),
        ("ffn_norm", 16),
        ("ffn_gate", 24),
        ("ffn_up", 24),
        ("ffn_product", 24),
        ("ffn_residual", 16),
        ("output_norm", 16),
    ];
    assert_eq!(
        widths,
        expected.iter().map(|(n, w)| (n.to_string(), *w)).collect()
    );
    assert_eq!((blocks.len(), blocks.last()), (1 + 2 * 11 + 1, Some(&2)));
}

#[test]
fn bad_tokens_and_cancellation_are_errors() {
    struct Stop;
    impl Progress for Stop {
        fn step(&self, done: u64, _: u64) {
            assert_eq!(done, 1);
        }
        fn cancelled(&self) -> bool {
            true
        }
    }
    let dir = checkpoint(&config(), &tensors());
    let c = Checkpoint::open(dir.path()).unwrap();
    let reference = Reference::open(&c, GB).unwrap();
    let hidden = |s: &[&[u32]]| reference.hidden(s, &mut Run::default());
    assert!(matches!(
        hidden(&[&[1], &[2, 20]]),
        Err(ReferenceError::Token {
            sequence: 1,
            position: 1,
            found: 20,
            vocab_size: 20
        })
    ));
    assert!(matches!(
        hidden(&[&[]]),
        Err(ReferenceError::Empty { sequence: 0 })
    ));
    let mut run = Run {
        progress: &Stop,
        observe: None,
    };
    assert!(matches!(
        reference.hidden(&[&[1]], &mut run),
        Err(ReferenceError::Cancelled)
    ));
}

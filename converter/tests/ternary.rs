//! Weights that are −s, 0 and s come through ternary codes, those that are −s and s through codes of 1 bit: every code, and
//! s to the row scale's 16 bits.
#![allow(clippy::unwrap_used)]

mod common;

use carat_converter::budget::Target;
use carat_converter::calibrate::{Calibration, Methods, Text};
use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use carat_converter::quantize::{Objective, Quantizer};
use carat_converter::source::Checkpoint;
use carat_format::{Coding, Encoding, ScaleGroup, Tensor};
use carat_gguf::TensorType;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Half a unit of the smallest normalised mantissa, 32768.
const ROUNDING: f64 = 1.0 / 65536.0;

fn trit(x: f32) -> f32 {
    if x.abs() < 0.34 { 0.0 } else { x.signum() }
}

#[test]
fn a_row_of_one_scale_keeps_every_code() {
    let mut next = common::noise(5);
    for group in ScaleGroup::ALL {
        let quantizer = Quantizer::new(
            Coding {
                encoding: Encoding::Ternary,
                group,
            },
            1.0,
        );
        for (cols, keep_norm) in [(1, true), (33, false), (256, true), (300, true)] {
            for power in [-120, -40, -7, 0, 9] {
                let s = (1.5 + next() * 0.5) * 2f32.powi(power);
                let mut trits: Vec<f32> = (0..cols).map(|_| trit(next())).collect();
                // A scale group without weights, and a row that is not zero.
                trits.iter_mut().skip(128).take(128).for_each(|t| *t = 0.0);
                trits[0] = -1.0;
                let w: Vec<f32> = trits.iter().map(|t| t * s).collect();
                let importance: Vec<f32> = (0..cols).map(|_| next().abs() * 4.0).collect();
                for importance in [None, Some(&importance[..])] {
                    let row = quantizer.row(
                        &w,
                        &Objective {
                            importance,
                            keep_norm,
                            coarse: false,
                        },
                    );
                    let codes: Vec<u8> = trits.iter().map(|t| (t + 1.0) as u8).collect();
                    assert_eq!(row.packed.codes, codes);
                    let unit = f64::from(row.packed.scale.mantissa)
                        * f64::from(row.packed.scale.exponent).exp2();
                    for (i, t) in trits.iter().enumerate().filter(|(_, t)| **t != 0.0) {
                        let scale = f64::from(row.packed.scales[i / group.weights()]);
                        let found = 127.0 * scale * unit / f64::from(s);
                        assert!((found - 1.0).abs() < ROUNDING, "{t}: {found}");
                    }
                }
            }
        }
    }
}

/// The trit of weight `i` of the matrix `name`; of each row of 256 the first block of 128 has none but zeros for
/// `sparse` rows.
fn trits(name: &str, n: usize) -> Vec<f32> {
    let mut next = common::noise(name.bytes().map(u64::from).sum());
    (0..n).map(|_| trit(next())).collect()
}

fn scale_of(name: &str) -> f32 {
    // Of eight bits, so that bfloat16 holds it.
    (1.0 + name.len() as f32 / 128.0) / 64.0
}

/// How the matrices of the blocks are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stored {
    /// A number each.
    BFloat16,
    /// Four rows in a byte, beside a factor.
    PackedTimes,
    /// The same beside a divisor.
    PackedOver,
}

/// A checkpoint whose matrices of the blocks are [`trits`] times [`scale_of`] each; `change` is set in the bytes of the
/// packed.
fn hugging_face(stored: Stored, change: u8) -> tempfile::TempDir {
    let mut config = common::config();
    let class = match stored {
        Stored::BFloat16 => None,
        Stored::PackedTimes => Some("autobitlinear"),
        Stored::PackedOver => Some("bitlinear"),
    };
    if let Some(class) = class {
        config["quantization_config"] = json!({"quant_method": "bitnet", "linear_class": class, "quantization_mode": "offline"});
    }
    let source = common::checkpoint(&config, &common::tensors());
    common::copy_tokenizer(source.path());
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut put = |name: String, dtype: &str, shape: &[usize], bytes: Vec<u8>| {
        let start = data.len();
        data.extend(bytes);
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, entry);
    };
    for (name, shape) in common::tensors() {
        let n: usize = shape.iter().product();
        if !name.ends_with("_proj.weight") {
            let mut next = common::noise(name.len() as u64);
            let bytes = (0..n).flat_map(|_| next().to_le_bytes()).collect();
            put(name, "F32", &shape, bytes);
            continue;
        }
        let (trits, scale) = (trits(&name, n), scale_of(&name));
        if stored == Stored::BFloat16 {
            let half = |t: &f32| ((t * scale).to_bits() >> 16) as u16;
            let bytes = trits.iter().flat_map(|t| half(t).to_le_bytes()).collect();
            put(name, "BF16", &shape, bytes);
            continue;
        }
        let quarter = n / 4;
        let bytes = (0..quarter)
            .map(|i| {
                let code = |q: usize| (trits[q * quarter + i] + 1.0) as u8;
                (code(0) | code(1) << 2 | code(2) << 4 | code(3) << 6) | change
            })
            .collect();
        put(name.clone(), "U8", &[shape[0] / 4, shape[1]], bytes);
        let scale = match stored {
            Stored::PackedOver => 1.0 / scale,
            _ => scale,
        };
        let bytes = scale.to_le_bytes().to_vec();
        put(format!("{name}_scale"), "F32", &[1], bytes);
    }
    let header = serde_json::Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes(), &data].concat();
    fs::write(source.path().join("model.safetensors"), file).unwrap();
    source
}

/// An f16 a little above 2^-6.
const SCALE: u16 = 0x2425;

/// A block of 256 trits as `block_tq2_0` and `block_tq1_0` of ggml hold them.
fn tq2_0(trits: &[f32], scale: u16) -> Vec<u8> {
    let code = |i: usize| (trits[i] + 1.0) as u8;
    let byte = |i: usize| {
        let first = i / 32 * 128 + i % 32;
        (0..4).fold(0, |b, q| b | code(first + 32 * q) << (2 * q))
    };
    let bytes = (0..64).map(byte);
    bytes.chain(scale.to_le_bytes()).collect()
}

fn tq1_0(trits: &[f32], scale: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (start, width, digits) in [(0, 32, 5), (160, 16, 5), (240, 4, 4)] {
        for i in 0..width {
            let digit = |d: u32| (trits[start + d as usize * width + i] + 1.0) as u32;
            let value: u32 = (0..digits).map(|d| digit(d) * 3u32.pow(4 - d)).sum();
            bytes.push((value * 256).div_ceil(243) as u8);
        }
    }
    bytes.extend(scale.to_le_bytes());
    bytes
}

/// Codes of 2 bits, and of 1, from the low bits of a byte on, after their scale: `block_q2_0` and `block_q1_0`.
fn q2_0(trits: &[f32], scale: u16) -> Vec<u8> {
    let code = |(i, t): (usize, &f32)| ((t + 1.0) as u8) << (2 * i);
    let byte = |t: &[f32]| t.iter().enumerate().map(code).sum::<u8>();
    let bytes = trits.chunks(4).map(byte);
    scale.to_le_bytes().into_iter().chain(bytes).collect()
}

fn q1_0(signs: &[f32], scale: u16) -> Vec<u8> {
    let code = |(i, s): (usize, &f32)| u8::from(*s > 0.0) << i;
    let byte = |s: &[f32]| s.iter().enumerate().map(code).sum::<u8>();
    let bytes = signs.chunks(8).map(byte);
    scale.to_le_bytes().into_iter().chain(bytes).collect()
}

type Block = fn(&[f32], u16) -> Vec<u8>;

/// Types of two or three values.
const TYPES: [(TensorType, Block); 4] = [
    (TensorType::TQ1_0, tq1_0),
    (TensorType::TQ2_0, tq2_0),
    (TensorType::Q2_0, q2_0),
    (TensorType::Q1_0, q1_0),
];

/// A model of such blocks as llama.cpp writes it: that type where rows have whole blocks, else F16.
fn gguf(dir: &Path, (ty, block): (TensorType, Block)) -> PathBuf {
    let path = dir.join("source.gguf");
    let elements = ty.block_size().unwrap();
    let mut tensors = common::gguf::llama(common::gguf::VOCAB, common::noise(29));
    for t in &mut tensors {
        if !t.name.starts_with("blk.") || t.name.contains("norm") {
            continue;
        }
        let n = t.dims.iter().product::<u64>() as usize;
        let mut trits = trits(&t.name, n);
        if ty == TensorType::Q1_0 {
            let signs = trits.iter().map(|t| if *t > 0.0 { 1.0 } else { -1.0 });
            trits = signs.collect();
        }
        if t.dims[0] % elements == 0 {
            t.ty = ty;
            let blocks = trits.chunks(elements as usize);
            t.data = blocks.flat_map(|b| block(b, SCALE)).collect();
        } else {
            t.ty = TensorType::F16;
            let half = |t: &f32| match *t {
                0.0 => 0,
                t => SCALE | u16::from(t < 0.0) << 15,
            };
            t.data = trits.iter().flat_map(|t| half(t).to_le_bytes()).collect();
        }
    }
    let mut keys = common::gguf::llama_keys();
    keys.extend(common::gguf::tokenizer_keys());
    fs::write(&path, common::gguf::gguf_bytes(&keys, &tensors)).unwrap();
    path
}

fn options(source: &Path, output: &Path) -> Options {
    Options {
        source: source.into(),
        output: output.into(),
        ..Options::default()
    }
}

/// Converts and compares: every weight of the `expected` matrices of ternary codes to `rounding`. Returns the
/// encoding of the embedding.
fn kept(options: &Options, expected: usize, rounding: f64) -> Option<Encoding> {
    kept_by(Encoding::Ternary, options, expected, rounding)
}

/// The same for these codes.
fn kept_by(
    encoding: Encoding,
    options: &Options,
    expected: usize,
    rounding: f64,
) -> Option<Encoding> {
    let summary = convert(options, &Silent).unwrap();
    assert_eq!(summary.ternary, expected);
    let (original, carat) = (
        Checkpoint::open(&options.source).unwrap(),
        Checkpoint::open(&options.output).unwrap(),
    );
    let mut compared = 0;
    for tensor in original.hyper().tensors() {
        if carat.encoding(tensor) != Some(encoding) {
            continue;
        }
        let rows = 0..original.hyper().shape(tensor).0;
        let (mut w, mut d) = (Vec::new(), Vec::new());
        original.read_rows(tensor, rows.clone(), &mut w).unwrap();
        carat.read_rows(tensor, rows, &mut d).unwrap();
        assert_eq!(w.contains(&0.0), encoding == Encoding::Ternary);
        assert!(w.iter().any(|w| *w != 0.0));
        for (w, d) in w.iter().zip(&d) {
            assert!(
                f64::from(w - d).abs() <= f64::from(w.abs()) * (rounding + 1e-7),
                "{tensor:?}: {w} {d}"
            );
        }
        compared += 1;
    }
    assert_eq!(compared, expected);
    carat.encoding(Tensor::TokenEmbedding)
}

#[test]
fn ternary_checkpoints_keep_every_code_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    for stored in [Stored::BFloat16, Stored::PackedTimes, Stored::PackedOver] {
        let source = hugging_face(stored, 0);
        for (bits, others) in [
            (None, Encoding::Pow4),
            (Some(1.6), Encoding::Pow4),
            (Some(2.0), Encoding::Pow2),
            (Some(8.0), Encoding::Int8),
        ] {
            let path = dir.path().join(format!("{}.gguf", stored as u8));
            let mut options = options(source.path(), &path);
            options.force = true;
            options.bits = bits.unwrap_or(options.bits);
            assert_eq!(kept(&options, 14, ROUNDING), Some(others));
        }
    }
    // Of the GGUF types only rows of blocks of 256 are; the other two matrices are F16.
    for of in TYPES {
        let path = dir.path().join(format!("gguf{}.gguf", of.0));
        let mut options = options(&gguf(dir.path(), of), &path);
        let encoding = match of.0 {
            TensorType::Q1_0 => Encoding::Pow1,
            _ => Encoding::Ternary,
        };
        for bits in [options.bits, encoding.bits()] {
            options.bits = bits;
            let embedding = kept_by(encoding, &options, 7, ROUNDING);
            assert_eq!(embedding, Some(Encoding::Pow4));
            options.force = true;
        }
    }
}

/// As blocks of ggml have them: codes stay, scales are rounded to half a unit of 255 of the row's largest.
#[test]
fn a_row_of_several_scales_keeps_every_code() {
    let mut next = common::noise(6);
    for i in 0..60 {
        // TQ1_0 and TQ2_0, Q2_0, Q1_0.
        let (encoding, group, block) = [
            (Encoding::Ternary, ScaleGroup::W128, 256),
            (Encoding::Ternary, ScaleGroup::W64, 64),
            (Encoding::Pow1, ScaleGroup::W128, 128),
        ][i % 3];
        let quantizer = Quantizer::new(Coding { encoding, group }, 1.0);
        let scales: Vec<f32> = (0..16).map(|_| 1.0 + 0.9 * next()).collect();
        let value = |x: f32| match encoding {
            Encoding::Pow1 => x.signum(),
            _ => trit(x),
        };
        let trits: Vec<f32> = (0..1024).map(|_| value(next())).collect();
        let weights = trits.iter().enumerate().map(|(i, t)| t * scales[i / block]);
        let weights: Vec<f32> = weights.collect();
        let row = quantizer.row(&weights, &Objective::default());
        let code = |t: &f32| match encoding {
            Encoding::Pow1 => u8::from(*t > 0.0),
            _ => (t + 1.0) as u8,
        };
        let codes: Vec<u8> = trits.iter().map(code).collect();
        assert_eq!(row.packed.codes, codes);
        let largest = scales.iter().fold(0f32, |m, s| m.max(*s));
        for (w, d) in weights.iter().zip(quantizer.decode(&row.packed)) {
            let bound = f64::from(largest) * (0.5 / 255.0 + ROUNDING);
            assert!(f64::from(w - d).abs() <= bound, "{w} {d}");
        }
    }
}

#[test]
fn rules_and_fewer_bits_have_the_last_word() {
    let dir = tempfile::tempdir().unwrap();
    let source = hugging_face(Stored::PackedTimes, 0);
    let mut options = options(source.path(), &dir.path().join("out.gguf"));
    options.force = true;
    options.rules = vec!["attn_q=3".parse().unwrap(), "embd=8".parse().unwrap()];
    assert_eq!(kept(&options, 12, ROUNDING), Some(Encoding::Int8));
    options.bits = 1.0;
    options.rules = vec!["ffn_down=1.6".parse().unwrap()];
    assert_eq!(kept(&options, 2, ROUNDING), Some(Encoding::Pow1));
}

/// Fitting to a text would move codes that are right as they are.
#[test]
fn calibration_leaves_them_alone() {
    let dir = tempfile::tempdir().unwrap();
    let source = hugging_face(Stored::PackedTimes, 0);
    let text = dir.path().join("text.txt");
    fs::write(&text, "abacadefghijklm".repeat(64)).unwrap();
    let mut options = options(source.path(), &dir.path().join("out.gguf"));
    options.force = true;
    options.calibration = Some(Calibration {
        text: Text::File(text),
        tokens: 256,
        seed: 0,
        methods: Methods::default(),
    });
    kept(&options, 14, ROUNDING);
    options.bits = 1.6;
    kept(&options, 14, ROUNDING);
    options.target = Some(Target::BitsPerWeight(24.0));
    kept(&options, 14, ROUNDING);
}

/// What is ternary but for one weight is no ternary matrix: a code of 3 stands for 2.
#[test]
fn nearly_ternary_matrices_are_quantized() {
    let dir = tempfile::tempdir().unwrap();
    let source = hugging_face(Stored::PackedTimes, 2);
    let options = options(source.path(), &dir.path().join("out.gguf"));
    assert_eq!(kept(&options, 0, ROUNDING), Some(Encoding::Pow4));
}

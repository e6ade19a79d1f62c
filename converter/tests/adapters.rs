//! A model with an adapter in integers, against the model that the adapter is merged into, in f32.
#![allow(clippy::unwrap_used)]

mod common;

use carat::internals::adapter::{AdapterFile, Applied, Strength};
use carat::internals::{DeviceChoice, Model, Session, SessionOptions, Verify};
use carat_converter::convert::{Options, convert};
use carat_converter::eval::{self, IntegerLogits, Quality, ReferenceLogits};
use carat_converter::progress::Silent;
use carat_converter::reference::Reference;
use carat_converter::source::Checkpoint;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const RANK: usize = 8;
const ALPHA: f32 = 16.0;
const STRENGTH: f32 = 0.75;

/// Name, shape and elements.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let all = file.tensors().into_iter().map(|(name, view)| {
        assert_eq!(view.dtype(), Dtype::BF16);
        let pairs = view.data().as_chunks::<2>().0.iter();
        let values = pairs.map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16));
        (name, (view.shape().to_vec(), values.collect()))
    });
    all.collect()
}

fn write(tensors: &Tensors, path: &Path) {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, t)| (name, t.1.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = tensors.iter().map(|(name, t)| {
        let view = TensorView::new(Dtype::F32, t.0.clone(), &bytes[name]).unwrap();
        (name, view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Copies the bundled checkpoint, with pairs added to the matrices of its blocks; returns the pairs in PEFT's names.
fn merged(to: &Path) -> Tensors {
    for file in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        fs::copy(common::facet().join(file), to.join(file)).unwrap();
    }
    let mut tensors = read(&common::facet().join("model.safetensors"));
    let mut next = common::noise(5);
    let mut pairs = Tensors::new();
    for (name, (shape, values)) in &mut tensors {
        let Some(module) = name.strip_suffix("_proj.weight") else {
            continue;
        };
        let (rows, cols) = (shape[0], shape[1]);
        // What is added has a third of the matrix's norm.
        let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        let a: Vec<f32> = (0..RANK * cols)
            .map(|_| next() / (cols as f32).sqrt())
            .collect();
        let mut b: Vec<f32> = (0..rows * RANK).map(|_| next()).collect();
        let factor = STRENGTH * ALPHA / RANK as f32;
        let product = |b: &[f32]| -> Vec<f32> {
            let at = |i: usize| {
                let (r, c) = (i / cols, i % cols);
                let terms = (0..RANK).map(|k| b[r * RANK + k] * a[k * cols + c]);
                factor * terms.sum::<f32>()
            };
            (0..rows * cols).map(at).collect()
        };
        let scale = norm(values) / norm(&product(&b)) / 3.0;
        b.iter_mut().for_each(|x| *x *= scale);
        values
            .iter_mut()
            .zip(product(&b))
            .for_each(|(w, d)| *w += d);
        let module = format!("base_model.model.{module}_proj");
        pairs.insert(format!("{module}.lora_A.weight"), (vec![RANK, cols], a));
        pairs.insert(format!("{module}.lora_B.weight"), (vec![rows, RANK], b));
    }
    write(&tensors, &to.join("model.safetensors"));
    pairs
}

#[test]
fn integers_with_an_adapter_are_the_merged_model() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, own) = (folder.path().join("merged"), folder.path().join("adapter"));
    fs::create_dir(&whole).unwrap();
    fs::create_dir(&own).unwrap();
    let pairs = merged(&whole);
    assert!(pairs.len() > 20);
    write(&pairs, &own.join("adapter_model.safetensors"));
    let config = json!({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"});
    fs::write(own.join("adapter_config.json"), config.to_string()).unwrap();

    let file = folder.path().join("facet.gguf");
    let options = Options {
        source: common::facet(),
        output: file.clone(),
        bits: 8.0,
        ..Options::default()
    };
    convert(&options, &Silent).unwrap();
    let model = Arc::new(Model::open(&file, Verify::Hashes).unwrap());
    let adapter = model.adapter(&AdapterFile::open(&own).unwrap()).unwrap();
    let applied = Applied {
        adapter: adapter.into(),
        strength: Strength::new(STRENGTH.into()).unwrap(),
    };
    let vocab = model.spec().vocab_size;
    let text = "The quality of a model is measured on a text that it has never seen. Whoever reads this line knows it. ";
    let tokens = model
        .tokenizer()
        .unwrap()
        .encode_prompt(&text.repeat(12), true);
    assert!(
        tokens.iter().all(|t| *t < vocab) && tokens.len() > 256,
        "{}",
        tokens.len()
    );
    let options = eval::Options {
        ctx: 128,
        chunks: None,
        bos: None,
    };
    let checkpoint = Checkpoint::open(&whole).unwrap();
    let reference = Reference::open(&checkpoint, 1 << 30).unwrap();
    let measure = |adapters: Vec<Applied>| -> Quality {
        let session = SessionOptions {
            device: DeviceChoice::Cpu,
            context: 128,
            batch: Some(64),
            outputs: 64,
            adapters,
            ..SessionOptions::default()
        };
        let session = pollster::block_on(Session::new(model.clone(), &session)).unwrap();
        let mut logits = IntegerLogits::new(session, &Silent);
        let mut reference = ReferenceLogits::new(&reference);
        eval::evaluate(
            &mut logits,
            Some(&mut reference),
            &tokens,
            &options,
            &Silent,
        )
        .unwrap()
    };
    let kl = |q: &Quality| q.divergence.as_ref().unwrap().kl_mean;
    let (without, with) = (measure(Vec::new()), measure(vec![applied]));
    println!(
        "KL to the merged model: {} without the adapter, {} with it",
        kl(&without),
        kl(&with)
    );
    assert!(kl(&without) > 0.05, "{}", kl(&without));
    assert!(kl(&with) <= 0.001, "{}", kl(&with));
}

#[test]
fn files_with_folded_weights_take_no_adapter() {
    use carat_converter::calibrate::{Calibration, Methods, Text};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("facet.gguf");
    let options = Options {
        source: common::facet(),
        output: file.clone(),
        calibration: Some(Calibration {
            text: Text::File(common::root().join("converter/texts/demo.txt")),
            tokens: 512,
            seed: 0,
            methods: Methods {
                rotate_heads: true,
                ..Methods::default()
            },
        }),
        ..Options::default()
    };
    convert(&options, &Silent).unwrap();
    let own = folder.path().join("adapter");
    fs::create_dir(&own).unwrap();
    let pairs = merged(&own);
    write(&pairs, &own.join("adapter_model.safetensors"));
    let config = json!({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA});
    fs::write(own.join("adapter_config.json"), config.to_string()).unwrap();
    let adapter = AdapterFile::open(&own).unwrap();
    let model = Model::open(&file, Verify::Structure).unwrap();
    let refused = model.adapter(&adapter).unwrap_err().to_string();
    assert!(refused.contains("rotate-heads"), "{refused}");
}

//! The change of the loss that gradients foretell is the one that comes, in every kind of block.

use super::*;
use crate::source::Checkpoint;
use std::path::Path;

/// Deterministic values in −1..1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut i = 0;
    move || {
        i += 1;
        2.0 * uniform(seed, i) - 1.0
    }
}

/// A checkpoint made up of these hyper-parameters, with every tensor that the architecture asks for.
fn checkpoint(config: &str, tensors: &[(&str, &[usize])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut add = |name: String, shape: &[usize]| {
        let mut next = noise(name.bytes().map(u64::from).sum());
        let start = data.len();
        let n: usize = shape.iter().product();
        let scale = if shape.len() > 1 { 0.4 } else { 0.2 };
        let middle = if shape.len() > 1 { 0.0 } else { 1.0 };
        data.extend((0..n).flat_map(|_| (middle + scale * next()).to_le_bytes()));
        let place = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, place);
    };
    for (name, shape) in tensors {
        if let Some(rest) = name.strip_prefix("b.") {
            (0..2).for_each(|b| add(format!("model.layers.{b}.{rest}.weight"), shape));
        } else {
            add((*name).into(), shape);
        }
    }
    let header = serde_json::Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes(), &data].concat();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
    folder
}

const DECODER: [(&str, &[usize]); 11] = [
    ("model.embed_tokens.weight", &[20, 16]),
    ("model.norm.weight", &[16]),
    ("b.input_layernorm", &[16]),
    ("b.self_attn.q_proj", &[32, 16]),
    ("b.self_attn.k_proj", &[16, 16]),
    ("b.self_attn.v_proj", &[16, 16]),
    ("b.self_attn.o_proj", &[16, 32]),
    ("b.post_attention_layernorm", &[16]),
    ("b.mlp.gate_proj", &[24, 16]),
    ("b.mlp.up_proj", &[24, 16]),
    ("b.mlp.down_proj", &[16, 24]),
];
const SHAPE: &str = r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 20,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "bos_token_id": 1"#;

/// −Σ log p of the tokens that the unchanged stream draws.
fn loss(stream: &Stream<'_>, drawn: &[usize]) -> f64 {
    let hyper = stream.weights.checkpoint().hyper();
    let (mut z, mut sum) = (Vec::new(), 0.0);
    let vocab = hyper.vocab_size as usize;
    logits(&stream.weights, &stream.outputs(0).unwrap(), &mut z).unwrap();
    for (z, token) in z.chunks_exact(vocab).zip(drawn) {
        let total: f64 = z.iter().map(|z| libm::exp(f64::from(*z))).sum();
        sum += libm::log(total) - f64::from(z[*token]);
    }
    sum
}

fn forward(stream: &mut Stream<'_>) -> Vec<Vec<Vec<f32>>> {
    stream.embed().unwrap();
    let blocks = stream.weights.checkpoint().hyper().block_count();
    let mut starts = Vec::new();
    for b in 0..blocks {
        starts.push(stream.save());
        stream.block(b, 0).unwrap();
    }
    starts
}

/// The change of the loss that gradients and inputs foretell for a small change of each matrix is the one
/// that comes.
fn gradients_foretell(folder: &Path) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let hyper = checkpoint.hyper();
    let sequences: Vec<Vec<u32>> = (0..3u32)
        .map(|s| (0..9 + s).map(|i| (i * 7 + s * 3) % 20).collect())
        .collect();
    let mut stream = Stream::open(&checkpoint, &sequences).unwrap();
    let mut starts = forward(&mut stream);
    let mut moments = HeadMoments::default();
    let mut gradient = stream.head_gradient(0, 5, &mut moments).unwrap();
    let positions: usize = sequences.iter().map(Vec::len).sum();
    let all: f64 = moments.probability.iter().sum();
    assert!((all - positions as f64).abs() < 1e-3);

    // The same draws.
    let mut z = Vec::new();
    logits(&stream.weights, &stream.outputs(0).unwrap(), &mut z).unwrap();
    let mut drawn = Vec::new();
    for (i, z) in z.chunks_exact_mut(20).enumerate() {
        score(z, uniform(5, i as u64));
        drawn.push(z.iter().position(|g| *g < 0.0).unwrap());
    }
    let mut checked = 0;
    while let Some(start) = starts.pop() {
        let b = starts.len() as u32;
        stream.restore(&start);
        let found = stream.block_gradient(b, 0, &mut gradient).unwrap();
        let matrices = hyper.branches(b).into_iter().zip(&found);
        let matrices = matrices.flat_map(|(branch, found)| {
            let last = branch.readers.len();
            let sites = branch.into_sites().enumerate().zip(&found.outputs);
            sites.map(move |((i, site), d)| {
                let input = &found.inputs[usize::from(i == last)];
                (site.part.of(b), input, d)
            })
        });
        for (tensor, input, d) in matrices {
            let (rows, cols) = hyper.shape(tensor);
            let (rows, cols) = (rows as usize, cols as usize);
            let mut weights = Vec::new();
            checkpoint
                .read_rows(tensor, 0..rows as u64, &mut weights)
                .unwrap();
            let mut next = noise(77);
            let change: Vec<f32> = weights.iter().map(|_| next()).collect();
            let mut foretold = 0f64;
            for (x, d) in input.chunks_exact(cols).zip(d.chunks_exact(rows)) {
                for (row, d) in change.chunks_exact(cols).zip(d) {
                    let y: f64 = row.iter().zip(x).map(|(c, x)| f64::from(c * x)).sum();
                    foretold += y * f64::from(*d);
                }
            }
            let mut losses = [0f64; 2];
            let small = 5e-4f32;
            for (l, sign) in losses.iter_mut().zip([1.0, -1.0]) {
                let changed = weights
                    .iter()
                    .zip(&change)
                    .map(|(w, c)| w + sign * small * c);
                stream.hold(tensor, changed.collect());
                forward(&mut stream);
                *l = loss(&stream, &drawn);
                stream.release(tensor);
            }
            let came = (losses[0] - losses[1]) / f64::from(2.0 * small);
            let near = (came - foretold).abs() <= 0.02 * came.abs().max(foretold.abs()) + 2e-2;
            assert!(near, "{}: {came} {foretold}", tensor.name());
            checked += 1;
        }
        stream.restore(&start);
    }
    assert_eq!(checked, 14);
}

#[test]
fn gradients_of_every_part_foretell_changes() {
    let plain = format!(
        r#"{{"model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": true, {SHAPE}}}"#
    );
    gradients_foretell(checkpoint(&plain, &DECODER).path());
    // Norms of heads, a window.
    let gemma3 = format!(
        r#"{{"model_type": "gemma3_text", "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4,
        "sliding_window_pattern": 2, "query_pre_attn_scalar": 8, "rope_local_base_freq": 10000.0, {SHAPE}}}"#
    );
    let mut tensors: Vec<(&str, &[usize])> = DECODER.to_vec();
    tensors.extend([
        ("b.pre_feedforward_layernorm", &[16][..]),
        ("b.post_feedforward_layernorm", &[16]),
        ("b.self_attn.q_norm", &[8]),
        ("b.self_attn.k_norm", &[8]),
    ]);
    gradients_foretell(checkpoint(&gemma3, &tensors).path());
    // Caps.
    let gemma2 = format!(
        r#"{{"model_type": "gemma2", "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4,
        "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, {SHAPE}}}"#
    );
    gradients_foretell(checkpoint(&gemma2, &tensors[..13]).path());
    // Norms within the block, squared rectifiers, a head of its own.
    let bitnet = format!(
        r#"{{"model_type": "bitnet", "hidden_act": "relu2", "tie_word_embeddings": false, {SHAPE}}}"#
    );
    let mut tensors: Vec<(&str, &[usize])> = DECODER.to_vec();
    tensors.extend([
        ("lm_head.weight", &[20, 16][..]),
        ("b.self_attn.attn_sub_norm", &[32]),
        ("b.mlp.ffn_sub_norm", &[24]),
    ]);
    gradients_foretell(checkpoint(&bitnet, &tensors).path());
}

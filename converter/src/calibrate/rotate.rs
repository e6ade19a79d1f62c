//! Rotations that fold into the weights: a Hadamard matrix spreads what a few channels have much of over all of them.
//!
//! Sources: Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs" (2024), for what can be folded;
//! Hu et al., "OSTQuant" (2025), whose R1 and R2 these are, with Hadamard matrices of random signs instead of learned
//! ones; blocks of the largest power of two where a width is none.

use crate::source::{Checkpoint, Rotation, SourceError, Step, Transform};
use carat_format::Tensor;
use carat_format::model::Input;
use std::sync::Arc;

/// Seeds of the signs.
const HEADS: u64 = 2;
const STREAM: u64 = 1;

/// R2: every head of the values, and with it the columns of the output projection. No model with a norm between the two.
pub fn heads(source: &Checkpoint, transform: &mut Transform) {
    let hyper = source.hyper();
    for b in 0..hyper.block_count() {
        for branch in hyper.branches(b) {
            let (Input::Averages { of, head_dim }, None) = (branch.writer.input, branch.sub_norm)
            else {
                continue;
            };
            let seed = HEADS << 32 | u64::from(b);
            let rotation = Arc::new(Rotation::new(signs(seed, head_dim as usize)));
            transform.push(of.of(b), Step::RotateRows(rotation.clone()));
            if let Some(bias) = branch.reader(of).and_then(|s| s.bias) {
                transform.push(bias.of(b), Step::RotateColumns(rotation.clone()));
            }
            let writer = branch.writer.part.of(b);
            transform.push(writer, Step::RotateColumns(rotation));
        }
    }
}

/// Whether [`stream`] can rotate the model: the head has weights of its own, and nothing but RMSNorms, whose gains
/// move into the matrices behind them, stands between the stream and its readers and writers.
pub fn stream_rotates(source: &Checkpoint) -> bool {
    let hyper = source.hyper();
    let branches = (0..hyper.block_count()).flat_map(|b| hyper.branches(b));
    !hyper.tied
        && branches
            .into_iter()
            .all(|branch| branch.post_norm.is_none())
}

/// R1: the residual stream, of a model that [`stream_rotates`].
///
/// # Errors
/// What reading the gains meets.
pub fn stream(source: &Checkpoint, transform: &mut Transform) -> Result<(), SourceError> {
    let hyper = source.hyper();
    let rotation = Rotation::new(signs(STREAM << 32, hyper.embedding_length as usize));
    let rotation = Arc::new(rotation);
    let columns = || Step::RotateColumns(rotation.clone());
    transform.push(Tensor::TokenEmbedding, columns());
    let mut readers = |norm: Tensor, matrices: &[Tensor]| -> Result<(), SourceError> {
        let gains: Arc<[f32]> = source.read_vector(norm)?.into();
        transform.push(norm, Step::Ones);
        for m in matrices {
            transform.push(*m, Step::ScaleColumns(gains.clone()));
            transform.push(*m, columns());
        }
        Ok(())
    };
    let branches = || {
        (0..hyper.block_count())
            .flat_map(|b| hyper.branches(b).into_iter().map(move |branch| (b, branch)))
    };
    for (b, branch) in branches() {
        let matrices: Vec<Tensor> = branch.readers.iter().map(|s| s.part.of(b)).collect();
        readers(branch.norm.of(b), &matrices)?;
    }
    readers(Tensor::OutputNorm, &[Tensor::Output])?;
    for (b, branch) in branches() {
        let writer = branch.writer;
        transform.push(writer.part.of(b), Step::RotateRows(rotation.clone()));
        if let Some(bias) = writer.bias {
            transform.push(bias.of(b), columns());
        }
    }
    Ok(())
}

/// Random signs, the same everywhere.
fn signs(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    let bit = |_| match super::text::splitmix(&mut state) >> 63 {
        0 => 1.0,
        _ => -1.0,
    };
    (0..n).map(bit).collect()
}

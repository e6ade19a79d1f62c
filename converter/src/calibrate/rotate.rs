//! Rotations that fold into the weights: a Hadamard matrix spreads what a few channels have much of over all of them.
//!
//! Sources: Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs" (2024), for what can be folded;
//! Hu et al., "OSTQuant" (2025), whose R1 and R2 these are, with Hadamard matrices of random signs instead of learned
//! ones; blocks of the largest power of two where a width is none.

use crate::source::{Checkpoint, Rotation, SourceError, Step, Transform};
use carat_format::Tensor;
use std::sync::Arc;

/// Seeds of the signs.
const HEADS: u64 = 2;
const STREAM: u64 = 1;

/// R2: every head of the values, and with it the columns of the output projection. No model with a norm between the two.
pub fn heads(source: &Checkpoint, transform: &mut Transform) {
    let hyper = source.hyper();
    if hyper.extras.sub_norm {
        return;
    }
    for b in 0..hyper.block_count {
        let seed = HEADS << 32 | u64::from(b);
        let rotation = Arc::new(Rotation::new(signs(seed, hyper.head_dim as usize)));
        transform.push(Tensor::AttnV(b), Step::RotateRows(rotation.clone()));
        if hyper.extras.attention_bias {
            let bias = Step::RotateColumns(rotation.clone());
            transform.push(Tensor::AttnVBias(b), bias);
        }
        transform.push(Tensor::AttnOutput(b), Step::RotateColumns(rotation));
    }
}

/// Whether [`stream`] can rotate the model: the head has weights of its own, and nothing but RMSNorms, whose gains
/// move into the matrices behind them, stands between the stream and its readers and writers.
pub fn stream_rotates(source: &Checkpoint) -> bool {
    let hyper = source.hyper();
    !hyper.tied && !hyper.extras.post_norm
}

/// R1: the residual stream, of a model that [`stream_rotates`].
///
/// # Errors
/// What reading the gains meets.
pub fn stream(source: &Checkpoint, transform: &mut Transform) -> Result<(), SourceError> {
    use Tensor::*;
    let hyper = source.hyper();
    let extras = hyper.extras;
    let rotation = Rotation::new(signs(STREAM << 32, hyper.embedding_length as usize));
    let rotation = Arc::new(rotation);
    let columns = || Step::RotateColumns(rotation.clone());
    transform.push(TokenEmbedding, columns());
    let mut readers = |norm: Tensor, matrices: &[Tensor]| -> Result<(), SourceError> {
        let gains: Arc<[f32]> = source.read_vector(norm)?.into();
        transform.push(norm, Step::Ones);
        for m in matrices {
            transform.push(*m, Step::ScaleColumns(gains.clone()));
            transform.push(*m, columns());
        }
        Ok(())
    };
    for b in 0..hyper.block_count {
        readers(AttnNorm(b), &[AttnQ(b), AttnK(b), AttnV(b)])?;
        readers(FfnNorm(b), &[FfnGate(b), FfnUp(b)])?;
    }
    readers(OutputNorm, &[Output])?;
    for b in 0..hyper.block_count {
        for (writer, bias, has) in [
            (
                AttnOutput(b),
                AttnOutputBias(b),
                extras.attention_output_bias,
            ),
            (FfnDown(b), FfnDownBias(b), extras.feed_forward_bias),
        ] {
            transform.push(writer, Step::RotateRows(rotation.clone()));
            if has {
                transform.push(bias, columns());
            }
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

//! What a matrix does in the model, as far as its quantization depends on it.

use carat_format::Tensor;

/// A matrix's place between the norms.
///
/// Columns weigh alike in the error: to weigh them by the square of the gain before them, as E\[x_j²\] ∝ γ_j²
/// would have it, gives no less divergence on a trained model at 2, 3 or 4 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Role {
    /// The norm whose output is the matrix's input. It bounds the product, which then has an exponent of
    /// its own; other products are in the unit of the residual stream.
    pub norm: Option<Tensor>,
    /// Restores the rows' norms, see [`crate::quantize::Objective::keep_norm`].
    pub keep_norm: bool,
}

pub(super) fn role(tensor: Tensor, tied: bool) -> Role {
    use Tensor::*;
    let after = |norm| Role {
        norm: Some(norm),
        keep_norm: true,
    };
    match tensor {
        AttnQ(b) | AttnK(b) => after(AttnNorm(b)),
        // Attention averages the values over positions, and what the positions have in common is where the
        // errors add up: with the norms restored, values and output projection diverge more.
        AttnV(b) => Role {
            norm: Some(AttnNorm(b)),
            keep_norm: false,
        },
        AttnOutput(_) => Role::default(),
        FfnGate(b) | FfnUp(b) => after(FfnNorm(b)),
        FfnDown(_) => Role {
            norm: None,
            keep_norm: true,
        },
        Output => after(OutputNorm),
        TokenEmbedding => Role {
            norm: tied.then_some(OutputNorm),
            keep_norm: true,
        },
        // Vectors are not quantized.
        _ => Role::default(),
    }
}

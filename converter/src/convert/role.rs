//! What a matrix does in the model, as far as its quantization depends on it.

use carat_format::{Extras, Tensor};

/// What a product with a matrix may become, which bounds its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Product {
    /// Added to the residual stream, in its unit.
    #[default]
    Residual,
    /// The matrix's input is the output of this norm: no element of the product is larger than the row,
    /// weighted by the norm's gains.
    Normed(Tensor),
    /// Taken by a norm, in a unit that contains the exponent of its own activations.
    Relative,
}

/// A matrix's place between the norms.
///
/// Columns weigh alike in the error: to weigh them by the square of the gain before them, as E\[x_j²\] ∝ γ_j²
/// would have it, gives no less divergence on a trained model at 2, 3 or 4 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Role {
    /// What becomes of a product.
    pub product: Product,
    /// Restores the rows' norms, see [`crate::quantize::Objective::keep_norm`].
    pub keep_norm: bool,
}

pub(super) fn role(tensor: Tensor, tied: bool, extras: Extras) -> Role {
    use Tensor::*;
    let after = |norm| Role {
        product: Product::Normed(norm),
        keep_norm: true,
    };
    let branch = if extras.post_norm {
        Product::Relative
    } else {
        Product::Residual
    };
    match tensor {
        AttnQ(b) | AttnK(b) => after(AttnNorm(b)),
        // Attention averages the values over positions, and what the positions have in common is where the
        // errors add up: with the norms restored, values and output projection diverge more.
        AttnV(b) => Role {
            product: Product::Normed(AttnNorm(b)),
            keep_norm: false,
        },
        AttnOutput(_) => Role {
            product: branch,
            keep_norm: false,
        },
        FfnGate(b) | FfnUp(b) => after(FfnNorm(b)),
        FfnDown(_) => Role {
            product: branch,
            keep_norm: true,
        },
        Output => after(OutputNorm),
        TokenEmbedding if tied => after(OutputNorm),
        TokenEmbedding => Role {
            product: Product::Residual,
            keep_norm: true,
        },
        // Vectors are not quantized.
        _ => Role::default(),
    }
}

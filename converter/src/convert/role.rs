//! What a matrix does in the model, as far as its quantization depends on it.

use carat_format::model::{Input, Output};
use carat_format::{Hyper, Tensor};

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

pub(super) fn role(hyper: &Hyper, tensor: Tensor) -> Role {
    let after = |norm| Role {
        product: Product::Normed(norm),
        keep_norm: true,
    };
    match tensor {
        Tensor::Output => after(Tensor::OutputNorm),
        Tensor::TokenEmbedding if hyper.tied => after(Tensor::OutputNorm),
        Tensor::TokenEmbedding => Role {
            product: Product::Residual,
            keep_norm: true,
        },
        Tensor::Block(block, part) => {
            let Some((branch, site)) = hyper.site(tensor) else {
                // Vectors are not quantized.
                return Role::default();
            };
            // Where values are averaged over positions, what the positions have in common is where the errors add up:
            // with the norms restored, both matrices around the average diverge more.
            let averaged = match branch.writer.input {
                Input::Averages { of, .. } => part == of || part == branch.writer.part,
                _ => false,
            };
            Role {
                product: match site.output {
                    Output::Function => Product::Normed(branch.norm.of(block)),
                    Output::Stream(None) => Product::Residual,
                    Output::Stream(Some(_)) => Product::Relative,
                },
                keep_norm: !averaged,
            }
        }
        Tensor::OutputNorm => Role::default(),
    }
}

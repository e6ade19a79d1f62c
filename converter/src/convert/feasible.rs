//! Whether a target size can be met at all: known before anything is sampled, run or measured.

use super::exact::TernaryMatrices;
use super::{ConvertError, Options, rule};
use crate::budget::{self, Target};
use crate::source::Checkpoint;
use carat_format::{Coding, Encoding, Tensor};

/// The codings that a matrix may get where a size is to be met.
pub(super) fn codings(
    tensor: Tensor,
    options: &Options,
    base: Coding,
    ternary: &TernaryMatrices,
) -> Vec<Coding> {
    let name = tensor.name();
    if options.rules.iter().any(|r| r.matches(&name)) {
        let base = ternary.coding(tensor, base);
        vec![rule::coding(base, &options.rules, &name)]
    } else if ternary.contains(tensor) {
        vec![ternary.coding(tensor, Encoding::Int8.into())]
    } else {
        budget::options()
    }
}

/// Bytes that the target leaves to the matrices. Refuses one below what the tensors take where each matrix has the
/// smallest of its codings.
pub(super) fn check(
    options: &Options,
    source: &Checkpoint,
    base: Coding,
    ternary: &TernaryMatrices,
    target: Target,
) -> Result<u64, ConvertError> {
    let hyper = source.hyper();
    let (mut least, mut vectors) = (0, 0);
    for tensor in hyper.tensors() {
        let shape = hyper.shape(tensor);
        if tensor.is_vector() {
            vectors += shape.1 * 4;
            continue;
        }
        let codings = codings(tensor, options, base, ternary).into_iter();
        let bytes = codings.filter_map(|c| budget::payload(c, shape));
        least += bytes.min().unwrap_or(0);
    }
    let (weights, least) = (hyper.weights(), least + vectors);
    let wanted = target.bytes(weights);
    if wanted < least {
        return Err(ConvertError::Target {
            found: wanted,
            least,
            least_bpw: least as f64 * 8.0 / weights.max(1) as f64,
        });
    }
    Ok(wanted - vectors)
}

//! Whether a target size can be met at all: known before anything is sampled, run or measured.

use super::exact::ExactMatrices;
use super::{ConvertError, Options, rule};
use crate::budget::{self, Target};
use crate::source::Checkpoint;
use carat_format::{Coding, Encoding, Tensor};

/// The codings that a matrix may get where a size is to be met.
pub(super) fn codings(
    tensor: Tensor,
    options: &Options,
    base: Coding,
    exact: &ExactMatrices,
    bits: f64,
) -> Vec<Coding> {
    let name = tensor.name();
    if options.rules.iter().any(|r| r.matches(&name)) {
        let base = exact.coding(tensor, base);
        vec![rule::coding(base, &options.rules, &name)]
    } else if exact.contains(tensor) {
        vec![exact.coding(tensor, Encoding::Int8.into())]
    } else {
        budget::options(bits)
    }
}

/// What a size leaves to the matrices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of the matrices.
    pub matrices: u64,
    /// Bytes of the vectors.
    pub vectors: u64,
    /// Bits of the codes that fit everywhere.
    pub bits: f64,
}

/// The room that the target leaves. Refuses one below what the tensors take where each matrix has the smallest of
/// its codings.
pub(super) fn check(
    options: &Options,
    source: &Checkpoint,
    base: Coding,
    exact: &ExactMatrices,
    target: Target,
) -> Result<Room, ConvertError> {
    let hyper = source.hyper();
    let wanted = target.bytes(hyper);
    let vectors = hyper.tensors().into_iter().filter(|t| t.is_vector());
    let vectors = vectors.map(|t| hyper.shape(t).1 * 4).sum::<u64>();
    let smallest = |bits: f64| -> u64 {
        let matrices = hyper.tensors().into_iter().filter(|t| !t.is_vector());
        let each = matrices.map(|t| {
            let codings = codings(t, options, base, exact, bits).into_iter();
            let bytes = codings.filter_map(|c| budget::payload(c, hyper.shape(t)));
            bytes.min().unwrap_or(0)
        });
        vectors + each.sum::<u64>()
    };
    // Rules can take so much that half of what would fit everywhere does not fit the rest.
    let mut bits = match target {
        // Three bits at least.
        Target::Divergence(_) => 6.0,
        _ => budget::uniform(hyper, wanted).encoding.bits(),
    };
    while bits > 1.0 && smallest(bits) > wanted {
        bits /= 2.0;
    }
    let least = smallest(bits);
    if wanted < least {
        let weights = hyper.weights().max(1) as f64;
        return Err(ConvertError::Target {
            found: wanted,
            least,
            least_bpw: least as f64 * 8.0 / weights,
        });
    }
    Ok(Room {
        matrices: wanted - vectors,
        vectors,
        bits,
    })
}

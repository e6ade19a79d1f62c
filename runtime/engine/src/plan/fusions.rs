//! Which steps compute several products.

use carat_format::{Directory, Encoding};

/// Which matrices share steps. An encoding costs a GPU two pipelines (for one row and for several) of each kernel of
/// products, beside at most 13 others, and a model has at most 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fusions {
    /// Gate and up projection.
    pub gates: bool,
    /// Queries, keys and values.
    pub qkv: bool,
}

impl Fusions {
    pub fn of(directory: &Directory) -> Self {
        let has = |encoding: &&Encoding| {
            let mut matrices = directory.matrices.iter();
            matrices.any(|m| m.layout.encoding == **encoding)
        };
        let encodings = Encoding::ALL.iter().filter(has).count();
        Self {
            gates: encodings <= 4,
            qkv: encodings <= 2,
        }
    }
}

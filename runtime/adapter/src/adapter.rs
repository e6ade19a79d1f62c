//! An adapter as the engine has it: pairs of int8 matrices.

use crate::{Strength, int8};
use carat_format::{ModelSpec, Tensor, TensorLayout};
use std::fmt;
use std::sync::Arc;

/// A matrix of codes and scales, laid out as in a Carat file, in one part.
#[derive(Clone)]
pub struct Packed {
    /// Where its words are.
    pub layout: TensorLayout,
    /// The payload.
    pub words: Arc<[u32]>,
}

/// What is added to the products with one matrix: `s · B(A x)`.
#[derive(Clone)]
pub struct LowRank {
    /// The matrix.
    pub tensor: Tensor,
    /// `A`, `[rank, columns of the matrix]`.
    pub a: Packed,
    /// Unit of the product with `A`: `2^exponent` times that of its row of activations. No activations make it reach
    /// `2^30`: `|a·x| ≤ ‖a‖·√K·127·255·65535` in it.
    pub exponent: i32,
    /// `B`, `[rows of the matrix, rank]`, with the adapter's factor α/r.
    pub b: Packed,
}

impl LowRank {
    /// A term in integers; `None` where its elements are too large for a product with them, or too many for a buffer.
    pub fn new(term: &Term) -> Option<Self> {
        let this = Self {
            tensor: term.tensor,
            exponent: int8::product_exponent(&term.a, term.cols)?,
            a: int8::pack(&term.a, term.cols).ok()?,
            b: int8::pack(&term.b, term.rank).ok()?,
        };
        let single = |p: &Packed| p.layout.parts.len() == 1;
        (single(&this.a) && single(&this.b)).then_some(this)
    }

    /// The rank.
    pub fn rank(&self) -> u32 {
        self.a.layout.rows as u32
    }
}

/// What is added to the products with one matrix, in floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The matrix.
    pub tensor: Tensor,
    /// Rows of `A` and columns of `B`, not 0.
    pub rank: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// `A`, `[rank, cols]`, finite.
    pub a: Vec<f64>,
    /// `B`, `[rows of the matrix, rank]`, with the adapter's factor.
    pub b: Vec<f64>,
}

/// An adapter of one model.
pub struct Adapter {
    name: String,
    matrices: Vec<LowRank>,
    hash: [u8; 32],
}

impl Adapter {
    /// An adapter of these terms, one for a matrix.
    ///
    /// # Errors
    /// The matrix whose elements are too large for a product with them.
    pub fn new(name: String, terms: impl IntoIterator<Item = Term>) -> Result<Self, Tensor> {
        let terms = terms.into_iter();
        let matrices = terms.map(|term| LowRank::new(&term).ok_or(term.tensor));
        Ok(Self::of(name, matrices.collect::<Result<_, _>>()?))
    }

    pub(crate) fn of(name: String, mut matrices: Vec<LowRank>) -> Self {
        matrices.sort_by_key(|m| m.tensor);
        let mut hasher = blake3::Hasher::new();
        for m in &matrices {
            hasher.update(m.tensor.name().as_bytes());
            hasher.update(&m.rank().to_le_bytes());
            hasher.update(&m.exponent.to_le_bytes());
            for packed in [&m.a, &m.b] {
                for word in &packed.words[..] {
                    hasher.update(&word.to_le_bytes());
                }
            }
        }
        Self {
            name,
            hash: *hasher.finalize().as_bytes(),
            matrices,
        }
    }

    /// What it is called: the name of its file or directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it adds to the products with a matrix, where it does.
    pub fn matrix(&self, tensor: Tensor) -> Option<&LowRank> {
        let at = self.matrices.binary_search_by_key(&tensor, |m| m.tensor);
        at.ok().map(|i| &self.matrices[i])
    }

    /// All of it, in the order of the tensors.
    pub fn matrices(&self) -> &[LowRank] {
        &self.matrices
    }

    /// blake3 of what it computes with: the same for the same adapter of whatever file.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Bytes of its matrices.
    pub fn bytes(&self) -> u64 {
        let words = |m: &LowRank| (m.a.words.len() + m.b.words.len()) as u64;
        self.matrices.iter().map(words).sum::<u64>() * 4
    }

    /// Largest rank.
    pub fn rank(&self) -> u32 {
        self.matrices.iter().map(LowRank::rank).max().unwrap_or(0)
    }

    /// Whether every matrix of it is one of the model, of that shape.
    pub fn fits(&self, spec: &ModelSpec) -> bool {
        self.matrices.iter().all(|m| {
            let known = spec.site(m.tensor).is_some();
            let pair = m.a.layout.rows == m.b.layout.cols;
            known && pair && spec.shape(m.tensor) == (m.b.layout.rows, m.a.layout.cols)
        })
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Adapter({}, {} matrices)",
            self.name,
            self.matrices.len()
        )
    }
}

impl PartialEq for Adapter {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Adapter {}

/// An adapter that is loaded with a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The adapter.
    pub adapter: Arc<Adapter>,
    /// How strongly it acts on texts that say nothing else.
    pub strength: Strength,
}

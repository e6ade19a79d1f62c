//! Calibrated quantization: codes and scales that keep a matrix's *outputs* on a text, not its weights.
//!
//! With inputs `X [T, K]` of a matrix and `H = XᵀX/T`, the loss of a row `w` is
//! `½ (ŵ − w) H (ŵ − w)ᵀ`. [`hessian`] gathers H and factors it; the methods, each of which can be
//! switched off ([`Methods`]), are in the order in which they work on a row:
//!
//! * `drift`: the row's target is what does best with the inputs that the matrices before it, already
//!   quantized, give it;
//! * scales of least squares weighted by the diagonal of H ([`crate::quantize::Objective::importance`]);
//! * [`gptq`]: each column's rounding error is made up for by the columns after it;
//! * [`descent`]: codes and group scales in turn, each to the least loss with the others held;
//! * the exponent of the levels is chosen by the loss of a sample of rows (`rows`).
//!
//! Before all of them the checkpoint itself may be changed into another of the same function: [`rotate`], [`awq`].
//!
//! A row's result depends on the row, the table, H and the methods alone.

pub mod awq;
mod built_in;
pub mod descent;
mod drift;
pub mod gptq;
pub mod hessian;
mod lanes;
pub mod rotate;
mod rows;
mod text;

pub(crate) use built_in::{fingerprint, sequences as built_in};
pub use hessian::{Hessian, Ridge, Solver};
pub use rows::{Task, choose_power};
pub(crate) use text::{chunk_length, chunks};

use crate::text::TextError;
use std::path::PathBuf;

/// Which text a conversion is calibrated on, and how.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The text.
    pub text: Text,
    /// Most tokens of it that are run.
    pub tokens: usize,
    /// Chooses the chunks where the text has more.
    pub seed: u64,
    /// What is done.
    pub methods: Methods,
}

impl Calibration {
    /// Tokens that are run if nothing else is said.
    pub const TOKENS: usize = 16_384;
    /// The same where a conversion is not to take long.
    pub const FEW: usize = 4_096;
}

impl Default for Calibration {
    /// All methods on the built-in text.
    fn default() -> Self {
        Self {
            text: Text::BuiltIn,
            tokens: Self::TOKENS,
            seed: 0,
            methods: Methods::default(),
        }
    }
}

/// Where a calibration text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// A text of Carat's own: prose, code, mathematics and many languages, and dialogues as the model's chat template has
    /// them. Of any length: a text that is shorter than a chunk is one sequence.
    BuiltIn,
    /// A UTF-8 file of one chunk at least (256 tokens, or the model's context if that is shorter).
    File(PathBuf),
    /// Sampled from the model itself.
    Own,
}

/// The methods; by default those that gain on real models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods {
    /// Scales weighted by the diagonal of H.
    pub scales: bool,
    /// [`gptq`].
    pub gptq: bool,
    /// [`descent`].
    pub descent: bool,
    /// Targets for the inputs that the matrices before give: `drift`.
    pub drift: bool,
    /// The exponent by the loss, else by the (weighted) error.
    pub exponent: bool,
    /// Rotated heads of values: [`rotate::heads`].
    pub rotate_heads: bool,
    /// A rotated residual stream, where the model has a head of its own: [`rotate::stream`].
    pub rotate_stream: bool,
    /// Scaled channels: [`awq`].
    pub awq: bool,
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            scales: true,
            gptq: true,
            descent: true,
            drift: true,
            exponent: false,
            rotate_heads: false,
            rotate_stream: false,
            awq: false,
        }
    }
}

/// Why a conversion cannot be calibrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum CalibrationError {
    #[error("calibration: {0}")]
    Text(#[from] TextError),
    #[error(
        "{}: the calibration text has {found} tokens, expected at least {expected}; give a longer text",
        path.display()
    )]
    Short {
        path: PathBuf,
        found: usize,
        expected: usize,
    },
    #[error(
        "the inputs of '{tensor}' are not finite on the calibration text; is the checkpoint damaged?"
    )]
    NotFinite { tensor: String },
    #[error("no text can be sampled from the model: {fault}; give a text with --calib FILE")]
    Sample { fault: String },
    #[error(transparent)]
    Reference(crate::reference::ReferenceError),
}

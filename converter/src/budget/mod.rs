//! A size that is asked for: which matrix gets how many bits.
//!
//! The divergence that matrices cause adds up, as far as it is small, so the best division of the bytes is a
//! knapsack (`knapsack`) over what each matrix's options cost and cause (`sensitivity`).
//!
//! Source: the layer-adaptive rate-distortion division of Xu et al., "Towards Efficient Deep Neural Network
//! Compression: Rate-Distortion-Optimized Layer-Adaptive Pruning" (2023), with codings for sparsities.

mod knapsack;
mod sensitivity;

pub use knapsack::{Choice, divide, reach};
pub use sensitivity::{Keep, Kept, Measure, Measured, measure};

use crate::source::Hyper;
use carat_format::{Coding, Encoding, ScaleGroup, Tensor, TensorLayout};
use std::collections::BTreeMap;
use std::str::FromStr;

/// How large the payload of all tensors may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Bits a weight, norms and padding included.
    BitsPerWeight(f64),
    /// Bytes.
    Bytes(u64),
    /// The least size at which the predictions' divergence is at most so many nats, as it is foretold, and at least
    /// as large as [`LEAST`] everywhere. Integers that round, and other texts, add theirs.
    Divergence(f64),
}

/// What a divergence is never reached below: a smaller file gains little and is new ground.
pub const LEAST: Coding = Coding {
    encoding: Encoding::Pow4,
    group: ScaleGroup::W128,
};

impl Target {
    /// What a conversion aims at if nothing is said: on real models of 135 and 270 million parameters a mean divergence
    /// below 0.03 on texts of another kind than the calibration's, which is a fifth more than foretold.
    pub const DEFAULT: Self = Self::Divergence(0.025);

    /// What a calibrated conversion aims at where nothing or nothing but the bits of a code are said: codes of 2 to 6
    /// bits with their scales, and a tenth of a bit for the matrices that need more. Others are the same everywhere.
    pub fn usual(bits: Option<f64>) -> Option<Self> {
        match bits {
            None => Some(Self::DEFAULT),
            Some(bits) if (2.0..=6.0).contains(&bits) => Some(Self::BitsPerWeight(bits + 0.4)),
            Some(_) => None,
        }
    }

    /// Bytes for a model whose tensors have these shapes; the least of a divergence.
    pub fn bytes(self, hyper: &Hyper) -> u64 {
        match self {
            Self::BitsPerWeight(bits) => (bits * hyper.weights() as f64 / 8.0) as u64,
            Self::Bytes(bytes) => bytes,
            Self::Divergence(_) => everywhere(hyper, LEAST),
        }
    }

    /// Bits a weight of a number above 0 and at most 32.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse_bits(text: &str) -> Result<Self, TargetError> {
        match f64::from_str(text.trim()) {
            Ok(bits) if bits > 0.0 && bits <= 32.0 => Ok(Self::BitsPerWeight(bits)),
            _ => Err(TargetError::Bits { text: text.into() }),
        }
    }

    /// Bytes of a number with an optional unit: kB, MB, GB, KiB, MiB, GiB.
    ///
    /// # Errors
    /// Another unit, no number, nothing or more than 2^53 bytes.
    pub fn parse_size(text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError::Size { text: text.into() };
        let trimmed = text.trim();
        let end = trimmed
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1_048_576.0,
            "g" | "gib" => 1_073_741_824.0,
            _ => return Err(wrong()),
        };
        let bytes = f64::from_str(number.trim()).map_err(|_| wrong())? * factor;
        if (1.0..=9.0e15).contains(&bytes) {
            Ok(Self::Bytes(bytes as u64))
        } else {
            Err(wrong())
        }
    }
}

/// A named target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// What it is called.
    pub name: &'static str,
    /// Bits a weight of all tensors.
    pub bits: f64,
    /// What to expect of it.
    pub about: &'static str,
}

/// The presets, the largest first.
pub const PRESETS: [Preset; 4] = [
    Preset {
        name: "best-4",
        bits: 4.25,
        about: "4.25 bits per weight (SmolLM2 135M: perplexity 10 % higher)",
    },
    Preset {
        name: "best-3",
        bits: 3.25,
        about: "3.25 bits: a clear loss for small models (SmolLM2 135M: perplexity 54 % higher)",
    },
    Preset {
        name: "best-2",
        bits: 2.25,
        about: "2.25 bits: ruins small models (SmolLM2 135M: perplexity 4.3 times as high)",
    },
    Preset {
        name: "tiny",
        bits: 1.75,
        about: "1.75 bits: for large models, and for models trained for few bits",
    },
];

impl Preset {
    /// The preset of a name.
    pub fn named(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|p| p.name == name)
    }

    /// Its size.
    pub fn target(self) -> Target {
        Target::BitsPerWeight(self.bits)
    }
}

/// Why a text is no [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum TargetError {
    #[error("'{text}' is no number of bits per weight, expected one above 0, at most 32, like 3.2")]
    Bits { text: String },
    #[error("'{text}' is no size, expected a number and a unit, like 512MiB or 1.2GB")]
    Size { text: String },
}

/// The codings that a matrix may get where no rule names one and codes of `bits` fit everywhere: of half the bits at
/// least. A divergence is foretold for small errors, and no matrix is ruined for the benefit of the others.
pub fn options(bits: f64) -> Vec<Coding> {
    let mut all = Vec::new();
    for encoding in Encoding::ALL {
        for group in [ScaleGroup::W128, ScaleGroup::W64, ScaleGroup::W32] {
            // What finer scales cost is better spent on levels where there are many.
            let finest = match encoding {
                Encoding::Int8 => ScaleGroup::W128,
                Encoding::Int6 => ScaleGroup::W64,
                _ => ScaleGroup::W32,
            };
            if group >= finest && encoding.bits() >= bits / 2.0 {
                all.push(Coding { encoding, group });
            }
        }
    }
    all
}

/// Bytes of all tensors where all matrices have one coding.
fn everywhere(hyper: &Hyper, coding: Coding) -> u64 {
    let each = hyper.tensors().into_iter().map(|t| {
        let shape = hyper.shape(t);
        match t.is_vector() {
            true => shape.1 * 4,
            false => payload(coding, shape).unwrap_or(u64::MAX >> 20),
        }
    });
    each.sum()
}

/// The largest coding that fits everywhere within so many bytes of all tensors, or the smallest of all.
pub fn uniform(hyper: &Hyper, bytes: u64) -> Coding {
    let size = |c: &Coding| everywhere(hyper, *c);
    let all = options(0.0).into_iter();
    let all = all.filter(|c| c.encoding != Encoding::Ternary);
    let fitting = all.filter(|c| size(c) <= bytes).max_by_key(size);
    fitting.unwrap_or(Coding {
        encoding: Encoding::Pow1,
        group: ScaleGroup::W128,
    })
}

/// Bytes of a matrix's payload, padding included.
pub fn payload(coding: Coding, (rows, cols): (u64, u64)) -> Option<u64> {
    let layout = TensorLayout::new(coding, rows, cols).ok()?;
    Some(layout.payload_bytes())
}

/// Matrices with their codings.
pub type Allocation = BTreeMap<Tensor, Coding>;

//! What a conversion did, tensor by tensor, as JSON.

use crate::source::Checkpoint;
use carat_format::{Coding, TensorEntry};
use carat_gguf::Layout;
use serde::{Serialize, Serializer};

/// A converted model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Name of the model, where it has one.
    pub name: Option<String>,
    /// Architecture of the source.
    pub architecture: String,
    /// Bits of a code, where no rule says otherwise.
    #[serde(serialize_with = "whole")]
    pub bits: f64,
    /// Weights that share a scale, where no rule says otherwise.
    pub group: u32,
    /// Weights, norms included.
    pub weights: u64,
    /// Bytes of the source's weight files.
    pub source_bytes: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bits a weight of the matrices' payloads, padding included.
    pub payload_bpw: f64,
    /// Bits a weight of the whole file.
    pub file_bpw: f64,
    /// Root of the mean of the matrices' relative squared errors, by number of weights.
    pub error: f64,
    /// How long each part of the conversion took, in order.
    pub stages: Vec<Stage>,
    /// What a division of other sizes would cost, where one was asked for and divergence was measured.
    pub predicted: Vec<Predicted>,
    /// Every tensor in file order.
    pub tensors: Vec<TensorReport>,
}

/// A part of a conversion.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stage {
    /// What was done.
    pub name: &'static str,
    /// Wall-clock time.
    pub seconds: f64,
}

/// The best division of a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Predicted {
    /// Bytes of all tensors.
    pub bytes: u64,
    /// The sum of the divergences that the matrices cause one by one, in nats.
    pub kl: f64,
}

/// What a matrix was multiplied with on the calibration text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Inputs {
    /// Root of the mean square.
    pub rms: f32,
    /// Largest magnitude.
    pub max: f32,
}

/// A converted tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TensorReport {
    /// Name in the file.
    pub name: String,
    /// Rows and columns; the length of a vector.
    pub shape: Vec<u64>,
    /// Name of the encoding.
    pub encoding: String,
    /// Bits of a code.
    #[serde(serialize_with = "whole")]
    pub bits: f64,
    /// Weights that share a scale; absent for a vector.
    pub group: Option<u32>,
    /// Exponent p of the table, where there is one.
    pub power: Option<f32>,
    /// Root of the relative squared error; absent for a vector.
    pub error: Option<f32>,
    /// Root of the loss that was fitted, relative to the square of the outputs; where the conversion is calibrated.
    pub output_error: Option<f32>,
    /// The matrix's inputs, where the conversion is calibrated.
    pub inputs: Option<Inputs>,
    /// Divergence a unit of loss (KL in nats), where it was measured.
    pub sensitivity: Option<f64>,
    /// Bytes of the payload.
    pub bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
}

/// Bits of a code as a JSON number, an integer where they are one.
///
/// # Errors
/// The serializer's own.
pub fn whole<S: Serializer>(bits: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if bits.fract() == 0.0 {
        serializer.serialize_u64(*bits as u64)
    } else {
        serializer.serialize_f64(*bits)
    }
}

impl TensorReport {
    /// Of a matrix that is written.
    pub(crate) fn of(e: &TensorEntry) -> Self {
        Self {
            name: e.tensor.name(),
            shape: vec![e.layout.rows, e.layout.cols],
            encoding: e.layout.encoding.name().into(),
            bits: e.layout.encoding.bits(),
            group: Some(e.layout.group.weights() as u32),
            power: e.layout.encoding.has_power().then_some(e.power),
            error: Some(e.error),
            bytes: e.layout.payload_bytes(),
            ..Self::default()
        }
    }
}

impl Report {
    pub(crate) fn new(
        source: &Checkpoint,
        coding: Coding,
        layout: &Layout,
        tensors: Vec<TensorReport>,
    ) -> Self {
        let hyper = source.hyper();
        let matrices = || tensors.iter().filter(|t| t.group.is_some());
        let matrix_weights: u64 = matrices().map(|t| t.shape.iter().product::<u64>()).sum();
        let payload: u64 = matrices().map(|t| t.bytes).sum();
        let bits_each = |bytes: u64, weights: u64| bytes as f64 * 8.0 / weights.max(1) as f64;
        let mean: f64 = matrices()
            .map(|t| {
                let e = f64::from(t.error.unwrap_or_default());
                e * e * t.shape.iter().product::<u64>() as f64
            })
            .sum();
        Self {
            name: source.name().map(String::from),
            architecture: hyper.source_architecture.clone(),
            bits: coding.encoding.bits(),
            group: coding.group.weights() as u32,
            weights: hyper.weights(),
            source_bytes: source.bytes(),
            bytes: layout.file_len,
            payload_bpw: bits_each(payload, matrix_weights),
            file_bpw: bits_each(layout.file_len, hyper.weights()),
            error: (mean / matrix_weights.max(1) as f64).sqrt(),
            stages: Vec::new(),
            predicted: Vec::new(),
            tensors,
        }
    }

    /// The report as JSON, indented.
    ///
    /// # Errors
    /// None for a report of a conversion: every number is finite or absent.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

/// Largest resident memory of this process so far, in bytes (Linux's `VmHWM`); `None` where the system
/// does not tell.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

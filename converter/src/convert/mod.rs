//! A checkpoint becomes a Carat file.
//!
//! All sizes are known before the first weight is read. The file is written under a temporary name in
//! the target's directory, matrix by matrix in blocks of 32 rows, each read, quantized and written at its
//! place by whichever thread is free; then come the hashes, the header, and what only the integer engine
//! can tell ([`finalize`]). The target's name appears at the end, by one rename.

mod calibrated;
mod error;
mod file;
mod finalize;
mod hash;
mod header;
mod matrix;
mod role;
mod rule;
mod vector;

pub use error::ConvertError;
pub use finalize::{Finals, finalize};
pub use rule::{Rule, RuleError};

use crate::calibrate::{self, Calibration};
use crate::progress::Progress;
use crate::report::{Report, TensorReport, peak_resident_bytes};
use crate::source::{Checkpoint, Kind};
use carat_format::{Coding, Encoding, ScaleGroup, Tensor};
use file::Output;
use header::Plan;
use matrix::Calibrated;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Names the code that decides a converted file's bytes. The same source, options and version give the same
/// file; another version may give another.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("CARAT_CONVERTER_CODE"));

/// What to convert and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// A Hugging Face directory or a GGUF file.
    pub source: PathBuf,
    /// The file to write.
    pub output: PathBuf,
    /// Bits of a code: 1, 1.6 (ternary), 2, 3, 4 or 8.
    pub bits: f64,
    /// Weights that share a scale.
    pub group: ScaleGroup,
    /// What single matrices have instead of `bits` and `group`.
    pub rules: Vec<Rule>,
    /// The text that codes and scales are fitted to; free of data where absent.
    pub calibration: Option<Calibration>,
    /// Threads; the machine's where absent. The file does not depend on it.
    pub threads: Option<usize>,
    /// Replace an existing file.
    pub force: bool,
}

impl Default for Options {
    /// 4 bits and a scale for each 32 weights everywhere; no source and no output.
    fn default() -> Self {
        Self {
            source: PathBuf::new(),
            output: PathBuf::new(),
            bits: 4.0,
            group: ScaleGroup::default(),
            rules: Vec::new(),
            calibration: None,
            threads: None,
            force: false,
        }
    }
}

/// What a conversion gave.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Weights of the model, norms included.
    pub weights: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bits a weight of the matrices' payloads, padding included.
    pub payload_bpw: f64,
    /// Bits a weight of the whole file.
    pub file_bpw: f64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Largest resident memory of the process so far, where the system tells.
    pub peak_resident_bytes: Option<u64>,
    /// Every tensor.
    #[serde(skip)]
    pub report: Report,
}

/// Converts a checkpoint. `progress` counts weights.
///
/// # Errors
/// A source that cannot be read, a target that cannot be written or exists, a model outside the format's
/// range, a rule that matches no matrix, cancellation. Nothing is left under the target's name then, nor under the temporary one unless
/// the process was killed.
pub fn convert(options: &Options, progress: &dyn Progress) -> Result<Summary, ConvertError> {
    let started = Instant::now();
    let encoding = match Encoding::from_bits(options.bits) {
        Some(encoding) => encoding,
        None => {
            return Err(ConvertError::Bits {
                found: options.bits,
            });
        }
    };
    let source = Checkpoint::open(&options.source)?;
    if source.kind() == Kind::Carat {
        return Err(ConvertError::AlreadyConverted {
            path: options.source.clone(),
        });
    }
    rule::check(&options.rules, source.hyper())?;
    let sequences = options.calibration.as_ref().map(|c| {
        let sequences = calibrate::chunks(&source, c)?;
        Ok::<_, ConvertError>((sequences, c.methods))
    });
    let sequences = sequences.transpose()?;
    let base = Coding {
        encoding,
        group: options.group,
    };
    let mut plan = Plan::new(&source, |name| rule::coding(base, &options.rules, name))?;
    let layout = plan.lay_out()?;
    let output = Output::create(options, &source, layout.file_len)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.unwrap_or(0))
        .build()
        .map_err(|e| ConvertError::Threads {
            fault: e.to_string(),
        })?;

    let job = Job {
        source: &source,
        output: &output,
        progress,
        done: AtomicU64::new(0),
        total: source.hyper().weights(),
    };
    let offsets = source.hyper().tensors().into_iter();
    let offsets = offsets.zip(layout.tensor_offsets.iter().copied());
    let tensors = pool.install(|| -> Result<_, ConvertError> {
        let tensors = match &sequences {
            None => offsets
                .map(|(tensor, offset)| Ok(job.tensor(&mut plan, tensor, offset, None)?.0))
                .collect::<Result<_, ConvertError>>()?,
            Some((sequences, methods)) => {
                calibrated::tensors(&job, &mut plan, offsets.collect(), sequences, *methods)?
            }
        };
        hash::fill(&job, &mut plan, &layout)?;
        Ok(tensors)
    })?;
    // Of the same length as the one laid out first: every value that changed has a fixed width.
    let layout = plan.lay_out()?;
    output.write_at(&layout.header, 0)?;
    let finals = finalize::probe(output.path(), &layout, options.threads, progress)?;
    finalize(output.path(), &layout, &finals)?;
    output.publish(options)?;

    let report = Report::new(&source, base, &layout, tensors);
    Ok(Summary {
        weights: report.weights,
        bytes: report.bytes,
        payload_bpw: report.payload_bpw,
        file_bpw: report.file_bpw,
        seconds: started.elapsed().as_secs_f64(),
        peak_resident_bytes: peak_resident_bytes(),
        report,
    })
}

/// What every part of a running conversion needs.
struct Job<'a> {
    source: &'a Checkpoint,
    output: &'a Output,
    progress: &'a dyn Progress,
    /// Weights done.
    done: AtomicU64,
    total: u64,
}

impl Job<'_> {
    fn check_cancelled(&self) -> Result<(), ConvertError> {
        if self.progress.cancelled() {
            Err(ConvertError::Cancelled)
        } else {
            Ok(())
        }
    }

    fn advance(&self, weights: u64) {
        let before = self.done.fetch_add(weights, Ordering::Relaxed);
        self.progress.step(before + weights, self.total);
    }

    /// Reads, quantizes and writes one tensor, and enters the result into the plan. Returns the decoded weights
    /// of a matrix where the conversion is calibrated.
    fn tensor(
        &self,
        plan: &mut Plan,
        tensor: Tensor,
        offset: u64,
        calibrated: Option<Calibrated<'_>>,
    ) -> Result<(TensorReport, Vec<f32>), ConvertError> {
        let started = Instant::now();
        let mut report = TensorReport {
            name: tensor.name(),
            ..TensorReport::default()
        };
        let mut decoded = Vec::new();
        if let Some(v) = plan
            .directory
            .vectors
            .iter_mut()
            .find(|v| v.tensor == tensor)
        {
            v.offset = offset;
            self.vector(v)?;
            report.shape = vec![v.len];
            report.encoding = carat_format::keys::VECTOR.into();
            report.bits = 32.0;
            report.bytes = v.len * 4;
        }
        if let Some(e) = plan
            .directory
            .matrices
            .iter_mut()
            .find(|e| e.tensor == tensor)
        {
            e.offset = offset;
            decoded = self.matrix(e, calibrated)?;
            report.shape = vec![e.layout.rows, e.layout.cols];
            report.encoding = e.layout.encoding.name().into();
            report.bits = e.layout.encoding.bits();
            report.group = Some(e.layout.group.weights() as u32);
            report.power = e.layout.encoding.has_power().then_some(e.power);
            report.error = Some(e.error);
            report.bytes = e.layout.payload_bytes();
        }
        report.seconds = started.elapsed().as_secs_f64();
        Ok((report, decoded))
    }
}

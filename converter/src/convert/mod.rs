//! A checkpoint becomes a Carat file.
//!
//! All sizes are known before the first weight is read. The file is written under a temporary name in
//! the target's directory, matrix by matrix in blocks of 32 rows, each read, quantized and written at its
//! place by whichever thread is free; then come the hashes, the header, and what only the integer engine
//! can tell ([`finalize`]). The target's name appears at the end, by one rename.

mod allocate;
mod calibrated;
mod card;
mod checked;
mod clock;
mod error;
mod exact;
mod feasible;
mod file;
mod finalize;
mod fold;
mod hash;
mod header;
mod matrix;
mod own;
pub mod quality;
mod resume;
mod role;
mod rule;
mod vector;

pub use card::CardText;
pub use error::ConvertError;
pub use finalize::{Finals, finalize};
pub use resume::is_busy;
pub use rule::{Rule, RuleError};

use crate::budget::{self, Allocation, Target};
use crate::calibrate::{self, Calibration, Text};
use crate::progress::{Part, Progress};
use crate::report::{Report, TensorReport, peak_resident_bytes};
use crate::source::{Checkpoint, Kind};
use crate::text;
use allocate::{Asked, Sensitivities, allocate};
use carat_format::{Card, Coding, Encoding, ScaleGroup, Tensor, TensorEntry};
use clock::Clock;
use exact::ExactMatrices;
use file::Output;
use header::Plan;
use matrix::Calibrated;
use quality::Quality;
use resume::Resume;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
    /// Bits of a code: 1, 1.6 (ternary), 2, 3, 4, 5, 6 or 8. A matrix whose weights have two or three values as they are
    /// gets codes of 1 bit or ternary ones for as many bits or more, and where all of the blocks do, embedding and head get 4
    /// bits where just those codes are asked for.
    pub bits: f64,
    /// Weights that share a scale.
    pub group: ScaleGroup,
    /// What single matrices have instead of `bits` and `group`.
    pub rules: Vec<Rule>,
    /// How large the payload of all tensors may be; the matrices without a rule then get the codings of least
    /// divergence instead of `bits` and `group`. Needs a calibration.
    pub target: Option<Target>,
    /// The text that codes and scales are fitted to; free of data where absent.
    pub calibration: Option<Calibration>,
    /// What the file's quality is measured on; no quality card where absent.
    pub card: Option<CardText>,
    /// Threads; the machine's where absent. The file does not depend on it.
    pub threads: Option<usize>,
    /// Replace an existing file.
    pub force: bool,
    /// Write also a file whose card says that it is of no use ([`quality::Verdict::Useless`]).
    pub accept_useless: bool,
    /// How often a calibrated conversion saves what it has done, in a folder beside the target from which the same
    /// conversion goes on if this one ends before its time. A shorter one leaves nothing.
    pub save_every: Duration,
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
            target: None,
            calibration: None,
            card: None,
            threads: None,
            force: false,
            accept_useless: false,
            save_every: Duration::from_secs(60),
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
    /// Matrices that hold −s and s, or −s, 0 and s alone, and kept every code.
    pub ternary: usize,
    /// What the quality card says.
    #[serde(skip)]
    pub card: Option<Card>,
    /// Mean divergence in nats that was foretold of the division of a size, on the calibration's text and without what
    /// integers round.
    pub predicted_kl: Option<f64>,
    /// Where a divided size did not do what was foretold: the divergences of the division and of the same bits
    /// everywhere, of which the file is the better.
    pub uniform: Option<[f64; 2]>,
    /// Blocks that an earlier conversion had done, where this one went on with them.
    pub resumed: Option<u32>,
    /// Every tensor.
    #[serde(skip)]
    pub report: Report,
}

impl Summary {
    /// What the quality card amounts to; `None` without a card.
    pub fn quality(&self) -> Option<Quality> {
        self.card.as_ref().map(Quality::of)
    }
}

/// The parts of a conversion, in order, each with its share of the time: the seconds that it takes for
/// `MEASURED`. One of a single part counts weights to its progress, one of more counts [`Part::STEPS`] for all of them.
pub fn parts(options: &Options) -> Vec<(&'static str, u64)> {
    let calibration = options.calibration.as_ref();
    let tokens = calibration.map_or(0, |c| c.tokens as u64);
    let samples = calibration.is_some_and(|c| c.text == Text::Own);
    let scales = calibration.is_some_and(|c| c.methods.awq);
    let quantizing = match tokens {
        0 => 4,
        tokens => 12 + tokens / 300,
    };
    let all = [
        (SAMPLING, samples, tokens / 64),
        (SCALING, scales, 10 + tokens / 256),
        (MEASURING, options.target.is_some(), 15),
        (QUANTIZING, true, quantizing),
        (JUDGING, options.card.is_some(), 2),
    ];
    let there = all.into_iter().filter(|(_, there, _)| *there);
    there.map(|(name, _, share)| (name, share.max(1))).collect()
}

/// Weights and threads by which the shares of [`parts`] were measured: SmolLM2 135M on two cores of a Zen 5.
const MEASURED: (f64, f64) = (135e6, 2.0);

/// Seconds that a conversion of so many weights takes on so many threads, within a factor of two on present
/// processors.
pub fn seconds(options: &Options, weights: u64, threads: usize) -> f64 {
    let shares: u64 = parts(options).iter().map(|(_, share)| share).sum();
    shares as f64 * weights as f64 / MEASURED.0 * MEASURED.1 / threads.max(1) as f64
}

/// Names of the parts.
const SAMPLING: &str = "sampling a text";
const SCALING: &str = "scaling channels";
const MEASURING: &str = "measuring what bits do";
const QUANTIZING: &str = "quantizing";
const JUDGING: &str = "measuring quality";

/// The stretch of the whole that a part of [`parts`] takes.
fn part<'p>(options: &Options, name: &str, progress: &'p dyn Progress) -> Part<'p> {
    let all = parts(options);
    let shares = |parts: &[(&str, u64)]| parts.iter().map(|p| p.1).sum::<u64>();
    let at = all.iter().position(|p| p.0 == name).unwrap_or(0);
    let span = all.get(at).map_or(1, |p| p.1);
    Part::new(progress, shares(&all[..at]), span, shares(&all))
}

/// Converts a checkpoint. `progress` counts what [`parts`] says.
///
/// # Errors
/// A source that cannot be read, a target that cannot be written or exists, a model outside the format's
/// range, a rule that matches no matrix, a target below what the tensors take at least, a file that would be of no use
/// ([`Options::accept_useless`]), cancellation. Nothing is left under the target's name then, nor under the temporary one unless
/// the process was killed; what a calibrated conversion has saved ([`Options::save_every`]) stays where it was cancelled, killed,
/// or met a full disk.
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
    text::tokenizer_notes(&source).map_err(ConvertError::Text)?;
    Output::check(options, &source)?;
    if options.target.is_some() && options.calibration.is_none() {
        return Err(ConvertError::TargetText);
    }
    let base = Coding {
        encoding,
        group: options.group,
    };
    if options.calibration.is_none() {
        return run(options, &source, base, None, progress, started);
    }
    let mut resume = Resume::open(options, &source)?;
    let divided = run(options, &source, base, Some(&mut resume), progress, started);
    let result = checked::check(options, &source, divided, (progress, started));
    match result {
        Err(ConvertError::Cancelled) if resume.saved() => Err(ConvertError::Paused {
            path: resume.folder().into(),
        }),
        Err(e @ (ConvertError::DiskFull { .. } | ConvertError::Write { .. })) if resume.saved() => {
            Err(e)
        }
        done => {
            resume.remove();
            done
        }
    }
}

/// Converts a source that may be, into a target that may be.
fn run(
    options: &Options,
    source: &Checkpoint,
    base: Coding,
    mut resume: Option<&mut Resume>,
    progress: &dyn Progress,
    started: Instant,
) -> Result<Summary, ConvertError> {
    let exact = ExactMatrices::find(source, || match progress.cancelled() {
        true => Err(ConvertError::Cancelled),
        false => Ok(()),
    })?;
    if let Some(target) = options.target {
        feasible::check(options, source, base, &exact, target)?;
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.unwrap_or(0))
        .build()
        .map_err(|e| ConvertError::Threads {
            fault: e.to_string(),
        })?;
    let mut clock = Clock::default();
    // What a model without a head would be scored on are no predictions.
    let card = options.card.as_ref();
    let card = card.filter(|_| !source.hyper().headless);
    let card = card.map(|text| card::plan(source, text)).transpose()?;
    let sequences = match &options.calibration {
        None => None,
        Some(c) => Some(match &c.text {
            Text::BuiltIn => calibrate::built_in(source, c)?,
            Text::File(path) => calibrate::chunks(source, path, c)?,
            Text::Own => match resume.as_ref().and_then(|r| r.sequences()) {
                Some(sequences) => sequences,
                None => {
                    let part = part(options, SAMPLING, progress);
                    let length = calibrate::chunk_length(source);
                    let sequences = own::sequences(options, c, length, &part)?;
                    if let Some(r) = &mut resume {
                        r.keep_sequences(&sequences)?;
                    }
                    sequences
                }
            },
        }),
    };
    clock.stage("text");
    let calibrated = sequences.as_deref().zip(options.calibration.as_ref());
    // The quality card is measured against the checkpoint as it is.
    let original = source;
    let folded = match calibrated {
        // Weights of two or three values stay what they are.
        Some((sequences, c)) if exact.is_empty() => {
            let coding = |t: Tensor| rule::coding(base, &options.rules, &t.name());
            let part = part(options, SCALING, progress);
            let fold = || fold::fold(source, sequences, c.methods, &coding, &part);
            let transform = pool.install(fold)?;
            match transform.is_empty() {
                true => None,
                false => Some(Checkpoint::open(&options.source)?.transformed(transform)),
            }
        }
        _ => None,
    };
    let source = folded.as_ref().unwrap_or(source);
    let mut measured = Sensitivities::default();
    let mut predicted = None;
    let allocation = match (options.target, calibrated) {
        (Some(target), Some((sequences, c))) => 'found: {
            let matrices = source.hyper().tensors().into_iter();
            let matrices: Vec<Tensor> = matrices.filter(|t| !t.is_vector()).collect();
            let kept = resume.as_ref().and_then(|r| r.allocation(&matrices));
            if let Some((kept, kl)) = kept {
                predicted = Some(kl);
                break 'found kept;
            }
            let part = part(options, MEASURING, progress);
            let asked = Asked {
                options,
                base,
                exact: &exact,
                target,
            };
            let keep = resume.as_deref_mut().map(|r| r as &mut dyn budget::Keep);
            let found = pool.install(|| allocate(source, &asked, sequences, c, (&part, keep)))?;
            if let Some(r) = &mut resume {
                r.keep_allocation(&found.allocation, found.kl)?;
            }
            measured = found.measurement;
            predicted = Some(found.kl);
            found.allocation
        }
        _ => Allocation::new(),
    };
    clock.stage("sensitivities");
    // By itself quantizing counts weights.
    let (whole, quantizing) = (progress, part(options, QUANTIZING, progress));
    let progress: &dyn Progress = match parts(options).len() {
        1 => progress,
        _ => &quantizing,
    };
    let coding = |tensor: Tensor| {
        let allocated = allocation.get(&tensor).copied();
        let base = allocated.unwrap_or_else(|| exact.coding(tensor, base));
        rule::coding(base, &options.rules, &tensor.name())
    };
    let mut plan = Plan::new(source, card.flatten(), coding)?;
    if let (Some(_), Some((_, c))) = (&folded, calibrated) {
        plan.note_folded(c.methods);
    }
    let layout = plan.lay_out()?;
    let output = match &resume {
        None => Output::create(options, source, layout.file_len)?,
        Some(r) => Output::resume(options, source, layout.file_len, (&r.data(), r.saved()))?,
    };

    let job = Job {
        source,
        output: &output,
        exact: &exact,
        progress,
        done: AtomicU64::new(0),
        total: source.hyper().weights(),
    };
    let offsets = source.hyper().tensors().into_iter();
    let offsets = offsets.zip(layout.tensor_offsets.iter().copied());
    let mut resumed = None;
    let tensors = pool.install(|| -> Result<_, ConvertError> {
        let tensors = match calibrated {
            None => offsets
                .map(|(tensor, offset)| Ok(job.tensor(&mut plan, tensor, offset, None)?.0))
                .collect::<Result<_, ConvertError>>()?,
            Some((sequences, c)) => {
                let offsets = offsets.collect();
                let (tensors, went_on) =
                    calibrated::tensors(&job, &mut plan, offsets, sequences, c.methods, resume)?;
                resumed = went_on;
                tensors
            }
        };
        clock.stage("quantization");
        hash::fill(&job, &mut plan, &layout)?;
        clock.stage("hashes");
        Ok(tensors)
    })?;
    let kept = plan.directory.matrices.iter().filter(|e| job.keeps(e));
    let kept = kept.count();
    // Of the same length as the one laid out first: every value that changed has a fixed width.
    let layout = plan.lay_out()?;
    output.write_at(&layout.header, 0)?;
    let finals = finalize::probe(output.path(), &layout, options.threads, progress)?;
    finalize(output.path(), &layout, &finals)?;
    clock.stage("golden vectors");
    if let Some(card) = &mut plan.card {
        let part = part(options, JUDGING, whole);
        let of = (original, options);
        card.figures = pool.install(|| card::fill(output.path(), &layout, card, of, &part))?;
    }
    quality::check(plan.card.as_ref(), options.accept_useless)?;
    clock.stage("quality card");
    output.publish(options)?;

    let mut report = Report::new(source, base, &layout, tensors);
    report.stages = clock.stages(&report.tensors, calibrated.is_some());
    measured.enter(&mut report);
    Ok(Summary {
        weights: report.weights,
        bytes: report.bytes,
        payload_bpw: report.payload_bpw,
        file_bpw: report.file_bpw,
        seconds: started.elapsed().as_secs_f64(),
        peak_resident_bytes: peak_resident_bytes(),
        ternary: kept,
        card: plan.card,
        predicted_kl: predicted,
        uniform: None,
        resumed,
        report,
    })
}

/// What every part of a running conversion needs.
struct Job<'a> {
    source: &'a Checkpoint,
    output: &'a Output,
    exact: &'a ExactMatrices,
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

    /// Whether the codes hold the matrix as it is.
    fn keeps(&self, e: &TensorEntry) -> bool {
        self.exact.keeps(e.tensor, e.layout.coding())
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
            let written = self.matrix(e, calibrated)?;
            report = TensorReport {
                output_error: written.1,
                ..TensorReport::of(e)
            };
            decoded = written.0;
        }
        report.seconds = started.elapsed().as_secs_f64();
        Ok((report, decoded))
    }
}

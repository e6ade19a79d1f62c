//! What the options of each matrix cause.
//!
//! The loss of an option, `Σ (ŵ − w) H (ŵ − w)ᵀ` over the rows, comes from a sample of rows; what a unit of
//! loss of a matrix does to the model's predictions, from one change: the whole matrix in a coarse coding,
//! every other as it was, and the divergence of the predictions. For a model too large for a pass for each
//! matrix the unit is the energy of the matrix's own outputs.

use super::knapsack::Choice;
use super::payload;
use crate::calibrate::{CalibrationError, Hessian, Methods, Solver, Task};
use crate::convert::ConvertError;
use crate::progress::Progress;
use crate::quantize::{self, Objective, QuantizedRow, Quantizer};
use crate::reference::{ReferenceError, Stream};
use crate::source::Checkpoint;
use carat_format::{Coding, Encoding, ScaleGroup, Tensor};
use rayon::prelude::*;

/// Most sequences of the calibration text that are run.
const SEQUENCES: usize = 16;
/// Most multiplications of one pass for each matrix; of a larger model the energy of outputs is the unit.
const MOST_WORK: f64 = 4e13;
/// Damping of H, as in the conversion.
const DAMPING: f64 = 0.01;
/// What a matrix becomes for the pass that shows what it does.
const PROBE: Coding = Coding {
    encoding: Encoding::Pow3,
    group: ScaleGroup::W64,
};
/// Rows by which an option's exponent is chosen.
const EXPONENT_ROWS: usize = 8;
/// Positions whose logits are compared at a time.
const POSITIONS: usize = 64;

/// What is measured and how.
pub struct Measure<'a> {
    /// The checkpoint.
    pub source: &'a Checkpoint,
    /// The calibration text; a part of it is used.
    pub sequences: &'a [Vec<u32>],
    /// The methods of the conversion.
    pub methods: Methods,
    /// The codings that a matrix may get, at least one.
    pub codings: &'a (dyn Fn(Tensor) -> Vec<Coding> + Sync),
    /// Told after each matrix.
    pub progress: &'a dyn Progress,
}

/// A matrix's options.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The matrix.
    pub tensor: Tensor,
    /// Divergence a unit of loss: KL in nats, or 1 by the energy of the outputs.
    pub sensitivity: f64,
    /// Whether the unit is KL.
    pub by_predictions: bool,
    /// Its codings.
    pub codings: Vec<Coding>,
    /// Payload and divergence of each.
    pub choices: Vec<Choice>,
}

/// Every matrix of the model in file order.
///
/// # Errors
/// What reading the checkpoint meets; inputs that are not finite; cancellation.
pub fn measure(task: &Measure<'_>) -> Result<Vec<Measured>, ConvertError> {
    let hyper = task.source.hyper();
    let step = task.sequences.len().div_ceil(SEQUENCES).max(1);
    let sequences: Vec<Vec<u32>> = task.sequences.iter().step_by(step).cloned().collect();
    let matrices = hyper.tensors().iter().filter(|t| !t.is_vector()).count() as u64;
    let positions: usize = sequences.iter().map(Vec::len).sum();
    let work = hyper.weights() as f64 * matrices as f64 * positions as f64;
    let mut run = Run {
        task,
        stream: Stream::open(task.source, &sequences)?,
        by_predictions: work <= MOST_WORK,
        outputs: Vec::new(),
        found: Vec::new(),
        matrices,
    };
    run.all()?;
    let mut found = run.found;
    let order = hyper.tensors();
    found.sort_by_key(|m| order.iter().position(|t| *t == m.tensor));
    Ok(found)
}

struct Run<'t, 's> {
    task: &'t Measure<'s>,
    /// With the checkpoint's weights, but for the matrix at hand.
    stream: Stream<'s>,
    by_predictions: bool,
    /// The last norm's outputs of the unchanged model, of each group.
    outputs: Vec<Vec<f32>>,
    found: Vec<Measured>,
    matrices: u64,
}

impl Run<'_, '_> {
    fn all(&mut self) -> Result<(), ConvertError> {
        use Tensor::*;
        let hyper = self.task.source.hyper();
        self.stream.embed()?;
        let start = self.stream.save();
        self.stream.run_from(0)?;
        let groups = 0..self.stream.groups();
        self.outputs = groups
            .map(|g| self.stream.outputs(g))
            .collect::<Result<_, ReferenceError>>()?;
        let mut head = Hessian::new(hyper.embedding_length as usize);
        self.outputs.iter().for_each(|x| head.add(x));
        if hyper.tied {
            let solver = solve(head, TokenEmbedding)?;
            self.matrix(TokenEmbedding, Some(&solver), 0)?;
        } else {
            let solver = solve(head, Output)?;
            self.matrix(Output, Some(&solver), hyper.block_count)?;
            self.matrix(TokenEmbedding, None, 0)?;
        }
        self.stream.restore(&start);
        for b in 0..hyper.block_count {
            let start = self.stream.save();
            let mut sums = [AttnQ(b), AttnOutput(b), FfnGate(b), FfnDown(b)]
                .map(|t| Hessian::new(hyper.shape(t).1 as usize));
            for g in 0..self.stream.groups() {
                if self.task.progress.cancelled() {
                    return Err(ConvertError::Cancelled);
                }
                sums[0].add(&self.stream.attention_inputs(b, g)?);
                sums[1].add(self.stream.attend(b, g)?);
                sums[2].add(&self.stream.ffn_inputs(b, g)?);
                sums[3].add(&self.stream.ffn_products(b, g)?);
                self.stream.finish(b, g)?;
            }
            let end = self.stream.save();
            let readers: [&[Tensor]; 4] = [
                &[AttnQ(b), AttnK(b), AttnV(b)],
                &[AttnOutput(b)],
                &[FfnGate(b), FfnUp(b)],
                &[FfnDown(b)],
            ];
            for (tensors, sum) in readers.iter().zip(sums) {
                let solver = solve(sum, tensors[0])?;
                for tensor in *tensors {
                    self.stream.restore(&start);
                    self.matrix(*tensor, Some(&solver), b)?;
                }
            }
            self.stream.restore(&end);
        }
        Ok(())
    }

    /// Measures a matrix that the streams, which are before block `from`, have still to pass.
    fn matrix(
        &mut self,
        tensor: Tensor,
        solver: Option<&Solver>,
        from: u32,
    ) -> Result<(), ConvertError> {
        if self.task.progress.cancelled() {
            return Err(ConvertError::Cancelled);
        }
        let shape = self.task.source.hyper().shape(tensor);
        let cols = shape.1 as usize;
        let mut sample = Vec::new();
        for r in quantize::sample_rows(shape.0, shape.1) {
            let mut row = Vec::new();
            self.task.source.read_rows(tensor, r..r + 1, &mut row)?;
            sample.extend(row);
        }
        let sensitivity = if self.by_predictions {
            self.predictions(tensor, solver, from)?
        } else {
            let energy = energy(solver, &sample, cols);
            let part = (sample.len() / cols.max(1)) as f64 / shape.0 as f64;
            if energy > 0.0 { part / energy } else { 0.0 }
        };
        let codings = (self.task.codings)(tensor);
        let scale = shape.0 as f64 / (sample.len() / cols.max(1)).max(1) as f64;
        let choices: Vec<Choice> = codings
            .par_iter()
            .map(|coding| {
                let rows = quantized(*coding, &sample, cols, solver, self.task.methods).0;
                let loss: f64 = rows.iter().map(|r| r.weighted_error).sum();
                Choice {
                    bytes: payload(*coding, shape).unwrap_or(u64::MAX / 4096),
                    cost: loss * scale * sensitivity,
                }
            })
            .collect();
        self.found.push(Measured {
            tensor,
            sensitivity,
            by_predictions: self.by_predictions,
            codings,
            choices,
        });
        let done = self.found.len() as u64;
        let total = self.task.source.hyper().weights();
        self.task
            .progress
            .step(total / self.matrices.max(1) * done, total);
        Ok(())
    }

    /// Mean KL of the predictions a unit of loss, with the whole matrix in the probe's coding.
    fn predictions(
        &mut self,
        tensor: Tensor,
        solver: Option<&Solver>,
        from: u32,
    ) -> Result<f64, ConvertError> {
        let hyper = self.task.source.hyper();
        let (rows, cols) = hyper.shape(tensor);
        let mut weights = Vec::new();
        self.task.source.read_rows(tensor, 0..rows, &mut weights)?;
        let nearest = Methods {
            gptq: false,
            descent: false,
            drift: false,
            exponent: false,
            ..self.task.methods
        };
        let (quantized, decoded) = quantized(PROBE, &weights, cols as usize, solver, nearest);
        let loss: f64 = quantized.iter().map(|r| r.weighted_error).sum();
        drop(quantized);
        let head = tensor == Tensor::Output || (hyper.tied && tensor == Tensor::TokenEmbedding);
        // What the head's logits were is known only while its weights are.
        let heads = match head {
            true => {
                let mut held = Vec::new();
                std::mem::swap(&mut held, &mut weights);
                Some(held)
            }
            false => None,
        };
        self.stream.hold(tensor, decoded);
        if tensor == Tensor::TokenEmbedding {
            self.stream.embed()?;
        }
        self.stream.run_from(from)?;
        let divergence = self.divergence(heads.as_deref());
        self.stream.release(tensor);
        Ok(if loss > 0.0 { divergence? / loss } else { 0.0 })
    }

    /// Mean KL of the unchanged model's predictions and those of the streams; `head` are the head's weights
    /// where the stream has others.
    fn divergence(&self, head: Option<&[f32]>) -> Result<f64, ConvertError> {
        let hyper = self.task.source.hyper();
        let (width, vocab) = (hyper.embedding_length as usize, hyper.vocab_size as usize);
        let (mut sum, mut count) = (0f64, 0usize);
        let (mut exact, mut changed) = (Vec::new(), Vec::new());
        for (g, outputs) in self.outputs.iter().enumerate() {
            let now = self.stream.outputs(g)?;
            for (a, b) in outputs
                .chunks(POSITIONS * width)
                .zip(now.chunks(POSITIONS * width))
            {
                match head {
                    Some(head) => self.stream.logits_of(head, a, &mut exact),
                    None => self.stream.logits(a, &mut exact)?,
                }
                self.stream.logits(b, &mut changed)?;
                let each: Vec<f64> = exact
                    .par_chunks(vocab)
                    .zip(changed.par_chunks(vocab))
                    .map(|(p, q)| kl(p, q))
                    .collect();
                sum += each.iter().sum::<f64>();
                count += each.len();
            }
        }
        Ok(sum / count.max(1) as f64)
    }
}

fn solve(hessian: Hessian, tensor: Tensor) -> Result<Solver, ConvertError> {
    let solver = hessian.solve(DAMPING, true);
    Ok(solver.ok_or_else(|| CalibrationError::NotFinite {
        tensor: tensor.name(),
    })?)
}

/// Rows in a coding, and their decoded weights. Coordinate descent and the search of the exponent by the loss
/// change all options alike and are left out.
fn quantized(
    coding: Coding,
    weights: &[f32],
    cols: usize,
    solver: Option<&Solver>,
    methods: Methods,
) -> (Vec<QuantizedRow>, Vec<f32>) {
    let diagonal = solver.filter(|_| methods.scales).map(Solver::diagonal);
    let objective = Objective {
        importance: diagonal.as_deref(),
        keep_norm: false,
    };
    let sample = &weights[..weights.len().min(EXPONENT_ROWS * cols)];
    let power = quantize::choose_power(coding, sample, cols, &objective);
    let quantizer = Quantizer::new(coding, power);
    let methods = Methods {
        descent: false,
        drift: false,
        ..methods
    };
    let rows: Vec<QuantizedRow> = weights
        .par_chunks(32 * cols)
        .flat_map_iter(|rows| match solver {
            Some(solver) => {
                let task = Task {
                    quantizer: &quantizer,
                    solver,
                    methods,
                    objective,
                };
                task.rows(rows, cols, None)
            }
            None => rows
                .chunks(cols)
                .map(|row| quantizer.row(row, &objective))
                .collect(),
        })
        .collect();
    let decoded = rows
        .par_iter()
        .flat_map_iter(|row| quantizer.decode(&row.packed))
        .collect();
    (rows, decoded)
}

/// `Σ w H wᵀ` over the rows.
pub(crate) fn energy(solver: Option<&Solver>, rows: &[f32], cols: usize) -> f64 {
    let sums: Vec<f64> = rows
        .par_chunks(cols)
        .map(|row| match solver {
            Some(solver) => solver.energy(row),
            None => row.iter().map(|w| f64::from(*w) * f64::from(*w)).sum(),
        })
        .collect();
    sums.iter().sum()
}

/// KL(p ‖ q) in nats of two rows of logits.
fn kl(p: &[f32], q: &[f32]) -> f64 {
    let normaliser = |z: &[f32]| {
        let top = z.iter().fold(f32::NEG_INFINITY, |m, z| m.max(*z));
        let sum: f64 = z.iter().map(|z| libm::exp(f64::from(z - top))).sum();
        f64::from(top) + libm::log(sum)
    };
    let (a, b) = (normaliser(p), normaliser(q));
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (p, q) = (f64::from(*p) - a, f64::from(*q) - b);
        libm::exp(p) * (p - q)
    });
    terms.sum::<f64>().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_known_distributions() {
        assert_eq!(kl(&[1.0, 2.0], &[3.0, 4.0]), 0.0);
        // ¾, ¼ against ½, ½.
        let found = kl(&[libm::logf(3.0), 0.0], &[5.0, 5.0]);
        let exact = 0.75 * libm::log(1.5) + 0.25 * libm::log(0.5);
        assert!((found - exact).abs() < 1e-7);
    }
}

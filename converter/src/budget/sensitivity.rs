//! What the options of each matrix cause.
//!
//! The KL divergence that a change δW of a matrix causes is, to second order, `½ Σ_r Σ_t g² (δW_r·x)² / T`: over its
//! rows r and the positions t, with x the matrix's inputs and g the gradients of its outputs that one pass back
//! gives for all matrices at once ([`crate::reference`]'s `backward`). Each option's δW comes from a sample of
//! rows, drawn by their g², which is fitted to one half of the positions as a conversion fits it and measured on
//! the other: what an option gains on the text it was fitted to alone is no gain.
//!
//! A tied embedding counts in both its roles. As head its rows r see the last norm's outputs, with p·(1 − p) of
//! their token for g²; as embedding they are the residual stream before the first block, as often as their token
//! is predicted.

use super::knapsack::Choice;
use super::payload;
use crate::calibrate::{CalibrationError, Hessian, Methods, Ridge, Solver, Task};
use crate::convert::ConvertError;
use crate::progress::Progress;
use crate::quantize::{self, Objective, Quantizer};
use crate::reference::{BranchGradients, HeadMoments, Stream};
use crate::source::Checkpoint;
use carat_format::model::Branch;
use carat_format::{Coding, Encoding, Part, Tensor};
use rayon::prelude::*;

/// Most positions of the calibration text that are run.
const POSITIONS: usize = 2048;
/// Rows by which an option's exponent is chosen.
const EXPONENT_ROWS: usize = 8;
/// Weights of the sample of an option, and its fewest rows.
const SAMPLE: (u64, u64) = (32 << 10, 32);
/// Seed of the draws of tokens.
const SEED: u64 = 0;
/// Shares of the work: a block forward, and back with its options.
const STEPS: (u64, u64) = (1, 6);

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
    /// Told after each block.
    pub progress: &'a dyn Progress,
}

/// Keeps what is measured so far, for a run that goes on with it.
pub trait Keep: Send {
    /// What an earlier run has kept, with the gradients of so many values; `None` where there is nothing.
    fn kept(&self, values: usize) -> Option<Kept>;

    /// Whether it is time to keep something.
    fn due(&self) -> bool;

    /// Keeps what is found, and the gradients before the last block that is measured.
    ///
    /// # Errors
    /// What writing it meets.
    fn keep(&mut self, found: &[Measured], gradients: &[Vec<f32>]) -> Result<(), ConvertError>;
}

/// What was measured before.
pub struct Kept {
    /// Of whole blocks, the last one first: each matrix's name with its sensitivity and the divergence of each option.
    pub found: Vec<(String, f64, Vec<f64>)>,
    /// Before the first of those blocks, group by group.
    pub gradients: Vec<f32>,
}

/// A matrix's options.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The matrix.
    pub tensor: Tensor,
    /// KL divergence of the predictions, in nats, a unit of the matrix's mean squared error of outputs: half the sum of
    /// their Fisher information.
    pub sensitivity: f64,
    /// Its codings.
    pub codings: Vec<Coding>,
    /// Payload and divergence of each.
    pub choices: Vec<Choice>,
}

/// Every matrix of the model in file order.
///
/// # Errors
/// What reading the checkpoint meets; inputs that are not finite; cancellation.
pub fn measure(
    task: &Measure<'_>,
    keep: Option<&mut dyn Keep>,
) -> Result<Vec<Measured>, ConvertError> {
    let hyper = task.source.hyper();
    let all: usize = task.sequences.iter().map(Vec::len).sum();
    let step = all.div_ceil(POSITIONS).max(1);
    let sequences: Vec<Vec<u32>> = task.sequences.iter().step_by(step).cloned().collect();
    let fitted = all / 2;
    let mut run = Run {
        task,
        stream: Stream::open(task.source, &sequences)?,
        halves: sequences.iter().map(Vec::len).sum::<usize>() as f64 / 2.0 / fitted.max(1) as f64,
        found: Vec::new(),
        done: 0,
    };
    run.all(keep)?;
    let mut found = run.found;
    let order = hyper.tensors();
    found.sort_by_key(|m| order.iter().position(|t| *t == m.tensor));
    Ok(found)
}

struct Run<'t, 's> {
    task: &'t Measure<'s>,
    stream: Stream<'s>,
    /// Positions that a fit sees here, of those that it sees in the conversion.
    halves: f64,
    found: Vec<Measured>,
    /// Steps done.
    done: u64,
}

/// A matrix's inputs: of one half of the positions for the fit, of the other, weighted by g², to measure it.
struct Inputs<'h> {
    fit: &'h Solver,
    judge: &'h Solver,
}

/// What a branch's matrices see and owe, of the groups so far.
struct Seen {
    /// Of the readers' inputs, and of the writer's.
    fits: [Hessian; 2],
    /// Readers, then the writer.
    matrices: Vec<SeenMatrix>,
}

struct SeenMatrix {
    judge: Hessian,
    /// Σ g² of each row.
    information: Vec<f64>,
}

impl Seen {
    fn new(branch: &Branch) -> Self {
        let matrices = branch.sites().map(|s| SeenMatrix {
            judge: Hessian::new(s.cols as usize),
            information: vec![0.0; s.rows as usize],
        });
        let cols = branch.readers.first().map_or(0, |s| s.cols);
        Self {
            fits: [cols, branch.writer.cols].map(|cols| Hessian::new(cols as usize)),
            matrices: matrices.collect(),
        }
    }

    /// Adds a group; `halves` gives the parts of its inputs for fitting and for judging.
    fn add(
        &mut self,
        found: &BranchGradients,
        halves: impl Fn(usize) -> (std::ops::Range<usize>, std::ops::Range<usize>),
    ) {
        let cols = self.fits.each_ref().map(Hessian::cols);
        for ((fit, x), cols) in self.fits.iter_mut().zip(&found.inputs).zip(cols) {
            fit.add(&x[halves(cols).0]);
        }
        let last = self.matrices.len().saturating_sub(1);
        for (i, (matrix, d)) in self.matrices.iter_mut().zip(&found.outputs).enumerate() {
            let stage = usize::from(i == last);
            let rows = matrix.information.len();
            let squares = squares(d, rows, &mut matrix.information);
            let cols = cols[stage];
            let range = halves(cols).1;
            let weights = &squares[range.start / cols..range.end / cols];
            matrix
                .judge
                .add_weighted(&found.inputs[stage][range], weights);
        }
    }
}

impl Run<'_, '_> {
    fn all(&mut self, mut keep: Option<&mut dyn Keep>) -> Result<(), ConvertError> {
        let hyper = self.task.source.hyper();
        let blocks = hyper.block_count();
        self.stream.embed()?;
        let mut starts = Vec::new();
        for b in 0..blocks {
            starts.push(self.stream.save());
            for g in 0..self.stream.groups() {
                self.check_cancelled()?;
                self.stream.block(b, g)?;
            }
            self.step(STEPS.0);
        }

        let width = hyper.embedding_length as usize;
        let mut moments = HeadMoments::default();
        let (mut fit, mut judge) = (Hessian::new(width), Hessian::new(width));
        let mut gradients = Vec::new();
        for g in 0..self.stream.groups() {
            self.check_cancelled()?;
            let (first, second) = self.halves_of(g, width);
            let x = self.stream.outputs(g)?;
            fit.add(&x[first]);
            judge.add(&x[second]);
            gradients.push(self.stream.head_gradient(g, SEED, &mut moments)?);
        }
        let head = Tensor::Output;
        let head = (solve(fit, head, true)?, solve(judge, head, false)?);

        let values: usize = gradients.iter().map(Vec::len).sum();
        let positions = values / width.max(1);
        let kept = keep.as_ref().and_then(|k| k.kept(values));
        let kept = kept.and_then(|k| Some((self.go_on(&k.found, starts.len())?, k)));
        if let Some((done, kept)) = kept {
            let mut rest = &kept.gradients[..];
            for g in &mut gradients {
                let (own, after) = rest.split_at(g.len());
                g.copy_from_slice(own);
                rest = after;
            }
            starts.truncate(starts.len() - done);
            self.step(STEPS.1 * done as u64);
        }
        while let Some(start) = starts.pop() {
            self.stream.restore(&start);
            self.block(starts.len() as u32, &mut gradients, positions)?;
            self.step(STEPS.1);
            if let Some(keep) = keep.as_deref_mut().filter(|k| k.due()) {
                keep.keep(&self.found, &gradients)?;
            }
        }

        let mean = 1.0 / positions.max(1) as f64;
        // Of each dimension of the residual stream before the first block.
        let mut stream = vec![0f32; width];
        for row in gradients.iter().flat_map(|g| g.chunks_exact(width)) {
            for (s, g) in stream.iter_mut().zip(row) {
                *s += g * g;
            }
        }
        stream.iter_mut().for_each(|s| *s *= mean as f32);
        let scaled = |sums: &[f64]| sums.iter().map(|s| s * mean).collect::<Vec<f64>>();
        let (read, given) = (scaled(&moments.probability), scaled(&moments.information));
        let inputs = Inputs {
            fit: &head.0,
            judge: &head.1,
        };
        if hyper.tied {
            let part = read.iter().sum::<f64>() / given.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            stream.iter_mut().for_each(|s| *s *= part as f32);
            let tied = Tensor::TokenEmbedding;
            self.matrix(tied, &given, Some(inputs), Some(&stream))
        } else {
            self.matrix(Tensor::Output, &given, Some(inputs), None)?;
            self.matrix(Tensor::TokenEmbedding, &read, None, Some(&stream))
        }
    }

    /// Takes what an earlier run found of whole blocks, the last of `blocks` first; how many they are, where it fits.
    fn go_on(&mut self, found: &[(String, f64, Vec<f64>)], blocks: usize) -> Option<usize> {
        let hyper = self.task.source.hyper();
        let (mut tensors, mut done) = (Vec::new(), 0);
        for b in (0..blocks as u32).rev() {
            if tensors.len() == found.len() {
                break;
            }
            tensors.extend(hyper.matrices(b));
            done += 1;
        }
        if tensors.len() != found.len() {
            return None;
        }
        let measured = tensors
            .iter()
            .zip(found)
            .map(|(tensor, (name, sensitivity, costs))| {
                let codings = (self.task.codings)(*tensor);
                let shape = self.task.source.hyper().shape(*tensor);
                let fits = *name == tensor.name() && codings.len() == costs.len();
                let choices = codings.iter().zip(costs).map(|(coding, cost)| Choice {
                    bytes: payload(*coding, shape).unwrap_or(u64::MAX / 4096),
                    cost: *cost,
                });
                let choices = choices.collect();
                fits.then_some(Measured {
                    tensor: *tensor,
                    sensitivity: *sensitivity,
                    codings,
                    choices,
                })
            });
        self.found = measured.collect::<Option<Vec<Measured>>>()?;
        Some(done)
    }

    /// The matrices of a block before which the streams are; the gradients come to be those before it.
    fn block(
        &mut self,
        b: u32,
        gradients: &mut [Vec<f32>],
        positions: usize,
    ) -> Result<(), ConvertError> {
        let branches = self.task.source.hyper().branches(b);
        let mut seen: Vec<Seen> = branches.iter().map(Seen::new).collect();
        for (g, gradient) in gradients.iter_mut().enumerate() {
            self.check_cancelled()?;
            let found = self.stream.block_gradient(b, g, gradient)?;
            for (seen, found) in seen.iter_mut().zip(&found) {
                seen.add(found, |cols| self.halves_of(g, cols));
            }
        }
        for (branch, seen) in branches.iter().zip(seen) {
            let of = |part: Part| part.of(b);
            let first = branch.readers.first().map(|s| of(s.part));
            let fits = [first.unwrap_or(of(branch.norm)), of(branch.writer.part)];
            let [read, written] = seen.fits;
            let fits = [solve(read, fits[0], true)?, solve(written, fits[1], true)?];
            let last = branch.readers.len();
            for (i, (site, mut matrix)) in branch.sites().zip(seen.matrices).enumerate() {
                self.check_cancelled()?;
                let information = matrix.information.iter_mut();
                information.for_each(|f| *f /= positions.max(1) as f64);
                let tensor = of(site.part);
                let judge = solve(matrix.judge, tensor, false)?;
                let inputs = Inputs {
                    fit: &fits[usize::from(i == last)],
                    judge: &judge,
                };
                self.matrix(tensor, &matrix.information, Some(inputs), None)?;
            }
        }
        Ok(())
    }

    /// Measures the options of a matrix whose rows have this Fisher information: by its inputs, by `stream`, the
    /// information of its columns where rows are the residual stream, or both.
    fn matrix(
        &mut self,
        tensor: Tensor,
        information: &[f64],
        inputs: Option<Inputs<'_>>,
        stream: Option<&[f32]>,
    ) -> Result<(), ConvertError> {
        let shape = self.task.source.hyper().shape(tensor);
        let cols = shape.1 as usize;
        let wanted = (SAMPLE.0 / shape.1.max(1)).max(SAMPLE.1).min(shape.0);
        let (mut sample, mut row) = (Vec::new(), Vec::new());
        let chosen = strata(information, wanted as usize);
        for r in &chosen {
            self.task.source.read_rows(tensor, *r..*r + 1, &mut row)?;
            sample.extend_from_slice(&row);
        }
        let total: f64 = information.iter().sum();
        let each = 0.5 * total / chosen.len().max(1) as f64;
        let codings = (self.task.codings)(tensor);
        let solver = inputs.as_ref().map(|i| i.fit);
        let diagonal = solver.filter(|_| self.task.methods.scales);
        let diagonal = diagonal.map(Solver::diagonal);
        let objective = Objective {
            importance: diagonal.as_deref(),
            keep_norm: false,
            coarse: false,
        };
        // The best exponent is much the same whatever the group.
        let few = &sample[..sample.len().min(EXPONENT_ROWS * cols)];
        let mut powers: Vec<(Encoding, f64)> = Vec::new();
        for coding in &codings {
            if powers.iter().all(|p| p.0 != coding.encoding) {
                let power = quantize::choose_power(*coding, few, cols, &objective);
                powers.push((coding.encoding, power));
            }
        }
        let choices = codings.par_iter().map(|coding| {
            let power = powers.iter().find(|p| p.0 == coding.encoding);
            let quantizer = Quantizer::new(*coding, power.map_or(1.0, |p| p.1));
            let errors = errors(
                &quantizer,
                &sample,
                cols,
                solver,
                (self.task.methods, objective),
            );
            let mut loss = 0.0;
            if let Some(inputs) = &inputs {
                let own: f64 = inputs.fit.energies(&errors, cols).iter().sum();
                let other: f64 = inputs.judge.energies(&errors, cols).iter().sum();
                // A fit to more positions differs less between those it was fitted to and others.
                let (middle, apart) = ((own + other) / 2.0, (other - own).max(0.0) / 2.0);
                loss += middle + apart * self.halves.min(1.0);
            }
            if let Some(stream) = stream {
                for error in errors.chunks_exact(cols.max(1)) {
                    let each = error.iter().zip(stream);
                    loss += each
                        .map(|(e, s)| f64::from(e * e) * f64::from(*s))
                        .sum::<f64>();
                }
            }
            Choice {
                bytes: payload(*coding, shape).unwrap_or(u64::MAX / 4096),
                cost: loss * each,
            }
        });
        let choices = choices.collect();
        self.found.push(Measured {
            tensor,
            sensitivity: 0.5 * total,
            codings,
            choices,
        });
        Ok(())
    }

    /// The values of a group's first and of its second half of sequences, of rows of `cols`; all twice where there is
    /// one sequence.
    fn halves_of(
        &self,
        group: usize,
        cols: usize,
    ) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let lengths = self.stream.lengths(group);
        let all: usize = lengths.iter().sum();
        let half: usize = lengths[..lengths.len() / 2].iter().sum();
        match half {
            0 => (0..all * cols, 0..all * cols),
            half => (0..half * cols, half * cols..all * cols),
        }
    }

    fn check_cancelled(&self) -> Result<(), ConvertError> {
        match self.task.progress.cancelled() {
            true => Err(ConvertError::Cancelled),
            false => Ok(()),
        }
    }

    fn step(&mut self, steps: u64) {
        self.done += steps;
        let blocks = u64::from(self.task.source.hyper().block_count());
        let total = blocks * (STEPS.0 + STEPS.1);
        self.task.progress.step(self.done, total);
    }
}

/// Sums of squares of gradients `[positions, rows]` along each row of them, of the mean 1; adds those along the columns.
fn squares(gradients: &[f32], rows: usize, information: &mut [f64]) -> Vec<f32> {
    let mut along: Vec<f32> = Vec::with_capacity(gradients.len() / rows.max(1));
    for row in gradients.chunks_exact(rows.max(1)) {
        let mut sum = 0f32;
        for (f, g) in information.iter_mut().zip(row) {
            *f += f64::from(g * g);
            sum += g * g;
        }
        along.push(sum);
    }
    let mean = along.iter().sum::<f32>() / along.len().max(1) as f32;
    if mean > 0.0 {
        along.iter_mut().for_each(|s| *s /= mean);
    }
    along
}

/// `n` rows, the middles of as many parts of equal information in the order of the information; a row that has
/// more than a part stands for each that it covers.
fn strata(information: &[f64], n: usize) -> Vec<u64> {
    let total: f64 = information.iter().sum();
    let mut order: Vec<u64> = (0..information.len() as u64).collect();
    order.sort_by(|a, b| {
        let at = |i: &u64| information[*i as usize];
        at(b).total_cmp(&at(a)).then(a.cmp(b))
    });
    let mut rows = order.iter();
    let (mut row, mut covered) = (0, 0.0);
    let mut chosen = Vec::with_capacity(n);
    for i in 0..n {
        let wanted = (i as f64 + 0.5) / n as f64 * total;
        while covered <= wanted {
            match rows.next() {
                Some(next) => (row, covered) = (*next, covered + information[*next as usize]),
                None => break,
            }
        }
        chosen.push(row);
    }
    chosen
}

fn solve(hessian: Hessian, tensor: Tensor, fit: bool) -> Result<Solver, ConvertError> {
    let ridge = if fit { Ridge::FIT } else { Ridge::NONE };
    let solver = hessian.solve(ridge, fit);
    Ok(solver.ok_or_else(|| CalibrationError::NotFinite {
        tensor: tensor.name(),
    })?)
}

/// ŵ − w of rows in a coding. Coordinate descent and the search of the exponent by the loss change all options
/// alike and are left out.
fn errors(
    quantizer: &Quantizer,
    weights: &[f32],
    cols: usize,
    solver: Option<&Solver>,
    (methods, objective): (Methods, Objective<'_>),
) -> Vec<f32> {
    let methods = Methods {
        descent: false,
        drift: false,
        ..methods
    };
    let mut errors = Vec::with_capacity(weights.len());
    for rows in weights.chunks(32 * cols.max(1)) {
        let quantized = match solver {
            Some(solver) => {
                let task = Task {
                    quantizer,
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
        };
        let decoded = quantized.iter().flat_map(|r| quantizer.decode(&r.packed));
        errors.extend(decoded.zip(rows).map(|(d, w)| d - w));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strata_stand_for_equal_parts() {
        assert_eq!(strata(&[1.0; 4], 4), [0, 1, 2, 3]);
        // Half of it in one row, a quarter in another.
        assert_eq!(strata(&[1.0, 4.0, 2.0, 1.0], 4), [1, 1, 2, 3]);
        assert_eq!(strata(&[0.0; 3], 2).len(), 2);
    }
}

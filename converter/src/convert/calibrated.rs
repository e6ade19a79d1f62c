//! The order of a calibrated conversion: block by block, each matrix with the inputs that the matrices
//! already written give it.
//!
//! A tied embedding is the model's first matrix and its last. It is written first, with the inputs that the
//! checkpoint's own blocks give the head, and the blocks then see its quantized rows.

use super::header::Plan;
use super::matrix::Calibrated;
use super::resume::Resume;
use super::{ConvertError, Job};
use crate::calibrate::{CalibrationError, Hessian, Methods, Ridge, Solver};
use crate::reference::{ReferenceError, Stream};
use crate::report::{self, TensorReport};
use carat_format::Tensor;
use carat_format::model::Branch;
use std::collections::BTreeMap;

/// Writes every tensor, from where an earlier conversion stopped; reports in file order, and the blocks that were
/// done already.
pub(super) fn tensors(
    job: &Job<'_>,
    plan: &mut Plan,
    offsets: Vec<(Tensor, u64)>,
    sequences: &[Vec<u32>],
    methods: Methods,
    mut resume: Option<&mut Resume>,
) -> Result<(Vec<TensorReport>, Option<u32>), ConvertError> {
    let mut run = Conversion {
        job,
        plan,
        stream: Stream::open(job.source, sequences)?,
        exact: Stream::open(job.source, sequences)?,
        offsets: offsets.iter().copied().collect(),
        reports: BTreeMap::new(),
        methods,
        inputs: None,
        kept: Vec::new(),
    };
    for (tensor, _) in offsets.iter().filter(|(t, _)| t.is_vector()) {
        run.write(*tensor, None)?;
    }
    let hyper = job.source.hyper();
    let resumed = match &resume {
        Some(resume) => run.go_on(resume),
        None => None,
    };
    if resumed.is_none() {
        run.embedding(hyper.tied)?;
    }
    for b in resumed.unwrap_or(0)..hyper.block_count() {
        run.block(b)?;
        if let Some(resume) = resume.as_deref_mut().filter(|r| r.due()) {
            run.save(resume, b + 1)?;
        }
    }
    if !hyper.tied {
        let solver = run.gather(Tensor::Output, Ridge::FIT, |s, g| s.outputs(g))?;
        run.write(Tensor::Output, Some(&solver))?;
    }
    let mut reports = run.reports;
    let ordered = offsets.iter().filter_map(|(t, _)| reports.remove(t));
    Ok((ordered.collect(), resumed))
}

/// Most bytes of inputs of a branch's writer that are kept until it is written, so that they are computed once.
const KEPT: usize = 512 << 20;

struct Conversion<'j, 's> {
    job: &'j Job<'s>,
    plan: &'j mut Plan,
    stream: Stream<'s>,
    /// The same with the checkpoint's weights.
    exact: Stream<'s>,
    offsets: BTreeMap<Tensor, u64>,
    reports: BTreeMap<Tensor, TensorReport>,
    methods: Methods,
    /// Of the matrices that were gathered for last.
    inputs: Option<report::Inputs>,
    /// The inputs of the writer at hand, of the first groups.
    kept: Vec<Vec<f32>>,
}

/// Inputs of matrices so far.
struct Inputs {
    hessian: Hessian,
    seen: Seen,
}

impl Inputs {
    fn new(cols: usize) -> Self {
        Self {
            hessian: Hessian::new(cols),
            seen: Seen::default(),
        }
    }
}

/// Their size.
#[derive(Default)]
struct Seen {
    squares: f64,
    count: usize,
    max: f32,
}

impl Seen {
    fn add(&mut self, x: &[f32]) {
        for part in x.chunks(1024) {
            let squares: f32 = part.iter().map(|v| v * v).sum();
            self.squares += f64::from(squares);
            self.max = part.iter().fold(self.max, |m, v| m.max(v.abs()));
        }
        self.count += x.len();
    }

    fn inputs(&self) -> Option<report::Inputs> {
        (self.count > 0).then(|| report::Inputs {
            rms: libm::sqrt(self.squares / self.count as f64) as f32,
            max: self.max,
        })
    }
}

impl<'s> Conversion<'_, 's> {
    /// Takes what an earlier conversion has done; the next block, where there is anything.
    fn go_on(&mut self, resume: &Resume) -> Option<u32> {
        let streams = [&self.stream, &self.exact];
        let values = streams.iter().map(|s| s.residual_len()).sum();
        let position = resume.position(self.plan, values)?;
        let mut rest = &position.streams[..];
        for stream in [&mut self.stream, &mut self.exact] {
            rest = stream.set_residuals(rest);
        }
        for (tensor, seconds) in position.matrices {
            let entry = self.plan.directory.matrix(tensor)?;
            self.job.advance(entry.layout.rows * entry.layout.cols);
            let report = TensorReport {
                seconds,
                ..TensorReport::of(entry)
            };
            self.reports.insert(tensor, report);
        }
        Some(position.block)
    }

    fn save(&self, resume: &mut Resume, blocks: u32) -> Result<(), ConvertError> {
        let matrices = self.reports.iter().filter(|(t, _)| !t.is_vector());
        let matrices = matrices.map(|(t, r)| (*t, r.seconds));
        let streams = [&self.stream, &self.exact].into_iter();
        let streams = streams.flat_map(|s| (0..s.groups()).map(move |g| s.residual(g)));
        resume.save(self.job.output, self.plan, blocks, matrices, streams)
    }

    fn write(&mut self, tensor: Tensor, solver: Option<&Solver>) -> Result<Vec<f32>, ConvertError> {
        let calibrated = Calibrated {
            solver,
            methods: self.methods,
        };
        let offset = self.offsets.get(&tensor).copied().unwrap_or_default();
        let (mut report, decoded) = self
            .job
            .tensor(self.plan, tensor, offset, Some(calibrated))?;
        report.inputs = solver.and(self.inputs);
        self.reports.insert(tensor, report);
        Ok(decoded)
    }

    /// Writes matrices of the same inputs and goes on with their decoded weights.
    fn replace(&mut self, tensors: &[Tensor], solver: &Solver) -> Result<(), ConvertError> {
        for tensor in tensors {
            let decoded = self.write(*tensor, Some(solver))?;
            self.stream.hold(*tensor, decoded);
        }
        Ok(())
    }

    /// H of the inputs that `stage` gives `tensor`.
    fn gather(
        &mut self,
        tensor: Tensor,
        ridge: Ridge,
        mut stage: impl FnMut(&Stream<'s>, usize) -> Result<Vec<f32>, ReferenceError>,
    ) -> Result<Solver, ConvertError> {
        let cols = self.job.source.hyper().shape(tensor).1;
        let mut inputs = Inputs::new(cols as usize);
        for g in 0..self.stream.groups() {
            self.job.check_cancelled()?;
            let x = stage(&self.stream, g)?;
            inputs.seen.add(&x);
            let exact = stage(&self.exact, g)?;
            match self.methods.drift {
                true => inputs.hessian.add_drifted(&x, &exact),
                false => inputs.hessian.add(&x),
            }
        }
        self.solve(
            inputs,
            tensor,
            ridge,
            self.methods.gptq || self.methods.drift,
        )
    }

    /// H of the inputs of a branch's writer, with what the stream has lost. The checkpoint's own stream goes on after the
    /// branch: it needs nothing of what is quantized. Keeps inputs for [`Conversion::leave`].
    fn gather_writer(&mut self, b: u32, branch: &Branch) -> Result<Solver, ConvertError> {
        let writer = branch.writer;
        let mut inputs = Inputs::new(writer.cols as usize);
        for g in 0..self.stream.groups() {
            self.job.check_cancelled()?;
            let x = self.stream.inner(b, branch, g)?;
            inputs.seen.add(&x);
            let exact = self.exact.inner(b, branch, g)?;
            if self.methods.drift {
                inputs.hessian.add_drifted(&x, &exact);
                // What a norm scales before it is added cannot make up for the stream's loss.
                if branch.post_norm.is_none() {
                    let streams = self.exact.residual(g).iter().zip(self.stream.residual(g));
                    let lost: Vec<f32> = streams.map(|(e, x)| e - x).collect();
                    inputs.hessian.lack(&x, &lost, writer.rows as usize);
                }
            } else {
                inputs.hessian.add(&x);
            }
            self.exact.leave(b, branch, g, &exact)?;
            let kept: usize = self.kept.iter().map(Vec::len).sum();
            if (kept + x.len()) * 4 <= KEPT && self.kept.len() == g {
                self.kept.push(x);
            }
        }
        let fitted = self.methods.gptq || self.methods.drift;
        self.solve(inputs, writer.part.of(b), Ridge::FIT, fitted)
    }

    fn solve(
        &mut self,
        inputs: Inputs,
        tensor: Tensor,
        ridge: Ridge,
        fitted: bool,
    ) -> Result<Solver, ConvertError> {
        self.inputs = inputs.seen.inputs();
        let solver = inputs.hessian.solve(ridge, fitted);
        Ok(solver.ok_or_else(|| CalibrationError::NotFinite {
            tensor: tensor.name(),
        })?)
    }

    /// Adds a branch to the residual stream.
    fn leave(&mut self, b: u32, branch: &Branch) -> Result<(), ConvertError> {
        for g in 0..self.stream.groups() {
            self.job.check_cancelled()?;
            match self.kept.get(g) {
                Some(inner) => self.stream.leave(b, branch, g, inner)?,
                None => self.stream.branch(b, branch, g)?,
            }
        }
        self.kept.clear();
        Ok(())
    }

    /// H of the inputs that the checkpoint's own blocks give the head.
    fn head(&mut self) -> Result<Solver, ConvertError> {
        let hyper = self.job.source.hyper();
        self.exact.embed()?;
        let mut inputs = Inputs::new(hyper.embedding_length as usize);
        for g in 0..self.exact.groups() {
            for b in 0..hyper.block_count() {
                self.job.check_cancelled()?;
                self.exact.block(b, g)?;
            }
            let x = self.exact.outputs(g)?;
            inputs.seen.add(&x);
            inputs.hessian.add(&x);
        }
        self.solve(
            inputs,
            Tensor::TokenEmbedding,
            Ridge::TIED,
            self.methods.gptq,
        )
    }

    fn embedding(&mut self, tied: bool) -> Result<(), ConvertError> {
        let tensor = Tensor::TokenEmbedding;
        let decoded = if tied {
            let solver = self.head()?;
            self.write(tensor, Some(&solver))?
        } else {
            self.write(tensor, None)?
        };
        self.stream.hold(tensor, decoded);
        self.stream.embed()?;
        self.stream.release(tensor);
        self.exact.embed()?;
        Ok(())
    }

    fn block(&mut self, b: u32) -> Result<(), ConvertError> {
        let hyper = self.job.source.hyper();
        for branch in &hyper.branches(b) {
            let readers: Vec<Tensor> = branch.readers.iter().map(|s| s.part.of(b)).collect();
            if let Some(first) = readers.first() {
                let solver = self.gather(*first, Ridge::FIT, |s, g| s.enter(b, branch, g))?;
                self.replace(&readers, &solver)?;
            }
            let solver = self.gather_writer(b, branch)?;
            self.replace(&[branch.writer.part.of(b)], &solver)?;
            self.leave(b, branch)?;
        }
        for tensor in hyper.matrices(b) {
            self.stream.release(tensor);
        }
        Ok(())
    }
}

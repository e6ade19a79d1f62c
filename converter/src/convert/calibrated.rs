//! The order of a calibrated conversion: block by block, each matrix with the inputs that the matrices
//! already written give it.
//!
//! A tied embedding is the model's first matrix and its last. It is written first, with the inputs that the
//! checkpoint's own blocks give the head, and the blocks then see its quantized rows.

use super::header::Plan;
use super::matrix::Calibrated;
use super::{ConvertError, Job};
use crate::calibrate::{CalibrationError, Hessian, Methods, Solver};
use crate::reference::{ReferenceError, Stream};
use crate::report::TensorReport;
use carat_format::Tensor;
use std::collections::BTreeMap;

/// Of the mean of H's diagonal, added to all of it.
const DAMPING: f64 = 0.01;
/// The same for a tied embedding: its rows are also the inputs of the first block, where all errors weigh alike.
const TIED_DAMPING: f64 = 0.01;

/// Writes every tensor; reports in file order.
pub(super) fn tensors(
    job: &Job<'_>,
    plan: &mut Plan,
    offsets: Vec<(Tensor, u64)>,
    sequences: &[Vec<u32>],
    methods: Methods,
) -> Result<Vec<TensorReport>, ConvertError> {
    let mut run = Conversion {
        job,
        plan,
        stream: Stream::open(job.source, sequences)?,
        offsets: offsets.iter().copied().collect(),
        reports: BTreeMap::new(),
        methods,
    };
    for (tensor, _) in offsets.iter().filter(|(t, _)| t.is_vector()) {
        run.write(*tensor, None)?;
    }
    let hyper = job.source.hyper();
    run.embedding(hyper.tied)?;
    for b in 0..hyper.block_count {
        run.block(b)?;
    }
    if !hyper.tied {
        let solver = run.gather(Tensor::Output, DAMPING, |s, sink| s.outputs(sink))?;
        run.write(Tensor::Output, Some(&solver))?;
    }
    let mut reports = run.reports;
    Ok(offsets
        .iter()
        .filter_map(|(t, _)| reports.remove(t))
        .collect())
}

struct Conversion<'j, 's> {
    job: &'j Job<'s>,
    plan: &'j mut Plan,
    stream: Stream<'s>,
    offsets: BTreeMap<Tensor, u64>,
    reports: BTreeMap<Tensor, TensorReport>,
    methods: Methods,
}

impl<'s> Conversion<'_, 's> {
    fn write(&mut self, tensor: Tensor, solver: Option<&Solver>) -> Result<Vec<f32>, ConvertError> {
        let calibrated = Calibrated {
            solver,
            methods: self.methods,
        };
        let offset = self.offsets.get(&tensor).copied().unwrap_or_default();
        let (report, decoded) = self
            .job
            .tensor(self.plan, tensor, offset, Some(calibrated))?;
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
        damping: f64,
        stage: impl FnOnce(
            &mut Stream<'s>,
            &mut dyn FnMut(&[f32]) -> Result<(), ReferenceError>,
        ) -> Result<(), ReferenceError>,
    ) -> Result<Solver, ConvertError> {
        let cols = self.job.source.hyper().shape(tensor).1 as usize;
        let mut hessian = Hessian::new(cols);
        let job = self.job;
        stage(&mut self.stream, &mut |x| {
            hessian.add(x);
            match job.progress.cancelled() {
                true => Err(ReferenceError::Cancelled),
                false => Ok(()),
            }
        })?;
        let solver = hessian.solve(damping, self.methods.gptq);
        Ok(solver.ok_or_else(|| CalibrationError::NotFinite {
            tensor: tensor.name(),
        })?)
    }

    fn embedding(&mut self, tied: bool) -> Result<(), ConvertError> {
        let tensor = Tensor::TokenEmbedding;
        let decoded = if tied {
            let job = self.job;
            let solver = self.gather(tensor, TIED_DAMPING, |stream, sink| {
                let cancelled = &mut |_: &[f32]| match job.progress.cancelled() {
                    true => Err(ReferenceError::Cancelled),
                    false => Ok(()),
                };
                stream.embed()?;
                for b in 0..job.source.hyper().block_count {
                    stream.attend(b, cancelled)?;
                    stream.ffn_inputs(b, cancelled)?;
                    stream.finish(b)?;
                }
                stream.outputs(sink)
            })?;
            self.write(tensor, Some(&solver))?
        } else {
            self.write(tensor, None)?
        };
        self.stream.hold(tensor, decoded);
        self.stream.embed()?;
        self.stream.release(tensor);
        Ok(())
    }

    fn block(&mut self, b: u32) -> Result<(), ConvertError> {
        use Tensor::*;
        let solver = self.gather(AttnQ(b), DAMPING, |s, sink| s.attention_inputs(b, sink))?;
        self.replace(&[AttnQ(b), AttnK(b), AttnV(b)], &solver)?;
        let solver = self.gather(AttnOutput(b), DAMPING, |s, sink| s.attend(b, sink))?;
        self.replace(&[AttnOutput(b)], &solver)?;
        let solver = self.gather(FfnGate(b), DAMPING, |s, sink| s.ffn_inputs(b, sink))?;
        self.replace(&[FfnGate(b), FfnUp(b)], &solver)?;
        let solver = self.gather(FfnDown(b), DAMPING, |s, sink| s.ffn_products(b, sink))?;
        self.replace(&[FfnDown(b)], &solver)?;
        self.stream.finish(b)?;
        for tensor in [
            AttnQ(b),
            AttnK(b),
            AttnV(b),
            AttnOutput(b),
            FfnGate(b),
            FfnUp(b),
            FfnDown(b),
        ] {
            self.stream.release(tensor);
        }
        Ok(())
    }
}

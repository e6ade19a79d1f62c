//! The checkpoint as a calibrated conversion reads it: of the same function, with rotations and scalings folded in.

use super::ConvertError;
use crate::calibrate::{CalibrationError, Hessian, Methods, Ridge, awq, rotate};
use crate::progress::Progress;
use crate::quantize;
use crate::reference::{ReferenceError, Stream};
use crate::source::{Checkpoint, SourceError, Step, Transform};
use carat_format::model::{Branch, Input};
use carat_format::{Coding, Tensor};

/// What of the methods is folded into the weights of a model opened as `source`.
///
/// # Errors
/// What reading the checkpoint meets; inputs that are not finite; a stream that cannot be rotated; cancellation.
pub(super) fn fold(
    source: &Checkpoint,
    sequences: &[Vec<u32>],
    methods: Methods,
    coding: &dyn Fn(Tensor) -> Coding,
    progress: &dyn Progress,
) -> Result<Transform, ConvertError> {
    let mut transform = Transform::default();
    if methods.rotate_stream {
        if !rotate::stream_rotates(source) {
            return Err(ConvertError::NoRotation);
        }
        rotate::stream(source, &mut transform)?;
    }
    if methods.rotate_heads {
        rotate::heads(source, &mut transform);
    }
    if methods.awq {
        let rotated = Checkpoint::open(source.path())?.transformed(transform.clone());
        let mut search = Search {
            source: &rotated,
            stream: Stream::open(&rotated, sequences)?,
            coding,
            progress,
            transform: &mut transform,
        };
        search.all()?;
    }
    Ok(transform)
}

/// The search of factors, block by block, with the checkpoint's own weights.
struct Search<'a, 's> {
    source: &'s Checkpoint,
    stream: Stream<'s>,
    coding: &'a dyn Fn(Tensor) -> Coding,
    progress: &'a dyn Progress,
    transform: &'a mut Transform,
}

impl<'s> Search<'_, 's> {
    fn all(&mut self) -> Result<(), ConvertError> {
        let hyper = self.source.hyper();
        self.stream.embed()?;
        for b in 0..hyper.block_count() {
            for branch in &hyper.branches(b) {
                self.branch(b, branch)?;
            }
            let blocks = u64::from(hyper.block_count());
            self.progress.step(u64::from(b) + 1, blocks);
        }
        Ok(())
    }

    fn branch(&mut self, b: u32, branch: &Branch) -> Result<(), ConvertError> {
        let readers: Vec<Tensor> = branch.readers.iter().map(|s| s.part.of(b)).collect();
        let factors = self.factors(&readers, |s, g| s.enter(b, branch, g))?;
        self.scale(branch.norm.of(b), Step::ScaleColumns, &readers, factors);
        // A norm before the writer would undo the scaling.
        if let (Input::Scaled { of }, None) = (branch.writer.input, branch.sub_norm) {
            let writer = [branch.writer.part.of(b)];
            let factors = self.factors(&writer, |s, g| s.inner(b, branch, g))?;
            let bias = branch.reader(of).and_then(|s| s.bias);
            if let (Some(bias), Some(f)) = (bias, &factors) {
                let less: Vec<f32> = f.iter().map(|f| 1.0 / f).collect();
                let step = Step::ScaleColumns(less.into());
                self.transform.push(bias.of(b), step);
            }
            self.scale(of.of(b), Step::ScaleRows, &writer, factors);
        }
        for g in 0..self.stream.groups() {
            self.stream.branch(b, branch, g)?;
        }
        Ok(())
    }

    /// The factors for the inputs that `stage` gives these matrices.
    fn factors(
        &mut self,
        tensors: &[Tensor],
        stage: impl Fn(&Stream<'s>, usize) -> Result<Vec<f32>, ReferenceError>,
    ) -> Result<Option<Vec<f32>>, ConvertError> {
        let Some(first) = tensors.first() else {
            return Ok(None);
        };
        let hyper = self.source.hyper();
        let cols = hyper.shape(*first).1 as usize;
        let mut hessian = Hessian::new(cols);
        let (mut sums, mut count) = (vec![0f64; cols], 0usize);
        for g in 0..self.stream.groups() {
            if self.progress.cancelled() {
                return Err(ConvertError::Cancelled);
            }
            let x = stage(&self.stream, g)?;
            for row in x.chunks_exact(cols) {
                for (sum, v) in sums.iter_mut().zip(row) {
                    *sum += f64::from(v.abs());
                }
            }
            count += x.len() / cols;
            hessian.add(&x);
        }
        let magnitudes: Vec<f32> = sums
            .iter()
            .map(|s| (s / count.max(1) as f64) as f32)
            .collect();
        let solver = hessian.solve(Ridge::FIT, false);
        let solver = solver.ok_or_else(|| CalibrationError::NotFinite {
            tensor: first.name(),
        })?;
        let readers = tensors.iter().map(|tensor| {
            let count = hyper.shape(*tensor).0;
            let (mut rows, mut row, mut n) = (Vec::new(), Vec::new(), 0);
            for r in quantize::spread(awq::ROWS, count) {
                self.source.read_rows(*tensor, r..r + 1, &mut row)?;
                rows.extend_from_slice(&row);
                n += 1;
            }
            Ok(awq::Reader {
                rows,
                coding: (self.coding)(*tensor),
                weight: count as f64 / f64::from(n.max(1)),
            })
        });
        let readers: Vec<awq::Reader> = readers.collect::<Result<_, SourceError>>()?;
        Ok(awq::factors(&readers, &solver, &magnitudes))
    }

    /// Columns of the readers times the factors, and the inverse where their inputs come from.
    fn scale(
        &mut self,
        from: Tensor,
        inverse: fn(std::sync::Arc<[f32]>) -> Step,
        readers: &[Tensor],
        factors: Option<Vec<f32>>,
    ) {
        let Some(factors) = factors else { return };
        let less: Vec<f32> = factors.iter().map(|f| 1.0 / f).collect();
        self.transform.push(from, inverse(less.into()));
        let factors: std::sync::Arc<[f32]> = factors.into();
        for reader in readers {
            let step = Step::ScaleColumns(factors.clone());
            self.transform.push(*reader, step);
        }
    }
}

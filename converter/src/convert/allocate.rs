//! A target size becomes a coding for every matrix.

use super::exact::ExactMatrices;
use super::{ConvertError, Options, feasible};
use crate::budget::{self, Allocation, Choice, Keep, Measure, Target};
use crate::calibrate::Calibration;
use crate::progress::Progress;
use crate::report::{Predicted, Report};
use crate::source::{Checkpoint, Hyper};
use carat_format::{Coding, Tensor};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What is asked of a division of bytes.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub options: &'a Options,
    /// The coding that rules change.
    pub base: Coding,
    pub exact: &'a ExactMatrices,
    pub target: Target,
}

/// The codings of least divergence within the target, and that divergence; `keep` has what is measured of it so far.
pub(super) fn allocate(
    source: &Checkpoint,
    asked: &Asked<'_>,
    sequences: &[Vec<u32>],
    calibration: &Calibration,
    (progress, keep): (&dyn Progress, Option<&mut dyn Keep>),
) -> Result<Found, ConvertError> {
    let Asked {
        options,
        base,
        exact,
        target,
    } = *asked;
    let room = feasible::check(options, source, base, exact, target)?;
    let codings = |tensor: Tensor| feasible::codings(tensor, options, base, exact, room.bits);
    let task = Measure {
        source,
        sequences,
        methods: calibration.methods,
        codings: &codings,
        progress,
    };
    let measured = budget::measure(&task, keep)?;
    let choices: Vec<Vec<Choice>> = measured.iter().map(|m| m.choices.clone()).collect();
    let divided = match target {
        Target::Divergence(nats) => budget::reach(&choices, room.matrices, nats),
        _ => budget::divide(&choices, room.matrices),
    };
    // Feasible above: the smallest of each fit.
    let chosen = divided.unwrap_or_else(|| vec![0; choices.len()]);
    let kl = choices.iter().zip(&chosen).map(|(c, i)| c[*i].cost).sum();
    let measurement = Sensitivities::new(&measured, &choices, source.hyper(), room.vectors);
    let codings = measured.iter().zip(chosen);
    let allocation = codings.map(|(m, i)| (m.tensor, m.codings[i])).collect();
    Ok(Found {
        allocation,
        kl,
        measurement,
    })
}

/// A division of bytes.
pub(super) struct Found {
    pub allocation: Allocation,
    /// Its divergence as it is foretold, in nats.
    pub kl: f64,
    pub measurement: Sensitivities,
}

/// What a measurement of sensitivities gave, for the report.
#[derive(Default)]
pub(super) struct Sensitivities {
    each: BTreeMap<String, f64>,
    predicted: Vec<Predicted>,
}

/// Bits a weight whose best divisions a report predicts.
const PREDICTED: [f64; 10] = [1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0];

impl Sensitivities {
    fn new(
        measured: &[budget::Measured],
        choices: &[Vec<Choice>],
        hyper: &Hyper,
        vectors: u64,
    ) -> Self {
        let mut out = Self::default();
        for m in measured {
            out.each.insert(m.tensor.name(), m.sensitivity);
        }
        let points = PREDICTED.par_iter().map(|bits| {
            let wanted = Target::BitsPerWeight(*bits)
                .bytes(hyper)
                .saturating_sub(vectors);
            let chosen = budget::divide(choices, wanted)?;
            let mut point = Predicted {
                bytes: vectors,
                kl: 0.0,
            };
            for choice in choices.iter().zip(chosen).filter_map(|(c, i)| c.get(i)) {
                point.bytes += choice.bytes;
                point.kl += choice.cost;
            }
            Some(point)
        });
        let points: Vec<Option<Predicted>> = points.collect();
        out.predicted = points.into_iter().flatten().collect();
        out.predicted.dedup_by_key(|p| p.bytes);
        out
    }

    /// Into the tensors' rows.
    pub fn enter(self, report: &mut Report) {
        for tensor in &mut report.tensors {
            tensor.sensitivity = self.each.get(&tensor.name).copied();
        }
        report.predicted = self.predicted;
    }
}

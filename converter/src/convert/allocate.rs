//! A target size becomes a coding for every matrix.

use super::exact::TernaryMatrices;
use super::{ConvertError, Options, rule};
use crate::budget::{self, Allocation, Choice, Measure, Target};
use crate::calibrate::Calibration;
use crate::progress::Progress;
use crate::report::{Predicted, Report};
use crate::source::Checkpoint;
use carat_format::{Coding, Encoding, Tensor};
use std::collections::BTreeMap;

/// What is asked of a division of bytes.
pub(super) struct Asked<'a> {
    pub options: &'a Options,
    /// The coding that rules change.
    pub base: Coding,
    pub ternary: &'a TernaryMatrices,
    pub target: Target,
}

/// The codings of least divergence within the target.
pub(super) fn allocate(
    source: &Checkpoint,
    asked: &Asked<'_>,
    sequences: &[Vec<u32>],
    calibration: &Calibration,
    progress: &dyn Progress,
) -> Result<(Allocation, Sensitivities), ConvertError> {
    let hyper = source.hyper();
    let rules = &asked.options.rules;
    let codings = |tensor: Tensor| {
        let name = tensor.name();
        if rules.iter().any(|r| r.matches(&name)) {
            let base = asked.ternary.coding(tensor, asked.base);
            vec![rule::coding(base, rules, &name)]
        } else if asked.ternary.contains(tensor) {
            vec![asked.ternary.coding(tensor, Encoding::Int8.into())]
        } else {
            budget::options()
        }
    };
    // What cannot be met must show before the long measurement.
    let mut least = 0;
    let mut vectors = 0;
    for tensor in hyper.tensors() {
        let shape = hyper.shape(tensor);
        if tensor.is_vector() {
            vectors += shape.1 * 4;
        } else {
            let bytes = codings(tensor)
                .into_iter()
                .filter_map(|c| budget::payload(c, shape));
            least += bytes.min().unwrap_or(0);
        }
    }
    let weights = hyper.weights();
    let wanted = asked.target.bytes(weights);
    let short = ConvertError::Target {
        found: wanted,
        least: least + vectors,
        least_bpw: (least + vectors) as f64 * 8.0 / weights.max(1) as f64,
    };
    if wanted < least + vectors {
        return Err(short);
    }
    let measured = budget::measure(&Measure {
        source,
        sequences,
        methods: calibration.methods,
        codings: &codings,
        progress,
    })?;
    let choices: Vec<Vec<Choice>> = measured.iter().map(|m| m.choices.clone()).collect();
    let chosen = budget::divide(&choices, wanted - vectors).ok_or(short)?;
    let sensitivities = Sensitivities::new(&measured, &choices, weights, vectors);
    let codings = measured.iter().zip(chosen);
    let codings = codings.map(|(m, i)| (m.tensor, m.codings[i]));
    Ok((codings.collect(), sensitivities))
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
        weights: u64,
        vectors: u64,
    ) -> Self {
        let mut out = Self::default();
        for m in measured {
            out.each.insert(m.tensor.name(), m.sensitivity);
        }
        for bits in PREDICTED {
            let wanted = Target::BitsPerWeight(bits)
                .bytes(weights)
                .saturating_sub(vectors);
            let Some(chosen) = budget::divide(choices, wanted) else {
                continue;
            };
            let mut point = Predicted {
                bytes: vectors,
                kl: 0.0,
            };
            for choice in choices.iter().zip(chosen).filter_map(|(c, i)| c.get(i)) {
                point.bytes += choice.bytes;
                point.kl += choice.cost;
            }
            out.predicted.push(point);
        }
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

//! What is added to logits before everything else, in integers of their unit.

use super::params::{LogitBias, Params};
use carat_text::constraint::Mask;

/// Largest magnitude of a bias, in units of the logits: with a logit it stays an exact `f64`.
const MAX_SHIFT: i64 = 1 << 50;

/// What is added to logits, by ascending id in units of 2^exponent, one a token; `None` forbids it.
#[derive(Clone, Debug)]
pub(super) struct Shifts(Vec<(u32, Option<i64>)>);

impl Shifts {
    /// With room for what a few loops take.
    pub fn new(params: &Params) -> Self {
        let few = if params.avoids_loops() { 16 } else { 0 };
        Self(Vec::with_capacity(params.logit_bias.len() + few))
    }

    /// Those of biases and of what is `taken` in nats. Keeps the allocation.
    pub fn fill(
        &mut self,
        biases: &[LogitBias],
        taken: impl Iterator<Item = (u32, f64)>,
        exponent: i32,
    ) -> &[(u32, Option<i64>)] {
        let per_nat = f64::from_bits(((1023 - i64::from(exponent)) as u64) << 52);
        let biases = biases.iter().map(|b| (b.id, b.bias));
        let all = biases.chain(taken.map(|(id, nats)| (id, -nats)));
        self.0.clear();
        self.0.extend(all.map(|(id, nats)| {
            // Saturates where the product leaves i64.
            let units = (nats * per_nat).round() as i64;
            let shift = units.clamp(-MAX_SHIFT, MAX_SHIFT);
            (id, (nats != f64::NEG_INFINITY).then_some(shift))
        }));
        self.0.sort_unstable();
        self.0.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                let sum = kept.1.zip(later.1);
                kept.1 = sum.map(|(a, b)| (a + b).clamp(-MAX_SHIFT, MAX_SHIFT));
            }
            same
        });
        &self.0
    }
}

/// The tokens that may be chosen, by ascending id, with their biased logits.
pub(super) fn allowed<'a>(
    logits: &'a [i32],
    mask: Option<&'a Mask>,
    shifts: &'a [(u32, Option<i64>)],
) -> impl Iterator<Item = (u32, i64)> + 'a {
    let mut shifts = shifts.iter().peekable();
    (0u32..).zip(logits).filter_map(move |(id, &z)| {
        let shift = match shifts.next_if(|s| s.0 == id) {
            Some((_, shift)) => (*shift)?,
            None => 0,
        };
        mask.is_none_or(|m| m.allows(id))
            .then(|| (id, i64::from(z) + shift))
    })
}

//! How a distribution spreads, in sums that do not depend on an order.

use super::filters::{Candidate, Candidates, WEIGHT_ONE, weight};

/// The softmax over a set of candidates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// The largest logit.
    pub max: f64,
    /// Sum of the weights `exp((logit - max) / temperature) · 2^48`.
    pub total: u128,
    /// Mean of `(max - logit) / temperature`, in nats.
    pub mean: f64,
}

/// 2^32, the unit of a distance.
const UNIT: f64 = 4_294_967_296.0;

impl Spread {
    /// Of the set's softmax at this temperature, above 0; `None` for an empty set.
    pub fn of(set: &Candidates, temperature: f64) -> Option<Self> {
        let max = set.best()?.logit;
        let (mut total, mut weighted) = (0u128, 0u128);
        for c in &set.items {
            let distance = (max - c.logit) / temperature;
            let weight = u128::from(weight(-distance));
            total += weight;
            if weight > 0 {
                // The distance is below 34: with 2^22 candidates the sum stays below 2^(48 + 38 + 22).
                weighted += weight * u128::from((distance * UNIT) as u64);
            }
        }
        Some(Self {
            max,
            total,
            mean: weighted as f64 / total as f64 / UNIT,
        })
    }

    /// ln of `Σ exp((logit - max) / temperature)`: the surprise of the best candidate, in nats.
    pub fn ln_sum(&self) -> f64 {
        ln_sum(self.total)
    }

    /// The entropy in nats.
    pub fn entropy(&self) -> f64 {
        self.ln_sum() + self.mean
    }
}

/// ln of a sum of weights, the largest of which is [`WEIGHT_ONE`].
pub(super) fn ln_sum(total: u128) -> f64 {
    libm::log(total as f64 / WEIGHT_ONE as f64)
}

/// How far a candidate's surprise is from the entropy, in nats. Both are a distance from the best logit and the same
/// logarithm, which cancels.
pub(super) fn strangeness(spread: &Spread, c: &Candidate) -> f64 {
    (spread.max - c.logit - spread.mean).abs()
}

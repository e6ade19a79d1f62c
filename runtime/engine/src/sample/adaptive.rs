//! Adaptive-p: tokens near a probability, whose mean over the last tokens it holds.

use super::filters::{Candidate, Candidates, weight};

/// The probability from a token's to the wanted one at which its logit has fallen by [`SHARPNESS`] / 2.
const WIDTH: f64 = 0.3;
/// How fast logits fall with the distance.
const SHARPNESS: f64 = 10.0;

/// How far the logit of a token of probability `p` lies below that of one of the probability `target`: quadratic near it,
/// linear far from it.
fn fall(p: f64, target: f64) -> f64 {
    let distance = (p - target).abs() / WIDTH;
    SHARPNESS * distance * distance / (1.0 + distance)
}

impl Candidates {
    /// Draws a candidate with probability proportional to `exp(-fall)`, which is the less the farther its probability at this
    /// temperature is from `target`. Returns the token and that probability. `temperature > 0`, `uniform < 2^53`.
    /// (Pull request 17927 of llama.cpp: "adaptive-p".)
    pub fn near(&mut self, temperature: f64, target: f64, uniform: u64) -> Option<(u32, f64)> {
        let best = self.best()?;
        let weight_of = |c: &Candidate| weight((c.logit - best.logit) / temperature);
        let total = self.total(weight_of) as f64;
        let p = |c: &Candidate| weight_of(c) as f64 / total;
        let falls = self.items.iter().map(|c| fall(p(c), target));
        let least = falls.fold(f64::INFINITY, f64::min);
        let drawn = self.pick(|c| weight(least - fall(p(c), target)), uniform)?;
        Some((drawn.id, p(&drawn)))
    }
}

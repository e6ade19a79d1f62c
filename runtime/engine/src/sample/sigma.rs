//! Top-n-sigma: a bound in the logits' own standard deviations.

use super::filters::{Candidate, Candidates};

/// 2^40, the unit of a distance relative to the largest one.
const UNIT: f64 = 1_099_511_627_776.0;

impl Candidates {
    /// Keeps candidates whose logit is at most `n` standard deviations of all candidates' logits below the best one; 0 keeps
    /// all. (Tang, Liu, Xu, Xu 2024: "Top-nσ: Not All Logits Are You Need".)
    pub fn top_n_sigma(&mut self, n: f32) {
        let Some(best) = self.best() else { return };
        let below = |c: &Candidate| best.logit - c.logit;
        let widest = self.items.iter().map(below).fold(0.0, f64::max);
        if n <= 0.0 || widest == 0.0 {
            return;
        }
        // Relative to the widest distance, so that squares of logits with extreme exponents stay finite, and in integers,
        // so that the sums do not depend on an order: with 2^22 candidates no product reaches 2^125.
        let relative = |c: &Candidate| below(c) / widest;
        let (mut sum, mut squares) = (0u128, 0u128);
        for c in &self.items {
            let x = u128::from((relative(c) * UNIT) as u64);
            sum += x;
            squares += x * x;
        }
        let count = self.items.len();
        let variance = (count as u128 * squares).saturating_sub(sum * sum);
        let sigma = libm::sqrt(variance as f64) / count as f64 / UNIT;
        let most = f64::from(n) * sigma;
        self.retain(|c| relative(c) <= most);
    }
}

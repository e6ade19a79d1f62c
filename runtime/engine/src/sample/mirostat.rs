//! Mirostat 2.0: a bound on surprise that follows the surprise of the tokens before.

use super::filters::{Candidate, Candidates, weight};
use super::spread::{Spread, ln_sum};
use std::f64::consts::LN_2;

impl Candidates {
    /// Draws among the candidates whose surprise `-log2 p(token)` at this temperature is at most `mu` bits, the best one in
    /// any case. Returns the token and its surprise among those, in bits. `temperature > 0`, `uniform < 2^53`.
    /// (Basu, Ramachandran, Keskar, Varshney 2021: "Mirostat", its second algorithm.)
    pub fn mirostat(&mut self, temperature: f64, mu: f64, uniform: u64) -> Option<(u32, f64)> {
        let best = self.best()?;
        let spread = Spread::of(self, temperature)?;
        let distance = |c: &Candidate| (best.logit - c.logit) / temperature;
        let most = mu * LN_2 - spread.ln_sum();
        self.retain(|c| distance(c) <= most || c.id == best.id);
        let weight = |c: &Candidate| weight(-distance(c));
        let total = self.total(weight);
        let drawn = self.pick(weight, uniform)?;
        Some((drawn.id, (distance(&drawn) + ln_sum(total)) / LN_2))
    }
}

/// The bound for the next token, after one of `surprise` bits.
pub(super) fn follow(mu: f64, surprise: f64, tau: f32, eta: f32) -> f64 {
    mu - f64::from(eta) * (surprise - f64::from(tau))
}

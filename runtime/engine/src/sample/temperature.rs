//! The temperature of a token.

use super::filters::Candidates;
use super::spread::Spread;

impl Candidates {
    /// The temperature from `temperature - range`, at least 0, to `temperature + range` that the candidates' own spread asks
    /// for: `lowest + (highest - lowest) · h^exponent`, where `h` is their entropy relative to that of as many equally
    /// probable ones. A range of 0 leaves the temperature as it is.
    /// (kalomaze 2023, pull request 4972 of llama.cpp: "dynamic temperature".)
    pub fn temperature(&self, temperature: f32, range: f32, exponent: f32) -> f64 {
        let (middle, range) = (f64::from(temperature), f64::from(range));
        if range <= 0.0 || self.len() < 2 {
            return middle;
        }
        let Some(spread) = Spread::of(self, 1.0) else {
            return middle;
        };
        let most = libm::log(self.len() as f64);
        // Rounding may lead a little outside.
        let share = (spread.entropy() / most).clamp(0.0, 1.0);
        let (lowest, highest) = ((middle - range).max(0.0), middle + range);
        let exact = lowest + (highest - lowest) * libm::pow(share, f64::from(exponent));
        // At 0 the best candidates are left, as at any temperature close to it.
        exact.max(f64::MIN_POSITIVE)
    }
}

//! Angles of rotary position embeddings.
//!
//! Sources: Su et al. 2021 (RoFormer); Peng et al. 2023 (YaRN); Ding et al. 2024 (LongRoPE);
//! `modeling_rope_utils.py` of Hugging Face transformers. `libm` gives the same bits on every machine.

use std::f64::consts::{PI, TAU};

/// A scaling of the rotary angles that lengthens the context.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scaling {
    None,
    /// Position interpolation: every angle divided by the factor.
    Linear(f64),
    /// Llama 3.1: low frequencies divided by the factor, high ones kept, a blend between.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original_context: f64,
    },
    /// YaRN: pairs that turn fewer than `slow` times in the original context divided by the factor,
    /// those that turn more than `fast` times kept, a blend between.
    Yarn {
        factor: f64,
        fast: f64,
        slow: f64,
        original_context: f64,
        /// Whether the ends of the blend are whole pairs.
        truncate: bool,
    },
    /// Each angle divided by its factor.
    Factors(Vec<f64>),
}

/// Rotary positions of a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rope {
    pub base: f64,
    /// Dimensions of a head that are rotated, the first ones; even.
    pub dims: u32,
    pub scaling: Scaling,
    /// Factor of the rotated dimensions of queries and keys.
    pub amplitude: f64,
}

impl Rope {
    /// Angle per position, in radians, of each rotated pair: `base^(−2i/dims)`, scaled.
    pub fn angles(&self) -> Vec<f64> {
        let dims = f64::from(self.dims);
        let angle = |i| libm::pow(self.base, -f64::from(2 * i) / dims);
        (0..self.dims / 2)
            .map(|i| self.scale(i, angle(i)))
            .collect()
    }

    fn scale(&self, i: u32, angle: f64) -> f64 {
        match &self.scaling {
            Scaling::None => angle,
            Scaling::Linear(factor) => angle / factor,
            Scaling::Llama3 {
                factor,
                low,
                high,
                original_context,
            } => {
                let wavelength = TAU / angle;
                if wavelength < original_context / high {
                    angle
                } else if wavelength > original_context / low {
                    angle / factor
                } else {
                    let smooth = (original_context / wavelength - low) / (high - low);
                    (1.0 - smooth) * angle / factor + smooth * angle
                }
            }
            Scaling::Yarn {
                factor,
                fast,
                slow,
                original_context,
                truncate,
            } => {
                let dims = f64::from(self.dims);
                // The pair that turns so often in the original context.
                let pair = |turns: f64| {
                    dims * libm::log(original_context / (turns * 2.0 * PI))
                        / (2.0 * libm::log(self.base))
                };
                let (mut first, mut last) = (pair(*fast), pair(*slow));
                if *truncate {
                    (first, last) = (libm::floor(first), libm::ceil(last));
                }
                let (first, last) = (first.max(0.0), last.min(dims - 1.0));
                let width = if first == last { 0.001 } else { last - first };
                let blend = ((f64::from(i) - first) / width).clamp(0.0, 1.0);
                angle / factor * blend + angle * (1.0 - blend)
            }
            Scaling::Factors(factors) => angle / factors.get(i as usize).unwrap_or(&1.0),
        }
    }
}

/// YaRN's factor of queries and keys for a context `factor` times as long.
pub(super) fn yarn_amplitude(factor: f64, multiplier: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * multiplier * libm::log(factor) + 1.0
    }
}

/// LongRoPE's.
pub(super) fn longrope_amplitude(factor: f64, original_context: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        libm::sqrt(1.0 + libm::log(factor) / libm::log(original_context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn angles(base: f64, dims: u32, scaling: Scaling) -> Vec<f64> {
        let amplitude = 1.0;
        Rope {
            base,
            dims,
            scaling,
            amplitude,
        }
        .angles()
    }

    #[test]
    fn unscaled_angles_fall_geometrically() {
        let f = angles(10_000.0, 8, Scaling::None);
        assert_eq!(f.len(), 4);
        for (a, b) in f.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((a / b - 1.0).abs() < 1e-14);
        }
        assert_eq!(angles(10_000.0, 8, Scaling::Linear(4.0))[0], 0.25);
        let factors = Scaling::Factors(vec![2.0, 1.0, 1.0, 1.0]);
        assert_eq!(angles(10_000.0, 8, factors)[0], 0.5);
    }

    #[test]
    fn long_contexts_keep_high_frequencies_and_divide_low_ones() {
        let llama3 = Scaling::Llama3 {
            factor: 8.0,
            low: 1.0,
            high: 4.0,
            original_context: 8192.0,
        };
        let yarn = Scaling::Yarn {
            factor: 8.0,
            fast: 32.0,
            slow: 1.0,
            original_context: 8192.0,
            truncate: true,
        };
        for scaling in [llama3, yarn] {
            let (plain, scaled) = (angles(5e5, 128, Scaling::None), angles(5e5, 128, scaling));
            assert_eq!(plain[0], scaled[0]);
            assert!((plain[63] / 8.0 / scaled[63] - 1.0).abs() < 1e-14);
            assert!(
                scaled
                    .iter()
                    .zip(&plain)
                    .all(|(s, p)| *s <= *p && *s >= *p / 8.0 * (1.0 - 1e-14))
            );
            assert!(scaled.windows(2).all(|w| w[1] < w[0]));
        }
    }
}

//! Angles of rotary position embeddings.

use std::f64::consts::TAU;

/// A scaling of the rotary angles that lengthens the context.
#[derive(Clone, Copy, Debug, PartialEq)]
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
}

/// Angle per position, in radians, of each pair `(i, i + head_dim/2)`: `base^(−2i/head_dim)`, scaled.
///
/// Source: Su et al. 2021 (RoFormer), `_compute_llama3_parameters` of Hugging Face transformers. `libm`
/// gives the same bits on every machine.
pub(super) fn frequencies(base: f64, head_dim: u32, scaling: Scaling) -> Vec<f64> {
    let angle = |i| libm::pow(base, -f64::from(2 * i) / f64::from(head_dim));
    (0..head_dim / 2)
        .map(|i| scale(angle(i), scaling))
        .collect()
}

fn scale(angle: f64, scaling: Scaling) -> f64 {
    match scaling {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unscaled_angles_fall_geometrically() {
        let f = frequencies(10_000.0, 8, Scaling::None);
        assert_eq!(f.len(), 4);
        for (a, b) in f.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((a / b - 1.0).abs() < 1e-14);
        }
        assert_eq!(frequencies(10_000.0, 8, Scaling::Linear(4.0))[0], 0.25);
    }

    #[test]
    fn llama3_keeps_high_frequencies_and_divides_low_ones() {
        let s = Scaling::Llama3 {
            factor: 8.0,
            low: 1.0,
            high: 4.0,
            original_context: 8192.0,
        };
        let (plain, scaled) = (
            frequencies(5e5, 128, Scaling::None),
            frequencies(5e5, 128, s),
        );
        assert_eq!(plain[0], scaled[0]);
        assert_eq!(plain[63] / 8.0, scaled[63]);
        assert!(
            scaled
                .iter()
                .zip(&plain)
                .all(|(s, p)| *s <= *p && *s >= *p / 8.0)
        );
        assert!(scaled.windows(2).all(|w| w[1] < w[0]));
    }
}

//! Gains of a norm and biases as i32 mantissas of one exponent.

use super::{ConvertError, Job};
use carat_format::{Shape, Vector, bounds};

/// The gains times the square root of their number, see [`fixed`].
pub(super) fn fixed_gains(gains: &[f32]) -> (Vec<i32>, i32) {
    fixed(gains, libm::sqrt(gains.len() as f64))
}

/// `round(v · factor · 2^-exponent)` with the largest magnitude in [2^30, 2^31), and the exponent. All
/// zeros have the exponent 0.
fn fixed(values: &[f32], factor: f64) -> (Vec<i32>, i32) {
    let folded: Vec<f64> = values.iter().map(|v| f64::from(*v) * factor).collect();
    let largest = folded.iter().fold(0f64, |m, g| m.max(g.abs()));
    if largest == 0.0 {
        return (vec![0; values.len()], 0);
    }
    let (fraction, e) = libm::frexp(largest); // [0.5, 1)
    let rounds_up = libm::round(libm::ldexp(fraction, 31)) >= 2f64.powi(31);
    let exponent = e - 31 + i32::from(rounds_up);
    let mantissas = folded
        .iter()
        .map(|g| libm::round(libm::ldexp(*g, -exponent)) as i32)
        .collect();
    (mantissas, exponent)
}

impl Job<'_> {
    /// Writes the gains or the bias at `v.offset` and enters the exponent.
    pub(super) fn vector(&self, v: &mut Vector) -> Result<(), ConvertError> {
        self.check_cancelled()?;
        let gains = self.source.read_vector(v.tensor)?;
        let (mantissas, exponent) = match v.tensor.kind() {
            Shape::Bias => fixed(&gains, 1.0),
            _ => fixed_gains(&gains),
        };
        // Values too small for the range count as zero: their share of any product is below its unit.
        let (mantissas, exponent) = if exponent < *bounds::EXPONENTS.start() {
            (vec![0; gains.len()], 0)
        } else {
            (mantissas, exponent)
        };
        if exponent > *bounds::EXPONENTS.end() {
            let found = gains.iter().fold(0f64, |m, g| m.max(f64::from(g.abs())));
            return Err(ConvertError::TooLarge {
                tensor: v.tensor.name(),
                found,
            });
        }
        let bytes: Vec<u8> = mantissas.iter().flat_map(|m| m.to_le_bytes()).collect();
        self.output.write_at(&bytes, v.offset)?;
        v.exponent = exponent;
        self.advance(v.len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mantissas_are_full_and_the_values_come_back() {
        for gains in [
            vec![1.0f32; 256],
            vec![0.3, -2.5, 1e-3],
            vec![f32::MAX, 1.0],
            vec![1e-40, -2e-40],
            vec![0.9999999; 4],
        ] {
            let (m, e) = fixed_gains(&gains);
            let top = m.iter().map(|m| m.unsigned_abs()).max().unwrap();
            assert!((1 << 30..1 << 31).contains(&top), "{gains:?}: {top}");
            for (m, g) in m.iter().zip(&gains) {
                let exact = f64::from(*g) * (gains.len() as f64).sqrt();
                let step = libm::ldexp(1.0, e);
                assert!((f64::from(*m) * step - exact).abs() <= step / 2.0);
            }
        }
        assert_eq!(fixed_gains(&[0.0, 0.0]), (vec![0, 0], 0));
    }
}

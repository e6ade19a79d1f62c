//! cos and sin of every pair at every row's position; the definition of `wgsl/rope_angles_q30.wgsl`.

use super::fixed::mulhi;
use crate::params::{ROW_WORDS, RopeAngles};

/// `angles[r][i] = (cos, sin)` in Q30 of `increments[i] · position(r)` turns.
pub fn run(p: &RopeAngles, rows: u32, row_table: &[u32], increments: &[u32], angles: &mut [i32]) {
    let pairs = p.pairs as usize;
    for r in 0..rows as usize {
        let position = row_table[r * ROW_WORDS as usize + 1];
        for i in 0..pairs {
            let (low, high) = (increments[2 * i], increments[2 * i + 1]);
            let phase = high
                .wrapping_mul(position)
                .wrapping_add(mulhi(low, position));
            let (cos, sin) = cos_sin_q30(phase);
            angles[(r * pairs + i) * 2] = cos;
            angles[(r * pairs + i) * 2 + 1] = sin;
        }
    }
}

/// Coefficients of sin(π/2·x)/x in powers of x², Q30, highest first, of alternating sign; Chebyshev
/// fit on [0, 1], error under 3e-11.
const SIN_Q30: [u32; 6] = [
    3_685,
    172_072,
    5_026_892,
    85_569_282,
    693_598_666,
    1_686_629_713,
];

/// (cos, sin) in Q30 of `phase / 2^32` turns; absolute error under 1e-8.
pub fn cos_sin_q30(phase: u32) -> (i32, i32) {
    (sin_q30(phase.wrapping_add(0x4000_0000)), sin_q30(phase))
}

/// sin in Q30 of `phase / 2^32` turns: an odd polynomial on the quarter turn, mirrored.
fn sin_q30(phase: u32) -> i32 {
    let quarter = phase & 0x3fff_ffff;
    let x = if phase >> 30 & 1 == 1 {
        0x4000_0000 - quarter
    } else {
        quarter
    };
    // x in 0..=2^30 quarter turns as Q32, the end point just below one.
    let x = if x == 0x4000_0000 { u32::MAX } else { x << 2 };
    let z = mulhi(x, x);
    let p = SIN_Q30
        .iter()
        .skip(1)
        .fold(SIN_Q30[0], |p, c| c - mulhi(p, z));
    let s = mulhi(p, x).min(1 << 30) as i32;
    if phase >> 31 == 1 { -s } else { s }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_are_accurate() {
        let phases = (0..100_000u32)
            .map(|i| i.wrapping_mul(0x9e37_79b1))
            .chain([0, 1, u32::MAX])
            .chain((0..4).flat_map(|q| [(q << 30) - (q > 0) as u32, q << 30, (q << 30) + 1]));
        for phase in phases {
            let (cos, sin) = cos_sin_q30(phase);
            let angle = f64::from(phase) / 4294967296.0 * std::f64::consts::TAU;
            let one = f64::from(1 << 30);
            assert!((f64::from(cos) / one - angle.cos()).abs() < 1e-8, "{phase}");
            assert!((f64::from(sin) / one - angle.sin()).abs() < 1e-8, "{phase}");
            assert!(cos.abs() <= 1 << 30 && sin.abs() <= 1 << 30);
        }
    }
}

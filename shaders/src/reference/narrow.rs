//! Codes of 4 bits for keys and values; the definition of `wgsl/shared/narrow.wgsl`.

use super::fixed::{round_shr64, sat32};
use crate::params::TURN_SHIFT;

/// Dimensions that are turned together: those of a whole group.
const TURNED: usize = 32;

/// The level of a code of 4 bits: bit 3 is the sign, and magnitude `m` is `m² + 10·m + 4`, so within ±123.
#[inline(always)]
pub(crate) const fn level(code: u32) -> i32 {
    let m = (code & 7) as i32;
    let level = m * m + 10 * m + 4;
    if code & 8 == 0 { level } else { -level }
}

/// The code whose level is nearest to a code of 8 bits.
///
/// Levels `m` and `m + 1` meet at `m² + 11·m + 9.5`.
#[inline(always)]
pub(crate) fn narrowed(x: i32) -> u32 {
    let size = x.abs();
    let beyond = |m: i32| u32::from(size >= m * m + 11 * m + 10);
    let m = (0..7).map(beyond).sum::<u32>();
    m | u32::from(x < 0) << 3
}

/// Dimension `d` of a group in bytes of 4-bit codes: which byte, and which bit of it.
#[inline(always)]
pub(crate) fn half(d: usize) -> (usize, u32) {
    (d % 16, d as u32 / 16 * 4)
}

/// Turns every whole group of a head by the Walsh-Hadamard matrix over 32, so that a dimension far from zero comes out in
/// small parts of all. A product of two turned groups is 2^-[`TURN_SHIFT`] of what it was: the matrix is orthogonal, and its
/// rows are 32 long.
///
/// Proof: a sum of 32 magnitudes below 2^31 is below 2^36; a shift of 5 gives 32 bits again.
pub(crate) fn turn(x: &mut [i32]) {
    for group in x.chunks_exact_mut(TURNED) {
        let before: [i32; TURNED] = std::array::from_fn(|i| group[i]);
        for (d, out) in group.iter_mut().enumerate() {
            let signed = |(i, v): (usize, &i32)| {
                let v = i64::from(*v);
                if (i & d).count_ones() % 2 == 0 { v } else { -v }
            };
            let sum: i64 = before.iter().enumerate().map(signed).sum();
            *out = sat32(round_shr64(sum, TURN_SHIFT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_nearest_levels() {
        for x in -128..=127 {
            let error = |code: u32| (level(code) - x).abs();
            let least = (0..16).map(error).min();
            assert_eq!(Some(error(narrowed(x))), least, "{x}");
        }
        let codes = (0..16).map(|c| narrowed(level(c)));
        assert!(codes.eq(0..16));
        assert_eq!((level(0), level(7), level(15)), (4, 123, -123));
    }

    #[test]
    fn turning_keeps_products_and_lengths() {
        // Numbers of a linear congruence.
        let mut state = 5u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as i32 >> 7
        };
        let mut of = || -> Vec<i32> { (0..80).map(|_| next()).collect() };
        let (a, b) = (of(), of());
        let product = |a: &[i32], b: &[i32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        let (mut c, mut d) = (a.clone(), b.clone());
        turn(&mut c);
        turn(&mut d);
        // The last group is not whole, and stays.
        assert_eq!(a[64..], c[64..]);
        let expected = product(&a[..64], &b[..64]);
        let found = product(&c[..64], &d[..64]) * f64::from(1 << TURN_SHIFT);
        let size = product(&a, &a);
        assert!(
            (found - expected).abs() < 1e-5 * size,
            "{found} {expected} {size}"
        );
    }

    #[test]
    fn the_largest_sums_fit() {
        for sign in [1, -1] {
            let mut x = [sign * i32::MAX; 32];
            turn(&mut x);
            assert_eq!(x[0], sign * i32::MAX);
            assert!(x[1..].iter().all(|v| *v == 0));
        }
        let mut x: [i32; 32] = std::array::from_fn(|i| {
            if (i & 21).count_ones() % 2 == 0 {
                i32::MIN
            } else {
                i32::MAX
            }
        });
        turn(&mut x);
        assert_eq!(x[21], -i32::MAX);
    }
}

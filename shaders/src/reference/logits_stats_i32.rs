//! Checksum and arg-max of each row of logits; the definition of `wgsl/logits_stats_i32.wgsl`.

use crate::params::{LogitsStats, MIX_HIGH, MIX_LOW, RESULT_WORDS};

/// `results[r]` = low and high half of the checksum `Σ mix(i, z_i)`, the arg-max (ties to the lower
/// id) and the maximum; zeros of a row without columns.
pub fn run(p: &LogitsStats, logits: &[i32], results: &mut [u32]) {
    let cols = p.cols as usize;
    for (r, out) in results.chunks_exact_mut(RESULT_WORDS as usize).enumerate() {
        let (mut low, mut high, mut best) = (0u32, 0u32, 0);
        let row = &logits[r * cols..(r + 1) * cols];
        for (i, z) in row.iter().enumerate() {
            low = low.wrapping_add(mix(i as u32, *z, MIX_LOW));
            high = high.wrapping_add(mix(i as u32, *z, MIX_HIGH));
            if *z > row[best] {
                best = i;
            }
        }
        let most = row.get(best).map_or(0, |z| *z as u32);
        out.copy_from_slice(&[low, high, best as u32, most]);
    }
}

/// A 32-bit finaliser (MurmurHash3's) of the pair (index, logit).
#[inline(always)]
pub fn mix(i: u32, z: i32, seed: u32) -> u32 {
    let mut x = z as u32 ^ i.wrapping_mul(0x9e37_79b1).wrapping_add(seed);
    x ^= x >> 16;
    x = x.wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ x >> 16
}

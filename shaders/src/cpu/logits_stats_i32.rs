//! Checksum and arg-max of each row of logits; twin of `wgsl/logits_stats_i32.wgsl`.

use super::for_chunks;
use super::simd::wide;
use crate::params::{LogitsStats, MIX_HIGH, MIX_LOW, RESULT_WORDS};
pub use crate::reference::logits_stats_i32::mix;

/// Shares of a row that threads take.
const SHARES: usize = 16;

/// Low and high half of a checksum, arg-max, maximum.
pub(super) type Stats = [u32; RESULT_WORDS as usize];

/// As [`crate::reference::logits_stats_i32::run`].
pub fn run(p: &LogitsStats, logits: &[i32], results: &mut [u32]) {
    let cols = p.cols as usize;
    let len = cols.div_ceil(SHARES).max(1);
    for_chunks(results, RESULT_WORDS as usize, |r, out| {
        let row = &logits[r * cols..(r + 1) * cols];
        let mut shares = [Stats::default(); SHARES];
        let shares = &mut shares[..cols.div_ceil(len)];
        for_chunks(shares, 1, |i, share| {
            let end = cols.min((i + 1) * len);
            wide::logits_share(&row[i * len..end], (i * len) as u32, &mut share[0]);
        });
        let join = |a: Stats, b: Stats| {
            let [_, _, best, most] = if b[3] as i32 > a[3] as i32 { b } else { a };
            [a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1]), best, most]
        };
        let joined = shares.iter().copied().reduce(join);
        out.copy_from_slice(&joined.unwrap_or_default());
    });
}

/// Of columns `first` and on.
#[inline(always)]
pub(super) fn share(logits: &[i32], first: u32, out: &mut Stats) {
    let (mut low, mut high, mut most) = (0u32, 0u32, i32::MIN);
    for (i, z) in logits.iter().enumerate() {
        let i = first.wrapping_add(i as u32);
        low = low.wrapping_add(mix(i, *z, MIX_LOW));
        high = high.wrapping_add(mix(i, *z, MIX_HIGH));
        most = most.max(*z);
    }
    let best = logits.iter().position(|z| *z == most).unwrap_or(0);
    *out = [low, high, first + best as u32, most as u32];
}

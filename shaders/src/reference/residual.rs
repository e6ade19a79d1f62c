//! Addition to the residual stream; the definition of `wgsl/shared/residual.wgsl`.

use super::fixed::sat32;

/// `h += v`, saturated; `stats[0]` counts saturated elements, `stats[1]` keeps the largest magnitude.
#[inline(always)]
pub(crate) fn add_residual(h: &mut i32, v: i32, stats: &mut [u32]) {
    let sum = i64::from(*h) + i64::from(v);
    let s = sat32(sum);
    stats[0] = stats[0].wrapping_add(u32::from(i64::from(s) != sum));
    stats[1] = stats[1].max(s.unsigned_abs());
    *h = s;
}

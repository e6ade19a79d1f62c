//! cap·tanh(z/cap) of logits, in place; twin of `wgsl/softcap_row_i32.wgsl`.

use super::for_chunks;
use super::softcap::Cap;
use crate::params::Softcap;

/// Every row of `logits` through the cap.
pub fn run(p: &Softcap, logits: &mut [i32]) {
    let cap = Cap {
        mantissa: p.cap_mantissa,
        shift: p.cap_shift,
        rate_mantissa: p.rate_mantissa,
        rate_shift: p.rate_shift,
    };
    for_chunks(logits, p.cols as usize, |_, row| {
        for z in row {
            *z = cap.apply(*z);
        }
    });
}

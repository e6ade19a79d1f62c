//! cap·tanh(z/cap) of logits, in place; the definition of `wgsl/softcap_row_i32.wgsl`.

use super::softcap::Cap;
use crate::params::Softcap;

/// Every row of `logits` through the cap.
pub fn run(p: &Softcap, logits: &mut [i32]) {
    let cap = cap(p);
    for z in logits {
        *z = cap.apply(*z);
    }
}

/// The cap of logits.
pub(crate) fn cap(p: &Softcap) -> Cap {
    Cap {
        mantissa: p.cap_mantissa,
        shift: p.cap_shift,
        rate_mantissa: p.rate_mantissa,
        rate_shift: p.rate_shift,
    }
}

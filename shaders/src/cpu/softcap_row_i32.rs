//! cap·tanh(z/cap) of logits, in place; twin of `wgsl/softcap_row_i32.wgsl`.

use super::for_chunks;
use crate::params::Softcap;
use crate::reference::softcap_row_i32::cap;

/// Every row of `logits` through the cap.
pub fn run(p: &Softcap, logits: &mut [i32]) {
    let cap = cap(p);
    for_chunks(logits, p.cols as usize, |_, row| {
        for z in row {
            *z = cap.apply(*z);
        }
    });
}

//! The sum of a buffer's words; the definition of `wgsl/read_words_u32.wgsl`.

use crate::params::ReadWords;

/// `sum[0] += Σ words` modulo 2^32 over the first `quads` groups of four words.
pub fn run(p: &ReadWords, words: &[u32], sum: &mut [u32]) {
    let words = words.iter().take(p.quads as usize * 4);
    sum[0] = words.fold(sum[0], |a, w| a.wrapping_add(*w));
}

//! The calibration text: which of its chunks are run.

use super::{Calibration, CalibrationError};
use crate::source::Checkpoint;
use crate::text;
use std::path::Path;

/// Tokens of a chunk, or the model's context where that is shorter.
const CHUNK: usize = 256;

/// Whole chunks of the text, `calibration.tokens` tokens at most (one chunk at least), in the text's order;
/// of more chunks than that a choice by the seed. Each begins with the token that begins a text, where the
/// model has one.
pub(crate) fn chunks(
    source: &Checkpoint,
    path: &Path,
    calibration: &Calibration,
) -> Result<Vec<Vec<u32>>, CalibrationError> {
    let text = text::read(path)?;
    let (tokens, bos) = text::tokens(source, &text)?;
    let chunk = chunk_length(source);
    if tokens.len() < chunk {
        return Err(CalibrationError::Short {
            path: path.into(),
            found: tokens.len(),
            expected: chunk,
        });
    }
    let found = tokens.len() / chunk;
    let chosen = choose(found, (calibration.tokens / chunk).max(1), calibration.seed);
    Ok(chosen
        .into_iter()
        .map(|i| {
            let mut tokens = tokens[i * chunk..][..chunk].to_vec();
            if let Some(bos) = bos {
                tokens[0] = bos;
            }
            tokens
        })
        .collect())
}

/// Tokens of a chunk.
pub(crate) fn chunk_length(source: &Checkpoint) -> usize {
    CHUNK.min(source.hyper().context_length as usize).max(1)
}

/// `wanted` of the numbers below `found`, or all of them, ascending.
fn choose(found: usize, wanted: usize, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..found).collect();
    if wanted < found {
        let mut state = seed;
        for i in 0..wanted {
            let j = i + (splitmix(&mut state) % (found - i) as u64) as usize;
            all.swap(i, j);
        }
        all.truncate(wanted);
        all.sort_unstable();
    }
    all
}

/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
pub(super) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_of_different_chunks_and_by_the_seed() {
        let a = choose(100, 10, 1);
        assert_eq!(a.len(), 10);
        assert!(a.windows(2).all(|w| w[0] < w[1]) && a[9] < 100);
        assert_eq!(a, choose(100, 10, 1));
        assert_ne!(a, choose(100, 10, 2));
        assert_eq!(choose(3, 10, 1), [0, 1, 2]);
    }
}

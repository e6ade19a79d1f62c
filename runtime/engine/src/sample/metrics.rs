//! What the model thought of a token: reports, which never flow back into a choice.

use super::filters::MAX_EXPONENT;

/// A token's place in the model's own distribution, the softmax of its logits: before bias, mask,
/// penalty, filters and temperature. Natural logarithms.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenMetrics {
    /// Position of the token in the sequence, the prompt's first token at 0.
    pub position: u32,
    /// The token chosen.
    pub id: u32,
    /// ln of its probability.
    pub logprob: f64,
    /// Entropy of the distribution, in nats.
    pub entropy: f64,
    /// 1 for the likeliest token; of equal ones the lower id comes first.
    pub rank: u32,
    /// The likeliest tokens, in order of rank.
    pub top: Vec<Alternative>,
}

/// One of the likeliest tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alternative {
    /// Token id.
    pub id: u32,
    /// ln of its probability.
    pub logprob: f64,
}

impl TokenMetrics {
    /// Of the token `id` at `position`, chosen from `logits` (real logit = z · 2^exponent), with the
    /// `top` likeliest tokens. `None` for an id without a logit or an exponent outside
    /// ±[`MAX_EXPONENT`].
    ///
    /// Sums run in order of ids, in `f64` with `libm`: equal logits give equal bits everywhere.
    pub fn new(position: u32, id: u32, logits: &[i32], exponent: i32, top: usize) -> Option<Self> {
        let chosen = *logits.get(id as usize)?;
        let max = *logits.iter().max()?;
        if !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent) {
            return None;
        }
        let scale = f64::from_bits(((1023 + i64::from(exponent)) as u64) << 52);
        // Differences of two i32 are exact, and so are their products with a power of two.
        let below = |z: i32| (i64::from(z) - i64::from(max)) as f64 * scale;
        let (mut sum, mut weighted) = (0.0, 0.0);
        for &z in logits {
            let d = below(z);
            let w = libm::exp(d);
            sum += w;
            // Where the weight underflows the product is 0 · −∞ at worst.
            if w > 0.0 {
                weighted += w * d;
            }
        }
        let ln_sum = libm::log(sum);
        let logprob = |z: i32| below(z) - ln_sum;
        let before = |other: u32, z: i32| z > chosen || (z == chosen && other < id);
        let rank = (0u32..)
            .zip(logits)
            .filter(|(i, z)| before(*i, **z))
            .count() as u32
            + 1;
        Some(Self {
            position,
            id,
            logprob: logprob(chosen),
            entropy: ln_sum - weighted / sum,
            rank,
            top: likeliest(logits, top)
                .into_iter()
                .map(|i| Alternative {
                    id: i,
                    logprob: logprob(logits[i as usize]),
                })
                .collect(),
        })
    }
}

/// The `n` ids of the largest logits, largest first, lower ids first among equals.
fn likeliest(logits: &[i32], n: usize) -> Vec<u32> {
    let n = n.min(logits.len());
    if n == 0 {
        return Vec::new();
    }
    let key = |i: &u32| (std::cmp::Reverse(logits[*i as usize]), *i);
    let mut ids: Vec<u32> = (0u32..).take(logits.len()).collect();
    if n < ids.len() {
        ids.select_nth_unstable_by_key(n - 1, key);
        ids.truncate(n);
    }
    ids.sort_unstable_by_key(key);
    ids
}

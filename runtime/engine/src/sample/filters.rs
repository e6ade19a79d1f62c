//! Candidate tokens and the filters over them.

use std::cmp::Ordering;

/// Largest magnitude of the logits' binary exponent. Any exponent a model can have is far inside, and
/// within it `z · 2^e` is an exact `f64` for every `i32` z.
pub const MAX_EXPONENT: i32 = 512;

/// The weight of the most probable candidate: weights are `exp(logit - max) · 2^48`, truncated. With
/// 2^22 candidates their sum stays below 2^70, so that a product with 53 random bits fits 128 bits.
pub const WEIGHT_ONE: u64 = 1 << 48;

/// Below this difference to the largest logit a weight truncates to 0 (48 · ln 2 = 33.27).
const ZERO_BELOW: f64 = -34.0;

/// How many candidates are ranked first when the number needed is not known; grows eightfold.
const FIRST_RANKED: usize = 128;

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Token id.
    pub id: u32,
    /// Real logit.
    pub logit: f64,
}

/// Higher logit first, the lower id first among equals: a total order, so a ranking is unique.
fn rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// Fixed-point weight of a logit that lies `difference <= 0` from the largest one.
fn weight(difference: f64) -> u64 {
    if difference > ZERO_BELOW {
        (libm::exp(difference) * WEIGHT_ONE as f64) as u64
    } else {
        0
    }
}

/// A set of candidates that filters shrink. Never empty after [`Candidates::load`] of a non-empty slice.
///
/// The first `ranked` items are the set's best in rank order; the rest are unordered and rank behind.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    items: Vec<Candidate>,
    ranked: usize,
    /// Memory that [`Candidates::penalize`] keeps from call to call.
    recent: Vec<u32>,
}

impl Candidates {
    /// Replaces the set by all tokens of `logits` (real logit = z · 2^exponent); keeps the allocation.
    /// `exponent` must lie within ±[`MAX_EXPONENT`].
    pub fn load(&mut self, logits: &[i32], exponent: i32) {
        let all = (0u32..).zip(logits.iter().map(|&z| i64::from(z)));
        self.load_some(all, exponent);
    }

    /// Replaces the set by `(id, z)` with ascending ids and |z| ≤ 2^53, so that z · 2^exponent is exact.
    pub(super) fn load_some(&mut self, some: impl Iterator<Item = (u32, i64)>, exponent: i32) {
        debug_assert!(exponent.abs() <= MAX_EXPONENT);
        let scale = f64::from_bits(((1023 + i64::from(exponent)) as u64) << 52);
        self.items.clear();
        self.items.extend(some.map(|(id, z)| Candidate {
            id,
            logit: z as f64 * scale,
        }));
        self.ranked = 0;
    }

    /// Number of candidates.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Ids of the set in rank order.
    pub fn ids(&mut self) -> Vec<u32> {
        self.rank_first(self.items.len());
        self.items.iter().map(|c| c.id).collect()
    }

    /// Multiplies the logits of `recent` tokens by `penalty` where they are not positive and divides
    /// them where they are, each token once. Call it right after [`Candidates::load`], while ids ascend.
    /// Ids outside the set are ignored.
    pub fn penalize(&mut self, recent: &[u32], penalty: f32) {
        let penalty = f64::from(penalty);
        let Self {
            items, recent: ids, ..
        } = self;
        ids.clear();
        ids.extend_from_slice(recent);
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Ok(at) = items.binary_search_by_key(id, |c| c.id) {
                let c = &mut items[at];
                if c.logit > 0.0 {
                    c.logit /= penalty;
                } else {
                    c.logit *= penalty;
                }
            }
        }
        self.ranked = 0;
    }

    /// The candidate of the highest logit, the lowest id among equals.
    pub fn best(&self) -> Option<Candidate> {
        if self.ranked > 0 {
            return self.items.first().copied();
        }
        self.items.iter().copied().min_by(rank)
    }

    /// Keeps the `k` best; 0 keeps all.
    pub fn top_k(&mut self, k: u32) {
        let k = k as usize;
        if k == 0 || k >= self.items.len() {
            return;
        }
        self.rank_first(k);
        self.items.truncate(k);
    }

    /// Keeps the shortest run of best candidates whose probabilities sum to at least `p` (at least one
    /// candidate); `p >= 1` keeps all.
    pub fn top_p(&mut self, p: f32) {
        let Some(best) = self.best() else { return };
        if p >= 1.0 {
            return;
        }
        let total = self.total(best.logit, 1.0);
        // `p` in units of 2^-32: exact for every f32 of at least 2^-8.
        let p = (f64::from(p) * 4_294_967_296.0) as u128;
        let keep = self.prefix(best.logit, 1.0, |sum| sum << 32 >= p * total);
        self.items.truncate(keep);
    }

    /// Keeps candidates at least `p` times as probable as the best one; 0 keeps all.
    pub fn min_p(&mut self, p: f32) {
        let Some(best) = self.best() else { return };
        if p <= 0.0 {
            return;
        }
        let real = f64::from(p) * WEIGHT_ONE as f64;
        let truncated = real as u64;
        let threshold = truncated + u64::from((truncated as f64) < real);
        let mut kept_ranked = 0;
        let ranked = self.ranked;
        let mut index = 0;
        self.items.retain(|c| {
            let keep = weight(c.logit - best.logit) >= threshold;
            kept_ranked += usize::from(keep && index < ranked);
            index += 1;
            keep
        });
        self.ranked = kept_ranked;
    }

    /// Draws a candidate with probability proportional to `exp(logit / temperature)`: the first in rank
    /// order whose cumulated weight exceeds `uniform / 2^53` of the total. `uniform < 2^53`,
    /// `temperature > 0`.
    pub fn draw(&mut self, temperature: f32, uniform: u64) -> Option<u32> {
        debug_assert!(uniform < 1 << 53);
        let best = self.best()?;
        let temperature = f64::from(temperature);
        let total = self.total(best.logit, temperature);
        let threshold = (total * u128::from(uniform)) >> 53;
        let count = self.prefix(best.logit, temperature, |sum| sum > threshold);
        self.items.get(count - 1).map(|c| c.id)
    }

    /// Sum of all weights; exact, so independent of the order.
    fn total(&self, max: f64, temperature: f64) -> u128 {
        self.items
            .iter()
            .map(|c| u128::from(weight((c.logit - max) / temperature)))
            .sum()
    }

    /// Length of the shortest ranked prefix whose weights' sum satisfies `enough`; the whole set if none
    /// does. At least 1 for a non-empty set.
    fn prefix(&mut self, max: f64, temperature: f64, enough: impl Fn(u128) -> bool) -> usize {
        let mut sum = 0u128;
        let mut seen = 0;
        let mut target = FIRST_RANKED;
        while seen < self.items.len() {
            self.rank_first(target);
            while seen < self.ranked {
                sum += u128::from(weight((self.items[seen].logit - max) / temperature));
                seen += 1;
                if enough(sum) {
                    return seen;
                }
            }
            target = target.saturating_mul(8);
        }
        seen
    }

    /// Brings at least the `n` best (or all) into rank order at the front: linear selection, then a sort
    /// of the selected.
    fn rank_first(&mut self, n: usize) {
        let n = n.min(self.items.len());
        if n <= self.ranked {
            return;
        }
        let rest = &mut self.items[self.ranked..];
        let wanted = n - self.ranked;
        if wanted < rest.len() {
            rest.select_nth_unstable_by(wanted - 1, rank);
        }
        rest[..wanted].sort_unstable_by(rank);
        self.ranked = n;
    }
}

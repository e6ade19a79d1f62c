//! Candidate tokens, what every filter over them is made of, and the filters by probability: top-k, top-p, min-p. Each
//! other filter has a file of its own.

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
pub(super) fn rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// Fixed-point weight of a logit that lies `difference <= 0` from the largest one.
pub(super) fn weight(difference: f64) -> u64 {
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
    pub(super) items: Vec<Candidate>,
    pub(super) ranked: usize,
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
        let weight = |c: &Candidate| weight(c.logit - best.logit);
        let (total, p) = (self.total(weight), share(p));
        let keep = self.prefix(weight, |sum| sum << 32 >= p * total);
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
        self.retain(|c| weight(c.logit - best.logit) >= threshold);
    }

    /// Draws a candidate with probability proportional to `exp(logit / temperature)`: the first in rank
    /// order whose cumulated weight exceeds `uniform / 2^53` of the total. `uniform < 2^53`,
    /// `temperature > 0`.
    pub fn draw(&mut self, temperature: f64, uniform: u64) -> Option<u32> {
        let max = self.best()?.logit;
        let weight = |c: &Candidate| weight((c.logit - max) / temperature);
        self.pick(weight, uniform).map(|c| c.id)
    }

    /// Draws a candidate with probability proportional to a weight of at most [`WEIGHT_ONE`], as [`Candidates::draw`] does.
    pub(super) fn pick(
        &mut self,
        weight: impl Fn(&Candidate) -> u64,
        uniform: u64,
    ) -> Option<Candidate> {
        debug_assert!(uniform < 1 << 53);
        let threshold = (self.total(&weight) * u128::from(uniform)) >> 53;
        let count = self.prefix(weight, |sum| sum > threshold);
        self.items.get(count.checked_sub(1)?).copied()
    }

    /// Keeps what `keep` says, in the order in which it is.
    pub(super) fn retain(&mut self, keep: impl Fn(&Candidate) -> bool) {
        let (mut kept_ranked, mut index) = (0, 0);
        let ranked = self.ranked;
        self.items.retain(|c| {
            let keep = keep(c);
            kept_ranked += usize::from(keep && index < ranked);
            index += 1;
            keep
        });
        self.ranked = kept_ranked;
    }

    /// Sum of all weights; exact, so independent of the order.
    pub(super) fn total(&self, weight: impl Fn(&Candidate) -> u64) -> u128 {
        self.items.iter().map(|c| u128::from(weight(c))).sum()
    }

    /// Length of the shortest ranked prefix whose weights' sum satisfies `enough`; the whole set if none
    /// does. At least 1 for a non-empty set.
    fn prefix(
        &mut self,
        weight: impl Fn(&Candidate) -> u64,
        enough: impl Fn(u128) -> bool,
    ) -> usize {
        prefix(&mut self.items, &mut self.ranked, rank, weight, enough)
    }

    /// Brings at least the `n` best (or all) into rank order at the front.
    pub(super) fn rank_first(&mut self, n: usize) {
        rank_first(&mut self.items, &mut self.ranked, rank, n);
    }
}

/// A share in units of 2^-32: exact for every f32 of at least 2^-8.
pub(super) fn share(p: f32) -> u128 {
    (f64::from(p) * 4_294_967_296.0) as u128
}

/// Length of the shortest prefix in `order`, a total one, whose weights' sum satisfies `enough`; all items if none does. The
/// first `done` are in order already.
pub(super) fn prefix(
    items: &mut [Candidate],
    done: &mut usize,
    order: impl Fn(&Candidate, &Candidate) -> Ordering,
    weight: impl Fn(&Candidate) -> u64,
    enough: impl Fn(u128) -> bool,
) -> usize {
    let mut sum = 0u128;
    let mut seen = 0;
    let mut target = FIRST_RANKED;
    while seen < items.len() {
        rank_first(items, done, &order, target);
        while seen < *done {
            sum += u128::from(weight(&items[seen]));
            seen += 1;
            if enough(sum) {
                return seen;
            }
        }
        target = target.saturating_mul(8);
    }
    seen
}

/// Brings at least the first `n` in `order` (or all) to the front, of which `done` are there already: linear selection,
/// then a sort of the selected.
fn rank_first(
    items: &mut [Candidate],
    done: &mut usize,
    order: impl Fn(&Candidate, &Candidate) -> Ordering,
    n: usize,
) {
    let n = n.min(items.len());
    if n <= *done {
        return;
    }
    let rest = &mut items[*done..];
    let wanted = n - *done;
    if wanted < rest.len() {
        rest.select_nth_unstable_by(wanted - 1, &order);
    }
    rest[..wanted].sort_unstable_by(&order);
    *done = n;
}

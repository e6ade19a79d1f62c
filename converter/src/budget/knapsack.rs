//! One option of each item, of least total cost within a number of bytes.

use rayon::prelude::*;

/// Buckets of bytes for each item: rounding up to a bucket loses at most 1/256 of the whole.
const BUCKETS: usize = 256;
/// Buckets of a parallel task: its costs stay in the cache for all options.
const PART: usize = 1 << 11;

/// An option of an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// What it takes.
    pub bytes: u64,
    /// What it costs, not negative.
    pub cost: f64,
}

/// The index of an option for each item, of least total cost with at most `budget` bytes in all; `None` where
/// even the smallest options take more. Of equal costs the smaller option.
///
/// Dynamic programming over buckets of bytes; memory `items² · 256` bytes.
pub fn divide(items: &[Vec<Choice>], budget: u64) -> Option<Vec<usize>> {
    let smallest = |item: &Vec<Choice>| item.iter().map(|c| c.bytes).min();
    let least: u64 = items.iter().map(smallest).sum::<Option<u64>>()?;
    let spare = budget.checked_sub(least)?;
    // Rounding must not keep the largest options out where there is room for all.
    let best = |item: &Vec<Choice>| {
        let order = |a: &Choice, b: &Choice| a.cost.total_cmp(&b.cost).then(a.bytes.cmp(&b.bytes));
        (0..item.len()).min_by(|a, b| order(&item[*a], &item[*b]))
    };
    let best: Vec<usize> = items.iter().map(best).collect::<Option<_>>()?;
    let taken = items.iter().zip(&best).map(|(item, i)| item[*i].bytes);
    if taken.sum::<u64>() <= budget {
        return Some(best);
    }
    // What an option takes beyond the smallest of its item, in buckets rounded up.
    let buckets = BUCKETS * items.len().max(1);
    let bucket = (spare / buckets as u64).max(1);
    let steps = (spare / bucket) as usize;
    let extra = |item: &[Choice], c: &Choice| {
        let least = item.iter().map(|c| c.bytes).min().unwrap_or(0);
        usize::try_from((c.bytes - least).div_ceil(bucket)).unwrap_or(usize::MAX)
    };
    let mut best = vec![0f64; steps + 1];
    let mut chosen: Vec<Vec<u8>> = Vec::with_capacity(items.len());
    for item in items {
        let mut next = vec![f64::INFINITY; steps + 1];
        let mut choices = vec![0u8; steps + 1];
        let mut order: Vec<usize> = (0..item.len().min(256)).collect();
        order.sort_by_key(|i| (item[*i].bytes, *i));
        let mut least = f64::INFINITY;
        // What costs as much as something smaller is never taken.
        order.retain(|i| {
            let lower = item[*i].cost < least;
            least = least.min(item[*i].cost);
            lower
        });
        let options: Vec<(u8, usize, f64)> = order
            .into_iter()
            .map(|i| (i as u8, extra(item, &item[i]), item[i].cost))
            .collect();
        let parts = next.par_chunks_mut(PART).zip(choices.par_chunks_mut(PART));
        parts.enumerate().for_each(|(part, (next, choices))| {
            let first = part * PART;
            for (i, taken, cost) in &options {
                let from = taken.saturating_sub(first);
                let before = &best[(first + from).saturating_sub(*taken)..];
                let open = next.iter_mut().zip(choices.iter_mut()).skip(from);
                // Selections rather than branches, which a processor does several at a time.
                for ((next, choice), before) in open.zip(before) {
                    let cost = before + cost;
                    let lower = cost < *next;
                    *next = if lower { cost } else { *next };
                    *choice = if lower { *i } else { *choice };
                }
            }
        });
        best = next;
        chosen.push(choices);
    }
    let mut at = steps;
    let mut out = vec![0; items.len()];
    for (item, (choices, out)) in items.iter().zip(chosen.iter().zip(&mut out)).rev() {
        *out = usize::from(choices[at]);
        at -= extra(item, item.get(*out)?);
    }
    Some(out)
}

/// The division of the fewest bytes, at least `least`, whose cost is at most `cost`, or the one of least cost; `None`
/// where even the smallest options take more than `least`.
pub fn reach(items: &[Vec<Choice>], least: u64, cost: f64) -> Option<Vec<usize>> {
    let costs = |chosen: &[usize]| -> f64 {
        let each = items.iter().zip(chosen);
        each.map(|(item, i)| item[*i].cost).sum()
    };
    let mut best = divide(items, least)?;
    if costs(&best) <= cost {
        return Some(best);
    }
    let largest = items
        .iter()
        .filter_map(|item| item.iter().map(|c| c.bytes).max());
    let (mut below, mut above) = (least, largest.sum::<u64>().max(least));
    best = divide(items, above)?;
    // To a thousandth of the size.
    while above - below > above / 1000 {
        let middle = below + (above - below) / 2;
        let found = divide(items, middle)?;
        if costs(&found) <= cost {
            (best, above) = (found, middle);
        } else {
            below = middle;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn room_for_all_is_used() {
        // In buckets these nine would take 9/256 more than there is.
        let item = |size: u64| vec![choice(size, 1.0), choice(32 * size, 0.1)];
        let items: Vec<Vec<Choice>> = (0..9).map(|_| item(1000)).collect();
        assert_eq!(divide(&items, 9 * 32_000), Some(vec![1; 9]));
        assert_eq!(reach(&items, 9_000, 0.91), Some(vec![1; 9]));
    }

    fn choice(bytes: u64, cost: f64) -> Choice {
        Choice { bytes, cost }
    }

    fn total(items: &[Vec<Choice>], chosen: &[usize]) -> (u64, f64) {
        let options = items.iter().zip(chosen).map(|(item, i)| item[*i]);
        options.fold((0, 0.0), |(b, c), o| (b + o.bytes, c + o.cost))
    }

    proptest! {
        /// Against every combination, with sizes whose differences are whole buckets.
        #[test]
        fn the_least_cost_of_all_combinations(
            items in prop::collection::vec(
                prop::collection::vec((1u64..12, 0u32..1000), 1..4), 1..5),
            budget in 1u64..50,
        ) {
            let items: Vec<Vec<Choice>> = items.iter().map(|item| item.iter().map(
                |(b, c)| Choice { bytes: *b, cost: f64::from(*c) }).collect()).collect();
            let mut best: Option<f64> = None;
            let count: usize = items.iter().map(Vec::len).product();
            for n in 0..count {
                let mut rest = n;
                let chosen: Vec<usize> = items.iter().map(|i| {
                    let at = rest % i.len();
                    rest /= i.len();
                    at
                }).collect();
                let (bytes, cost) = total(&items, &chosen);
                if bytes <= budget && best.is_none_or(|b| cost < b) {
                    best = Some(cost);
                }
            }
            let found = divide(&items, budget);
            prop_assert_eq!(found.is_some(), best.is_some());
            if let Some(found) = found {
                let (bytes, cost) = total(&items, &found);
                prop_assert!(bytes <= budget);
                prop_assert_eq!(Some(cost), best);
            }
        }

        #[test]
        fn a_cost_is_reached_with_few_bytes(
            sizes in prop::collection::vec(1000u64..1_000_000, 1..12), wanted in 0.01f64..3.0,
        ) {
            // Twice the bytes, a quarter of the cost.
            let items: Vec<Vec<Choice>> = sizes.iter().map(|s| (0..6u32).map(|i| Choice {
                bytes: s << i, cost: 0.25f64.powi(i as i32),
            }).collect()).collect();
            let least: u64 = sizes.iter().sum();
            let found = reach(&items, least, wanted).unwrap();
            let (bytes, cost) = total(&items, &found);
            let best = divide(&items, 64 * least).unwrap();
            prop_assert!(cost <= wanted || total(&items, &best).1 > wanted);
            // A hundredth less does not reach it.
            if bytes > least {
                let less = divide(&items, (bytes as f64 * 0.985) as u64);
                prop_assert!(less.is_none_or(|l| total(&items, &l).1 >= cost || total(&items, &l).1 > wanted));
            }
        }

        #[test]
        fn more_bytes_never_cost_more(
            items in prop::collection::vec(
                prop::collection::vec((1u64..12, 0u32..1000), 1..4), 1..5),
        ) {
            let items: Vec<Vec<Choice>> = items.iter().map(|item| {
                item.iter().map(|(b, c)| Choice { bytes: *b, cost: f64::from(*c) }).collect()
            }).collect();
            let mut before = f64::INFINITY;
            for budget in 0..60 {
                if let Some(found) = divide(&items, budget) {
                    let (_, cost) = total(&items, &found);
                    prop_assert!(cost <= before);
                    before = cost;
                }
            }
        }

        #[test]
        fn large_budgets_are_used_to_a_hundredth(
            sizes in prop::collection::vec(1u64 << 20..1 << 30, 2..40),
        ) {
            // Options in steps of an eighth of each size, each better than the one before.
            let items: Vec<Vec<Choice>> = sizes.iter().map(|s| (1..=200u32).map(|i| Choice {
                bytes: s * u64::from(i) / 200, cost: 1.0 / f64::from(i),
            }).collect()).collect();
            let budget = sizes.iter().sum::<u64>() / 2;
            let found = divide(&items, budget).unwrap();
            let (bytes, _) = total(&items, &found);
            prop_assert!(bytes <= budget && bytes as f64 >= 0.985 * budget as f64, "{} of {}", bytes, budget);
        }
    }
}

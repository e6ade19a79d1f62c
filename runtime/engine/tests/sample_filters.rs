//! Filters, draws and penalties against plain definitions in `f64`, with full sorts.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat::internals::sample::{Candidates, LogitBias, Params, Sampler};
use proptest::prelude::*;

/// (id, real logit), best first.
fn ranked(z: &[i32], exponent: i32) -> Vec<(u32, f64)> {
    let unit = f64::from(exponent).exp2();
    let mut set: Vec<(u32, f64)> = (0u32..)
        .zip(z.iter().map(|z| f64::from(*z) * unit))
        .collect();
    set.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    set
}

/// The softmax at a temperature.
fn probabilities(set: &[(u32, f64)], temperature: f64) -> Vec<f64> {
    let max = set[0].1;
    let weights: Vec<f64> = set
        .iter()
        .map(|c| ((c.1 - max) / temperature).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

fn entropy(p: &[f64]) -> f64 {
    p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum()
}

fn ids(set: &[(u32, f64)]) -> Vec<u32> {
    set.iter().map(|c| c.0).collect()
}

fn top_n_sigma(set: &[(u32, f64)], n: f64) -> Vec<u32> {
    let count = set.len() as f64;
    let mean = set.iter().map(|c| c.1).sum::<f64>() / count;
    let square = |c: &(u32, f64)| (c.1 - mean) * (c.1 - mean);
    let sigma = (set.iter().map(square).sum::<f64>() / count).sqrt();
    let max = set[0].1;
    set.iter()
        .filter(|c| c.1 >= max - n * sigma)
        .map(|c| c.0)
        .collect()
}

fn typical(set: &[(u32, f64)], share: f64) -> Vec<u32> {
    let p = probabilities(set, 1.0);
    let h = entropy(&p);
    let mut order: Vec<usize> = (0..set.len()).collect();
    // The surprise from logits, which a probability of 0 has too.
    let ln_sum = -p[0].ln();
    let strange = |i: usize| (ln_sum + set[0].1 - set[i].1 - h).abs();
    order.sort_by(|a, b| strange(*a).total_cmp(&strange(*b)).then(a.cmp(b)));
    let (mut sum, mut kept) = (0.0, Vec::new());
    for i in order {
        sum += p[i];
        kept.push(i);
        if sum >= share {
            break;
        }
    }
    kept.sort_unstable();
    kept.into_iter().map(|i| set[i].0).collect()
}

fn xtc(set: &[(u32, f64)], threshold: f64) -> Vec<u32> {
    let p = probabilities(set, 1.0);
    let top = p.iter().filter(|p| **p >= threshold).count();
    ids(&set[top.saturating_sub(1)..])
}

/// The temperature, where the relative entropy is off by so much.
fn dynamic(set: &[(u32, f64)], temperature: f64, range: f64, exponent: f64, off: f64) -> f64 {
    let h = entropy(&probabilities(set, 1.0)) / (set.len() as f64).ln();
    let lowest = (temperature - range).max(0.0);
    lowest + (temperature + range - lowest) * (h + off).clamp(0.0, 1.0).powf(exponent)
}

fn load(z: &[i32], exponent: i32) -> Candidates {
    let mut set = Candidates::default();
    set.load(z, exponent);
    set
}

fn logits(most: usize) -> impl Strategy<Value = Vec<i32>> {
    let one = prop_oneof![
        8 => -400_000i32..400_000,
        1 => Just(0i32),
        1 => -3_000_000i32..3_000_000,
    ];
    prop::collection::vec(one, 1..most)
}

const UNIFORM: f64 = 9_007_199_254_740_992.0;

/// Whether a draw of the cumulated weights `w` can have chosen the one at `at`, but for rounding.
fn drawn_at(w: &[f64], at: usize, uniform: u64) -> bool {
    let total: f64 = w.iter().sum();
    let u = uniform as f64 / UNIFORM * total;
    let before: f64 = w[..at].iter().sum();
    before <= u + 1e-9 * total && u <= before + w[at] + 1e-9 * total
}

proptest! {
    #[test]
    fn sigma(z in logits(1500), n in prop_oneof![0.01f32..4.0, Just(0.0f32)], exponent in -18i32..-12) {
        let set = ranked(&z, exponent);
        let mut got = load(&z, exponent);
        got.top_n_sigma(n);
        if n == 0.0 {
            prop_assert_eq!(got.len(), z.len());
            return Ok(());
        }
        // Compare where no logit lies on the bound.
        let (wider, closer) = (top_n_sigma(&set, f64::from(n) + 1e-5), top_n_sigma(&set, f64::from(n) - 1e-5));
        if wider == closer {
            prop_assert_eq!(&got.ids(), &wider);
        }
        prop_assert!(got.len() >= closer.len() && got.len() <= wider.len());
    }

    #[test]
    fn locally_typical(z in logits(1500), share in prop_oneof![0.01f32..1.0, Just(0.0f32), Just(1.0f32)], exponent in -18i32..-14) {
        let set = ranked(&z, exponent);
        let mut got = load(&z, exponent);
        got.typical(share);
        if share == 1.0 {
            prop_assert_eq!(got.len(), z.len());
            return Ok(());
        }
        let share = f64::from(share);
        let expected = typical(&set, share);
        let same = [share + 1e-6, share - 1e-6].map(|s| typical(&set, s) == expected);
        // Two logits can be equally far from the entropy, one on each side.
        let h = entropy(&probabilities(&set, 1.0));
        let far: Vec<f64> = probabilities(&set, 1.0).iter().map(|p| (-p.ln() - h).abs()).collect();
        let kept = |i: &usize| expected.contains(&set[*i].0);
        let last = (0..set.len()).filter(kept).map(|i| far[i]).fold(0.0, f64::max);
        let near = (0..set.len()).filter(|i| (far[*i] - last).abs() < 1e-7).count();
        if same == [true; 2] && near == 1 {
            prop_assert_eq!(got.ids(), expected);
        }
        prop_assert!(!got.is_empty());
    }

    #[test]
    fn top_choices(z in logits(600), threshold in prop_oneof![0.0f32..0.3, Just(0.0f32), 0.5f32..1.0], exponent in -20i32..-14) {
        let set = ranked(&z, exponent);
        let mut got = load(&z, exponent);
        got.exclude_top(threshold);
        let threshold = f64::from(threshold);
        let expected = xtc(&set, threshold);
        if xtc(&set, threshold + 1e-8) == expected && xtc(&set, threshold - 1e-8) == expected {
            prop_assert_eq!(got.ids(), expected);
        }
        if threshold > 0.5 {
            prop_assert_eq!(got.len(), z.len());
        }
    }

    #[test]
    fn dynamic_temperature(
        z in logits(600), temperature in 0.01f32..3.0, range in 0.01f32..3.0, power in 0.0f32..4.0, exponent in -20i32..-12,
    ) {
        let set = ranked(&z, exponent);
        let got = load(&z, exponent).temperature(temperature, range, power);
        if z.len() > 1 {
            // A small power of a small entropy is steep.
            let (middle, range, power) = (f64::from(temperature), f64::from(range), f64::from(power));
            let [less, more] = [-1e-9, 1e-9].map(|off| dynamic(&set, middle, range, power, off) + off);
            prop_assert!(less <= got && got <= more, "{} {} {}", less, got, more);
        } else {
            prop_assert_eq!(got, f64::from(temperature));
        }
        prop_assert_eq!(load(&z, exponent).temperature(temperature, 0.0, power), f64::from(temperature));
    }

    #[test]
    fn mirostat(
        z in logits(600), temperature in 0.3f64..3.0, mu in -2.0f64..14.0, uniform in 0u64..1 << 53, exponent in -20i32..-14,
    ) {
        let set = ranked(&z, exponent);
        let p = probabilities(&set, temperature);
        let bits: Vec<f64> = p.iter().map(|p| -p.log2()).collect();
        let left = bits.iter().filter(|s| **s <= mu).count().max(1);
        let (id, surprise) = load(&z, exponent).mirostat(temperature, mu, uniform).unwrap();
        if bits.iter().all(|s| (s - mu).abs() > 1e-9) {
            let at = set.iter().position(|c| c.0 == id).unwrap();
            prop_assert!(at < left && drawn_at(&p[..left], at, uniform));
            let sum: f64 = p[..left].iter().sum();
            let expected = -(p[at] / sum).log2();
            prop_assert!((surprise - expected).abs() < 1e-8, "{} {}", surprise, expected);
        }
    }

    #[test]
    fn adaptive(
        z in logits(600), temperature in 0.3f64..3.0, target in 0.0f64..=1.0, uniform in 0u64..1 << 53, exponent in -20i32..-14,
    ) {
        let set = ranked(&z, exponent);
        let p = probabilities(&set, temperature);
        let logit = |p: &f64| {
            let x = (p - target).abs() / 0.3;
            5.0 - 10.0 * x * x / (1.0 + x)
        };
        let w: Vec<f64> = p.iter().map(|p| logit(p).exp()).collect();
        let (id, probability) = load(&z, exponent).near(temperature, target, uniform).unwrap();
        let at = set.iter().position(|c| c.0 == id).unwrap();
        prop_assert!(drawn_at(&w, at, uniform));
        prop_assert!((probability - p[at]).abs() < 1e-9);
    }

    #[test]
    fn presence_and_frequency(
        z in logits(60), text in prop::collection::vec(0u32..70, 0..40), generated in 0usize..50,
        presence in -3.0f32..3.0, frequency in -3.0f32..3.0, biased in prop::option::of((0u32..60, -3.0f64..3.0)),
        temperature in prop_oneof![Just(0.0f32), 0.1f32..3.0], seed in any::<u64>(), exponent in -24i32..0,
    ) {
        let unit = f64::from(exponent).exp2();
        let counted = &text[text.len().saturating_sub(generated)..];
        let taken = |id: usize| {
            let count = counted.iter().filter(|t| **t as usize == id).count();
            let nats = f64::from(presence) * f64::from(u8::from(count > 0)) + f64::from(frequency) * count as f64;
            (nats / unit).round() as i64
        };
        let bias = |id: usize| match biased {
            Some((of, nats)) if of as usize == id => (nats / unit).round() as i64,
            _ => 0,
        };
        let lower: Vec<i64> = z.iter().enumerate().map(|(id, z)| i64::from(*z) - taken(id) + bias(id)).collect();
        let Ok(lower) = lower.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>() else {
            return Ok(());
        };
        let plain = Params { temperature, seed, dry_multiplier: 0.0, ..Params::default() };
        let logit_bias = biased.map(|(id, bias)| LogitBias { id, bias }).into_iter().collect();
        let penalized = Params { presence_penalty: presence, frequency_penalty: frequency, logit_bias, ..plain.clone() };
        let choose = |params, z: &[i32]| {
            Sampler::new(params).unwrap().sample_among(z, exponent, &text, generated, None).unwrap()
        };
        prop_assert_eq!(choose(penalized, &z), choose(plain, &lower));
    }
}

#[test]
fn equal_logits_and_single_ones() {
    // All equal: no deviation, every surprise is the entropy, and the entropy is the largest there is.
    let equal = [7; 50];
    let after = |filter: &dyn Fn(&mut Candidates)| {
        let mut set = load(&equal, -3);
        filter(&mut set);
        set.ids()
    };
    let all: Vec<u32> = (0..50).collect();
    assert_eq!(after(&|s| s.top_n_sigma(0.5)), all);
    assert_eq!(after(&|s| s.typical(0.5)), all[..25]);
    assert_eq!(after(&|s| s.exclude_top(0.02)), all[49..]);
    assert_eq!(after(&|s| s.exclude_top(0.021)), all);
    assert!((load(&equal, -3).temperature(1.0, 0.5, 2.0) - 1.5).abs() < 1e-9);
    // Every token has log2(50) bits.
    let (_, surprise) = load(&equal, -3).mirostat(1.0, 6.0, 1 << 52).unwrap();
    assert!((surprise - 50f64.log2()).abs() < 1e-9);
    assert_eq!(load(&equal, -3).mirostat(1.0, 5.0, 1 << 52), Some((0, 0.0)));
    // One that has it all.
    let one = [0, 1 << 30, 0];
    for filter in [
        |s: &mut Candidates| s.typical(0.5),
        |s: &mut Candidates| s.exclude_top(0.0001),
        |s: &mut Candidates| s.top_n_sigma(0.001),
    ] {
        let mut set = load(&one, 0);
        filter(&mut set);
        assert_eq!(set.ids()[0], 1);
    }
    assert_eq!(load(&one, 0).temperature(1.0, 2.0, 1.0), f64::MIN_POSITIVE);
    assert_eq!(load(&one, 0).draw(f64::MIN_POSITIVE, 5), Some(1));
    assert_eq!(load(&one, 0).near(1.0, 0.0, 0).unwrap().1, 1.0);
    // Without a candidate nothing is drawn.
    let mut none = Candidates::default();
    none.top_n_sigma(1.0);
    none.typical(0.5);
    none.exclude_top(0.1);
    assert_eq!(none.temperature(1.0, 0.5, 1.0), 1.0);
    assert_eq!(
        (none.draw(1.0, 0), none.mirostat(1.0, 1.0, 0)),
        (None, None)
    );
    assert_eq!(none.near(1.0, 0.5, 0), None);
}

#[test]
fn typical_and_xtc_take_the_likeliest_away() {
    // 0.4 and sixty times 0.01: the entropy is nearer to the surprise of a rare token.
    let mut z = vec![0; 61];
    z[3] = (40f64.ln() * 1_048_576.0) as i32;
    let mut set = load(&z, -20);
    set.typical(0.195);
    let rare: Vec<u32> = (0..21).filter(|id| *id != 3).collect();
    assert_eq!(set.ids(), rare);
    // The set is ranked anew after it.
    set.top_k(2);
    assert_eq!(set.ids(), [0, 1]);
    let mut set = load(&[4, 9, 9, 1], 0);
    set.top_k(3);
    set.exclude_top(0.1);
    assert_eq!(set.ids(), [2, 0]);
}

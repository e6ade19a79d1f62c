//! Sampling: fixed expected tokens, agreement with a naive oracle, the distribution of the draw.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod peaks;

use carat::internals::sample::{Candidates, ParamError, Params, SampleError, Sampler, argmax};
use peaks::peaks as logits;
use proptest::prelude::*;

fn run(params: Params, vocab: usize, steps: u32) -> Vec<u32> {
    let mut sampler = Sampler::new(params).unwrap();
    let mut history = Vec::new();
    for step in 0..steps {
        let id = sampler
            .sample(&logits(vocab, step + 1), -16, &history)
            .unwrap();
        history.push(id);
    }
    history
}

#[test]
fn fixed_seed_gives_fixed_tokens() {
    let all_off = Params {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 42,
        ..Params::default()
    };
    let nucleus = Params {
        top_p: 0.9,
        repeat_penalty: 1.3,
        repeat_last_n: 4,
        seed: u64::MAX,
        ..all_off.clone()
    };
    let got = [
        Params::greedy(),
        Params {
            seed: 42,
            ..Params::default()
        },
        all_off,
        nucleus,
    ]
    .map(|params| run(params, 5000, 8));
    assert_eq!(got, GOLDEN);
}

/// Tokens of a greedy run, of the default filters, of none, of a nucleus with a penalty.
const GOLDEN: [[u32; 8]; 4] = [
    [4343, 3052, 847, 3719, 4554, 386, 2047, 4060],
    [1, 3052, 2257, 4211, 4554, 386, 3098, 4060],
    [2587, 1561, 3927, 3768, 4554, 386, 4832, 4211],
    [3595, 4020, 4227, 343, 4561, 1951, 2047, 703],
];

#[test]
fn greedy_takes_the_lowest_id_of_equals_and_the_extremes() {
    assert_eq!(argmax(&[]), None);
    assert_eq!(argmax(&[i32::MIN, i32::MIN]), Some(0));
    assert_eq!(argmax(&[1, 7, 7, i32::MIN, 7]), Some(1));
    assert_eq!(argmax(&[i32::MIN, i32::MAX, i32::MAX]), Some(1));
    let mut s = Sampler::new(Params {
        repeat_penalty: 2.0,
        ..Params::greedy()
    })
    .unwrap();
    assert_eq!(s.sample(&[5, 8, 8], -2, &[1]).unwrap(), 2);
    // Not positive: multiplied, so that it falls as well; the id outside the vocabulary is ignored.
    assert_eq!(s.sample(&[-5, -4], 0, &[1, 1, 99]).unwrap(), 0);
    // Only the last `repeat_last_n` tokens count.
    let mut s = Sampler::new(Params {
        repeat_penalty: 2.0,
        repeat_last_n: 1,
        ..Params::greedy()
    })
    .unwrap();
    assert_eq!(s.sample(&[5, 8], 0, &[1, 0]).unwrap(), 1);
}

#[test]
fn refuses_what_cannot_be_sampled() {
    let bad = [
        Params {
            temperature: f32::NAN,
            ..Params::default()
        },
        Params {
            temperature: -0.1,
            ..Params::default()
        },
        Params {
            temperature: f32::INFINITY,
            ..Params::default()
        },
        Params {
            top_p: 1.1,
            ..Params::default()
        },
        Params {
            top_p: f32::NAN,
            ..Params::default()
        },
        Params {
            min_p: -0.1,
            ..Params::default()
        },
        Params {
            repeat_penalty: 0.0,
            ..Params::default()
        },
        Params {
            repeat_penalty: f32::INFINITY,
            ..Params::default()
        },
    ];
    for params in bad {
        assert!(Sampler::new(params.clone()).is_err(), "{params:?}");
    }
    let wrong = Sampler::new(Params {
        top_p: 2.0,
        ..Params::default()
    });
    assert_eq!(wrong.unwrap_err(), ParamError::TopP(2.0));
    let mut s = Sampler::new(Params::default()).unwrap();
    assert_eq!(s.sample(&[], 0, &[]), Err(SampleError::NoLogits));
    assert_eq!(s.sample(&[1], 513, &[]), Err(SampleError::Exponent(513)));
    assert_eq!(
        s.sample(&[1], i32::MIN, &[]),
        Err(SampleError::Exponent(i32::MIN))
    );
    assert_eq!(
        s.sample(&vec![0; (1 << 22) + 1], 0, &[]),
        Err(SampleError::TooManyLogits((1 << 22) + 1))
    );
}

#[test]
fn extreme_logits_and_parameters_still_give_a_token() {
    let z = [i32::MIN, i32::MAX, 0, -1, 1];
    for exponent in [-512, -40, 0, 40, 512] {
        for temperature in [f32::from_bits(1), 1e-30, 1.0, f32::MAX] {
            for repeat_penalty in [f32::from_bits(1), 1.0, f32::MAX] {
                let params = Params {
                    temperature,
                    repeat_penalty,
                    top_k: 0,
                    ..Params::default()
                };
                let id = Sampler::new(params)
                    .unwrap()
                    .sample(&z, exponent, &[0, 1, 2])
                    .unwrap();
                assert!(id < 5);
            }
        }
    }
}

#[test]
fn draw_follows_the_distribution() {
    // Weights 8 : 4 : 2 : 1 : 1, in a scrambled order of ids: logits are multiples of ln 2 · 2^20.
    let ln2 = 726_817;
    let z = [ln2, 0, 3 * ln2, 2 * ln2, 0];
    let params = Params {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 7,
        ..Params::default()
    };
    let mut sampler = Sampler::new(params).unwrap();
    let draws = 64_000;
    let mut count = [0u32; 5];
    for _ in 0..draws {
        count[sampler.sample(&z, -20, &[]).unwrap() as usize] += 1;
    }
    let expected = [2.0, 1.0, 8.0, 4.0, 1.0].map(|w| w / 16.0 * f64::from(draws));
    let chi2: f64 = count
        .iter()
        .zip(expected)
        .map(|(&c, e)| (f64::from(c) - e) * (f64::from(c) - e) / e)
        .sum();
    // 99.9th percentile of chi-squared with 4 degrees of freedom.
    assert!(chi2 < 18.47, "chi2 {chi2}, counts {count:?}");
    // Twice the temperature halves the exponents: 2^1.5 : 2 : 2^0.5 : 1 : 1.
    let mut sampler = Sampler::new(Params {
        temperature: 2.0,
        ..sampler.params().clone()
    })
    .unwrap();
    let mut first = 0u32;
    for _ in 0..draws {
        first += u32::from(sampler.sample(&z, -20, &[]).unwrap() == 2);
    }
    let share = f64::from(first) / f64::from(draws);
    assert!((share - 2.828 / 8.243).abs() < 0.007, "{share}");
}

/// The definition, with full sorts and float probabilities.
fn naive(z: &[i32], exponent: i32, p: &Params) -> Vec<u32> {
    let mut set: Vec<(u32, f64)> = (0u32..)
        .zip(z)
        .map(|(id, &z)| (id, f64::from(z) * 2f64.powi(exponent)))
        .collect();
    set.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if p.top_k > 0 {
        set.truncate(p.top_k as usize);
    }
    let max = set[0].1;
    if p.top_p < 1.0 {
        let total: f64 = set.iter().map(|c| (c.1 - max).exp()).sum();
        let mut sum = 0.0;
        let mut keep = 0;
        for c in &set {
            sum += (c.1 - max).exp();
            keep += 1;
            if sum >= f64::from(p.top_p) * total {
                break;
            }
        }
        set.truncate(keep);
    }
    set.retain(|c| (c.1 - max).exp() >= f64::from(p.min_p));
    set.iter().map(|c| c.0).collect()
}

proptest! {
    #[test]
    fn filters_agree_with_the_definition(
        z in prop::collection::vec(-400_000i32..400_000, 1..2000),
        top_k in prop_oneof![Just(0u32), 1u32..50, 1u32..3000],
        top_p in prop_oneof![Just(1.0f32), Just(0.0f32), 0.0f32..1.0],
        min_p in prop_oneof![Just(0.0f32), 0.0f32..1.0],
        exponent in -18i32..-12,
    ) {
        let params = Params { top_k, top_p, min_p, ..Params::default() };
        let mut set = Candidates::default();
        set.load(&z, exponent);
        let mut sizes = vec![set.len()];
        set.top_k(top_k);
        sizes.push(set.len());
        set.top_p(top_p);
        sizes.push(set.len());
        set.min_p(min_p);
        sizes.push(set.len());
        prop_assert!(sizes.windows(2).all(|w| w[1] <= w[0] && w[1] >= 1));
        let expected = naive(&z, exponent, &params);
        let got = set.ids();
        // Rounding may move a cut by the candidates that lie on it: compare away from a tie.
        let near = |p: f32| naive(&z, exponent, &Params { top_p: p, ..params.clone() });
        if near((top_p + 1e-6).min(1.0)) == expected && near((top_p - 1e-6).max(0.0)) == expected {
            prop_assert_eq!(&got, &expected);
        }
        prop_assert_eq!(got[0], argmax(&z).unwrap());
    }

    #[test]
    fn draws_come_from_the_kept_set(
        z in prop::collection::vec(any::<i32>(), 1..300),
        exponent in -40i32..4,
        temperature in 0.01f32..5.0,
        top_k in 0u32..20,
        top_p in 0.0f32..=1.0,
        min_p in 0.0f32..=1.0,
        seed in any::<u64>(),
    ) {
        let params = Params { temperature, top_k, top_p, min_p, seed, ..Params::default() };
        let mut set = Candidates::default();
        set.load(&z, exponent);
        set.top_k(top_k);
        set.top_p(top_p);
        set.min_p(min_p);
        let kept = set.ids();
        let mut a = Sampler::new(params.clone()).unwrap();
        let mut b = Sampler::new(params).unwrap();
        for _ in 0..4 {
            let id = a.sample(&z, exponent, &[]).unwrap();
            prop_assert!(kept.contains(&id));
            prop_assert_eq!(id, b.sample(&z, exponent, &[]).unwrap());
        }
    }

    #[test]
    fn a_draw_is_the_first_cumulated_weight_above_the_uniform(
        z in prop::collection::vec(-200_000i32..200_000, 1..1500),
        uniform in 0u64..1 << 53,
    ) {
        let mut set = Candidates::default();
        set.load(&z, -15);
        let id = set.draw(1.0, uniform).unwrap();
        let mut order: Vec<usize> = (0..z.len()).collect();
        order.sort_by(|&a, &b| z[b].cmp(&z[a]).then(a.cmp(&b)));
        let max = z[order[0]];
        let w: Vec<f64> = order.iter().map(|&i| (f64::from(z[i] - max) / 32768.0).exp()).collect();
        let total: f64 = w.iter().sum();
        let u = uniform as f64 / 2f64.powi(53) * total;
        let at = order.iter().position(|&i| i as u32 == id).unwrap();
        let before: f64 = w[..at].iter().sum();
        prop_assert!(before <= u + 1e-9 * total && u <= before + w[at] + 1e-9 * total);
    }
}

#[test]
fn a_large_vocabulary_is_fast() {
    let z = logits(128_256, 3);
    let time = |params: Params| {
        let mut sampler = Sampler::new(params).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..20 {
            sampler.sample(&z, -16, &[]).unwrap();
        }
        start.elapsed() / 20
    };
    let top_k = time(Params::default());
    let nucleus = time(Params {
        top_k: 0,
        ..Params::default()
    });
    let full = time(Params {
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..Params::default()
    });
    eprintln!("per token of 128256: top-k {top_k:?}, nucleus {nucleus:?}, unfiltered {full:?}");
    assert!(top_k.max(nucleus).max(full).as_millis() < 100);
}

#[test]
fn dry_takes_more_from_longer_loops() {
    let dry = |multiplier: f32| Params {
        dry_multiplier: multiplier,
        dry_base: 2.0,
        dry_allowed_length: 2,
        ..Params::greedy()
    };
    let choose = |params: Params, history: &[u32], generated: usize| {
        let mut sampler = Sampler::new(params).unwrap();
        // In nats: 0, 3, 2.
        let logits = [0, 12, 8];
        sampler
            .sample_among(&logits, -2, history, generated, None)
            .unwrap()
    };
    let history = [1, 2, 2, 1, 2, 2, 1, 2, 2];
    // Three tokens twice in a row, and three more: eight times the multiplier, where 1 is a nat ahead.
    assert_eq!(choose(dry(1.0 / 16.0), &history, 9), 1);
    assert_eq!(choose(dry(1.0 / 4.0), &history, 9), 2);
    // What the prompt has is no loop of the text's.
    assert_eq!(choose(dry(1.0 / 4.0), &history, 0), 1);
    assert_eq!(choose(dry(1.0 / 4.0), &history, 5), 1);
    assert_eq!(choose(dry(0.0), &history, 9), 1);
    // More than any difference of logits.
    assert_eq!(choose(dry(f32::MAX), &[1; 90], 90), 2);
    let mut sampler = Sampler::new(dry(1.0)).unwrap();
    assert!(sampler.avoids_one_after(&history) && !sampler.avoids_one_after(&history[..5]));
}

#[test]
fn a_file_that_says_how_repetition_is_penalized_is_followed() {
    let of = |entries: &[(&str, f32)]| {
        let mut writer = carat_gguf::Writer::new();
        for (key, value) in entries {
            writer.kv(*key, *value).unwrap();
        }
        let layout = writer.finish().unwrap();
        let carat_gguf::Parse::Complete(header) =
            carat_gguf::parse(&layout.header, layout.file_len).unwrap()
        else {
            panic!("the whole header is there");
        };
        Params::of_header(&header)
    };
    assert_eq!(of(&[]), Params::default());
    assert!(Params::default().avoids_loops() && !Params::default().penalizes());
    for penalty in [1.0, 1.1] {
        let params = of(&[("general.sampling.penalty_repeat", penalty)]);
        assert_eq!(
            (params.repeat_penalty, params.avoids_loops()),
            (penalty, false)
        );
    }
    let nonsense = of(&[("general.sampling.penalty_repeat", -1.0)]);
    assert_eq!(nonsense, Params::default());
    let warm = of(&[("general.sampling.temp", 0.25)]);
    assert!(warm.temperature == 0.25 && warm.avoids_loops());
}

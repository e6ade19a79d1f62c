//! Masks, biases and metrics against plain definitions.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat::internals::sample::{LogitBias, ParamError, Params, SampleError, Sampler, TokenMetrics};
use carat_text::constraint::Mask;
use proptest::prelude::*;

fn choose(
    params: &Params,
    z: &[i32],
    exponent: i32,
    mask: Option<&Mask>,
) -> Result<u32, SampleError> {
    Sampler::new(params.clone())
        .unwrap()
        .sample_among(z, exponent, &[3, 5], 0, mask)
}

fn params(temperature: f32, seed: u64) -> Params {
    Params {
        temperature,
        seed,
        ..Params::default()
    }
}

#[test]
fn biases_are_integers_in_the_logits_unit() {
    // 2^-10 nats a unit: a bias of one nat is 1,024 units, half a unit rounds away from zero.
    let with = |id, bias| Params {
        logit_bias: vec![LogitBias { id, bias }],
        ..Params::greedy()
    };
    let z = [0, 1024, 0];
    assert_eq!(
        choose(&with(2, 1.0), &z, -10, None),
        Ok(1),
        "a tie goes to the lower id"
    );
    assert_eq!(choose(&with(0, 1.0), &z, -10, None), Ok(0));
    assert_eq!(choose(&with(2, 1.0 + 0.5 / 1024.0), &z, -10, None), Ok(2));
    assert_eq!(choose(&with(2, 1.0 + 0.49 / 1024.0), &z, -10, None), Ok(1));
    assert_eq!(choose(&with(1, -1.0 - 0.5 / 1024.0), &z, -10, None), Ok(0));
    assert_eq!(choose(&with(1, f64::NEG_INFINITY), &z, -10, None), Ok(0));
    assert_eq!(choose(&with(7, 9.0), &z, -10, None), Ok(1), "no such token");
    // Several for one token add up; one -inf wins.
    let both = |a, b| Params {
        logit_bias: vec![
            LogitBias { id: 2, bias: a },
            LogitBias { id: 0, bias: 0.5 },
            LogitBias { id: 2, bias: b },
        ],
        ..Params::greedy()
    };
    assert_eq!(choose(&both(0.6, 0.6), &z, -10, None), Ok(2));
    assert_eq!(choose(&both(f64::NEG_INFINITY, 1e9), &z, -10, None), Ok(1));
    // Extreme biases order extreme logits, at any exponent.
    for exponent in [-512, -10, 0, 512] {
        let z = [i32::MAX, i32::MIN];
        assert_eq!(choose(&with(1, 1e300), &z, exponent, None), Ok(1));
        assert_eq!(choose(&with(0, -1e300), &z, exponent, None), Ok(1));
    }
}

#[test]
fn what_is_no_bias_or_leaves_nothing_is_refused() {
    for bias in [f64::NAN, f64::INFINITY] {
        let p = Params {
            logit_bias: vec![LogitBias { id: 4, bias }],
            ..Params::default()
        };
        assert!(matches!(
            p.validate(),
            Err(ParamError::LogitBias { id: 4, .. })
        ));
    }
    let none = Mask::default();
    for temperature in [0.0, 0.8] {
        let mut p = params(temperature, 0);
        for penalty in [1.0, 1.2] {
            p.repeat_penalty = penalty;
            assert_eq!(
                choose(&p, &[1, 2], -3, Some(&none)),
                Err(SampleError::NoneAllowed)
            );
        }
        p.logit_bias = vec![LogitBias {
            id: 1,
            bias: f64::NEG_INFINITY,
        }];
        let one: Mask = [1].into_iter().collect();
        assert_eq!(
            choose(&p, &[1, 2], -3, Some(&one)),
            Err(SampleError::NoneAllowed)
        );
    }
}

fn set() -> impl Strategy<Value = (Vec<i32>, i32, Vec<bool>)> {
    (1usize..200).prop_flat_map(|n| {
        (
            prop::collection::vec(prop_oneof![-40_000i32..40_000, any::<i32>()], n),
            -24i32..4,
            prop::collection::vec(any::<bool>(), n),
        )
    })
}

proptest! {
    #[test]
    fn a_masked_choice_is_the_choice_among_the_rest(
        (z, exponent, keep) in set(), temperature in prop_oneof![Just(0.0f32), 0.1f32..3.0],
        penalty in prop_oneof![Just(1.0f32), 0.5f32..2.0], seed in any::<u64>(),
    ) {
        let p = Params { repeat_penalty: penalty, ..params(temperature, seed) };
        let left: Vec<u32> = (0u32..).zip(&keep).filter(|k| *k.1).map(|k| k.0).collect();
        let mask: Mask = left.iter().copied().collect();
        prop_assert_eq!(mask.len(), left.len());
        let got = choose(&p, &z, exponent, Some(&mask));
        // A bias of -inf on every other token is the same thing.
        let forbid = (0u32..).zip(&keep).filter(|k| !*k.1)
            .map(|k| LogitBias { id: k.0, bias: f64::NEG_INFINITY }).collect();
        let biased = Params { logit_bias: forbid, ..p.clone() };
        prop_assert_eq!(choose(&biased, &z, exponent, None), got.clone());
        let all: Mask = (0..z.len() as u32).collect();
        prop_assert_eq!(choose(&p, &z, exponent, Some(&all)), choose(&p, &z, exponent, None));
        let Ok(id) = got else {
            prop_assert!(left.is_empty());
            return Ok(());
        };
        prop_assert!(mask.allows(id));
        if penalty == 1.0 {
            // Without a penalty ids do not matter: the logits of the rest, in order, choose alike.
            let rest: Vec<i32> = left.iter().map(|i| z[*i as usize]).collect();
            prop_assert_eq!(left[choose(&p, &rest, exponent, None).unwrap() as usize], id);
        }
    }

    #[test]
    fn a_bias_is_a_sum(
        (z, exponent, _) in set(), seed in any::<u64>(), temperature in prop_oneof![Just(0.0f32), 0.1f32..3.0],
        biases in prop::collection::vec((0u32..200, -30.0f64..30.0), 0..6),
    ) {
        let unit = f64::from(exponent).exp2();
        let mut sums: Vec<i64> = z.iter().map(|z| i64::from(*z)).collect();
        for (id, bias) in &biases {
            if let Some(sum) = sums.get_mut(*id as usize) {
                *sum += (bias / unit).round() as i64;
            }
        }
        let Ok(sums) = sums.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>() else {
            return Ok(());
        };
        let plain = params(temperature, seed);
        let logit_bias = biases.iter().map(|&(id, bias)| LogitBias { id, bias }).collect();
        let biased = Params { logit_bias, ..plain.clone() };
        prop_assert_eq!(choose(&biased, &z, exponent, None), choose(&plain, &sums, exponent, None));
    }

    #[test]
    fn metrics_are_those_of_the_softmax((z, exponent, _) in set(), pick in any::<u32>(), top in 0usize..300) {
        let id = pick % z.len() as u32;
        let m = TokenMetrics::new(9, id, &z, exponent, top).unwrap();
        let real: Vec<f64> = z.iter().map(|z| f64::from(*z) * f64::from(exponent).exp2()).collect();
        let max = real.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = real.iter().map(|x| (x - max).exp()).sum();
        let ln: Vec<f64> = real.iter().map(|x| x - max - sum.ln()).collect();
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
        prop_assert_eq!((m.position, m.id), (9, id));
        prop_assert!(near(m.logprob, ln[id as usize]) && m.logprob <= 0.0);
        let entropy: f64 = ln.iter().filter(|l| **l > -700.0).map(|l| -l.exp() * l).sum();
        prop_assert!(near(m.entropy, entropy), "{} {}", m.entropy, entropy);
        prop_assert!(m.entropy >= -1e-12 && m.entropy <= (z.len() as f64).ln() + 1e-9);
        let mut order: Vec<u32> = (0..z.len() as u32).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(z[*i as usize]), *i));
        prop_assert_eq!(order[m.rank as usize - 1], id);
        prop_assert_eq!(m.top.len(), top.min(z.len()));
        for (a, id) in m.top.iter().zip(&order) {
            prop_assert_eq!(a.id, *id);
            prop_assert!(near(a.logprob, ln[*id as usize]));
        }
        // All alternatives together are the distribution.
        let all = TokenMetrics::new(0, id, &z, exponent, z.len()).unwrap();
        let whole: f64 = all.top.iter().map(|a| a.logprob.exp()).sum();
        prop_assert!(near(whole, 1.0), "{whole}");
    }
}

#[test]
fn metrics_of_what_has_none() {
    assert!(TokenMetrics::new(0, 2, &[1, 2], 0, 1).is_none());
    assert!(TokenMetrics::new(0, 0, &[1, 2], 513, 1).is_none());
    let one = TokenMetrics::new(0, 0, &[i32::MIN], 512, 5).unwrap();
    assert_eq!((one.logprob, one.entropy, one.rank), (0.0, 0.0, 1));
}

//! The sampler as a whole: its order, its state, what is off, extremes.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod peaks;

use carat::internals::sample::{
    Candidates, LogitBias, ParamError, Params, Sampler, SamplerState, StateError,
};
use peaks::peaks;
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Everything that draws or filters, but for Mirostat and adaptive-p.
fn filters() -> impl Strategy<Value = Params> {
    (
        (
            0.1f32..3.0,
            0u32..60,
            0.1f32..=1.0,
            0.0f32..0.3,
            any::<u64>(),
        ),
        (0.0f32..3.0, 0.1f32..=1.0),
        (prop_oneof![Just(0.0f32), 0.0f32..=1.0], 0.0f32..0.3),
        (prop_oneof![Just(0.0f32), 0.0f32..2.0], 0.1f32..3.0),
        prop_oneof![Just(1.0f32), 0.5f32..2.0],
    )
        .prop_map(|(usual, keep, xtc, dynatemp, repeat_penalty)| Params {
            temperature: usual.0,
            top_k: usual.1,
            top_p: usual.2,
            min_p: usual.3,
            seed: usual.4,
            top_n_sigma: keep.0,
            typical_p: keep.1,
            xtc_probability: xtc.0,
            xtc_threshold: xtc.1,
            dynatemp_range: dynatemp.0,
            dynatemp_exponent: dynatemp.1,
            repeat_penalty,
            ..Params::default()
        })
}

fn any_params() -> impl Strategy<Value = Params> {
    let extra = (
        0u8..3,
        0.0f32..8.0,
        0.0f32..1.0,
        0.0f32..=1.0,
        0.0f32..=0.99,
    );
    (filters(), extra, -2.0f32..2.0, -2.0f32..2.0).prop_map(
        |(params, (which, tau, eta, target, decay), presence_penalty, frequency_penalty)| Params {
            mirostat: if which == 1 { 2 } else { 0 },
            mirostat_tau: tau,
            mirostat_eta: eta,
            adaptive_target: if which == 2 { target } else { -1.0 },
            adaptive_decay: decay,
            presence_penalty,
            frequency_penalty,
            ..params
        },
    )
}

fn logits() -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(-400_000i32..400_000, 1..300)
}

/// The random stream, as the sampler's documentation defines it.
struct Stream(ChaCha12Rng);

impl Stream {
    fn new(seed: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha12Rng::from_seed(key))
    }

    fn uniform(&mut self) -> u64 {
        self.0.next_u64() >> 11
    }
}

proptest! {
    #[test]
    fn the_order_is_as_documented(p in filters(), many in prop::collection::vec(logits(), 1..6)) {
        let mut sampler = Sampler::new(p.clone()).unwrap();
        let mut stream = Stream::new(p.seed);
        let mut history = Vec::new();
        for z in many {
            let mut set = Candidates::default();
            set.load(&z, -15);
            if p.repeat_penalty != 1.0 {
                set.penalize(&history, p.repeat_penalty);
            }
            set.top_n_sigma(p.top_n_sigma);
            set.top_k(p.top_k);
            set.typical(p.typical_p);
            set.top_p(p.top_p);
            set.min_p(p.min_p);
            if p.xtc_probability > 0.0 {
                let u = stream.uniform() as f64 / 9_007_199_254_740_992.0;
                if u < f64::from(p.xtc_probability) {
                    set.exclude_top(p.xtc_threshold);
                }
            }
            let temperature = set.temperature(p.temperature, p.dynatemp_range, p.dynatemp_exponent);
            let expected = set.draw(temperature, stream.uniform()).unwrap();
            prop_assert_eq!(sampler.sample(&z, -15, &history).unwrap(), expected);
            history.push(expected);
        }
    }

    #[test]
    fn mirostat_and_adaptive_p_follow_what_they_drew(p in filters(), tau in 0.5f32..6.0, eta in 0.01f32..1.0,
        target in 0.0f32..=1.0, decay in 0.0f32..=0.99, many in prop::collection::vec(logits(), 1..8)) {
        let follows = Params { mirostat: 2, mirostat_tau: tau, mirostat_eta: eta, repeat_penalty: 1.0, ..p.clone() };
        let mut sampler = Sampler::new(follows).unwrap();
        let mut stream = Stream::new(p.seed);
        let mut mu = 2.0 * f64::from(tau);
        for z in &many {
            prop_assert_eq!(sampler.state().mirostat_mu, mu);
            let mut set = Candidates::default();
            set.load(z, -15);
            let temperature = set.temperature(p.temperature, p.dynatemp_range, p.dynatemp_exponent);
            let (id, surprise) = set.mirostat(temperature, mu, stream.uniform()).unwrap();
            mu -= f64::from(eta) * (surprise - f64::from(tau));
            prop_assert_eq!(sampler.sample(z, -15, &[]).unwrap(), id);
        }
        let near = Params { adaptive_target: target, adaptive_decay: decay, xtc_probability: 0.0, repeat_penalty: 1.0, ..p.clone() };
        let mut sampler = Sampler::new(near).unwrap();
        let mut stream = Stream::new(p.seed);
        // All probabilities before, oldest first: the mean counts as many tokens of the target before them as there can be.
        let mut before: Vec<f64> = Vec::new();
        for z in &many {
            let (target, decay) = (f64::from(target), f64::from(decay));
            let old = decay.powi(before.len() as i32) / (1.0 - decay);
            let (mut sum, mut weight) = (target * old, old);
            for (age, p) in before.iter().rev().enumerate() {
                sum += p * decay.powi(age as i32);
                weight += decay.powi(age as i32);
            }
            let wanted = (2.0 * target - sum / weight).clamp(0.0, 1.0);
            let state = sampler.state();
            let held = (2.0 * target - state.adaptive_sum / state.adaptive_weight).clamp(0.0, 1.0);
            prop_assert!((wanted - held).abs() < 1e-9, "{} {}", wanted, held);
            let mut set = Candidates::default();
            set.load(z, -15);
            set.top_n_sigma(p.top_n_sigma);
            set.top_k(p.top_k);
            set.typical(p.typical_p);
            set.top_p(p.top_p);
            set.min_p(p.min_p);
            let temperature = set.temperature(p.temperature, p.dynatemp_range, p.dynatemp_exponent);
            let (id, probability) = set.near(temperature, held, stream.uniform()).unwrap();
            before.push(probability);
            prop_assert_eq!(sampler.sample(z, -15, &[]).unwrap(), id);
        }
    }

    #[test]
    fn a_sampler_with_the_state_of_another_goes_on_as_it_would(
        p in any_params(), many in prop::collection::vec(logits(), 2..12), at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(many.len());
        let mut one = Sampler::new(p.clone()).unwrap();
        let mut history = Vec::new();
        let mut kept = one.state();
        let mut clone = one.clone();
        for (i, z) in many.iter().enumerate() {
            if i == at {
                kept = one.state();
                clone = one.clone();
            }
            history.push(one.sample(z, -15, &history).unwrap());
        }
        let mut other = Sampler::new(p).unwrap();
        other.restore(kept).unwrap();
        for (i, z) in many.iter().enumerate().skip(at) {
            prop_assert_eq!(other.sample(z, -15, &history[..i]).unwrap(), history[i]);
            prop_assert_eq!(clone.sample(z, -15, &history[..i]).unwrap(), history[i]);
        }
        prop_assert_eq!(other.state(), one.state());
        prop_assert_eq!(clone.state(), one.state());
    }

    #[test]
    fn temperature_0_takes_the_likeliest_and_nothing_from_the_stream(p in any_params(), z in logits()) {
        let greedy = Params { temperature: 0.0, ..p };
        let plain = Params { repeat_penalty: greedy.repeat_penalty, ..Params::greedy() };
        let mut sampler = Sampler::new(greedy.clone()).unwrap();
        let begin = sampler.state();
        prop_assert_eq!(
            sampler.sample(&z, -15, &[]).unwrap(),
            Sampler::new(plain).unwrap().sample(&z, -15, &[]).unwrap()
        );
        prop_assert_eq!(sampler.state(), begin);
        let counts = greedy.presence_penalty != 0.0 || greedy.frequency_penalty != 0.0;
        prop_assert_eq!(greedy.takes_likeliest(), !counts && greedy.repeat_penalty == 1.0);
    }

    #[test]
    fn what_is_off_changes_nothing(p in filters(), many in prop::collection::vec(logits(), 1..4), x in 0.0f32..1.0) {
        let plain = Params {
            top_n_sigma: 0.0, typical_p: 1.0, xtc_probability: 0.0, dynatemp_range: 0.0, ..p
        };
        let idle = Params {
            xtc_threshold: x, dynatemp_exponent: 3.0 * x, mirostat_tau: 7.0 * x, mirostat_eta: x, adaptive_target: -1.0 - x,
            adaptive_decay: x * 0.9, ..plain.clone()
        };
        let chosen = |p: &Params| {
            let mut sampler = Sampler::new(p.clone()).unwrap();
            many.iter().map(|z| sampler.sample(z, -15, &[]).unwrap()).collect::<Vec<_>>()
        };
        prop_assert_eq!(chosen(&plain), chosen(&idle));
    }
}

#[test]
fn extremes_still_give_a_token_that_is_allowed() {
    let shapes = [
        vec![0; 9],
        vec![i32::MIN, i32::MAX, 0, -1, 1, i32::MAX, i32::MIN, 5, 5],
        vec![i32::MIN; 9],
        vec![i32::MIN, i32::MIN, i32::MAX, i32::MIN, i32::MIN, 0, 0, 0, 0],
    ];
    let (tiny, huge) = (f32::from_bits(1), f32::MAX);
    let default = Params::default;
    let mut settings = Vec::new();
    for x in [0.0, tiny, 0.5, 1.0] {
        settings.push(Params {
            typical_p: x,
            ..default()
        });
        settings.push(Params {
            xtc_probability: 1.0,
            xtc_threshold: x,
            ..default()
        });
        settings.push(Params {
            xtc_probability: x,
            xtc_threshold: 0.0,
            ..default()
        });
        settings.push(Params {
            adaptive_target: x,
            adaptive_decay: 0.99 * x,
            ..default()
        });
    }
    for x in [0.0, tiny, 1.0, huge] {
        settings.push(Params {
            top_n_sigma: x,
            ..default()
        });
        settings.push(Params {
            dynatemp_range: x,
            dynatemp_exponent: 1.0,
            ..default()
        });
        settings.push(Params {
            dynatemp_range: 1.0,
            dynatemp_exponent: x,
            ..default()
        });
        settings.push(Params {
            mirostat: 2,
            mirostat_tau: x,
            ..default()
        });
        settings.push(Params {
            mirostat: 2,
            mirostat_eta: x,
            ..default()
        });
        settings.push(Params {
            presence_penalty: x,
            frequency_penalty: -x,
            ..default()
        });
        settings.push(Params {
            presence_penalty: -x,
            frequency_penalty: x,
            ..default()
        });
    }
    let mut chosen = 0;
    for params in &settings {
        for (top_k, temperature) in [(0, 1.0), (40, 1.0), (0, tiny), (0, huge), (0, 0.0)] {
            // Half of the tokens, or all but one, are forbidden.
            for forbidden in [0, 4, 8] {
                let bias = |id| LogitBias {
                    id,
                    bias: f64::NEG_INFINITY,
                };
                let params = Params {
                    top_k,
                    temperature,
                    top_p: 1.0,
                    min_p: 0.0,
                    repeat_penalty: if forbidden == 4 { huge } else { 1.0 },
                    logit_bias: (0..forbidden).map(bias).collect(),
                    ..params.clone()
                };
                for exponent in [-512, -20, 0, 512] {
                    let mut sampler = Sampler::new(params.clone()).unwrap();
                    let mut history = vec![];
                    for z in shapes.iter().chain(&shapes) {
                        let id = sampler.sample(z, exponent, &history).unwrap();
                        assert!((forbidden..9).contains(&id), "{params:?}");
                        history.push(id);
                        assert_eq!(sampler.state().validate(), Ok(()), "{params:?}");
                        chosen += 1;
                    }
                }
            }
        }
    }
    assert!(chosen > 10_000);
}

#[test]
fn ranges_are_checked() {
    let check = |change: fn(&mut Params), wrong: fn(&ParamError) -> bool| {
        let mut params = Params::default();
        change(&mut params);
        let error = params.validate().unwrap_err();
        assert!(wrong(&error), "{error}");
        assert!(error.to_string().contains("expected"), "{error}");
        assert!(Sampler::new(params).is_err());
    };
    use ParamError as E;
    check(
        |p| p.presence_penalty = f32::INFINITY,
        |e| matches!(e, E::PresencePenalty(_)),
    );
    check(
        |p| p.frequency_penalty = f32::NAN,
        |e| matches!(e, E::FrequencyPenalty(_)),
    );
    check(|p| p.top_n_sigma = -1.0, |e| matches!(e, E::TopNSigma(_)));
    check(|p| p.typical_p = 1.5, |e| matches!(e, E::TypicalP(_)));
    check(
        |p| p.xtc_probability = -0.1,
        |e| matches!(e, E::XtcProbability(_)),
    );
    check(
        |p| p.xtc_threshold = f32::NAN,
        |e| matches!(e, E::XtcThreshold(_)),
    );
    check(
        |p| p.dynatemp_range = -0.1,
        |e| matches!(e, E::DynatempRange(_)),
    );
    check(
        |p| p.dynatemp_exponent = f32::INFINITY,
        |e| matches!(e, E::DynatempExponent(_)),
    );
    check(|p| p.mirostat = 1, |e| *e == E::Mirostat(1));
    check(
        |p| p.mirostat_tau = -1.0,
        |e| matches!(e, E::MirostatTau(_)),
    );
    check(
        |p| p.mirostat_eta = f32::NAN,
        |e| matches!(e, E::MirostatEta(_)),
    );
    check(
        |p| p.adaptive_target = 1.1,
        |e| matches!(e, E::AdaptiveTarget(_)),
    );
    check(
        |p| p.adaptive_target = f32::NAN,
        |e| matches!(e, E::AdaptiveTarget(_)),
    );
    check(
        |p| p.adaptive_decay = 1.0,
        |e| matches!(e, E::AdaptiveDecay(_)),
    );
    check(
        |p| (p.mirostat, p.adaptive_target) = (2, 0.5),
        |e| *e == E::TwoChoices,
    );
}

#[test]
fn a_state_that_no_sampler_is_ever_in_is_refused() {
    let mut sampler = Sampler::new(Params::default()).unwrap();
    let good = sampler.state();
    let bad = [
        SamplerState {
            mirostat_mu: f64::NAN,
            ..good
        },
        SamplerState {
            mirostat_mu: f64::INFINITY,
            ..good
        },
        SamplerState {
            adaptive_sum: -1.0,
            ..good
        },
        SamplerState {
            adaptive_sum: f64::NAN,
            ..good
        },
        SamplerState {
            adaptive_weight: 0.0,
            ..good
        },
        SamplerState {
            adaptive_weight: f64::INFINITY,
            ..good
        },
    ];
    for state in bad {
        assert!(sampler.restore(state).is_err(), "{state:?}");
        assert_eq!(sampler.state(), good);
    }
    let error = sampler.restore(bad[4]);
    assert_eq!(error, Err(StateError::AdaptiveWeight(0.0)));
    // Whatever else a state says, the sampler goes on.
    let extreme = SamplerState {
        drawn: u64::MAX,
        mirostat_mu: -f64::MAX,
        adaptive_sum: f64::MAX,
        adaptive_weight: f64::from_bits(1),
    };
    for params in [
        Params::default(),
        Params {
            mirostat: 2,
            ..Params::default()
        },
        Params {
            adaptive_target: 0.5,
            ..Params::default()
        },
    ] {
        let mut sampler = Sampler::new(params).unwrap();
        sampler.restore(extreme).unwrap();
        for _ in 0..3 {
            assert!(sampler.sample(&[1, 2, 3], -1, &[]).unwrap() < 3);
        }
        assert_eq!(sampler.state().validate(), Ok(()));
    }
}

/// The same tokens and the same state to the last bit on every platform.
#[test]
fn fixed_seed_gives_fixed_tokens() {
    let wide = || Params {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 42,
        ..Params::default()
    };
    let settings = [
        Params {
            presence_penalty: 1.5,
            frequency_penalty: 0.25,
            ..Params::greedy()
        },
        Params {
            top_n_sigma: 2.5,
            ..wide()
        },
        Params {
            typical_p: 0.8,
            ..wide()
        },
        Params {
            xtc_probability: 0.5,
            xtc_threshold: 0.02,
            ..wide()
        },
        Params {
            dynatemp_range: 0.7,
            dynatemp_exponent: 1.3,
            ..wide()
        },
        Params {
            mirostat: 2,
            mirostat_tau: 4.0,
            ..wide()
        },
        Params {
            adaptive_target: 0.2,
            min_p: 0.05,
            ..wide()
        },
    ];
    let run = |params: Params| {
        let mut sampler = Sampler::new(params).unwrap();
        let mut history = Vec::new();
        for step in 0..8 {
            let z = peaks(5000, step / 2 + 1);
            history.push(sampler.sample(&z, -16, &history).unwrap());
        }
        let state = sampler.state();
        let bits = state.mirostat_mu.to_bits() ^ state.adaptive_sum.to_bits();
        (history, bits)
    };
    let got = settings.map(run);
    let got = got.each_ref().map(|(ids, bits)| (&ids[..], *bits));
    assert_eq!(got, GOLDEN);
}

/// Tokens of the settings above, and the bits of what they remember.
const GOLDEN: [(&[u32], u64); 7] = [
    (
        &[4343, 3095, 3052, 2828, 847, 737, 3719, 1030],
        4621819117588971520,
    ),
    (
        &[2587, 4762, 1717, 3335, 847, 737, 3618, 3719],
        4621819117588971520,
    ),
    (
        &[629, 1521, 4261, 510, 737, 941, 3464, 3942],
        4621819117588971520,
    ),
    (
        &[2011, 126, 3121, 1417, 737, 4880, 343, 182],
        4621819117588971520,
    ),
    (
        &[561, 1521, 4568, 3524, 737, 4626, 422, 3719],
        4621819117588971520,
    ),
    (
        &[1692, 101, 3121, 2269, 847, 737, 3942, 3719],
        4620570307740324839,
    ),
    (
        &[596, 11, 378, 378, 847, 847, 3719, 3719],
        9210821884746710027,
    ),
];

#[test]
fn a_large_vocabulary_is_fast_with_every_filter() {
    let z = peaks(128_256, 1);
    let text: Vec<u32> = (0..4096).map(|i| i * 7 % 3000).collect();
    let wide = Params {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        dry_multiplier: 0.0,
        ..Params::default()
    };
    let named = [
        ("none", wide.clone()),
        ("default", Params::default()),
        (
            "penalties",
            Params {
                presence_penalty: 0.5,
                frequency_penalty: 0.5,
                ..Params::default()
            },
        ),
        (
            "top-n-sigma",
            Params {
                top_n_sigma: 1.0,
                ..wide.clone()
            },
        ),
        (
            "typical",
            Params {
                typical_p: 0.9,
                ..wide.clone()
            },
        ),
        (
            "XTC",
            Params {
                xtc_probability: 1.0,
                ..wide.clone()
            },
        ),
        (
            "dynamic temperature",
            Params {
                dynatemp_range: 0.5,
                ..wide.clone()
            },
        ),
        (
            "Mirostat",
            Params {
                mirostat: 2,
                ..wide.clone()
            },
        ),
        (
            "adaptive-p",
            Params {
                adaptive_target: 0.3,
                ..wide.clone()
            },
        ),
        (
            "adaptive-p after the defaults",
            Params {
                adaptive_target: 0.3,
                ..Params::default()
            },
        ),
    ];
    for (name, params) in named {
        let mut sampler = Sampler::new(params).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..10 {
            sampler.sample(&z, -16, &text).unwrap();
        }
        let each = start.elapsed() / 10;
        eprintln!("{name}: {each:?} per token of 128256");
        assert!(each.as_millis() < 200, "{name}: {each:?}");
    }
}

//! The quantizer against the table of expected errors, a brute-force oracle, and extreme rows.
#![allow(clippy::unwrap_used)]

use carat_converter::quantize::{
    Objective, POWERS, QuantizedRow, Quantizer, choose_power, sample_rows,
};
use carat_format::{Coding, Encoding, GROUP, ScaleGroup, Table};

const PLAIN: Objective<'static> = Objective {
    importance: None,
    keep_norm: false,
    coarse: false,
};

/// Uniform values in (0, 1).
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        // The finalizer of SplitMix64.
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

fn gauss(seed: u64, n: usize) -> Vec<f32> {
    let mut u = uniform(seed);
    (0..n)
        .map(|_| ((-2.0 * u().ln()).sqrt() * (std::f64::consts::TAU * u()).cos()) as f32)
        .collect()
}

fn laplace(seed: u64, n: usize) -> Vec<f32> {
    let mut u = uniform(seed);
    (0..n)
        .map(|_| {
            let x = u() - 0.5;
            (-x.signum() * (1.0 - 2.0 * x.abs()).ln()) as f32
        })
        .collect()
}

/// The row's weights, from the definition.
fn decode(q: &Quantizer, row: &QuantizedRow) -> Vec<f64> {
    let unit = f64::from(row.packed.scale.mantissa) * (f64::from(row.packed.scale.exponent)).exp2();
    let group = q.coding().group.weights();
    row.packed
        .codes
        .iter()
        .enumerate()
        .map(|(i, c)| {
            f64::from(i32::from(q.level(*c)) * i32::from(row.packed.scales[i / group])) * unit
        })
        .collect()
}

fn squares(x: impl IntoIterator<Item = f64>) -> f64 {
    x.into_iter().map(|x| x * x).sum()
}

/// Relative squared error of a matrix of rows of `cols`.
fn nmse(
    coding: impl Into<Coding>,
    p: f64,
    weights: &[f32],
    cols: usize,
    objective: &Objective<'_>,
) -> f64 {
    let coding = coding.into();
    let q = Quantizer::new(coding, p);
    let (mut error, mut energy) = (0.0, 0.0);
    for w in weights.chunks(cols) {
        let row = q.row(w, objective);
        let decoded = decode(&q, &row);
        let e = squares(decoded.iter().zip(w).map(|(d, w)| d - f64::from(*w)));
        let all = squares(w.iter().map(|w| f64::from(*w)));
        assert!((row.energy - all).abs() <= 1e-5 * all);
        assert!(
            (row.error - e).abs() <= 1e-4 * e + 1e-9 * all,
            "{} {e}",
            row.error
        );
        error += e;
        energy += all;
    }
    error / energy
}

#[test]
fn errors_are_those_of_the_power_grids() {
    // Best exponents and errors of Gaussian weights in groups of 32.
    let w = gauss(1, 512 * 1024);
    for (encoding, expected, powers) in [
        // A fourth of the error a bit: levels at equal steps over what 32 weights spread.
        (Encoding::Int6, 0.000398, 1.0..=1.0),
        (Encoding::Int5, 0.001695, 1.0..=1.0),
        (Encoding::Pow4, 0.00648, 1.2..=1.4),
        (Encoding::Pow3, 0.02707, 1.2..=1.3),
        (Encoding::Pow2, 0.1053, 1.1..=1.2),
        // The three-level quantizer of least error has 0.1902 (Max 1960), less what 32 weights tell of their scale.
        (Encoding::Ternary, 0.1810, 1.0..=1.0),
        // 1 − 2/π, less what 32 weights tell of their own scale.
        (Encoding::Pow1, 0.3521, 1.0..=1.0),
    ] {
        let p = choose_power(encoding, &w[..64 * 1024], 1024, &PLAIN);
        let found = nmse(encoding, p, &w, 1024, &PLAIN);
        assert!(powers.contains(&p), "{encoding:?}: p {p}");
        assert!(
            found <= expected * 1.005,
            "{encoding:?}: {found}, expected {expected}"
        );
        assert!(
            found >= expected * 0.93,
            "{encoding:?}: {found} is too good to be true"
        );
    }
    let int8 = nmse(Encoding::Int8, 1.0, &w, 1024, &PLAIN);
    assert!(int8 < 3e-5, "{int8}");
}

#[test]
fn a_scale_for_more_weights_costs_the_more_the_finer_the_codes() {
    // Most levels' worth is lost where the levels are fine: a scale then fits its own largest weight.
    let w = gauss(16, 256 * 1024);
    for encoding in Encoding::ALL {
        let errors = ScaleGroup::ALL.map(|group| {
            let coding = Coding { encoding, group };
            let p = choose_power(coding, &w[..64 * 1024], 1024, &PLAIN);
            nmse(coding, p, &w, 1024, &PLAIN)
        });
        eprintln!("{encoding:?}: {errors:?}");
        assert!(errors[0] < errors[1] && errors[1] < errors[2], "{errors:?}");
        let most = [1.03, 1.06, 1.1, 1.25, 1.4, 1.6, 1.65, 1.7][encoding as usize];
        assert!(errors[2] < errors[0] * most, "{errors:?}");
    }
}

#[test]
fn rows_that_end_within_a_scale() {
    let w = gauss(17, 300);
    for encoding in Encoding::ALL {
        for group in ScaleGroup::ALL {
            for cols in [1, 31, 33, 64, 65, 127, 129, 300] {
                let q = Quantizer::new(Coding { encoding, group }, 1.2);
                let row = q.row(&w[..cols], &PLAIN);
                assert_eq!(row.packed.scales.len(), cols.div_ceil(group.weights()));
                assert_eq!(row.packed.codes.len(), cols);
                let found = squares(
                    decode(&q, &row)
                        .iter()
                        .zip(&w)
                        .map(|(d, w)| d - f64::from(*w)),
                );
                assert!((row.error - found).abs() <= 1e-4 * found + 1e-6 * row.energy);
            }
        }
    }
}

#[test]
fn one_bit_is_the_sign_and_the_mean() {
    let w = gauss(18, 128);
    for group in ScaleGroup::ALL {
        let q = Quantizer::new(
            Coding {
                encoding: Encoding::Pow1,
                group,
            },
            1.0,
        );
        assert_eq!(q.table().0[..2], [-127, 127]);
        let row = q.row(&w, &PLAIN);
        let decoded = decode(&q, &row);
        for (w, d) in w
            .chunks(group.weights())
            .zip(decoded.chunks(group.weights()))
        {
            let mean = w.iter().map(|w| f64::from(w.abs())).sum::<f64>() / w.len() as f64;
            for (w, d) in w.iter().zip(d) {
                assert_eq!(*w < 0.0, *d < 0.0);
                // Half a unit of a scale, which is at least some 180 of 255.
                assert!((d.abs() / mean - 1.0).abs() < 0.004, "{d} {mean}");
            }
        }
    }
}

#[test]
fn heavy_tails_get_a_larger_exponent() {
    let w = laplace(2, 64 * 1024);
    for (encoding, least) in [
        (Encoding::Pow4, 1.5),
        (Encoding::Pow3, 1.4),
        (Encoding::Pow2, 1.3),
    ] {
        let p = choose_power(encoding, &w, 1024, &PLAIN);
        assert!(p >= least, "{encoding:?}: p {p}");
        let (best, uniform) = (
            nmse(encoding, p, &w, 1024, &PLAIN),
            nmse(encoding, 1.0, &w, 1024, &PLAIN),
        );
        assert!(best < uniform * 0.95, "{encoding:?}: {best} {uniform}");
    }
}

#[test]
fn the_exponent_is_the_best_of_all() {
    // From flatter than Gaussian to heavier than Laplace, in shapes and row lengths that models have.
    for (seed, shape) in (20u64..).zip([0.3f32, 0.7, 1.0, 1.5, 2.0, 3.0]) {
        let w: Vec<f32> = gauss(seed, 32 * 576)
            .iter()
            .map(|w| w.signum() * w.abs().powf(shape))
            .collect();
        for encoding in [Encoding::Pow2, Encoding::Pow3, Encoding::Pow4] {
            let error = |p: f64| -> f64 {
                let q = Quantizer::new(encoding, p);
                w.chunks(576).map(|w| q.row(w, &PLAIN).weighted_error).sum()
            };
            let least = POWERS.map(error).into_iter().fold(f64::INFINITY, f64::min);
            let p = choose_power(encoding, &w, 576, &PLAIN);
            assert_eq!(error(p), least, "{encoding:?}, shape {shape}: {p}");
        }
    }
}

/// The least error of a group over every real scale: between two scales where a code changes, the codes
/// are fixed and the best scale is in closed form.
fn exhaustive(table: &Table, encoding: Encoding, w: &[f32]) -> f64 {
    let codes = encoding.codes() as u8;
    let magnitudes: Vec<f64> = (codes / 2..codes)
        .map(|c| f64::from(encoding.level(&table.bytes(), c)))
        .collect();
    let mut changes = Vec::new();
    for w in w {
        for pair in magnitudes.windows(2) {
            changes.push(f64::from(w.abs()) / ((pair[0] + pair[1]) / 2.0));
        }
    }
    changes.sort_by(f64::total_cmp);
    let mut least = f64::INFINITY;
    let between = changes.windows(2).map(|c| (c[0] + c[1]) / 2.0);
    for s in between.chain([changes[0] * 0.5, changes[changes.len() - 1] * 1.5]) {
        let (mut inner, mut norm, mut energy) = (0.0, 0.0, 0.0);
        for w in w {
            let a = f64::from(w.abs());
            let near = |m: &f64| (a / s - m).abs();
            let m = magnitudes
                .iter()
                .copied()
                .min_by(|x, y| near(x).total_cmp(&near(y)))
                .unwrap();
            inner += a * m;
            norm += m * m;
            energy += a * a;
        }
        least = least.min(energy - inner * inner / norm);
    }
    least
}

#[test]
fn the_search_is_as_good_as_an_exhaustive_one() {
    for (encoding, p, slack, most) in [
        (Encoding::Pow4, 1.3, 1.02, 1.25),
        (Encoding::Pow3, 1.2, 1.01, 1.25),
        (Encoding::Pow2, 1.1, 1.002, 1.25),
        (Encoding::Int5, 1.0, 1.005, 1.25),
        (Encoding::Int6, 1.0, 1.01, 1.25),
    ] {
        let q = Quantizer::new(encoding, p);
        for (name, w) in [
            ("gauss", gauss(3, 300 * GROUP)),
            ("laplace", laplace(4, 300 * GROUP)),
        ] {
            let (mut ours, mut best, mut worst) = (0.0, 0.0, 0f64);
            for w in w.chunks(GROUP) {
                // One group a row: its scale is 255 units, so nothing is lost to its rounding.
                let error = q.row(w, &PLAIN).error;
                let least = exhaustive(&q.table(), encoding, w);
                assert!(
                    error >= least * 0.9999,
                    "the oracle is not exhaustive: {error} {least}"
                );
                worst = worst.max(error / least);
                ours += error;
                best += least;
            }
            eprintln!(
                "{encoding:?} {name}: {:.5} times the least error, at worst {worst:.4}",
                ours / best
            );
            assert!(ours <= best * slack, "{encoding:?} {name}: {ours} {best}");
            assert!(worst <= most, "{encoding:?} {name}: {worst}");
        }
    }
}

#[test]
fn importance_moves_the_error_where_it_matters_less() {
    let w = gauss(5, 256 * 256);
    let importance: Vec<f32> = (0..256)
        .map(|i| if i % 2 == 0 { 9.0 } else { 0.01 })
        .collect();
    let objective = Objective {
        importance: Some(&importance),
        keep_norm: false,
        coarse: false,
    };
    let q = Quantizer::new(Encoding::Pow3, 1.2);
    let weighted = |objective: &Objective<'_>| -> f64 {
        w.chunks(256)
            .map(|w| {
                let row = q.row(w, objective);
                let d = decode(&q, &row);
                let e: f64 = (0..256)
                    .map(|i| f64::from(importance[i]) * (d[i] - f64::from(w[i])).powi(2))
                    .sum();
                if objective.importance.is_some() {
                    assert!(
                        (row.weighted_error - e).abs() < 2e-3 * e,
                        "{} {e}",
                        row.weighted_error
                    );
                }
                e
            })
            .sum()
    };
    assert!(weighted(&objective) < weighted(&PLAIN) * 0.9);
    // Importance of zero everywhere says nothing.
    let zeros = vec![0f32; 256];
    let none = Objective {
        importance: Some(&zeros),
        keep_norm: false,
        coarse: false,
    };
    assert_eq!(
        q.row(&w[..256], &none).packed,
        q.row(&w[..256], &PLAIN).packed
    );
}

#[test]
fn a_kept_norm_is_the_rows() {
    for encoding in Encoding::ALL {
        let q = Quantizer::new(encoding, 1.2);
        let w = gauss(6, 333);
        let row = q.row(
            &w,
            &Objective {
                importance: None,
                keep_norm: true,
                coarse: false,
            },
        );
        let (norm, found) = (
            squares(w.iter().map(|w| f64::from(*w))),
            squares(decode(&q, &row)),
        );
        assert!(
            (found / norm - 1.0).abs() < 1e-4,
            "{encoding:?}: {found} {norm}"
        );
        let error = squares(
            decode(&q, &row)
                .iter()
                .zip(&w)
                .map(|(d, w)| d - f64::from(*w)),
        );
        assert!(
            (row.error - error).abs() < 1e-3 * error + 1e-6 * norm,
            "{} {error}",
            row.error
        );
    }
}

#[test]
fn extreme_rows() {
    let mut cases: Vec<(&str, Vec<f32>)> = vec![
        ("one weight", vec![-0.3]),
        ("a tail of one", gauss(7, 33)),
        ("huge", gauss(8, 96).iter().map(|w| w * 1e30).collect()),
        ("largest", vec![f32::MAX, f32::MIN, f32::MAX, 1.0]),
        ("tiny", gauss(9, 96).iter().map(|w| w * 1e-30).collect()),
        (
            "denormal",
            gauss(10, 96).iter().map(|w| w * 1e-40).collect(),
        ),
        (
            "least denormals",
            vec![f32::from_bits(1), -f32::from_bits(1), f32::from_bits(3)],
        ),
        ("equal", vec![0.25; 64]),
        ("minus zero", vec![-0.0, 1.0, -1.0, 0.0]),
    ];
    let mut spread = gauss(11, 128);
    spread[..32].iter_mut().for_each(|w| *w *= 1e20);
    spread[32..64].iter_mut().for_each(|w| *w *= 1e-38);
    cases.push(("spread", spread));
    let mut holes = gauss(12, 128);
    holes[32..64].fill(0.0);
    cases.push(("a group of zeros", holes));
    for encoding in Encoding::ALL {
        for (name, w) in &cases {
            let q = Quantizer::new(encoding, 1.3);
            let row = q.row(w, &PLAIN);
            assert_eq!(row.packed.codes.len(), w.len(), "{name}");
            assert_eq!(row.packed.scales.len(), w.len().div_ceil(GROUP), "{name}");
            assert!(row.packed.scales.iter().all(|s| *s > 0), "{name}");
            assert!(row.packed.scale.mantissa >= 0x8000, "{name}");
            let error = squares(
                decode(&q, &row)
                    .iter()
                    .zip(w)
                    .map(|(d, w)| d - f64::from(*w)),
            );
            let energy = squares(w.iter().map(|w| f64::from(*w)));
            // One magnitude for weights of ±1 and 0 leaves half of their energy.
            let bound = [0.51, 0.25, 0.2, 0.1, 0.03, 0.01, 3e-3, 1e-3][encoding as usize];
            assert!(
                error <= bound * energy,
                "{encoding:?} {name}: {error} of {energy}"
            );
            assert!(
                (row.error - error).abs() <= 1e-3 * error + 1e-6 * energy,
                "{encoding:?} {name}: {} {error}",
                row.error
            );
            if encoding == Encoding::Int8 {
                assert!(!row.packed.codes.contains(&0x80), "{name}: −128");
            } else {
                assert!(
                    row.packed
                        .codes
                        .iter()
                        .all(|c| u32::from(*c) < encoding.codes()),
                    "{name}"
                );
            }
        }
        let zeros = Quantizer::new(encoding, 1.3).row(&[0.0; 70], &PLAIN);
        assert_eq!(
            (zeros.packed.scale.mantissa, zeros.error, zeros.energy),
            (0, 0.0, 0.0)
        );
        assert_eq!(
            (zeros.packed.codes.len(), zeros.packed.scales.len()),
            (70, 3)
        );
    }
}

#[test]
fn scaling_a_row_by_a_power_of_two_moves_its_exponent_only() {
    let w = gauss(13, 200);
    for encoding in Encoding::ALL {
        let q = Quantizer::new(encoding, 1.4);
        let a = q.row(&w, &PLAIN).packed;
        let b = q
            .row(&w.iter().map(|w| w * 1024.0).collect::<Vec<_>>(), &PLAIN)
            .packed;
        assert_eq!(
            (&a.codes, &a.scales, a.scale.mantissa),
            (&b.codes, &b.scales, b.scale.mantissa)
        );
        assert_eq!(a.scale.exponent + 10, b.scale.exponent);
        let c = q.row(&w.iter().map(|w| -w).collect::<Vec<_>>(), &PLAIN);
        let (a, c) = (decode(&q, &q.row(&w, &PLAIN)), decode(&q, &c));
        assert!(a.iter().zip(&c).all(|(a, c)| *a == -c));
    }
}

#[test]
fn the_sample_is_fixed_and_spread() {
    assert_eq!(sample_rows(3, 100), [0, 1, 2]);
    let rows = sample_rows(128_256, 2048);
    assert_eq!(rows.len(), 16);
    assert!(rows.windows(2).all(|r| r[0] < r[1]) && rows[0] == 4008 && rows[15] < 128_256);
    assert_eq!(sample_rows(1 << 22, 32_768).len(), 16);
    assert_eq!(POWERS.len(), 11);
}

#[test]
fn the_exponent_does_not_depend_on_threads() {
    let w = laplace(14, 64 * 512);
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| choose_power(Encoding::Pow3, &w, 512, &PLAIN))
    };
    assert_eq!(of(1).to_bits(), of(5).to_bits());
}

#[test]
fn a_core_quantizes_millions_of_weights_a_second() {
    let w = gauss(15, 1 << 20);
    for encoding in Encoding::ALL {
        let q = Quantizer::new(encoding, 1.3);
        let start = std::time::Instant::now();
        let scales: u64 = w
            .chunks(2048)
            .map(|w| q.row(w, &PLAIN).packed.scales.len() as u64)
            .sum();
        let speed = w.len() as f64 / start.elapsed().as_secs_f64();
        assert_eq!(scales, (w.len() / GROUP) as u64);
        // Slow enough for a laden machine and a build without optimisation of a neighbour's core.
        eprintln!("{encoding:?}: {:.1} M weights/s on one core", speed / 1e6);
        assert!(speed > 1e5, "{speed}");
    }
}

//! Elementwise parts of the forward pass, in f32 with the same bits on every machine.

use carat_format::Activation;
use rayon::prelude::*;

/// Elements of a parallel task.
const TASK: usize = 1 << 14;

/// `e^x`, within 2e-7 of its value for |x| ≤ 87; beyond, the value at ±87.
///
/// Source: Cephes `expf` (reduction by ln 2 in two parts, polynomial of degree 7).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4f32;
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = p * r + c;
    }
    let y = p * (r * r) + r + 1.0;
    // The low bits of the shifted value are n.
    y * f32::from_bits(
        shifted
            .to_bits()
            .wrapping_sub(ROUND.to_bits())
            .wrapping_add(127)
            << 23,
    )
}

/// Rows of `x` divided by their root mean square and scaled by the gains.
pub(super) fn rms_norm(x: &[f32], gains: &[f32], epsilon: f64, out: &mut Vec<f32>) {
    let width = gains.len();
    out.resize(x.len(), 0.0);
    let rows = (TASK / width).max(1) * width;
    out.par_chunks_mut(rows)
        .zip(x.par_chunks(rows))
        .for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let squares: f64 = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
                let scale = (1.0 / libm::sqrt(squares / width as f64 + epsilon)) as f32;
                for ((o, v), g) in out.iter_mut().zip(x).zip(gains) {
                    *o = v * scale * g;
                }
            }
        });
}

/// `gate = activation(gate) · up`.
pub(super) fn gated_product(activation: Activation, gate: &mut [f32], up: &[f32]) {
    gate.par_chunks_mut(TASK)
        .zip(up.par_chunks(TASK))
        .for_each(|(gate, up)| {
            let pairs = gate.iter_mut().zip(up);
            match activation {
                Activation::Silu => pairs.for_each(|(g, u)| *g = *g / (1.0 + exp(-*g)) * u),
                Activation::GeluTanh => pairs.for_each(|(g, u)| *g = gelu_tanh(*g) * u),
                Activation::ReluSquared => {
                    pairs.for_each(|(g, u)| *g = g.max(0.0) * g.max(0.0) * u)
                }
            }
        });
}

/// `x/2 · (1 + tanh(y)) = x · σ(2y)` with `y = √(2/π) · (x + 0.044715·x³)`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const TWICE: f32 = 1.595_769; // 2 · √(2/π)
    x / (1.0 + exp(-TWICE * (x + 0.044_715 * x * x * x)))
}

/// `cap · tanh(scale · x / cap)` of every element, in place.
pub(super) fn soft_cap(x: &mut [f32], scale: f32, cap: f32) {
    for x in x {
        *x = cap - 2.0 * cap / (exp(2.0 * scale * *x / cap) + 1.0);
    }
}

/// `x += y`.
pub(super) fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Softmax of `scale · scores`, in place.
pub(super) fn softmax(scores: &mut [f32], scale: f32) {
    for s in scores.iter_mut() {
        *s *= scale;
    }
    let most = scores.iter().fold(f32::NEG_INFINITY, |m, s| m.max(*s));
    for s in scores.iter_mut() {
        *s = exp(*s - most);
    }
    let (eights, rest) = scores.as_chunks::<8>();
    let mut sums = [0f64; 8];
    for eight in eights {
        for (sum, s) in sums.iter_mut().zip(eight) {
            *sum += f64::from(*s);
        }
    }
    let sum = sums.iter().sum::<f64>() + rest.iter().map(|s| f64::from(*s)).sum::<f64>();
    let scale = (1.0 / sum) as f32;
    for s in scores {
        *s *= scale;
    }
}

/// Cosine and sine of every pair's angle at positions `0..positions`: `[position][pair]`.
pub(super) struct Rotations {
    pairs: usize,
    table: Vec<(f32, f32)>,
}

impl Rotations {
    pub fn new(frequencies: &[f64], positions: usize) -> Self {
        let table = (0..positions)
            .into_par_iter()
            .flat_map_iter(|p| {
                frequencies.iter().map(move |w| {
                    let (sin, cos) = libm::sincos(p as f64 * w);
                    (cos as f32, sin as f32)
                })
            })
            .collect();
        Self {
            pairs: frequencies.len(),
            table,
        }
    }

    /// Rotates the pairs `(i, i + head_dim/2)` of every head of a row at `position`.
    pub fn apply(&self, row: &mut [f32], position: usize) {
        let angles = &self.table[position * self.pairs..][..self.pairs];
        for head in row.chunks_exact_mut(2 * self.pairs) {
            let (low, high) = head.split_at_mut(self.pairs);
            for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
    }

    /// What [`apply`](Self::apply) did is undone.
    pub fn undo(&self, row: &mut [f32], position: usize) {
        let angles = &self.table[position * self.pairs..][..self.pairs];
        for head in row.chunks_exact_mut(2 * self.pairs) {
            let (low, high) = head.split_at_mut(self.pairs);
            for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
                (*a, *b) = (*a * cos + *b * sin, *b * cos - *a * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_float_precision() {
        for i in -86_000..86_000 {
            let x = i as f32 / 1000.0;
            let exact = libm::exp(f64::from(x));
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2e-7, "exp({x})");
        }
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(1e30).is_finite());
    }

    #[test]
    fn caps_and_activations_have_their_values() {
        for i in -400..400 {
            let x = f64::from(i) / 20.0;
            let mut capped = [x as f32];
            soft_cap(&mut capped, 0.5, 3.0);
            let exact = 3.0 * libm::tanh(x * 0.5 / 3.0);
            assert!((f64::from(capped[0]) - exact).abs() < 2e-6, "cap {x}");
            let y = libm::sqrt(2.0 / core::f64::consts::PI) * (x + 0.044715 * x * x * x);
            let exact = x / 2.0 * (1.0 + libm::tanh(y));
            assert!(
                (f64::from(gelu_tanh(x as f32)) - exact).abs() < 2e-6,
                "gelu {x}"
            );
        }
        let mut gate = [-2.0, 3.0];
        gated_product(Activation::ReluSquared, &mut gate, &[5.0, 0.5]);
        assert_eq!(gate, [0.0, 4.5]);
    }

    #[test]
    fn softmax_of_extremes() {
        let mut s = [1e30, -1e30, 1e30, f32::MIN];
        softmax(&mut s, 1.0);
        assert!((s[0] - 0.5).abs() < 1e-6 && (s[2] - 0.5).abs() < 1e-6 && s[1] < 1e-30);
    }
}

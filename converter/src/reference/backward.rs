//! The pass back through the model: how the predictions depend on what each matrix gives.
//!
//! At every position a token is drawn from the model's own prediction, and the gradient g of its negative log
//! likelihood is carried back to the outputs of each matrix. Where outputs change by a small δ, the KL divergence
//! of the predictions is `½ E[(g·δ)²]`: the Fisher information of the outputs. A block's forward values are
//! computed again from the residual stream before it, so that only one stream a block is kept.
//!
//! Source: Martens and Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature" (2015),
//! for targets drawn from the model and the factors of a layer's outputs and inputs.

use super::ReferenceError;
use super::gemm::{self, Arithmetic, Matrix};
use super::math::{self, Rotations};
use super::pass::{At, Batch, Pass, Projected, logits, norm};
use super::stream::Stream;
use super::weights::Weights;
use carat_format::model::{Attention, Function, Reals};
use carat_format::{Activation, Part, Tensor};
use rayon::prelude::*;

/// Logits held at a time, unless one position has more.
const LOGITS: usize = 1 << 25;
/// Most positions whose logits are held at a time.
const POSITIONS: usize = 512;
/// Rows of a matrix that are read together for a product from the left.
const ROWS: usize = 8192;

/// What a branch's matrices see and owe, of one group of sequences.
pub(crate) struct BranchGradients {
    /// Inputs of the readers, and of the writer.
    pub inputs: [Vec<f32>; 2],
    /// Gradients of the products with the readers in their order, then with the writer.
    pub outputs: Vec<Vec<f32>>,
}

/// What the way back through a branch needs of the way forward.
struct Forward {
    /// The residual stream before the branch.
    x: Vec<f32>,
    /// What the readers multiply.
    normed: Vec<f32>,
    function: Computed,
    /// What the function gives.
    result: Vec<f32>,
    /// What the writer multiplies, where a norm stands before it.
    sub_normed: Option<Vec<f32>>,
}

/// Values of a branch's function.
enum Computed {
    Attention(Attention<Reals>, Projected),
    Gated(Activation, Vec<Vec<f32>>),
}

impl Forward {
    /// What the writer multiplies.
    fn inner(&self) -> &[f32] {
        self.sub_normed.as_deref().unwrap_or(&self.result)
    }
}

/// What the predictions say of the rows of the head.
#[derive(Default)]
pub(crate) struct HeadMoments {
    /// Σ over positions of the probability p of each token.
    pub probability: Vec<f64>,
    /// Σ over positions of p·(1 − p), which is the Fisher information of the token's logit.
    pub information: Vec<f64>,
}

impl Stream<'_> {
    /// The gradient of the residual stream after the last block, `[positions, D]`; the streams are there. Adds to
    /// `moments`. The draws depend on `seed`, the group and the position.
    pub fn head_gradient(
        &self,
        group: usize,
        seed: u64,
        moments: &mut HeadMoments,
    ) -> Result<Vec<f32>, ReferenceError> {
        let hyper = self.weights.checkpoint().hyper();
        let (width, vocab) = (hyper.embedding_length as usize, hyper.vocab_size as usize);
        let head = hyper.head();
        moments.probability.resize(vocab, 0.0);
        moments.information.resize(vocab, 0.0);
        let normed = self.outputs(group)?;
        let mut gradient = Vec::with_capacity(normed.len());
        let (mut z, mut part) = (Vec::new(), Vec::new());
        let step = (LOGITS / vocab.max(1)).clamp(1, POSITIONS);
        for (chunk, hidden) in normed.chunks(step * width).enumerate() {
            logits(&self.weights, hidden, &mut z)?;
            let slopes = hyper.logits_softcap.map(|cap| {
                let slope = |z: &f32| 1.0 - (z / cap as f32) * (z / cap as f32);
                z.iter().map(slope).collect::<Vec<f32>>()
            });
            z.par_chunks_mut(vocab).enumerate().for_each(|(i, z)| {
                let at = (group as u64) << 32 | (chunk * step + i) as u64;
                score(z, uniform(seed, at));
            });
            // The score is p − 1 at the drawn token and p elsewhere.
            let sums = moments.probability.par_chunks_mut(ROWS);
            let sums = sums.zip(moments.information.par_chunks_mut(ROWS));
            sums.enumerate()
                .for_each(|(c, (probability, information))| {
                    let range = c * ROWS..(c * ROWS + probability.len());
                    for z in z.chunks_exact(vocab) {
                        let rows = probability.iter_mut().zip(information.iter_mut());
                        for ((p, f), g) in rows.zip(&z[range.clone()]) {
                            let drawn = f64::from(if *g < 0.0 { *g + 1.0 } else { *g });
                            *p += drawn;
                            *f += drawn * (1.0 - drawn);
                        }
                    }
                });
            if let Some(slopes) = slopes {
                z.iter_mut().zip(&slopes).for_each(|(z, slope)| *z *= slope);
            }
            back(&self.weights, head, &z, &mut part)?;
            gradient.extend_from_slice(&part);
        }
        let gains = self.weights.gains(Tensor::OutputNorm)?;
        let x = self.residual(group);
        Ok(rms_norm_back(x, gains, hyper.epsilon, &gradient))
    }

    /// Turns the gradient of the residual stream after block `b` into the gradient before it, where the stream
    /// is. One result per branch, in order.
    pub fn block_gradient(
        &self,
        b: u32,
        group: usize,
        gradient: &mut [f32],
    ) -> Result<Vec<BranchGradients>, ReferenceError> {
        let pass = self.pass(group);
        let lengths = self.lengths(group);
        let branches = self.weights.checkpoint().hyper().branches(b);
        let at = |branch| At { block: b, branch };
        let mut x = self.residual(group).to_vec();
        let mut passed = Vec::new();
        for (i, branch) in branches.iter().enumerate() {
            let Some(forward) = pass.forward(at(branch), lengths, x.clone())? else {
                continue;
            };
            // Nobody asks for the stream after the last.
            if i + 1 < branches.len() {
                pass.leave(at(branch), forward.inner(), &mut x)?;
            }
            passed.push((branch, forward));
        }
        let mut found = Vec::new();
        for (branch, forward) in passed.into_iter().rev() {
            found.push(pass.back(at(branch), lengths, forward, gradient)?);
        }
        found.reverse();
        Ok(found)
    }
}

impl Pass<'_, '_> {
    /// A branch forward, with all that the way back needs.
    fn forward(
        &self,
        at: At<'_>,
        lengths: &[usize],
        x: Vec<f32>,
    ) -> Result<Option<Forward>, ReferenceError> {
        let mut normed = Vec::new();
        self.enter(at, &x, &mut normed)?;
        let (mut products, mut result) = (Vec::new(), Vec::new());
        self.products(at, &normed, &mut products)?;
        let function = match at.branch.function {
            Function::Attention => {
                let Some(a) = self.attention(at) else {
                    return Ok(None);
                };
                let p = self.project(at, a, &mut products, true)?;
                self.attend(at, a, &p, &mut Batch::Sequences(lengths), &mut result);
                Computed::Attention(*a, p)
            }
            Function::Gated => {
                let blocks = &self.weights.checkpoint().hyper().blocks;
                let Some(gated) = blocks.get(at.block as usize).and_then(|b| b.gated()) else {
                    return Ok(None);
                };
                self.gate(at, products.clone(), &mut result);
                Computed::Gated(gated.activation, products)
            }
        };
        let sub_normed = match at.branch.sub_norm {
            None => None,
            Some(gains) => {
                let mut normed = Vec::new();
                norm(self.weights, gains.of(at.block), &result, &mut normed)?;
                Some(normed)
            }
        };
        Ok(Some(Forward {
            x,
            normed,
            function,
            result,
            sub_normed,
        }))
    }

    /// The way back: the gradient of the stream after the branch becomes the gradient before it.
    fn back(
        &self,
        at: At<'_>,
        lengths: &[usize],
        forward: Forward,
        gradient: &mut [f32],
    ) -> Result<BranchGradients, ReferenceError> {
        let weights = self.weights;
        let epsilon = weights.checkpoint().hyper().epsilon;
        let writer = at.branch.writer.part.of(at.block);
        let through = |part: Part, x: &[f32], g: &[f32]| {
            let gains = weights.gains(part.of(at.block))?;
            Ok::<_, ReferenceError>(rms_norm_back(x, gains, epsilon, g))
        };
        let output = match at.branch.post_norm {
            None => gradient.to_vec(),
            Some(gains) => {
                let mut added = Vec::new();
                weights.multiply(writer, forward.inner(), &mut added)?;
                through(gains, &added, gradient)?
            }
        };
        let mut d = Vec::new();
        back(weights, writer, &output, &mut d)?;
        if let Some(gains) = at.branch.sub_norm {
            d = through(gains, &forward.result, &d)?;
        }
        let Forward {
            x,
            normed,
            function,
            result,
            sub_normed,
        } = forward;
        let inner = sub_normed.unwrap_or(result);
        let mut outputs = match function {
            Computed::Attention(a, p) => {
                let heads = Heads(&a);
                let mut found = heads.back(lengths, (&p.q, &p.k, &p.v), &d);
                let turned = found.iter_mut().take(2);
                if let Some(rotations) = self.rotations_of(&a) {
                    turned.for_each(|d| turn_back(rotations, self.positions, d));
                }
                let gains = at.branch.gains.iter().zip(&p.raw);
                for ((gains, raw), d) in gains.zip(&mut found) {
                    *d = through(gains.0, raw, d)?;
                }
                found.into_iter().collect()
            }
            Computed::Gated(activation, products) => {
                let mut products = products.into_iter();
                let mut next = || products.next().unwrap_or_default();
                let (gate, up) = gated_back(activation, next(), next(), d);
                vec![gate, up]
            }
        };
        let (mut d_normed, mut other) = (Vec::new(), Vec::new());
        for (site, d) in at.branch.readers.iter().zip(&outputs) {
            back(weights, site.part.of(at.block), d, &mut other)?;
            match d_normed.is_empty() {
                true => std::mem::swap(&mut d_normed, &mut other),
                false => math::add(&mut d_normed, &other),
            }
        }
        math::add(gradient, &through(at.branch.norm, &x, &d_normed)?);
        outputs.push(output);
        Ok(BranchGradients {
            inputs: [normed, inner],
            outputs,
        })
    }
}

/// A number of [0, 1) from a seed and a place.
///
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
fn uniform(seed: u64, at: u64) -> f32 {
    let mut z = (seed ^ at.wrapping_mul(0xd134_2543_de82_ef95)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
}

/// Logits become the gradient of −log p(token) for the token that `draw` of [0, 1) picks: p, less 1 at the token.
fn score(z: &mut [f32], draw: f32) {
    math::softmax(z, 1.0);
    let mut left = f64::from(draw) * z.iter().map(|p| f64::from(*p)).sum::<f64>();
    let drawn = z.iter().position(|p| {
        left -= f64::from(*p);
        left < 0.0
    });
    let last = z.len().saturating_sub(1);
    if let Some(p) = z.get_mut(drawn.unwrap_or(last)) {
        *p -= 1.0;
    }
}

/// `x[m, cols] = g[m, rows] · W[rows, cols]`, replacing `x`.
fn back(
    weights: &Weights<'_>,
    tensor: Tensor,
    g: &[f32],
    x: &mut Vec<f32>,
) -> Result<(), ReferenceError> {
    let (rows, cols) = weights.checkpoint().hyper().shape(tensor);
    let (rows, cols) = (rows as usize, cols as usize);
    let m = g.len() / rows.max(1);
    x.clear();
    x.resize(m * cols, 0.0);
    let step = m.div_ceil(rayon::current_num_threads().max(1)).max(1);
    for start in (0..rows).step_by(ROWS) {
        let end = rows.min(start + ROWS);
        let w = weights.rows(tensor, start, end)?;
        let w = &w[..];
        let parts = x.par_chunks_mut(step * cols).zip(g.par_chunks(step * rows));
        parts.for_each(|(x, g)| {
            let size = (x.len() / cols, cols, end - start);
            let left = Matrix {
                data: &g[start..],
                row: rows,
                col: 1,
            };
            let right = Matrix {
                data: w,
                row: 1,
                col: cols,
            };
            let mut part = vec![0.0; x.len()];
            gemm::multiply(Arithmetic::Fast, size, left, right, &mut part);
            math::add(x, &part);
        });
    }
    Ok(())
}

/// The gradient of rows `x` whose norm, times the gains, has the gradient `g`.
fn rms_norm_back(x: &[f32], gains: &[f32], epsilon: f64, g: &[f32]) -> Vec<f32> {
    let width = gains.len().max(1);
    let mut out = vec![0f32; x.len()];
    let rows = out.par_chunks_exact_mut(width);
    let rows = rows
        .zip(x.par_chunks_exact(width))
        .zip(g.par_chunks_exact(width));
    rows.for_each(|((out, x), g)| {
        let squares: f64 = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        let scale = 1.0 / libm::sqrt(squares / width as f64 + epsilon);
        let each = x.iter().zip(g).zip(gains);
        let inner: f64 = each
            .map(|((x, g), w)| f64::from(*x) * f64::from(*g * *w))
            .sum();
        let along = (inner * scale * scale * scale / width as f64) as f32;
        let scale = scale as f32;
        for (((o, x), g), w) in out.iter_mut().zip(x).zip(g).zip(gains) {
            *o = g * w * scale - x * along;
        }
    });
    out
}

/// The gradients of gate and up where their product has the gradient `g`.
fn gated_back(
    activation: Activation,
    mut gate: Vec<f32>,
    mut up: Vec<f32>,
    g: Vec<f32>,
) -> (Vec<f32>, Vec<f32>) {
    let each = gate.par_iter_mut().zip(up.par_iter_mut()).zip(&g);
    each.with_min_len(1 << 12).for_each(|((gate, up), g)| {
        let (value, slope) = activated(activation, *gate);
        (*gate, *up) = (g * *up * slope, g * value);
    });
    (gate, up)
}

/// What a gate becomes, and its slope.
fn activated(activation: Activation, x: f32) -> (f32, f32) {
    match activation {
        Activation::Silu => {
            let s = 1.0 / (1.0 + math::exp(-x));
            (x * s, s * (1.0 + x * (1.0 - s)))
        }
        Activation::GeluTanh => {
            // x · σ(2y), as in the forward pass.
            const TWICE: f32 = 1.595_769;
            let s = 1.0 / (1.0 + math::exp(-TWICE * (x + 0.044_715 * x * x * x)));
            let slope = TWICE * (1.0 + 3.0 * 0.044_715 * x * x);
            (x * s, s + x * s * (1.0 - s) * slope)
        }
        Activation::ReluSquared => (x.max(0.0) * x.max(0.0), 2.0 * x.max(0.0)),
    }
}

/// Rotates every head of every row back.
fn turn_back(rotations: &Rotations, positions: &[usize], rows: &mut [f32]) {
    let width = rows.len() / positions.len().max(1);
    let rows = rows.par_chunks_exact_mut(width.max(1)).zip(positions);
    rows.for_each(|(row, p)| rotations.undo(row, *p));
}

/// Attention of a block, on its way back.
struct Heads<'a>(&'a Attention<Reals>);

/// A sequence and a head of it.
struct Head {
    /// First row of the sequence.
    row: usize,
    len: usize,
    head: usize,
}

impl Heads<'_> {
    fn dims(&self) -> (usize, usize, usize) {
        let sizes = (self.0.head_dim, self.0.width(), self.0.kv_width());
        (sizes.0 as usize, sizes.1 as usize, sizes.2 as usize)
    }

    fn jobs(&self, lengths: &[usize]) -> Vec<Head> {
        let mut row = 0;
        let mut jobs = Vec::new();
        for len in lengths {
            let heads = 0..self.0.heads as usize;
            jobs.extend(heads.map(|head| Head {
                row,
                len: *len,
                head,
            }));
            row += len;
        }
        jobs
    }

    /// Gradients of queries, keys and values (rotated) where the attention has the gradient `g`.
    fn back(
        &self,
        lengths: &[usize],
        (q, k, v): (&[f32], &[f32], &[f32]),
        g: &[f32],
    ) -> [Vec<f32>; 3] {
        let (dim, width, kv_width) = self.dims();
        let shared = self.0.heads_per_kv() as usize;
        let jobs = self.jobs(lengths);
        let parts: Vec<[Vec<f32>; 3]> = jobs
            .par_iter()
            .map(|job| {
                let own = |data| strided(data, job.row, job.head, (width, dim));
                let of = |data| strided(data, job.row, job.head / shared, (kv_width, dim));
                self.head_back(job.len, own(q), of(k), of(v), own(g))
            })
            .collect();
        let mut out = [
            vec![0f32; q.len()],
            vec![0f32; k.len()],
            vec![0f32; v.len()],
        ];
        for (job, parts) in jobs.iter().zip(&parts) {
            let places = [
                (width, job.head),
                (kv_width, job.head / shared),
                (kv_width, job.head / shared),
            ];
            for ((out, part), (width, head)) in out.iter_mut().zip(parts).zip(places) {
                for (i, part) in part.chunks_exact(dim).enumerate() {
                    let at = (job.row + i) * width + head * dim;
                    math::add(&mut out[at..at + dim], part);
                }
            }
        }
        out
    }

    /// The same of one head of a sequence: `[len, head_dim]` each.
    fn head_back(
        &self,
        len: usize,
        q: Matrix<'_>,
        k: Matrix<'_>,
        v: Matrix<'_>,
        g: Matrix<'_>,
    ) -> [Vec<f32>; 3] {
        let dim = self.0.head_dim as usize;
        let scale = self.0.scale as f32;
        let cap = self.0.softcap.map(|c| c as f32);
        let window = self.0.window.map_or(usize::MAX, |w| w as usize);
        let fast = Arithmetic::Fast;
        let mut shares = vec![0f32; len * len];
        gemm::multiply(fast, (len, len, dim), q, k, &mut shares);
        let mut slopes = vec![0f32; len * len];
        gemm::multiply(fast, (len, len, dim), g, v, &mut slopes);
        for (i, (p, d)) in shares
            .chunks_exact_mut(len)
            .zip(slopes.chunks_exact_mut(len))
            .enumerate()
        {
            let seen = (i + 1).saturating_sub(window)..i + 1;
            let mut capped = Vec::new();
            match cap {
                None => math::softmax(&mut p[seen.clone()], scale),
                Some(cap) => {
                    math::soft_cap(&mut p[seen.clone()], scale, cap);
                    capped.extend(p[seen.clone()].iter().map(|s| 1.0 - (s / cap) * (s / cap)));
                    math::softmax(&mut p[seen.clone()], 1.0);
                }
            }
            let pairs = p[seen.clone()].iter().zip(&d[seen.clone()]);
            let mean: f64 = pairs.map(|(p, d)| f64::from(*p) * f64::from(*d)).sum();
            for j in 0..len {
                if seen.contains(&j) {
                    let slope = capped.get(j - seen.start).copied().unwrap_or(1.0);
                    d[j] = p[j] * (d[j] - mean as f32) * slope * scale;
                } else {
                    (p[j], d[j]) = (0.0, 0.0);
                }
            }
        }
        let transposed = |m: &[f32]| {
            let mut t = vec![0f32; len * len];
            for (i, row) in m.chunks_exact(len).enumerate() {
                row.iter()
                    .enumerate()
                    .for_each(|(j, x)| t[j * len + i] = *x);
            }
            t
        };
        let product = |left: &[f32], right: Matrix<'_>| {
            let right = Matrix {
                data: right.data,
                row: 1,
                col: right.row,
            };
            let mut out = vec![0f32; len * dim];
            gemm::multiply(
                fast,
                (len, dim, len),
                Matrix::rows(left, len),
                right,
                &mut out,
            );
            out
        };
        [
            product(&slopes, k),
            product(&transposed(&slopes), q),
            product(&transposed(&shares), g),
        ]
    }
}

/// The rows of a head.
fn strided(data: &[f32], row: usize, head: usize, (width, dim): (usize, usize)) -> Matrix<'_> {
    Matrix {
        data: &data[row * width + head * dim..],
        row: width,
        col: 1,
    }
}
#[cfg(test)]
mod tests;

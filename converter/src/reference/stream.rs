//! The forward pass over a fixed set of sequences, stage by stage, for whoever changes the weights of a
//! block between its stages. Of all activations only the residual stream and one attention output are kept.

use super::ReferenceError;
use super::attention::{Segment, attend};
use super::layers::{add_branch, norm, project, take};
use super::math::{self, Rotations};
use super::weights::Weights;
use crate::source::Checkpoint;
use carat_format::Tensor;

/// Positions that run together, unless one sequence is longer.
const POSITIONS: usize = 2048;

/// Sequences on their way through the blocks; the same bits for any number of threads.
pub(crate) struct Stream<'c> {
    pub(super) weights: Weights<'c>,
    pub(super) rotations: Vec<Rotations>,
    pub(super) groups: Vec<Group>,
}

/// Sequences that run together.
pub(super) struct Group {
    pub tokens: Vec<u32>,
    pub lengths: Vec<usize>,
    pub positions: Vec<usize>,
    /// The residual stream.
    pub x: Vec<f32>,
    /// The attention's output in the block at hand.
    attention: Vec<f32>,
}

impl<'c> Stream<'c> {
    /// Reads the vectors; the matrices are the checkpoint's until [`hold`](Self::hold) gives others.
    pub fn open(
        checkpoint: &'c Checkpoint,
        sequences: &[Vec<u32>],
    ) -> Result<Self, ReferenceError> {
        let weights = Weights::open(checkpoint, 0)?;
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let tables = checkpoint.hyper().rope_tables.iter();
        let rotations = tables.map(|t| Rotations::new(t, longest)).collect();
        let mut groups: Vec<Group> = Vec::new();
        for s in sequences {
            let full = |g: &Group| g.tokens.len() + s.len() > POSITIONS;
            if groups.last().is_none_or(full) {
                groups.push(Group {
                    tokens: Vec::new(),
                    lengths: Vec::new(),
                    positions: Vec::new(),
                    x: Vec::new(),
                    attention: Vec::new(),
                });
            }
            if let Some(g) = groups.last_mut() {
                g.tokens.extend(s);
                g.lengths.push(s.len());
                g.positions.extend(0..s.len());
            }
        }
        Ok(Self {
            weights,
            rotations,
            groups,
        })
    }

    /// Uses these weights instead of the checkpoint's.
    pub fn hold(&mut self, tensor: Tensor, weights: Vec<f32>) {
        self.weights.hold(tensor, weights);
    }

    /// Forgets the weights of [`hold`](Self::hold).
    pub fn release(&mut self, tensor: Tensor) {
        self.weights.release(tensor);
    }

    /// Starts at the embedding.
    pub fn embed(&mut self) -> Result<(), ReferenceError> {
        for g in &mut self.groups {
            g.x.clear();
            self.weights.embed(g.tokens.iter().copied(), &mut g.x)?;
        }
        Ok(())
    }

    /// How many groups of sequences there are; what follows works on one of them.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Lengths of a group's sequences.
    pub fn lengths(&self, group: usize) -> &[usize] {
        &self.groups[group].lengths
    }

    /// The residual stream, `[positions, D]`.
    pub fn residual(&self, group: usize) -> &[f32] {
        &self.groups[group].x
    }

    /// Values of the residual streams of all groups.
    pub fn residual_len(&self) -> usize {
        let width = self.weights.checkpoint().hyper().embedding_length as usize;
        let positions: usize = self.groups.iter().map(|g| g.tokens.len()).sum();
        positions * width
    }

    /// Takes the residual streams of all groups from the beginning of `values`; gives the rest.
    pub fn set_residuals<'v>(&mut self, mut values: &'v [f32]) -> &'v [f32] {
        let width = self.weights.checkpoint().hyper().embedding_length as usize;
        for g in &mut self.groups {
            g.x = take(&mut values, g.tokens.len() * width).to_vec();
        }
        values
    }

    /// The inputs of the queries, keys and values of block `b`, `[positions, D]`.
    pub fn attention_inputs(&self, b: u32, group: usize) -> Result<Vec<f32>, ReferenceError> {
        self.normed(Tensor::AttnNorm(b), group)
    }

    /// Attends; gives the inputs of the output projection.
    pub fn attend(&mut self, b: u32, group: usize) -> Result<&[f32], ReferenceError> {
        let (weights, hyper) = (&self.weights, self.weights.checkpoint().hyper());
        let width = hyper.head_count as usize * hyper.head_dim as usize;
        let kv_width = hyper.head_count_kv as usize * hyper.head_dim as usize;
        let block = hyper.blocks.get(b as usize).copied().unwrap_or_default();
        let rotations = self.rotations.get(block.rope as usize);
        let (mut normed, mut scratch) = (Vec::new(), Vec::new());
        let (mut q, mut k, mut v) = (Vec::new(), Vec::new(), Vec::new());
        let g = &mut self.groups[group];
        norm(weights, Tensor::AttnNorm(b), &g.x, &mut normed)?;
        let at = (&g.positions[..], rotations);
        project(
            weights,
            b,
            &normed,
            at,
            [&mut q, &mut k, &mut v],
            &mut scratch,
        )?;
        let (mut q, mut k, mut v) = (&q[..], &k[..], &v[..]);
        let segments: Vec<Segment<'_>> = g
            .lengths
            .iter()
            .map(|n| Segment {
                queries: take(&mut q, n * width),
                keys: take(&mut k, n * kv_width),
                values: take(&mut v, n * kv_width),
            })
            .collect();
        attend(
            weights.arithmetic,
            hyper,
            block,
            &segments,
            &mut g.attention,
        );
        if hyper.extras.sub_norm {
            norm(weights, Tensor::AttnSubNorm(b), &g.attention, &mut normed)?;
            std::mem::swap(&mut g.attention, &mut normed);
        }
        Ok(&g.attention)
    }

    /// Adds the attention to the residual stream; gives the inputs of gate and up.
    pub fn ffn_inputs(&mut self, b: u32, group: usize) -> Result<Vec<f32>, ReferenceError> {
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        let branch = (Tensor::AttnOutput(b), Tensor::AttnPostNorm(b));
        let g = &mut self.groups[group];
        let attention = std::mem::take(&mut g.attention);
        let scratches = [&mut out, &mut scratch];
        add_branch(&self.weights, branch, &attention, &mut g.x, scratches)?;
        self.normed(Tensor::FfnNorm(b), group)
    }

    /// The inputs of the down projection.
    pub fn ffn_products(&self, b: u32, group: usize) -> Result<Vec<f32>, ReferenceError> {
        self.gated(b, &self.groups[group].x)
    }

    /// Adds the feed-forward network to the residual stream.
    pub fn finish(&mut self, b: u32, group: usize) -> Result<(), ReferenceError> {
        let products = self.ffn_products(b, group)?;
        self.finish_with(b, group, &products)
    }

    /// The same where [`ffn_products`](Self::ffn_products) are at hand.
    pub fn finish_with(
        &mut self,
        b: u32,
        group: usize,
        products: &[f32],
    ) -> Result<(), ReferenceError> {
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        let branch = (Tensor::FfnDown(b), Tensor::FfnPostNorm(b));
        let x = &mut self.groups[group].x;
        add_branch(&self.weights, branch, products, x, [&mut out, &mut scratch])
    }

    fn gated(&self, b: u32, x: &[f32]) -> Result<Vec<f32>, ReferenceError> {
        let hyper = self.weights.checkpoint().hyper();
        let (mut normed, mut gate, mut up) = (Vec::new(), Vec::new(), Vec::new());
        norm(&self.weights, Tensor::FfnNorm(b), x, &mut normed)?;
        self.weights
            .multiply(Tensor::FfnGate(b), &normed, &mut gate)?;
        self.weights.multiply(Tensor::FfnUp(b), &normed, &mut up)?;
        math::gated_product(hyper.activation, &mut gate, &up);
        if hyper.extras.sub_norm {
            norm(&self.weights, Tensor::FfnSubNorm(b), &gate, &mut normed)?;
            std::mem::swap(&mut gate, &mut normed);
        }
        Ok(gate)
    }

    /// The residual streams of all groups, to go back to.
    pub fn save(&self) -> Vec<Vec<f32>> {
        self.groups.iter().map(|g| g.x.clone()).collect()
    }

    /// Goes back to what [`save`](Self::save) gave.
    pub fn restore(&mut self, saved: &[Vec<f32>]) {
        for (g, x) in self.groups.iter_mut().zip(saved) {
            g.x.clone_from(x);
        }
    }

    /// The inputs of the head.
    pub fn outputs(&self, group: usize) -> Result<Vec<f32>, ReferenceError> {
        self.normed(Tensor::OutputNorm, group)
    }

    fn normed(&self, gains: Tensor, group: usize) -> Result<Vec<f32>, ReferenceError> {
        let mut normed = Vec::new();
        norm(&self.weights, gains, &self.groups[group].x, &mut normed)?;
        Ok(normed)
    }
}

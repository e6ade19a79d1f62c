//! The forward pass over a fixed set of sequences, stage by stage, for whoever changes the weights of a
//! block between its stages. Of all activations only the residual stream is kept.

use super::math::Rotations;
use super::pass::{At, Batch, Pass, norm, rotations, take};
use super::weights::Weights;
use super::{ReferenceError, Run};
use crate::source::Checkpoint;
use carat_format::Tensor;
use carat_format::model::Branch;

/// Positions that run together, unless one sequence is longer.
const POSITIONS: usize = 2048;

/// Sequences on their way through the blocks; the same bits for any number of threads.
pub(crate) struct Stream<'c> {
    pub(super) weights: Weights<'c>,
    pub(super) rotations: Vec<Rotations>,
    pub(super) groups: Vec<Group>,
}

/// Sequences that run together.
#[derive(Default)]
pub(super) struct Group {
    pub tokens: Vec<u32>,
    pub lengths: Vec<usize>,
    pub positions: Vec<usize>,
    /// The residual stream.
    pub x: Vec<f32>,
}

impl<'c> Stream<'c> {
    /// Reads the vectors; the matrices are the checkpoint's until [`hold`](Self::hold) gives others.
    pub fn open(
        checkpoint: &'c Checkpoint,
        sequences: &[Vec<u32>],
    ) -> Result<Self, ReferenceError> {
        let weights = Weights::open(checkpoint, 0)?;
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let mut groups: Vec<Group> = Vec::new();
        for s in sequences {
            let full = |g: &Group| g.tokens.len() + s.len() > POSITIONS;
            if groups.last().is_none_or(full) {
                groups.push(Group::default());
            }
            if let Some(g) = groups.last_mut() {
                g.tokens.extend(s);
                g.lengths.push(s.len());
                g.positions.extend(0..s.len());
            }
        }
        Ok(Self {
            rotations: rotations(&weights, longest),
            weights,
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

    pub(super) fn pass(&self, group: usize) -> Pass<'_, 'c> {
        Pass {
            weights: &self.weights,
            rotations: &self.rotations,
            positions: &self.groups[group].positions,
        }
    }

    /// The inputs of the readers of a branch of block `block`, `[positions, D]`.
    pub fn enter(
        &self,
        block: u32,
        branch: &Branch,
        group: usize,
    ) -> Result<Vec<f32>, ReferenceError> {
        let mut normed = Vec::new();
        let x = &self.groups[group].x;
        self.pass(group)
            .enter(At { block, branch }, x, &mut normed)?;
        Ok(normed)
    }

    /// The inputs of its writer.
    pub fn inner(
        &self,
        block: u32,
        branch: &Branch,
        group: usize,
    ) -> Result<Vec<f32>, ReferenceError> {
        let normed = self.enter(block, branch, group)?;
        let mut batch = Batch::Sequences(&self.groups[group].lengths);
        let (mut run, mut inner) = (Run::default(), Vec::new());
        let at = At { block, branch };
        self.pass(group)
            .inner(at, &normed, &mut batch, &mut run, &mut inner)?;
        Ok(inner)
    }

    /// Adds the branch, whose writer multiplies `inner`, to the residual stream.
    pub fn leave(
        &mut self,
        block: u32,
        branch: &Branch,
        group: usize,
        inner: &[f32],
    ) -> Result<(), ReferenceError> {
        let mut x = std::mem::take(&mut self.groups[group].x);
        let left = self.pass(group).leave(At { block, branch }, inner, &mut x);
        self.groups[group].x = x;
        left
    }

    /// All stages of a branch.
    pub fn branch(
        &mut self,
        block: u32,
        branch: &Branch,
        group: usize,
    ) -> Result<(), ReferenceError> {
        let inner = self.inner(block, branch, group)?;
        self.leave(block, branch, group, &inner)
    }

    /// All branches of a block.
    pub fn block(&mut self, block: u32, group: usize) -> Result<(), ReferenceError> {
        for branch in &self.weights.checkpoint().hyper().branches(block) {
            self.branch(block, branch, group)?;
        }
        Ok(())
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
        let mut normed = Vec::new();
        let x = &self.groups[group].x;
        norm(&self.weights, Tensor::OutputNorm, x, &mut normed)?;
        Ok(normed)
    }
}

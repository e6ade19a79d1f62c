//! From blocks to steps: the only place of the engine that names the matrices of a block.

mod attention;
mod feed_forward;

use super::build::{Builder, Out, Work};
use super::{BufferId, Op, Rows};
use crate::error::Error;
use carat_format::Tensor;
use carat_format::model::{FeedForward, Mixer};
use carat_shaders::act_stride;
use carat_shaders::params;

impl Builder<'_> {
    /// The steps of a block.
    pub(super) fn block(&mut self, work: &Work, block: u32) -> Result<(), Error> {
        let Some(found) = self.spec.blocks.get(block as usize).copied() else {
            return Ok(());
        };
        match &found.mixer {
            Some(Mixer::Attention(a)) => self.attention(work, block, a)?,
            None => {}
        }
        match &found.feed_forward {
            Some(FeedForward::Gated(g)) => self.gated(work, block, g)?,
            None => {}
        }
        Ok(())
    }

    /// Product, then either straight into the residual stream or through a norm of its own.
    fn add_branch(
        &mut self,
        work: &Work,
        matrix: Tensor,
        norm: Option<Tensor>,
        label: String,
        rows: Rows,
    ) -> Result<(), Error> {
        let (Some(norm), Some(branch)) = (norm, work.branch) else {
            self.linear(work, matrix, label, Out::Residual, rows)?;
            return Ok(());
        };
        let to = Out::Branch(branch);
        let exponent = self.linear(work, matrix, label.clone(), to, rows)?;
        let groups = self.matrix(matrix)?.layout.groups as u32;
        let gains = self.vector(norm)?;
        let cols = gains.len as u32;
        let buffer = self.mantissas(&gains);
        let epsilon = self.spec.epsilon.times(cols);
        let op = Op::RmsnormAdd(params::RmsnormAdd {
            cols,
            act_stride: act_stride(groups),
            act_exponent: groups * 8 + groups.div_ceil(4) + 1,
            eps_mantissa: epsilon.mantissa,
            eps_exponent: epsilon.exponent - 2 * exponent,
            shift: 30 + self.spec.residual_exponent - gains.exponent,
            ..Default::default()
        });
        let buffers = [
            ("act", work.act),
            ("x", branch),
            ("gains", buffer),
            ("h", work.h),
            ("stats", work.stats),
        ];
        let results = [("h", cols.into())];
        self.step(format!("{label}.norm"), op, rows, &buffers, &results)
    }

    /// Rows `(x, exponent, columns)` as activations, through a norm where a model has one there.
    fn activations(
        &mut self,
        work: &Work,
        (x, exponent, cols): (BufferId, i32, u32),
        norm: Option<Tensor>,
        label: String,
        rows: Rows,
    ) -> Result<(), Error> {
        if let Some(norm) = norm {
            return self.norm_of(work, (x, exponent), norm, label, rows);
        }
        self.quantize(work, label, x, cols, exponent, rows)
    }

    /// Rows of a block's queries and of what follows them: where no later block mixes positions, nobody reads more of them
    /// than the rows that logits are made from, and every row's keys and values.
    fn rows_after_cache(&self, block: u32) -> Rows {
        match self.spec.mixes_after(block) {
            true => Rows::Batch,
            false => Rows::Outputs,
        }
    }
}

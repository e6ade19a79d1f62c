//! Executors of a [`Plan`](crate::plan::Plan): the CPU twins and wgpu, equal bit for bit.

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
mod tables;

pub use tables::PageTables;

use crate::error::Error;
use crate::plan::{BufferId, Plan, Row, Rows, Step};
use carat_shaders::params::ROW_WORDS;
use std::ops::Range;

/// Index of the arg-max in a row of results: see the kernel `logits_stats_i32`.
pub(crate) const ARGMAX: usize = 2;

/// What one pass computes.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Its rows, in any order; those of a sequence beside each other are faster. The positions of a sequence follow what
    /// the cache holds without gaps.
    pub rows: &'a [Row],
    /// How many rows' logits are wanted: those of the first.
    pub outputs: usize,
    /// Where the pages are of the sequences that rows name.
    pub tables: &'a PageTables,
}

impl Batch<'_> {
    /// The row table: token, position and sequence of each row.
    pub fn row_table(&self) -> impl Iterator<Item = [u32; ROW_WORDS as usize]> {
        let words = |row: &Row| [row.token, row.position, row.sequence];
        self.rows.iter().map(words)
    }

    /// How many rows a step works on.
    pub fn rows_of(&self, step: &Step) -> usize {
        if step.adapter.is_some_and(|a| !self.tables.acts(a)) {
            return 0;
        }
        match step.rows {
            Rows::Batch => self.rows.len(),
            Rows::Outputs => self.outputs.min(self.rows.len()),
        }
    }

    /// Errors: more rows than the plan has room for, or one of a sequence or position that is not there.
    fn check(&self, plan: &Plan) -> Result<(), Error> {
        let (most, context) = (plan.extent.batch as usize, plan.extent.context);
        if self.rows.len() > most {
            let rows = self.rows.len();
            return Err(Error::Batch(format!("it has {rows} rows, at most {most}")));
        }
        let sequences = self.tables.sequences();
        let known = |r: &&Row| r.sequence < sequences && r.position < context;
        if let Some(row) = self.rows.iter().find(|r| !known(r)) {
            return Err(Error::Batch(format!(
                "a row is at position {} of sequence {}, there are {context} positions and {sequences} sequences",
                row.position, row.sequence
            )));
        }
        self.tables.check(plan)
    }

    /// Blocks of attention that the longest row reaches.
    pub fn blocks(&self) -> u32 {
        self.rows.iter().map(|r| r.position).max().unwrap_or(0) / carat_shaders::params::PAGE + 1
    }
}

/// An executor.
pub enum Executor {
    /// The twins on the processor's cores.
    Cpu(Box<cpu::CpuExecutor>),
    /// WGSL through wgpu.
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::GpuExecutor>),
}

impl Executor {
    /// Runs the steps of `range` over the batch. Steps outside it keep their results of earlier calls.
    ///
    /// Errors: a batch that is not of the plan, a device's failure; on the CPU, whose weights stay in the file, as
    /// [`Model::intact`](crate::model::Model::intact).
    pub async fn run(
        &mut self,
        plan: &Plan,
        batch: Batch<'_>,
        range: Range<usize>,
    ) -> Result<(), Error> {
        batch.check(plan)?;
        match self {
            Executor::Cpu(e) => e.run(plan, batch, range),
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.run(plan, batch, range).await,
        }
    }

    /// Whether it computes while the host does something else, so that [`Executor::run_next`] gains time.
    pub(crate) fn runs_ahead(&self) -> bool {
        match self {
            Executor::Cpu(_) => false,
            #[cfg(feature = "gpu")]
            Executor::Gpu(_) => true,
        }
    }

    /// Runs the steps of `range` over a batch of one row, whose token is the arg-max of the pass before, which the host need
    /// not know yet: it reads the results of both passes afterwards, in order. Nothing where [`Executor::runs_ahead`] is false.
    #[cfg_attr(not(feature = "gpu"), allow(unused_variables))]
    pub(crate) async fn run_next(
        &mut self,
        plan: &Plan,
        batch: Batch<'_>,
        range: Range<usize>,
    ) -> Result<(), Error> {
        batch.check(plan)?;
        match self {
            Executor::Cpu(_) => Ok(()),
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.run_next(plan, batch, range).await,
        }
    }

    /// Forgets the pass of [`Executor::run_next`] whose results have not been read.
    #[cfg_attr(not(feature = "gpu"), allow(unused_variables))]
    pub(crate) fn forget_next(&mut self, plan: &Plan) -> Result<(), Error> {
        match self {
            Executor::Cpu(_) => Ok(()),
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.forget_next(plan),
        }
    }

    /// Puts the first `words` words of a buffer that steps write into `room`, in place of what that held.
    pub async fn read(
        &mut self,
        buffer: BufferId,
        words: u64,
        room: &mut Vec<u32>,
    ) -> Result<(), Error> {
        match self {
            Executor::Cpu(e) => {
                e.read(buffer, words, room);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.read(buffer, words, room).await,
        }
    }

    /// The same of words from `at` on.
    ///
    /// Errors: a lost device.
    pub(crate) async fn read_at(
        &mut self,
        buffer: BufferId,
        at: u64,
        words: u64,
        room: &mut Vec<u32>,
    ) -> Result<(), Error> {
        match self {
            Executor::Cpu(e) => {
                e.read_at(buffer, at, words, room);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.read_at(buffer, at, words, room).await,
        }
    }

    /// Writes words from `at` on, before whatever runs next.
    ///
    /// Errors: a lost device.
    pub(crate) fn write_at(
        &mut self,
        buffer: BufferId,
        at: u64,
        words: &[u32],
    ) -> Result<(), Error> {
        match self {
            Executor::Cpu(e) => {
                e.write_at(buffer, at, words);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.write_at(buffer, at, words),
        }
    }

    /// Writes the first words of a buffer that steps write.
    ///
    /// Errors: a lost device.
    pub fn write(&mut self, buffer: BufferId, words: &[u32]) -> Result<(), Error> {
        match self {
            Executor::Cpu(e) => {
                e.write(buffer, words);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.write(buffer, words),
        }
    }

    /// Copies words within a buffer that steps write, before whatever runs next. The two ranges do not overlap.
    ///
    /// Errors: a lost device.
    pub(crate) fn copy(
        &mut self,
        buffer: BufferId,
        from: u64,
        to: u64,
        words: u64,
    ) -> Result<(), Error> {
        match self {
            Executor::Cpu(e) => {
                e.copy(buffer, from, to, words);
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.copy(buffer, from, to, words),
        }
    }

    /// The device's name.
    pub fn device(&self) -> String {
        match self {
            Executor::Cpu(e) => e.device(),
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.device(),
        }
    }

    /// Dispatches sent to a device so far; 0 on the CPU.
    pub fn dispatches(&self) -> u64 {
        match self {
            Executor::Cpu(_) => 0,
            #[cfg(feature = "gpu")]
            Executor::Gpu(e) => e.dispatches(),
        }
    }
}

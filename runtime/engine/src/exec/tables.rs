//! Where the pages of a batch's sequences are.

use crate::error::Error;
use crate::plan::{PAGE, Plan};

/// The page tables of a batch, one for each of [`Plan::pages`]: `[sequences][pages of the context]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageTables {
    sequences: u32,
    /// Pages of the context.
    stride: usize,
    tables: Vec<Vec<u32>>,
}

impl PageTables {
    /// Room for as many sequences as a pass of the plan may have; none is in it.
    pub fn new(plan: &Plan) -> Self {
        let stride = (plan.extent.context / PAGE) as usize;
        let words = stride * plan.extent.sequences as usize;
        Self {
            sequences: 0,
            stride,
            tables: plan.pages.iter().map(|_| vec![0; words]).collect(),
        }
    }

    /// One sequence that holds the first pages.
    pub fn whole(plan: &Plan) -> Self {
        let mut tables = Self::new(plan);
        let first = plan.pages.iter().zip(&mut tables.tables);
        for (pages, table) in first {
            let pages = (0..pages.kept).cycle();
            table.iter_mut().zip(pages).for_each(|(t, page)| *t = page);
        }
        tables.sequences = 1;
        tables
    }

    /// Takes every sequence out.
    pub fn clear(&mut self) {
        self.sequences = 0;
    }

    /// Puts a sequence in behind the others: a table for each of [`Plan::pages`].
    ///
    /// Errors: there is no room for one more.
    pub fn push<'a>(&mut self, tables: impl Iterator<Item = &'a [u32]>) -> Result<(), Error> {
        let at = self.sequences as usize * self.stride;
        for (all, own) in self.tables.iter_mut().zip(tables) {
            let Some(place) = all.get_mut(at..at + self.stride) else {
                let most = self.sequences;
                return Err(Error::Batch(format!(
                    "it has more sequences than {most}; load the model for more at once"
                )));
            };
            place.copy_from_slice(own);
        }
        self.sequences += 1;
        Ok(())
    }

    /// Lets the last sequence's page `page` be where its page `other` is.
    pub(crate) fn alias(&mut self, page: usize, other: usize) {
        let start = self.sequences.saturating_sub(1) as usize * self.stride;
        for table in &mut self.tables {
            table[start + page] = table[start + other];
        }
    }

    /// Sequences in it.
    pub fn sequences(&self) -> u32 {
        self.sequences
    }

    /// The table of each of [`Plan::pages`], of the sequences in it.
    pub fn tables(&self) -> impl Iterator<Item = &[u32]> {
        let words = self.sequences as usize * self.stride;
        self.tables.iter().map(move |t| &t[..words])
    }

    /// Errors: tables of another plan.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), Error> {
        let there = |(table, count): (&[u32], u32)| table.iter().all(|page| *page < count);
        let counts = plan.pages.iter().map(|p| p.count);
        let fits = self.tables.len() == plan.pages.len()
            && self.stride == (plan.extent.context / PAGE) as usize
            && self.sequences <= plan.extent.sequences
            && self.tables().zip(counts).all(there);
        match fits {
            true => Ok(()),
            false => Err(Error::Batch("its page tables are of another plan".into())),
        }
    }
}

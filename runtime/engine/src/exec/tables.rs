//! Where the pages of a batch's sequences are.

use crate::error::Error;
use crate::plan::{PAGE, Plan};
use carat_adapter::Strength;

/// The page tables of a batch, one for each of [`Plan::pages`]: `[sequences][pages of the context]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageTables {
    sequences: u32,
    /// Pages of the context.
    stride: usize,
    tables: Vec<Vec<u32>>,
    /// How strongly each adapter acts on each sequence, in units of 1/4096.
    strengths: Vec<i32>,
    /// Strengths of a sequence.
    adapters: usize,
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
            strengths: vec![0; plan.adapters.len() * plan.extent.sequences as usize],
            adapters: plan.adapters.len(),
        }
    }

    /// One sequence that holds the first pages, on which every adapter acts.
    pub fn whole(plan: &Plan) -> Self {
        let mut tables = Self::new(plan);
        let first = plan.pages.iter().zip(&mut tables.tables);
        for (pages, table) in first {
            let pages = (0..pages.kept).cycle();
            table.iter_mut().zip(pages).for_each(|(t, page)| *t = page);
        }
        let own = tables.strengths.iter_mut().take(plan.adapters.len());
        own.for_each(|s| *s = Strength::ONE.units());
        tables.sequences = 1;
        tables
    }

    /// Takes every sequence out.
    pub fn clear(&mut self) {
        self.sequences = 0;
    }

    /// Puts a sequence in behind the others: a table for each of [`Plan::pages`], and a strength for each adapter.
    ///
    /// Errors: there is no room for one more.
    pub fn push<'a>(
        &mut self,
        tables: impl Iterator<Item = &'a [u32]>,
        strengths: &[Strength],
    ) -> Result<(), Error> {
        let own = self.strengths.iter_mut();
        let own = own.skip(self.sequences as usize * self.adapters);
        own.zip(strengths).for_each(|(to, s)| *to = s.units());
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

    /// How strongly each adapter acts on each of the sequences in it.
    pub fn strengths(&self) -> &[i32] {
        let words = self.sequences as usize * self.adapters;
        self.strengths.get(..words).unwrap_or_default()
    }

    /// Whether an adapter acts on one of them.
    pub(super) fn acts(&self, adapter: usize) -> bool {
        let each = self.strengths().chunks(self.adapters.max(1));
        each.into_iter()
            .any(|own| own.get(adapter).is_some_and(|s| *s != 0))
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
            && self.adapters == plan.adapters.len()
            && self.tables().zip(counts).all(there);
        match fits {
            true => Ok(()),
            false => Err(Error::Batch("its page tables are of another plan".into())),
        }
    }
}

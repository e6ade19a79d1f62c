//! The state of one sequence: its tokens, and where on the device its keys and values are.

use crate::error::Error;
use crate::plan::{PAGE, Pages, Plan};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pages that no sequence holds, of each of [`Plan::pages`].
pub(super) struct Pool(Mutex<Vec<Vec<u32>>>);

impl Pool {
    pub fn new(plan: &Plan) -> Self {
        let free = plan.pages.iter().map(|p| (0..p.count).collect());
        Self(Mutex::new(free.collect()))
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a device keeps of a sequence beside its tokens. Each kind can go back in its own way.
enum State {
    /// Keys and values in pages.
    Pages(Held),
}

/// The pages of one of [`Plan::pages`].
struct Held {
    pages: Pages,
    /// Where each page of the context is.
    table: Vec<u32>,
    /// The last page that was written since the sequence was empty.
    top: usize,
}

impl State {
    /// The longest beginning of `len` tokens that it can go back to.
    fn reach(&self, len: usize) -> usize {
        match self {
            // The next row's window must not begin before the pages that are still there.
            State::Pages(held) => {
                let oldest = (len + 1).saturating_sub(held.pages.window as usize) / PAGE as usize;
                match oldest + held.pages.kept as usize > held.top {
                    true => len,
                    false => 0,
                }
            }
        }
    }

    /// Positions up to `last` are about to be written.
    fn touch(&mut self, last: usize) {
        let State::Pages(held) = self;
        held.top = held.top.max(last / PAGE as usize);
    }

    /// Nothing that was written counts any more.
    fn reset(&mut self) {
        let State::Pages(held) = self;
        held.top = 0;
    }
}

/// Tokens in the cache of a [`Loaded`](super::Loaded) model. Its pages go back when it is dropped.
pub struct Sequence {
    tokens: Vec<u32>,
    /// How many of them the states hold.
    held: usize,
    states: Vec<State>,
    /// Pages of the context that the states have places for.
    mapped: usize,
    context: usize,
    pool: Arc<Pool>,
}

impl Sequence {
    /// An empty one. Whatever it will keep on the host is allocated here.
    pub(super) fn new(plan: &Plan, pool: Arc<Pool>) -> Self {
        let context = plan.extent.context;
        let state = |pages: &Pages| {
            State::Pages(Held {
                pages: *pages,
                table: vec![0; (context / PAGE) as usize],
                top: 0,
            })
        };
        Self {
            tokens: Vec::with_capacity(context as usize),
            held: 0,
            states: plan.pages.iter().map(state).collect(),
            mapped: 0,
            context: context as usize,
            pool,
        }
    }

    /// Its tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many of its tokens the cache holds: all, unless [`Sequence::truncate`] went back further than it was asked to.
    /// The next pass computes the others again.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Most positions.
    pub fn context(&self) -> u32 {
        self.context as u32
    }

    /// Whether it belongs to what has that pool.
    pub(super) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// Forgets every token from position `len` on, and gives the pages back that are no longer needed. What follows is
    /// computed as in a new sequence with the same tokens: attention reads only positions before its own, and those of
    /// forgotten ones are written anew.
    ///
    /// Returns how many tokens the cache still holds. Fewer than `len` where the pages that a window sees from there were
    /// written again since: then the next pass begins by computing the others.
    pub fn truncate(&mut self, len: usize) -> usize {
        if len >= self.tokens.len() {
            return self.held;
        }
        self.tokens.truncate(len);
        self.held = self.held.min(len);
        // A state that goes back further may take another one along.
        while let Some(less) = self.less_held() {
            self.held = less;
        }
        if self.held == 0 {
            self.states.iter_mut().for_each(State::reset);
        }
        self.give_back(len.div_ceil(PAGE as usize));
        self.held
    }

    /// How many tokens the states can go back to, where that is fewer than are held.
    fn less_held(&self) -> Option<usize> {
        let reach = self.states.iter().map(|s| s.reach(self.held)).min()?;
        (reach < self.held).then_some(reach)
    }

    /// Gives back the pages from `mapped` on.
    fn give_back(&mut self, mapped: usize) {
        let mut free = self.pool.free();
        for (state, free) in self.states.iter().zip(free.iter_mut()) {
            let State::Pages(held) = state;
            let kept = held.pages.kept as usize;
            let unused = mapped.min(kept)..self.mapped.min(kept);
            free.extend(held.table.get(unused).unwrap_or(&[]));
        }
        self.mapped = self.mapped.min(mapped);
    }

    /// Takes pages for `more` tokens behind those that there are.
    ///
    /// Errors: the context or the pool has none left; then none is taken.
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), Error> {
        let (used, context) = (self.tokens.len(), self.context);
        if more > context.saturating_sub(used) {
            return Err(Error::ContextFull {
                asked: more,
                used,
                context: context as u32,
            });
        }
        let wanted = (used + more).div_ceil(PAGE as usize);
        if wanted <= self.mapped {
            return Ok(());
        }
        let mut free = self.pool.free();
        // Pages up to which the pool has enough.
        let mapped = self.mapped;
        let enough = self.states.iter().zip(free.iter()).map(|(state, free)| {
            let State::Pages(held) = state;
            match held.pages.kept as usize {
                kept if mapped + free.len() >= kept => usize::MAX,
                _ => mapped + free.len(),
            }
        });
        let enough = enough.min().unwrap_or(usize::MAX);
        if wanted > enough {
            let left = enough * PAGE as usize - used;
            return Err(Error::PoolFull { asked: more, left });
        }
        for (state, free) in self.states.iter_mut().zip(free.iter_mut()) {
            let State::Pages(held) = state;
            let kept = held.pages.kept as usize;
            for page in mapped..wanted {
                held.table[page] = match page.checked_sub(kept) {
                    Some(before) => held.table[before],
                    None => free.pop().unwrap_or(0),
                };
            }
        }
        self.mapped = wanted;
        Ok(())
    }

    /// Positions up to `last` are about to be written: what a window's pages held before goes.
    pub(super) fn touch(&mut self, last: usize) {
        self.states.iter_mut().for_each(|s| s.touch(last));
    }

    /// The cache holds `tokens` now, behind what it held.
    pub(super) fn append(&mut self, tokens: &[u32]) {
        self.tokens.extend(tokens);
        self.held = self.tokens.len();
    }

    /// The cache holds as many of its tokens now.
    pub(super) fn restored(&mut self, held: usize) {
        self.held = held.min(self.tokens.len());
    }

    /// Where its pages are, for each of [`Plan::pages`].
    pub(super) fn tables(&self) -> impl Iterator<Item = &[u32]> {
        self.states.iter().map(|state| {
            let State::Pages(held) = state;
            &held.table[..]
        })
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

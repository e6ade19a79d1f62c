//! The state of one sequence: its tokens, and where on the device its keys and values are.

use super::adapters;
use super::pool::{Place, Pool, Shelves};
use super::prefixes::{Found, Key, key};
use crate::error::Error;
use crate::plan::{PAGE, Pages, Plan, oldest};
use carat_adapter::Strength;
use std::sync::Arc;

/// What a device keeps of a sequence beside its tokens. Each kind can go back in its own way.
enum State {
    /// Keys and values in pages.
    Pages(Held),
}

/// The pages of one of [`Plan::pages`].
struct Held {
    pages: Pages,
    /// The page in each place: page `i` of the context in place `i % kept`.
    places: Vec<Option<u32>>,
    /// Where each page of the context is.
    table: Vec<u32>,
    /// The last page that was written since the sequence was empty.
    top: usize,
    /// Where pages are missing: windows of blocks, and the first page that those have.
    bases: Vec<(u32, usize)>,
}

impl Held {
    fn place(&self, page: usize) -> usize {
        page % self.places.len().max(1)
    }

    fn page(&self, page: usize) -> Option<u32> {
        self.places.get(self.place(page)).copied().flatten()
    }

    /// The page, if what was written to it is still there.
    fn intact(&self, page: usize) -> Option<u32> {
        let base = self.bases.iter().map(|b| b.1).max();
        let there = page >= base.unwrap_or(0) && page + self.places.len() > self.top;
        self.page(page).filter(|_| there)
    }

    fn put(&mut self, page: usize, id: u32) {
        let place = self.place(page);
        self.places[place] = Some(id);
        self.table[page] = id;
    }
}

impl State {
    /// The longest beginning of `len` tokens that it can go back to.
    fn reach(&self, len: usize) -> usize {
        match self {
            // The next row's window must not begin before the pages that are still there.
            State::Pages(held) => {
                let has = |(window, base): &(u32, usize)| oldest(*window, len) >= *base;
                let there = oldest(held.pages.window, len) + held.places.len() > held.top;
                match there && held.bases.iter().all(has) {
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
        held.bases.clear();
    }
}

/// A page whose words go to another one, of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub kind: usize,
    pub from: u32,
    pub to: u32,
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
    /// Positions whose pages others may hold too: before one of them is written its page is copied.
    shared: usize,
    /// Keys of its whole blocks, as far as they are kept for others.
    keys: Vec<Key>,
    /// How strongly each adapter acts on it.
    strengths: Vec<Strength>,
    /// The key before its first block.
    root: Key,
    pool: Arc<Pool>,
}

impl Sequence {
    /// An empty one. Whatever it will keep on the host is allocated here.
    pub(super) fn new(plan: &Plan, pool: Arc<Pool>) -> Self {
        let context = plan.extent.context;
        let strengths: Vec<Strength> = plan.adapters.iter().map(|a| a.strength).collect();
        let blocks = (context / PAGE) as usize;
        let state = |pages: &Pages| {
            State::Pages(Held {
                pages: *pages,
                places: vec![None; (pages.kept as usize).min(blocks)],
                table: vec![0; blocks],
                top: 0,
                bases: Vec::new(),
            })
        };
        Self {
            tokens: Vec::with_capacity(context as usize),
            held: 0,
            states: plan.pages.iter().map(state).collect(),
            mapped: 0,
            context: context as usize,
            shared: 0,
            keys: Vec::with_capacity(blocks),
            root: adapters::root(&plan.adapters, &strengths),
            strengths,
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

    /// How strongly each adapter acts on it.
    pub fn strengths(&self) -> &[Strength] {
        &self.strengths
    }

    /// Lets adapters act so, as many as there are. With other strengths than before nothing that was computed counts any more.
    pub(super) fn set_strengths(&mut self, strengths: &[Strength], root: Key) {
        if self.strengths == strengths {
            return;
        }
        self.strengths.clear();
        self.strengths.extend_from_slice(strengths);
        self.root = root;
        self.keys.clear();
        self.forget();
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
        self.keys.truncate(len / PAGE as usize);
        self.held = self.held.min(len);
        self.settle();
        self.held
    }

    /// Holds as few tokens as the states can go back to, and gives the pages back that are behind its tokens.
    fn settle(&mut self) {
        // A state that goes back further may take another one along.
        while let Some(less) = self.less_held() {
            self.held = less;
        }
        match self.held {
            0 => self.forget(),
            _ => self.give_back(self.tokens.len().div_ceil(PAGE as usize)),
        }
    }

    /// Gives every page back; its tokens are computed again when it goes on.
    pub(super) fn forget(&mut self) {
        self.held = 0;
        self.shared = 0;
        self.give_back(0);
        self.states.iter_mut().for_each(State::reset);
    }

    /// How many tokens the states can go back to, where that is fewer than are held.
    fn less_held(&self) -> Option<usize> {
        let reach = self.states.iter().map(|s| s.reach(self.held)).min()?;
        (reach < self.held).then_some(reach)
    }

    /// Gives back the pages from `mapped` on.
    fn give_back(&mut self, mapped: usize) {
        let mut pool = self.pool.lock();
        for (kind, state) in self.states.iter_mut().enumerate() {
            let State::Pages(held) = state;
            let kept = held.places.len();
            let unused = mapped.min(kept)..self.mapped.min(kept);
            let unused = held.places.get_mut(unused).unwrap_or_default();
            for page in unused.iter_mut().filter_map(Option::take) {
                pool.release((kind, page));
            }
        }
        self.mapped = self.mapped.min(mapped);
    }

    /// Takes pages for `more` tokens behind those that there are, and for a page that others hold and that would be written.
    /// Returns what has to be copied before anything is written.
    ///
    /// Errors: the context or the pool has none left; then none is taken.
    pub(super) fn reserve(&mut self, more: usize) -> Result<Vec<Copy>, Error> {
        let (used, context) = (self.tokens.len(), self.context);
        if more > context.saturating_sub(used) {
            return Err(Error::ContextFull {
                asked: more,
                used,
                context: context as u32,
            });
        }
        let wanted = (used + more).div_ceil(PAGE as usize);
        let writes_shared = more > 0 && used < self.shared && !used.is_multiple_of(PAGE as usize);
        if wanted <= self.mapped && !writes_shared {
            return Ok(Vec::new());
        }
        let pool = self.pool.clone();
        let mut pool = pool.lock();
        let page = used / PAGE as usize;
        let copies = match writes_shared {
            true => self.shared_places(page, &pool),
            false => Vec::new(),
        };
        let enough = self.states.iter().enumerate().map(|(kind, state)| {
            let State::Pages(held) = state;
            let copied = copies.iter().filter(|c| c.0 == kind).count();
            let available = pool.available(kind);
            match available.checked_sub(copied) {
                Some(left) => held.fitting(kind, self.mapped, wanted, left, &pool),
                None => 0,
            }
        });
        let enough = enough.min().unwrap_or(usize::MAX);
        if wanted > enough {
            let left = (enough * PAGE as usize).saturating_sub(used);
            return Err(Error::PoolFull { asked: more, left });
        }
        let mut copied = Vec::new();
        for (kind, from) in copies {
            let State::Pages(held) = &mut self.states[kind];
            if let Some(to) = pool.take(kind) {
                held.put(page, to);
                copied.push(Copy { kind, from, to });
            }
        }
        for (kind, state) in self.states.iter_mut().enumerate() {
            let State::Pages(held) = state;
            for page in self.mapped..wanted {
                let id = match held.page(page) {
                    Some(id) if !pool.is_shared((kind, id)) => id,
                    before => {
                        if let Some(id) = before {
                            pool.release((kind, id));
                        }
                        pool.take(kind).unwrap_or(0)
                    }
                };
                held.put(page, id);
            }
        }
        // What a copy is made from stays until it is made: nothing is taken after it is given back.
        for copy in &copied {
            pool.release((copy.kind, copy.from));
        }
        if writes_shared {
            self.shared = used;
        }
        self.mapped = self.mapped.max(wanted);
        Ok(copied)
    }

    /// Pages of block `page` that others hold too.
    fn shared_places(&self, page: usize, pool: &Shelves) -> Vec<Place> {
        let states = self.states.iter().enumerate();
        let shared = states.filter_map(|(kind, state)| {
            let State::Pages(held) = state;
            let place = (kind, held.page(page)?);
            pool.is_shared(place).then_some(place)
        });
        shared.collect()
    }

    /// Begins as a text whose beginning is kept, of at most `most` tokens. Only for a sequence without tokens. Returns what has to
    /// be copied before anything is written.
    pub(super) fn adopt(&mut self, tokens: &[u32], most: usize) -> Vec<Copy> {
        let pool = self.pool.clone();
        let mut pool = pool.lock();
        let most = most.min(tokens.len()).min(self.context);
        let windows: Vec<u32> = self
            .states
            .iter()
            .map(|State::Pages(h)| h.pages.window)
            .collect();
        let Found { blocks, partial } = pool.prefixes.find(self.root, &tokens[..most], &windows);
        let whole = blocks.len();
        let more = partial.as_ref().map_or(0, |p| p.0);
        let len = whole * PAGE as usize + more;
        if len == 0 {
            return Vec::new();
        }
        let sources = partial
            .iter()
            .flat_map(|(_, pages)| pages.iter().enumerate());
        let sources: Vec<Place> = sources
            .filter_map(|(kind, page)| Some((kind, (*page)?)))
            .collect();
        // Held meanwhile: what is taken must not be what is copied.
        sources.iter().for_each(|place| pool.hold(*place));
        for (kind, state) in self.states.iter_mut().enumerate() {
            let State::Pages(held) = state;
            let window = held.pages.window;
            let oldest = oldest(window, len);
            // Whatever a row sees, as far as there are places for it.
            let room = held.places.len() - usize::from(more > 0);
            let oldest = oldest.max(whole.saturating_sub(room));
            for block in oldest..whole {
                if let Some(id) = blocks[block].1.get(kind).copied().flatten() {
                    pool.hold((kind, id));
                    held.put(block, id);
                }
            }
            held.bases = vec![(window, oldest.min(whole))];
            held.top = (len - 1) / PAGE as usize;
        }
        self.mapped = whole;
        let copy = |(kind, from): &Place| {
            let to = pool.take(*kind)?;
            let (kind, from) = (*kind, *from);
            Some(Copy { kind, from, to })
        };
        let copies: Vec<Copy> = sources.iter().map_while(copy).collect();
        sources.iter().for_each(|place| pool.release(*place));
        if copies.len() < sources.len() {
            // No page is left for a copy: what lies before it is taken over alone.
            copies.iter().for_each(|c| pool.release((c.kind, c.to)));
            drop(pool);
            self.forget();
            return self.adopt(tokens, whole * PAGE as usize);
        }
        for Copy { kind, to, .. } in &copies {
            let State::Pages(held) = &mut self.states[*kind];
            held.put(whole, *to);
        }
        self.tokens.extend_from_slice(&tokens[..len]);
        self.held = len;
        self.mapped = len.div_ceil(PAGE as usize);
        self.shared = whole * PAGE as usize;
        self.keys.extend(blocks.iter().map(|(key, _)| *key));
        copies
    }

    /// Keeps its whole blocks for texts that begin in the same way; with `all` also the tokens behind them.
    pub(super) fn publish(&mut self, all: bool) {
        let size = PAGE as usize;
        let whole = self.tokens.len() / size;
        let rest = self.tokens.len() % size;
        if self.held < self.tokens.len() || (self.keys.len() >= whole && !all) {
            return;
        }
        let pool = self.pool.clone();
        let mut pool = pool.lock();
        for depth in self.keys.len()..whole {
            let parent = self.keys.last().copied().unwrap_or(self.root);
            let tokens = &self.tokens[depth * size..(depth + 1) * size];
            let pages = intact(&self.states, depth);
            let (key, kept) = pool.keep(parent, depth, tokens, &pages);
            self.keys.push(key);
            self.shared = self.shared.max((depth + 1) * size);
            for (kind, state) in self.states.iter_mut().enumerate() {
                let State::Pages(held) = state;
                // The same content is kept once.
                if let (Some(own), Some(kept)) = (held.intact(depth), kept[kind])
                    && own != kept
                {
                    pool.hold((kind, kept));
                    pool.release((kind, own));
                    held.put(depth, kept);
                }
            }
        }
        let parent = self.keys.last().copied().unwrap_or(self.root);
        let tokens = &self.tokens[whole * size..];
        // What another sequence keeps already need not be kept twice.
        let known = key(&parent, tokens);
        if all && rest > 0 && !pool.prefixes.refresh(known) {
            let pages = intact(&self.states, whole);
            pool.keep(parent, whole, tokens, &pages);
            self.shared = self.tokens.len();
        }
    }

    /// Its page of a block, of each kind, where what was written to it is still there.
    pub(super) fn intact(&self, block: usize) -> Vec<Option<u32>> {
        intact(&self.states, block)
    }

    /// Holds `tokens`, the first `held` of which were written to pages that [`Sequence::reserve`] took. `missing` has the
    /// windows of the blocks of each kind that lack pages, with the first page that they have.
    pub(super) fn filled(&mut self, tokens: &[u32], held: usize, missing: Vec<Vec<(u32, usize)>>) {
        self.tokens.extend_from_slice(tokens);
        self.held = held;
        for (State::Pages(state), bases) in self.states.iter_mut().zip(missing) {
            state.bases = bases;
        }
        self.settle();
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

/// The pages of a block that are still there, of each kind.
fn intact(states: &[State], block: usize) -> Vec<Option<u32>> {
    let page = |State::Pages(held): &State| held.intact(block);
    states.iter().map(page).collect()
}

impl Held {
    /// Up to which page of the context places can be had with `left` pages that can be taken; `usize::MAX` for all of `wanted`.
    fn fitting(
        &self,
        kind: usize,
        mapped: usize,
        wanted: usize,
        mut left: usize,
        pool: &Shelves,
    ) -> usize {
        // A place that was filled here is its own.
        let first = self.places.len().min(wanted - mapped.min(wanted));
        for page in mapped..mapped + first {
            let place = self.page(page).map(|id| (kind, id));
            match place {
                Some(place) if !pool.is_shared(place) => continue,
                Some(place) if pool.yields(place) => {}
                _ => match left.checked_sub(1) {
                    Some(less) => left = less,
                    None => return page,
                },
            }
        }
        usize::MAX
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

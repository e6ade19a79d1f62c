//! The pages of the cache: who holds which, and which hold beginnings that later texts may share.

use super::prefixes::{Key, Prefixes};
use crate::plan::{PAGE, Pages, Plan};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A page of one of [`Plan::pages`], whose index in it is the first number.
pub(super) type Place = (usize, u32);

/// The pages that all sequences of a loaded model share.
pub(super) struct Pool(Mutex<Shelves>);

impl Pool {
    pub fn new(plan: &Plan) -> Self {
        let shelf = |pages: &Pages| Shelf {
            through_window: pages.window != u32::MAX,
            // The last page is taken first, so that small tests reach the far end of a buffer.
            free: (0..pages.count).collect(),
            holders: vec![0; pages.count as usize],
            stored: vec![false; pages.count as usize],
        };
        Self(Mutex::new(Shelves {
            shelves: plan.pages.iter().map(shelf).collect(),
            prefixes: Prefixes::default(),
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many pages of one of [`Plan::pages`] are used for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PagesInUse {
    /// Sequences hold them.
    pub held: u32,
    /// Kept for texts that begin as earlier ones, and held by no sequence.
    pub kept: u32,
    /// All that there are.
    pub all: u32,
}

/// A shelf for each of [`Plan::pages`], and the beginnings of texts whose pages are kept.
pub(super) struct Shelves {
    shelves: Vec<Shelf>,
    pub prefixes: Prefixes,
}

/// Pages of one kind.
struct Shelf {
    /// Rows see them through a window.
    through_window: bool,
    free: Vec<u32>,
    /// How many sequences and prefixes hold each.
    holders: Vec<u32>,
    /// Whether a prefix is one of them.
    stored: Vec<bool>,
}

impl Shelves {
    /// How many pages of each kind are used for what.
    pub fn in_use(&self) -> Vec<PagesInUse> {
        let of = |shelf: &Shelf| {
            let pages = shelf.stored.iter().zip(&shelf.holders);
            let kept = pages.filter(|(stored, holders)| **stored && **holders == 1);
            let (kept, all) = (kept.count() as u32, shelf.holders.len() as u32);
            let held = all - kept - shelf.free.len() as u32;
            PagesInUse { held, kept, all }
        };
        self.shelves.iter().map(of).collect()
    }

    /// Pages that can be taken: those that are free, and those that prefixes alone hold.
    pub fn available(&self, kind: usize) -> usize {
        let shelf = &self.shelves[kind];
        let alone = |(stored, holders): (&bool, &u32)| *stored && *holders == 1;
        let pages = shelf.stored.iter().zip(&shelf.holders);
        shelf.free.len() + pages.filter(|p| alone(*p)).count()
    }

    /// Takes a page; a prefix that was not used for the longest time gives one up where none is free.
    pub fn take(&mut self, kind: usize) -> Option<u32> {
        if self.shelves[kind].free.is_empty() {
            let shelf = &self.shelves[kind];
            let only = |page: u32| shelf.holders[page as usize] == 1;
            let window = shelf.through_window;
            for (kind, page) in self.prefixes.evict(kind, window, only) {
                self.shelves[kind].stored[page as usize] = false;
                self.release((kind, page));
            }
        }
        let shelf = &mut self.shelves[kind];
        let page = shelf.free.pop()?;
        shelf.holders[page as usize] = 1;
        Some(page)
    }

    /// One more holds the page.
    pub fn hold(&mut self, (kind, page): Place) {
        self.shelves[kind].holders[page as usize] += 1;
    }

    /// One fewer holds it.
    pub fn release(&mut self, (kind, page): Place) {
        let shelf = &mut self.shelves[kind];
        let holders = &mut shelf.holders[page as usize];
        *holders = holders.saturating_sub(1);
        if *holders == 0 {
            shelf.free.push(page);
        }
    }

    /// Whether others hold it too.
    pub fn is_shared(&self, (kind, page): Place) -> bool {
        self.shelves[kind].holders[page as usize] > 1
    }

    /// Whether it can be taken as soon as one fewer holds it.
    pub fn yields(&self, (kind, page): Place) -> bool {
        let shelf = &self.shelves[kind];
        let left = shelf.holders[page as usize].saturating_sub(1);
        left == 0 || (left == 1 && shelf.stored[page as usize])
    }

    /// Lets a prefix hold the page.
    fn store(&mut self, (kind, page): Place) {
        self.hold((kind, page));
        self.shelves[kind].stored[page as usize] = true;
    }

    /// Keeps the pages of a text's next block, at most [`PAGE`] tokens, for texts that begin in the same way. `pages` has those
    /// of each kind that are still there. Returns its key, and the pages of the same content that were kept before: as
    /// results do not depend on what computed them, a sequence may use those and give its own back.
    pub fn keep(
        &mut self,
        parent: Key,
        depth: usize,
        tokens: &[u32],
        pages: &[Option<u32>],
    ) -> (Key, Vec<Option<u32>>) {
        debug_assert!(tokens.len() <= PAGE as usize);
        let kept = self.prefixes.insert(parent, depth, tokens, pages);
        kept.added.into_iter().for_each(|place| self.store(place));
        for (kind, page) in kept.removed {
            self.shelves[kind].stored[page as usize] = self.prefixes.has((kind, page));
            self.release((kind, page));
        }
        (kept.key, kept.pages)
    }

    /// Forgets every prefix.
    pub fn clear(&mut self) {
        for (kind, page) in self.prefixes.clear() {
            self.shelves[kind].stored[page as usize] = false;
            self.release((kind, page));
        }
    }
}

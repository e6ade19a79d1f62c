//! Beginnings of texts whose keys and values are kept: blocks of 256 tokens, found by the hash of all tokens up to their end.

use super::pool::Place;
use crate::plan::PAGE;
use std::collections::BTreeMap;

/// The hash of all blocks up to the end of one; zeros before the first.
pub(super) type Key = [u8; 32];

/// No block comes before the first.
pub(super) const ROOT: Key = [0; 32];

/// Fewer tokens of a block are computed again rather than copied.
const LEAST: usize = 16;
/// Most blocks that end within a page, behind one.
const MOST_PARTIAL: usize = 8;

/// The key of a block behind another.
pub(super) fn key(parent: &Key, tokens: &[u32]) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(parent);
    for token in tokens {
        hasher.update(&token.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Up to 256 tokens, and the pages of each kind that hold their keys and values.
struct Block {
    parent: Key,
    /// Its index in the text.
    depth: usize,
    tokens: Vec<u32>,
    pages: Vec<Option<u32>>,
    /// When it was used last.
    used: u64,
}

/// The blocks.
#[derive(Default)]
pub(super) struct Prefixes {
    blocks: BTreeMap<Key, Block>,
    /// What comes behind a block.
    behind: BTreeMap<Key, Vec<Key>>,
    clock: u64,
}

/// What [`Prefixes::insert`] did.
pub(super) struct Inserted {
    pub key: Key,
    /// Its pages now.
    pub pages: Vec<Option<u32>>,
    /// Pages that it holds since.
    pub added: Vec<Place>,
    /// Pages that blocks held which went.
    pub removed: Vec<Place>,
}

/// The beginning of a text that is kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Whole blocks: their keys, and their pages by kinds.
    pub blocks: Vec<(Key, Vec<Option<u32>>)>,
    /// Tokens of a further block, and its pages.
    pub partial: Option<(usize, Vec<Option<u32>>)>,
}

impl Prefixes {
    /// The longest beginning of `tokens` that is kept, with every page that the row behind it reads. `windows` has the positions
    /// that a row sees of each kind's pages, its own included.
    pub fn find(&mut self, root: Key, tokens: &[u32], windows: &[u32]) -> Found {
        self.clock += 1;
        let mut found = Found::default();
        let mut at = root;
        for chunk in tokens.chunks_exact(PAGE as usize) {
            let key = key(&at, chunk);
            let Some(block) = self.blocks.get_mut(&key) else {
                break;
            };
            block.used = self.clock;
            found.blocks.push((key, block.pages.clone()));
            at = key;
        }
        // A kind of window may lack pages: then what is found ends before.
        loop {
            let whole = found.blocks.len();
            let at = found.blocks.last().map_or(root, |b| b.0);
            let len = whole * PAGE as usize;
            let sees = |len: usize| has_all(&found.blocks, len, windows);
            let best = self.behind(&at, &tokens[len..], |n| sees(len + n));
            if let Some((key, n)) = best
                && let Some(block) = self.blocks.get_mut(&key)
            {
                block.used = self.clock;
                found.partial = Some((n, block.pages.clone()));
                return found;
            }
            if sees(len) || whole == 0 {
                return found;
            }
            found.blocks.pop();
        }
    }

    /// The block behind another that has the most of the beginning of `tokens`, and how many.
    fn behind(
        &self,
        at: &Key,
        tokens: &[u32],
        sees: impl Fn(usize) -> bool,
    ) -> Option<(Key, usize)> {
        let keys = self.behind.get(at)?.iter();
        let common = |key: &Key| {
            let block = self.blocks.get(key)?;
            let same = block.tokens.iter().zip(tokens);
            let n = same.take_while(|(a, b)| a == b).count();
            let whole = block.pages.iter().all(Option::is_some);
            (n >= LEAST && whole && sees(n)).then_some((n, *key))
        };
        keys.filter_map(common).max().map(|(n, key)| (key, n))
    }

    /// Keeps a block. One of fewer tokens goes where one that begins with it comes.
    pub fn insert(
        &mut self,
        parent: Key,
        depth: usize,
        tokens: &[u32],
        pages: &[Option<u32>],
    ) -> Inserted {
        self.clock += 1;
        let key = key(&parent, tokens);
        let mut added = Vec::new();
        let block = self.blocks.entry(key).or_insert_with(|| Block {
            parent,
            depth,
            tokens: tokens.to_vec(),
            pages: vec![None; pages.len()],
            used: 0,
        });
        for (kind, (kept, page)) in block.pages.iter_mut().zip(pages).enumerate() {
            if let (None, Some(page)) = (&kept, page) {
                *kept = Some(*page);
                added.push((kind, *page));
            }
        }
        let pages = block.pages.clone();
        self.touch(key);
        let beside = self.behind.entry(parent).or_default();
        if !beside.contains(&key) {
            beside.push(key);
        }
        let partial = |b: &Block| b.tokens.len() < PAGE as usize;
        let beside = beside.iter().filter(|k| **k != key);
        let beside = beside.filter_map(|k| Some((*k, self.blocks.get(k).filter(|b| partial(b))?)));
        let beside: Vec<(Key, &Block)> = beside.collect();
        let spare = beside.len().saturating_sub(MOST_PARTIAL - 1);
        // They are few: counting takes less code than sorting.
        let older = |b: &Block| beside.iter().filter(|(_, o)| o.used < b.used).count();
        let goes = beside
            .iter()
            .filter(|(_, b)| older(b) < spare || tokens.starts_with(&b.tokens))
            .map(|(key, _)| *key);
        let goes: Vec<Key> = goes.collect();
        let removed = goes.iter().flat_map(|key| self.remove(key)).collect();
        Inserted {
            key,
            pages,
            added,
            removed,
        }
    }

    /// Gives up a page of a kind that `only` prefixes hold, of a text that was not used for the longest time. Without a page that
    /// every row sees a block is worth nothing: the last one of the text goes, as a whole. Of pages that are seen through a window
    /// the first one of the text goes, alone. Returns every page given up.
    pub fn evict(
        &mut self,
        kind: usize,
        through_window: bool,
        only: impl Fn(u32) -> bool,
    ) -> Vec<Place> {
        let has = |b: &Block| b.pages.get(kind).copied().flatten().is_some_and(&only);
        let order = |depth: usize| match through_window {
            true => depth,
            false => usize::MAX - depth,
        };
        let oldest = self.blocks.iter().filter(|(_, b)| has(b));
        let oldest = oldest.min_by_key(|(key, b)| (b.used, order(b.depth), **key));
        let Some(key) = oldest.map(|(key, _)| *key) else {
            return Vec::new();
        };
        if !through_window {
            return self.remove(&key);
        }
        let block = self.blocks.get_mut(&key);
        let page = block.and_then(|b| b.pages.get_mut(kind)?.take());
        page.map(|page| (kind, page)).into_iter().collect()
    }

    /// Whether a block is kept, which then is in use.
    pub fn refresh(&mut self, key: Key) -> bool {
        self.clock += 1;
        self.touch(key);
        self.blocks.contains_key(&key)
    }

    /// A block and those before it are in use.
    fn touch(&mut self, mut key: Key) {
        while let Some(block) = self.blocks.get_mut(&key) {
            block.used = self.clock;
            key = block.parent;
        }
    }

    fn remove(&mut self, key: &Key) -> Vec<Place> {
        let Some(block) = self.blocks.remove(key) else {
            return Vec::new();
        };
        if let Some(beside) = self.behind.get_mut(&block.parent) {
            beside.retain(|k| k != key);
            if beside.is_empty() {
                self.behind.remove(&block.parent);
            }
        }
        places(&block).collect()
    }

    /// Whether a block has the page.
    pub fn has(&self, (kind, page): Place) -> bool {
        let holds = |b: &Block| b.pages.get(kind).copied().flatten() == Some(page);
        self.blocks.values().any(holds)
    }

    /// Forgets all; returns their pages.
    pub fn clear(&mut self) -> Vec<Place> {
        self.behind.clear();
        let blocks = std::mem::take(&mut self.blocks);
        blocks.values().flat_map(places).collect()
    }

    /// Tokens that are kept.
    pub fn tokens(&self) -> usize {
        self.blocks.values().map(|b| b.tokens.len()).sum()
    }
}

fn places(block: &Block) -> impl Iterator<Item = Place> {
    let pages = block.pages.iter().enumerate();
    pages.filter_map(|(kind, page)| Some((kind, (*page)?)))
}

/// Whether every page is there that a row at position `len` sees of the whole blocks before it.
fn has_all(blocks: &[(Key, Vec<Option<u32>>)], len: usize, windows: &[u32]) -> bool {
    windows.iter().enumerate().all(|(kind, window)| {
        let oldest = (len + 1).saturating_sub(*window as usize) / PAGE as usize;
        let mut seen = blocks.iter().skip(oldest);
        seen.all(|(_, pages)| pages.get(kind).copied().flatten().is_some())
    })
}

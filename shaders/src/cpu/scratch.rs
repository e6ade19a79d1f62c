//! What a thread of the CPU keeps from dispatch to dispatch.

/// Bytes by what they are kept for: each as large as the largest dispatch needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// Rows of activations, rearranged.
    pub panels: u64,
    /// A tile's decoded levels, and its sums.
    pub levels: u64,
    /// A band of results.
    pub band: u64,
    /// The same of two products that meet in a unit.
    pub pair: u64,
    /// A page of keys and values, rearranged.
    pub page: u64,
    /// A normalised row.
    pub row: u64,
    /// The weights of a head's blocks.
    pub weights: u64,
    /// What a dispatch allocates once, whatever the threads.
    pub shared: u64,
}

impl Scratch {
    /// What both need one after the other.
    pub fn largest(self, other: Self) -> Self {
        Self {
            panels: self.panels.max(other.panels),
            levels: self.levels.max(other.levels),
            band: self.band.max(other.band),
            pair: self.pair.max(other.pair),
            page: self.page.max(other.page),
            row: self.row.max(other.row),
            weights: self.weights.max(other.weights),
            shared: self.shared.max(other.shared),
        }
    }

    /// Bytes of `threads` threads.
    pub fn bytes(&self, threads: usize) -> u64 {
        let products = self.panels + self.levels + self.band + self.pair;
        let own = products + self.page + self.row + self.weights;
        own * threads as u64 + self.shared
    }
}

/// Makes `items` `len` long, what is new filled with `item`.
pub(crate) fn resize<T: Clone>(items: &mut Vec<T>, len: usize, item: T) {
    grow(items, len, item);
    items.truncate(len);
}

/// Makes `items` at least `len` long, and no larger than that: [`Scratch`] counts on it.
pub(crate) fn grow<T: Clone>(items: &mut Vec<T>, len: usize, item: T) {
    if len > items.len() {
        items.reserve_exact(len - items.len());
        items.resize(len, item);
    }
}

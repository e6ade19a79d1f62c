//! The layout of a page of the cache of keys and values, declared once.
//!
//! `build.rs` includes this file and writes the WGSL that kernels take in by `//#import kv`.

use crate::params::PAGE;

/// Words of a position in a part of a head's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Those of a head's codes: ceil(head_dim / 4).
    Head,
    /// One a group of 32 dimensions.
    Groups,
}

/// Parts of a head's page in order, each `[PAGE][words of a position]`: int8 codes of keys and of values, and their scales
/// `key mantissa | key exponent << 8 | value mantissa << 16 | value exponent << 24`.
pub const PARTS: [(&str, Words); 3] = [
    ("keys", Words::Head),
    ("values", Words::Head),
    ("scales", Words::Groups),
];

/// A page: `[head][part]`, the parts of [`PARTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayout {
    /// Words of each part of a head.
    parts: [u32; PARTS.len()],
}

impl KvLayout {
    /// Of heads of `head_words` words and `groups` groups.
    pub const fn new(head_words: u32, groups: u32) -> Self {
        let mut parts = [0; PARTS.len()];
        let mut i = 0;
        while i < parts.len() {
            parts[i] = match PARTS[i].1 {
                Words::Head => PAGE * head_words,
                Words::Groups => PAGE * groups,
            };
            i += 1;
        }
        Self { parts }
    }

    /// Words of a page of `heads` heads.
    pub const fn page(&self, heads: u32) -> u32 {
        let (mut sum, mut i) = (0, 0);
        while i < self.parts.len() {
            sum += self.parts[i];
            i += 1;
        }
        heads * sum
    }

    /// The parts of a head's page, which `cells` begins with.
    pub fn split<'a>(&self, mut cells: &'a [u32]) -> [&'a [u32]; PARTS.len()] {
        self.parts.map(|words| {
            let (part, rest) = cells.split_at(words as usize);
            cells = rest;
            part
        })
    }

    /// The same, to be written.
    pub fn split_mut<'a>(&self, mut cells: &'a mut [u32]) -> [&'a mut [u32]; PARTS.len()] {
        self.parts.map(|words| {
            let (part, rest) = std::mem::take(&mut cells).split_at_mut(words as usize);
            cells = rest;
            part
        })
    }
}

/// The same for kernels: `kv_PART()` is where a part begins in a head's page, `kv_head()` the words of a head's page.
pub fn wgsl() -> String {
    let mut text = String::from("// A head's page: see src/kv.rs.\n");
    let mut begin = String::from("0u");
    for (part, words) in PARTS {
        text += &format!("fn kv_{part}() -> u32 {{ return {begin}; }}\n");
        let words = match words {
            Words::Head => "params.head_words",
            Words::Groups => "params.groups",
        };
        begin += &format!(" + PAGE * {words}");
    }
    text + &format!("fn kv_head() -> u32 {{ return {begin}; }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_a_head() {
        let layout = KvLayout::new(5, 2);
        let mut cells: Vec<u32> = (0..layout.page(1)).collect();
        let starts = layout.split(&cells).map(|part| (part[0], part.len()));
        assert_eq!(starts, [(0, 1280), (1280, 1280), (2560, 512)]);
        assert_eq!(layout.page(3), 3 * (2 * 1280 + 512));
        let written = layout.split_mut(&mut cells).map(|part| part.len());
        assert_eq!(written, [1280, 1280, 512]);
    }
}

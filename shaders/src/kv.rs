//! The layout of a page of the cache of keys and values, declared once.
//!
//! `build.rs` includes this file and writes the WGSL that kernels take in by `//#import kv`.

use crate::params::{NARROW_KEYS, NARROW_VALUES, PAGE};

/// KvBits of the codes of keys, or of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvBits {
    /// Codes are the levels, within ±127.
    #[default]
    Eight,
    /// Codes choose among sixteen levels. Groups of keys are turned before (`turn` in `reference/narrow.rs`).
    Four,
}

/// KvBits of a cache's keys and of its values: 8 and 8 by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CacheBits {
    /// Of keys.
    pub keys: KvBits,
    /// Of values.
    pub values: KvBits,
}

impl CacheBits {
    /// Every kind of cache.
    pub const ALL: [Self; 4] = {
        [
            Self {
                keys: KvBits::Eight,
                values: KvBits::Eight,
            },
            Self {
                keys: KvBits::Eight,
                values: KvBits::Four,
            },
            Self {
                keys: KvBits::Four,
                values: KvBits::Eight,
            },
            Self {
                keys: KvBits::Four,
                values: KvBits::Four,
            },
        ]
    };

    /// As uniforms and pipelines have it: the sum of [`NARROW_KEYS`] and [`NARROW_VALUES`] where these have 4 bits.
    pub const fn narrow(self) -> u32 {
        let keys = match self.keys {
            KvBits::Eight => 0,
            KvBits::Four => NARROW_KEYS,
        };
        let values = match self.values {
            KvBits::Eight => 0,
            KvBits::Four => NARROW_VALUES,
        };
        keys | values
    }
}

/// Words of a position in a part of a head's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Those of a head's codes: ceil(head_dim / 4) of 8 bits. Where `narrow` has this bit set, the codes have 4 bits and a
    /// group has [`NARROW_WORDS`], whatever the dimensions of the last one are.
    Codes(u32),
    /// One a group of 32 dimensions.
    Groups,
}

/// Words of a group of codes of 4 bits: byte `i` has dimension `i` in its low half and dimension `i + 16` in its high one, so
/// that halves of a group come out in order.
pub const NARROW_WORDS: u32 = 4;

/// Parts of a head's page in order, each `[PAGE][words of a position]`: codes of keys and of values, and their scales
/// `key mantissa | key exponent << 8 | value mantissa << 16 | value exponent << 24`.
pub const PARTS: [(&str, Words); 3] = [
    ("keys", Words::Codes(NARROW_KEYS)),
    ("values", Words::Codes(NARROW_VALUES)),
    ("scales", Words::Groups),
];

/// A page: `[head][part]`, the parts of [`PARTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvLayout {
    /// Words of each part of a head.
    parts: [u32; PARTS.len()],
}

impl KvLayout {
    /// Of heads of `head_words` words and `groups` groups; `narrow` as [`CacheBits::narrow`] gives it.
    pub const fn new(head_words: u32, groups: u32, narrow: u32) -> Self {
        let mut parts = [0; PARTS.len()];
        let mut i = 0;
        while i < parts.len() {
            parts[i] = PAGE
                * match PARTS[i].1 {
                    Words::Codes(bit) if narrow & bit != 0 => NARROW_WORDS * groups,
                    Words::Codes(_) => head_words,
                    Words::Groups => groups,
                };
            i += 1;
        }
        Self { parts }
    }

    /// Words of a position in each part of a head.
    pub fn strides(&self) -> [usize; PARTS.len()] {
        self.parts.map(|words| (words / PAGE) as usize)
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

/// The same for kernels: `kv_PART()` is where a part begins in a head's page, `kv_PART_words()` the words of a position in
/// it, `kv_head()` the words of a head's page. The pipeline constant `NARROW` is [`CacheBits::narrow`].
pub fn wgsl() -> String {
    let mut text = String::from("// A head's page: see src/kv.rs.\noverride NARROW: u32 = 0u;\n");
    let mut begin = String::from("0u");
    for (part, words) in PARTS {
        text += &format!("fn kv_{part}() -> u32 {{ return {begin}; }}\n");
        let words = match words {
            Words::Codes(bit) => format!(
                "select(params.head_words, {NARROW_WORDS}u * params.groups, (NARROW & {bit}u) != 0u)"
            ),
            Words::Groups => "params.groups".into(),
        };
        text += &format!("fn kv_{part}_words() -> u32 {{ return {words}; }}\n");
        begin += &format!(" + PAGE * kv_{part}_words()");
    }
    text + &format!("fn kv_head() -> u32 {{ return {begin}; }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_a_head() {
        let layout = KvLayout::new(5, 2, 0);
        let mut cells: Vec<u32> = (0..layout.page(1)).collect();
        let starts = layout.split(&cells).map(|part| (part[0], part.len()));
        assert_eq!(starts, [(0, 1280), (1280, 1280), (2560, 512)]);
        assert_eq!(layout.page(3), 3 * (2 * 1280 + 512));
        let written = layout.split_mut(&mut cells).map(|part| part.len());
        assert_eq!(written, [1280, 1280, 512]);
    }

    #[test]
    fn parts_of_4_bits_have_whole_groups() {
        let words = CacheBits::ALL.map(|bits| KvLayout::new(9, 2, bits.narrow()).strides());
        assert_eq!(words, [[9, 9, 2], [9, 8, 2], [8, 9, 2], [8, 8, 2]]);
    }
}

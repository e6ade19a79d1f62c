//! Attention of one head, row and block of 256 positions; twin of `wgsl/attn_block_q8.wgsl`.

use super::for_chunks;
use super::groups::{Packed, Part, Rows};
use super::scratch::Scratch;
use super::simd::{Isa, attention};
use crate::kv::KvLayout;
use crate::params::{
    AttnBlock, NARROW_KEYS, NARROW_VALUES, PAGE, ROW_WORDS, SCORE_GROUP_MAX, SCORE_MAX, VALUE_SHIFT,
};
use crate::reference::attn_block_q8::{
    cap, key_scale, probability_q15, score_base, seen, value_scale,
};
use crate::reference::byte;
use crate::{partial_stride, query_stride};
use carat_format::bounds::MAX_HEAD_DIM;
use std::ops::Range;

/// As [`crate::reference::attn_block_q8::run`].
pub fn run(
    p: &AttnBlock,
    rows: u32,
    blocks: u32,
    row_table: &[u32],
    page_table: &[u32],
    query: &[u32],
    cache: &[u32],
    partial: &mut [u32],
) {
    let isa = Isa::get();
    let heads = p.heads as usize;
    let of_row = heads * p.max_blocks as usize * partial_stride(p.head_words, p.groups) as usize;
    let partial = &mut partial[..rows as usize * of_row];
    let pass = Pass {
        p,
        blocks,
        row_table,
        page_table,
        query,
        cache,
    };
    let band = band(rows as usize, super::threads());
    let band = band.filter(|_| attention::has_bands(isa) && pass.shares_pages(rows as usize));
    if let Some(band) = band {
        for_chunks(partial, band * of_row, |i, out| {
            attention::band(isa, &pass, i * band, out);
        });
    } else {
        for_chunks(partial, of_row / heads, |i, out| pass.head(isa, i, out));
    }
}

/// Rows of a task that rearranges pages for them, where that pays: every thread rearranges them for its own rows.
const fn band(rows: usize, threads: usize) -> Option<usize> {
    if rows >= MANY {
        Some(MANY)
    } else if rows >= FEW * threads {
        Some(rows.div_ceil(threads))
    } else {
        None
    }
}

/// Rows of a task at most.
const MANY: usize = 16;
/// Rows of a sequence that a page is rearranged for, at least.
const FEW: usize = 2;

/// What is kept for `rows` rows.
pub fn scratch(p: &AttnBlock, rows: u32) -> Scratch {
    // With more threads than one it may be none.
    let page = match band(rows as usize, 1).is_some() {
        true => attention::page_bytes(p.groups as usize, p.narrow),
        false => 0,
    };
    Scratch {
        page,
        ..Scratch::default()
    }
}

/// A dispatch.
pub(super) struct Pass<'a> {
    pub p: &'a AttnBlock,
    blocks: u32,
    row_table: &'a [u32],
    page_table: &'a [u32],
    query: &'a [u32],
    cache: &'a [u32],
}

impl Pass<'_> {
    /// What row `r` sees of block `block`: where its page is in the page table's order, and which positions.
    pub fn seen(&self, r: usize, block: u32) -> Option<(usize, Range<usize>)> {
        let row = &self.row_table[r * ROW_WORDS as usize..];
        let (position, sequence) = (row[1], row[2]);
        if block >= self.blocks {
            return None;
        }
        let visible = seen(position, self.p.window, block)?;
        let page = self.page_table[(sequence * self.p.table_stride + block) as usize] as usize;
        Some((page, visible))
    }

    /// Whether rows one after another are mostly of one sequence: what is rearranged for one row of it serves the others.
    fn shares_pages(&self, rows: usize) -> bool {
        let sequence = |r: usize| self.row_table[r * ROW_WORDS as usize + 2];
        let changes = (1..rows)
            .filter(|r| sequence(*r) != sequence(r - 1))
            .count();
        rows >= FEW * (changes + 1)
    }

    /// Blocks that rows may see.
    pub fn blocks(&self) -> Range<u32> {
        0..self.blocks.min(self.p.max_blocks)
    }

    /// The cells of a head of keys and values in a page.
    pub fn cells(&self, page: usize, kv_head: usize) -> &[u32] {
        let p = self.p;
        let kv_heads = (p.heads / p.heads_per_kv) as usize;
        let stride = KvLayout::new(p.head_words, p.groups, p.narrow).page(1) as usize;
        &self.cache[(page * kv_heads + kv_head) * stride..][..stride]
    }

    /// The query of head `head` of row `r`.
    pub fn query(&self, r: usize, head: usize) -> Query {
        let words = query_stride(self.p.head_words) as usize;
        let at = r * self.p.heads as usize + head;
        Query::new(self.p, &self.query[at * words..(at + 1) * words])
    }

    /// Every block of one head and row, `i = row · heads + head`.
    fn head(&self, isa: Isa, i: usize, out: &mut [u32]) {
        let p = self.p;
        let (r, head) = (i / p.heads as usize, i % p.heads as usize);
        let stride = partial_stride(p.head_words, p.groups) as usize;
        let query = self.query(r, head);
        for block in self.blocks() {
            let Some((page, visible)) = self.seen(r, block) else {
                continue;
            };
            let out = &mut out[block as usize * stride..(block as usize + 1) * stride];
            let block = Block {
                p,
                query: &query,
                cells: self.cells(page, head / p.heads_per_kv as usize),
                visible,
            };
            attention::attend(isa, &block, out);
        }
    }
}

/// A head's query.
pub(super) struct Query {
    /// 12 bits an element, zeros behind its last.
    codes: [[i16; 32]; MAX_HEAD_DIM as usize / 32],
    pub exponent: i32,
}

impl Query {
    fn new(p: &AttnBlock, words: &[u32]) -> Self {
        let (high, low) = words.split_at(p.head_words as usize);
        let code = |d| 32 * i16::from(byte(high, d) as i8) + i16::from(byte(low, d) as i8);
        let mut codes = [[0i16; 32]; MAX_HEAD_DIM as usize / 32];
        let all = codes.as_flattened_mut().iter_mut().enumerate();
        all.take(4 * p.head_words as usize)
            .for_each(|(d, q)| *q = code(d));
        Self {
            codes,
            exponent: low[p.head_words as usize] as i32,
        }
    }

    /// Group `g`, two elements a word.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    #[inline(always)]
    pub fn pairs(&self, g: usize) -> &[u32; 16] {
        bytemuck::cast_ref(&self.codes[g])
    }
}

/// A head's block of positions under a query.
pub(super) struct Block<'a> {
    p: &'a AttnBlock,
    query: &'a Query,
    /// The head's page.
    cells: &'a [u32],
    /// The positions that the row sees.
    visible: Range<usize>,
}

impl Block<'_> {
    /// The block's part: `dots` multiplies a group of the query with that of every key, `weigh` adds up a group of
    /// values by weights, one a position.
    #[inline(always)]
    pub fn attend(
        &self,
        dots: impl Fn(&[i16; 32], &Part<'_>, &mut [i32]),
        weigh: impl Fn(&[u16], &Part<'_>, &mut [i32; 32]),
        out: &mut [u32],
    ) {
        let p = self.p;
        let (words, groups) = (p.head_words as usize, p.groups as usize);
        let layout = KvLayout::new(p.head_words, p.groups, p.narrow);
        let [keys, values, scales] = layout.split(self.cells);
        let dims = 4 * words;
        let (first, len) = (self.visible.start, self.visible.len());
        let part = |cells, bit: u32, g: usize| {
            if p.narrow & bit != 0 {
                let (bytes, _) = bytemuck::cast_slice::<u32, u8>(cells).as_chunks();
                return Part::Four(Packed {
                    bytes: &bytes[first * groups..(first + len) * groups],
                    groups,
                    group: g,
                    len,
                });
            }
            let bytes: &[i8] = bytemuck::cast_slice(cells);
            Part::Eight(Rows {
                bytes: &bytes[first * dims..(first + len) * dims],
                stride: dims,
                dims: g * 32..(g * 32 + 32).min(dims),
                len,
            })
        };
        // The group's scales, a word a position.
        let scales = &scales[first * groups..(first + len) * groups];
        let of_group = |g: usize, room: &mut [u32]| {
            for (scale, cell) in room.iter_mut().zip(scales.chunks_exact(groups)) {
                *scale = cell[g];
            }
        };
        let mut scales = [0u32; PAGE as usize];
        let scales = &mut scales[..len];
        let mut scores = [0i32; PAGE as usize];
        let scores = &mut scores[..len];
        let mut products = [0i32; PAGE as usize];
        let products = &mut products[..len];
        for (g, q) in self.query.codes.iter().enumerate().take(groups) {
            dots(q, &part(keys, NARROW_KEYS, g), products);
            of_group(g, scales);
            shares(products, scales, self.query.exponent, scores);
        }
        let mut probabilities = [0u32; PAGE as usize];
        let probabilities = &mut probabilities[..len];
        let (sum, max) = softmax(p, scores, probabilities);
        (out[dims], out[dims + 1]) = (sum, max as u32);
        let mut weights = [0u16; PAGE as usize];
        let weights = &mut weights[..len];
        for g in 0..groups {
            of_group(g, scales);
            let top = top_exponent(scales);
            out[dims + 2 + g] = top as u32;
            for ((w, p), s) in weights.iter_mut().zip(&*probabilities).zip(&*scales) {
                *w = weight(*p, *s, top);
            }
            let mut sums = [0i32; 32];
            weigh(weights, &part(values, NARROW_VALUES, g), &mut sums);
            let range = g * 32..(g * 32 + 32).min(dims);
            for (o, s) in out[range].iter_mut().zip(sums) {
                *o = s as u32;
            }
        }
    }
}

/// Scores, cut off and capped, into `2^(score − max)` in Q15; their sum, at most 2^23 over 256 positions, and the largest
/// score.
#[inline(always)]
pub(super) fn softmax(p: &AttnBlock, scores: &mut [i32], probabilities: &mut [u32]) -> (u32, i32) {
    for score in scores.iter_mut() {
        *score = (*score).clamp(-SCORE_MAX, SCORE_MAX);
    }
    if let Some(cap) = cap(p) {
        for score in scores.iter_mut() {
            *score = cap.apply(*score);
        }
    }
    let max = scores.iter().copied().max().unwrap_or(0);
    for (p, s) in probabilities.iter_mut().zip(&*scores) {
        *p = probability_q15(max, *s);
    }
    (probabilities.iter().sum(), max)
}

/// The largest exponent of the values' scales.
#[inline(always)]
pub(super) fn top_exponent(scales: &[u32]) -> i32 {
    scales.iter().map(|s| value_scale(*s).1).max().unwrap_or(0)
}

/// `p'`: a probability by its value's scale, relative to the largest exponent.
///
/// See VALUE_SHIFT for the bound, which is that of 16 bits too. The product is below 2^23: from a shift of 31 on nothing
/// is left.
#[inline(always)]
pub(super) fn weight(p: u32, scale: u32, top: i32) -> u16 {
    let (mantissa, exponent) = value_scale(scale);
    let shift = (VALUE_SHIFT + (top - exponent) as u32).min(31);
    ((p * mantissa + (1 << (shift - 1))) >> shift) as u16
}

/// A group's shares of the scores, added: [`share`] in 32 bits where every shift is one to the right by 1 to 31, as in
/// all but odd files.
#[inline(always)]
fn shares(products: &[i32], scales: &[u32], exponent: i32, scores: &mut [i32]) {
    let base = score_base(exponent);
    let shift = |scale: u32| base.wrapping_sub(key_scale(scale).1);
    let mut plain = true;
    for scale in scales {
        plain &= (1..=31).contains(&shift(*scale));
    }
    let all = scores.iter_mut().zip(products).zip(scales);
    if !plain {
        for ((score, d), scale) in all {
            *score += share(*d, *scale, exponent);
        }
        return;
    }
    for ((score, d), scale) in all {
        // Below 2^31; half up by two shifts, so that no sum leaves 32 bits.
        let product = d * key_scale(*scale).0 as i32;
        let rounded = ((product >> ((shift(*scale) - 1) & 31)) + 1) >> 1;
        *score += rounded.clamp(-SCORE_GROUP_MAX, SCORE_GROUP_MAX);
    }
}

/// A group's share of a score without a branch: the product is below 2^31, so from a shift right of 32 on the result is 0,
/// and of anything but 0, one left by 31 is beyond the limit.
#[inline(always)]
pub(super) fn share(d: i32, scale: u32, exponent: i32) -> i32 {
    let (mantissa, key_exponent) = key_scale(scale);
    let shift = score_base(exponent).wrapping_sub(key_exponent);
    let (left, right) = (shift.saturating_neg().clamp(0, 31), shift.clamp(0, 62));
    let product = (i64::from(d) * i64::from(mantissa)) << left;
    let rounded = (product + ((1i64 << right) >> 1)) >> right;
    let limit = i64::from(SCORE_GROUP_MAX);
    rounded.clamp(-limit, limit) as i32
}

/// A group of a query times that of each key.
#[inline(always)]
pub(super) fn dots(q: &[i16; 32], keys: &Part<'_>, out: &mut [i32]) {
    for (i, out) in out.iter_mut().enumerate() {
        let mut filled = [0; 32];
        let key = keys.get(i, &mut filled);
        let products = q
            .iter()
            .zip(key)
            .map(|(q, k)| i32::from(*q) * i32::from(*k));
        *out = products.sum();
    }
}

/// Values by their weights.
#[inline(always)]
pub(super) fn weigh(weights: &[u16], values: &Part<'_>, sums: &mut [i32; 32]) {
    for (i, weight) in weights.iter().enumerate() {
        let mut filled = [0; 32];
        let value = values.get(i, &mut filled);
        for (sum, v) in sums.iter_mut().zip(value) {
            *sum += i32::from(*weight) * i32::from(*v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::random::Random;
    use crate::cpu::simd::tests::with_each;
    use crate::kv::CacheBits;
    use crate::params::QUERY_MAX;
    use crate::reference;
    use crate::reference::softcap::Cap;
    use proptest::prelude::*;
    use proptest::sample::select;

    /// What random pages reach only by chance, of one row and of a band of rows.
    #[test]
    fn extremes_are_exact() {
        for bits in CacheBits::ALL {
            extremes(AttnBlock {
                heads: 1,
                heads_per_kv: 1,
                head_words: 8,
                groups: 1,
                max_blocks: 1,
                narrow: bits.narrow(),
                ..Default::default()
            });
        }
    }

    /// The largest codes of a part: bytes of the levels, or of the codes of 4 bits.
    fn largest(narrow: bool, sign: i8) -> (u8, i8) {
        match (narrow, sign) {
            (false, _) => ((127 * sign) as u8, 127 * sign),
            (true, 1) => (0x77, 123),
            (true, _) => (0xff, -123),
        }
    }

    fn extremes(p: AttnBlock) {
        let table = [0, PAGE - 1, 0].repeat(MANY);
        let signs = [(1i8, 1i8), (-1, 1), (1, -1), (-1, -1)];
        let layout = KvLayout::new(8, 1, p.narrow);
        // A query of ±2047: 32 times the first part, plus the second.
        for (high, low) in [(63i8, 31i8), (-63, -31)] {
            let mut query = vec![0; query_stride(8) as usize];
            query[..8].fill(u32::from_ne_bytes([high as u8; 4]));
            query[8..16].fill(u32::from_ne_bytes([low as u8; 4]));
            let query = query.repeat(MANY);
            // Shifts of the scores to the left, none, by 1 to 31 and beyond.
            let exponents = [-128i8, -46, -45, -20, -16, -15, -14, 0, 100, 127];
            for ((k, v), exponent) in signs.into_iter().flat_map(|s| exponents.map(|e| (s, e))) {
                let (k, _) = largest(p.narrow & NARROW_KEYS != 0, k);
                let (byte, v) = largest(p.narrow & NARROW_VALUES != 0, v);
                let mut cells = vec![0; layout.page(1) as usize];
                let [keys, values, scales] = layout.split_mut(&mut cells);
                keys.fill(u32::from_ne_bytes([k; 4]));
                values.fill(u32::from_ne_bytes([byte; 4]));
                scales.fill(u32::from_le_bytes([255, exponent as u8, 255, 0]));
                for rows in [1, FEW, MANY] {
                    let n = rows as u32;
                    let mut expected = vec![0; rows * partial_stride(8, 1) as usize];
                    let mut found = expected.clone();
                    let out = &mut expected[..];
                    reference::attn_block_q8::run(&p, n, 1, &table, &[0], &query, &cells, out);
                    let largest = 256 * i64::from(v) * ((255 << 15) >> VALUE_SHIFT);
                    assert_eq!(i64::from(expected[0] as i32), largest);
                    with_each(|isa| {
                        found.fill(7);
                        run(&p, n, 1, &table, &[0], &query, &cells, &mut found);
                        assert_eq!(found, expected, "{isa:?}");
                    });
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_share_is_the_defined_one(d in -(1i32 << 23) + 1..1 << 23, scale: u32, exponent in -300i32..300) {
            let expected = reference::attn_block_q8::share(i64::from(d), scale, exponent);
            prop_assert_eq!(share(d, scale, exponent), expected);
            let mut score = [3];
            shares(&[d], &[scale], exponent, &mut score);
            prop_assert_eq!(score[0], 3 + expected);
        }
    }

    /// Queries of 12 bits; with `far`, their exponents are of any size.
    fn queries(random: &mut Random, p: &AttnBlock, rows: u32, far: bool) -> Vec<u32> {
        let stride = query_stride(p.head_words) as usize;
        let mut query = vec![0; (rows * p.heads) as usize * stride];
        for query in query.chunks_exact_mut(stride) {
            let (codes, exponent) = query.split_at_mut(stride - 1);
            let codes: &mut [i8] = bytemuck::cast_slice_mut(codes);
            let (highs, lows) = codes.split_at_mut(4 * p.head_words as usize);
            for (high, low) in highs.iter_mut().zip(lows) {
                let q = random.range(-QUERY_MAX, QUERY_MAX);
                *low = (((q + 16) & 31) - 16) as i8;
                *high = ((q - i32::from(*low)) >> 5) as i8;
            }
            exponent[0] = match far {
                true => random.range(-150, 120),
                false => random.range(0, 23),
            } as u32;
        }
        query
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        /// Few rows and bands of them: sequences in turn, rows in any order, windows, groups of queries of any number.
        #[test]
        fn blocks_are_the_defined_ones(
            words in prop_oneof![1u32..=64, select(vec![1, 8, 11, 16, 64])],
            (kv_heads, heads_per_kv) in (1u32..3, 1u32..7),
            rows in prop_oneof![1u32..9, 15u32..21], turn in prop_oneof![1u32..3, 3u32..9],
            window in prop_oneof![select(vec![0u32, 1, 40, 300]), 1u32..600],
            cap in any::<bool>(), far in 2u32..20, narrow in 0u32..4, seed in any::<u64>(),
        ) {
            let mut random = Random(seed);
            let mut p = AttnBlock {
                heads: kv_heads * heads_per_kv,
                heads_per_kv,
                head_words: words,
                groups: words.div_ceil(8),
                window,
                table_stride: 2,
                max_blocks: 2,
                narrow,
                ..Default::default()
            };
            if cap {
                let of = Cap::new(1 << 30, -10);
                (p.cap_mantissa, p.cap_shift) = (of.mantissa, of.shift);
                (p.rate_mantissa, p.rate_shift) = (of.rate_mantissa, of.rate_shift);
            }
            let row_table: Vec<u32> = (0..rows)
                .flat_map(|r| [0, random.below(2 * PAGE), r / turn % 2])
                .collect();
            let query = queries(&mut random, &p, rows, far == 2);
            let layout = KvLayout::new(words, p.groups, narrow);
            let mut cache = random.words(4 * layout.page(kv_heads) as usize);
            for cells in cache.chunks_mut(layout.page(1) as usize) {
                let [_, _, scales] = layout.split_mut(cells);
                for scale in scales {
                    // Exponents near each other, as real pages have them; some far off.
                    if random.below(far) > 0 {
                        *scale = *scale & 0x00ff_00ff | 0xf600_f400;
                    }
                }
            }
            let pages = [2, 0, 1, 3];
            let of_head = 2 * partial_stride(words, p.groups);
            let before = random.words((rows * p.heads * of_head) as usize);
            let mut expected = before.clone();
            reference::attn_block_q8::run(&p, rows, 2, &row_table, &pages, &query, &cache, &mut expected);
            with_each(|isa| {
                let mut found = before.clone();
                run(&p, rows, 2, &row_table, &pages, &query, &cache, &mut found);
                assert_eq!(found, expected, "{isa:?}");
            });
        }
    }
}

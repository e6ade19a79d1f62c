//! Rows of activations as the wide versions read them: blocks of rows side by side, so that one address serves a step.

use super::{Activations, Isa, wide};
use crate::act_stride;
use crate::cpu::for_chunks;
use crate::cpu::scratch::{Scratch, grow};
use carat_format::{Encoding, TILE_ROWS};

/// Words of a group of a row among [`Shape::Cells`]: eight of codes, the scale, −128·Σ codes.
pub const CELL: usize = 10;
/// Words of two groups of a row among [`Shape::Pairs`]: the codes of both, −128·Σ codes of each, their scales in 16 bits
/// each.
pub const PAIR: usize = 19;
/// Groups whose activations lie together among [`Shape::Pairs`], an even number: levels of as many of a tile fill half of a
/// first cache of 32 KiB.
pub const CHUNK: usize = 16;

/// How rows lie in [`Panels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub enum Shape {
    /// Nothing is rearranged.
    None,
    /// Blocks of so many rows ([`block_rows`]), in each `[group][row of the block]` of [`CELL`].
    Cells(usize),
    /// By [`CHUNK`] groups; in each, blocks of so many rows, the last of what is left; in each,
    /// `[pair of groups][row of the block]` of [`PAIR`]. A last group without a second has zeros there.
    Pairs(usize),
}

/// Memory that is kept between calls.
#[derive(Default)]
pub struct Panels {
    #[cfg_attr(not(wide_isa), allow(dead_code))]
    words: Vec<u32>,
    /// Mantissa and exponent of each row's scale.
    units: Vec<(u32, i32)>,
}

/// What is kept for `rows` rows of `groups` groups: [`Panels`], a tile's decoded levels and its sums, by the version that
/// keeps most of each.
pub fn scratch(groups: usize, rows: u64) -> Scratch {
    let words = (groups * CELL).max(groups.div_ceil(2) * PAIR) as u64;
    // Levels and scales of a chunk, and two sums of 32 bits a row of weights.
    let in_chunks = (CHUNK * TILE_ROWS * 36) as u64 + rows * 8 * TILE_ROWS as u64;
    Scratch {
        panels: rows * (4 * words + size_of::<(u32, i32)>() as u64),
        levels: in_chunks.max((groups * TILE_ROWS * 32) as u64),
        ..Scratch::default()
    }
}

/// Rows of activations of the same length.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    act: &'a [u32],
    stride: usize,
    pub(super) groups: usize,
    pub(super) rows: usize,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(super) shape: Shape,
    #[cfg_attr(not(wide_isa), allow(dead_code))]
    pub(super) panels: &'a [u32],
    units: &'a [(u32, i32)],
}

/// The rows of the blocks that a batch is cut into, `rest` rows from its end.
#[cfg_attr(not(wide_isa), allow(dead_code))]
pub const fn block_rows(block: usize, rest: usize) -> usize {
    if rest < block { rest } else { block }
}

impl<'a> Batch<'a> {
    /// `rows` of `act`, `stride` words each, for weights of an encoding; `panels` is room that a version may need.
    pub fn new(
        isa: Isa,
        encoding: Encoding,
        act: &'a [u32],
        stride: usize,
        groups: usize,
        rows: usize,
        panels: &'a mut Panels,
    ) -> Self {
        debug_assert!(stride >= act_stride(groups as u32) as usize);
        let Panels { words, units } = panels;
        let row = |r: usize| Activations::new(&act[r * stride..(r + 1) * stride], groups);
        units.clear();
        units.reserve_exact(rows);
        units.extend((0..rows).map(row).map(|x| (x.mantissa, x.exponent)));
        let shape = isa.panels(rows, encoding);
        let len = match shape {
            Shape::None => 0,
            Shape::Cells(_) => rows * groups * CELL,
            Shape::Pairs(_) => rows * groups.div_ceil(2) * PAIR,
        };
        grow(words, len, 0);
        let panels = &mut words[..len];
        match shape {
            Shape::None => {}
            Shape::Cells(block) => {
                let mut first = 0;
                while first < rows {
                    let count = block_rows(block, rows - first);
                    let panel = &mut panels[first * groups * CELL..][..count * groups * CELL];
                    for b in 0..count {
                        wide::cells(row(first + b), panel, b, count);
                    }
                    first += count;
                }
            }
            Shape::Pairs(block) => {
                for_chunks(panels, CHUNK / 2 * rows * PAIR, |chunk, panel| {
                    let pairs = panel.len() / (rows * PAIR);
                    let blocks = panel.chunks_mut(block * pairs * PAIR);
                    for (i, panel) in blocks.enumerate() {
                        let count = panel.len() / (pairs * PAIR);
                        for b in 0..count {
                            wide::pairs(row(i * block + b), chunk * CHUNK, panel, b, count);
                        }
                    }
                });
            }
        }
        Self {
            act,
            stride,
            groups,
            rows,
            shape,
            panels,
            units,
        }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Mantissa and exponent of the scale of row `r`.
    pub fn unit(&self, r: usize) -> (u32, i32) {
        self.units[r]
    }

    /// Row `r`.
    pub fn row(&self, r: usize) -> Activations<'a> {
        Activations::new(
            &self.act[r * self.stride..(r + 1) * self.stride],
            self.groups,
        )
    }
}

/// −128·Σ of a group's codes: what levels raised by 128 add too much.
#[inline(always)]
fn bias(x: Activations<'_>, g: usize) -> u32 {
    let sum: i32 = x.codes(g).iter().map(|c| i32::from(*c)).sum();
    (-128 * sum) as u32
}

/// Row `row` of `rows` into their block of [`Shape::Cells`].
#[inline(always)]
pub fn cells(x: Activations<'_>, panel: &mut [u32], row: usize, rows: usize) {
    let cells = panel.chunks_exact_mut(CELL).skip(row).step_by(rows);
    for (g, cell) in cells.enumerate() {
        cell[..8].copy_from_slice(&x.words[g * 8..g * 8 + 8]);
        cell[8] = u32::from(x.scales[g]);
        cell[9] = bias(x, g);
    }
}

/// Groups of row `row` of `rows`, from `first` on, into their block of [`Shape::Pairs`].
#[inline(always)]
pub fn pairs(x: Activations<'_>, first: usize, panel: &mut [u32], row: usize, rows: usize) {
    let cells = panel.chunks_exact_mut(PAIR).skip(row).step_by(rows);
    for (i, cell) in cells.enumerate() {
        let g = first + 2 * i;
        if g + 1 < x.scales.len() {
            cell[..16].copy_from_slice(&x.words[g * 8..g * 8 + 16]);
            cell[17] = bias(x, g + 1);
            cell[18] = u32::from(x.scales[g]) | u32::from(x.scales[g + 1]) << 16;
        } else {
            cell[..8].copy_from_slice(&x.words[g * 8..g * 8 + 8]);
            cell[8..].fill(0);
            cell[18] = u32::from(x.scales[g]);
        }
        cell[16] = bias(x, g);
    }
}

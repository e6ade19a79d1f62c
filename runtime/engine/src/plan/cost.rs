//! What a step asks of a device for one row: bytes moved, integer instructions. Bounds follow from them, not times.

use super::{Op, Plan, Step};
use carat_format::Encoding;
use carat_shaders::kv::KvLayout;

/// What one dispatch costs at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of weights, keys and values read, each once.
    pub bytes: u64,
    /// Products of four pairs of bytes, `dot4I8Packed`.
    pub dots: u64,
    /// Other integer instructions of the inner loops, each on 32 bits.
    pub integers: u64,
}

impl std::ops::Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            dots: self.dots + other.dots,
            integers: self.integers + other.integers,
        }
    }
}

/// Codes of a group and row.
const GROUP: u64 = 32;
/// Of a group and row: seven additions of the dots, the scale out of its word (2), times it (1), and what both sums
/// take (5); see `add_group` in `wgsl/shared/tile.wgsl`.
const GROUP_INTEGERS: u64 = 7 + 8;

/// Instructions that turn a group's packed codes of a row into levels, counted from `levels_of` in
/// `wgsl/shared/tile.wgsl`: a mask is three (a shift, unless of bit 0, an `and`, an addition), each coefficient of a
/// table beyond the first an `and` and a `xor`.
const fn level_integers(encoding: Encoding) -> u64 {
    const fn masks(bits: u64) -> u64 {
        3 * bits - 1
    }
    const fn coefficients(bits: u64) -> u64 {
        2 * ((1 << bits) - 1)
    }
    match encoding {
        Encoding::Int8 => 0,
        // Eight words of the high bits (an `and`, half of them a shift), of the bits below (an `and` and a shift, but those
        // in their place), and three to join them with the lowest level.
        Encoding::Int6 => 8 + 4 + 8 + 6 + 8 * 3,
        Encoding::Int5 => 8 + 4 + 8 + 7 + 8 * 3,
        // Four words of eight codes: a table for each half of the bytes, and eight instructions to join them.
        Encoding::Pow4 => 4 * (masks(4) + 2 * coefficients(4) + 8),
        // Eight words of four codes from two planes, six instructions each.
        Encoding::Pow3 => 8 * (6 + masks(3) + coefficients(3)),
        Encoding::Pow2 => 8 * (2 + masks(2) + coefficients(2)),
        Encoding::Pow1 => 8 * (1 + masks(1) + coefficients(1)),
        // Thirteen steps of `digits`, thirteen instructions each, some fifteen between them, and look-ups of two bits.
        Encoding::Ternary => 13 * 13 + 15 + 8 * (masks(2) + coefficients(2)),
    }
}

fn product(rows: u64, groups: u64, encoding: Encoding) -> Cost {
    let each = rows * groups;
    Cost {
        bytes: 0,
        dots: each * (GROUP / 4),
        integers: each * (level_integers(encoding) + GROUP_INTEGERS),
    }
}

/// Instructions that make levels of four codes of 4 bits of the cache.
const LEVELS_INTEGERS: u64 = 20;

impl Plan {
    /// What a step costs for one row that sees `context` positions. Instructions are counted for products and attention
    /// alone: whatever else a token takes is bound by its dispatches.
    pub fn cost(&self, step: &Step, context: u32) -> Cost {
        let weights = Cost {
            bytes: self.weight_bytes(step),
            ..Cost::default()
        };
        let inner = match &step.op {
            Op::LinearTile(p, e) => product(p.part_rows.into(), p.groups.into(), *e),
            Op::LinearGated(p, e) => product(2 * u64::from(p.part_rows), p.groups.into(), *e),
            Op::LinearQkv(p, e) => {
                let rows = p.rows.iter().map(|r| u64::from(*r)).sum();
                product(rows, p.groups.into(), *e)
            }
            Op::AttnBlock(p) => {
                let seen = match p.window {
                    0 => context,
                    window => context.min(window),
                };
                let (heads, seen) = (u64::from(p.heads), u64::from(seen));
                let words = u64::from(p.head_words);
                let layout = KvLayout::new(p.head_words, p.groups, p.narrow);
                let position: usize = layout.strides().iter().sum();
                let levels = LEVELS_INTEGERS * u64::from(p.narrow.count_ones());
                // Keys, values and scales of each key/value head. Keys meet both planes of the query, values are unpacked,
                // multiplied and added one by one.
                Cost {
                    bytes: heads / u64::from(p.heads_per_kv.max(1)) * seen * 4 * position as u64,
                    dots: heads * seen * 2 * words,
                    integers: heads * seen * words * (2 + 3 * 4 + levels),
                }
            }
            _ => Cost::default(),
        };
        weights + inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::internals::{Model, Verify};
    use crate::plan::Extent;
    use crate::selftest::Shape;

    #[test]
    fn a_token_reads_every_weight_once() {
        for encoding in Encoding::ALL {
            let shape = Shape {
                encoding,
                ..Shape::default()
            };
            let model = Model::from_bytes(&shape.bytes(), Verify::Structure).unwrap();
            let plan = Plan::new(model.spec(), model.directory(), Extent::default()).unwrap();
            let cost = |s: &Step| plan.cost(s, 100);
            let total = plan
                .steps
                .iter()
                .map(cost)
                .fold(Cost::default(), |a, b| a + b);
            let (head_words, groups) = (shape.head_dim.div_ceil(4), shape.head_dim.div_ceil(32));
            let cached = shape.blocks * shape.kv_heads * 100 * 4 * (2 * head_words + groups);
            assert_eq!(total.bytes, plan.decode_weight_bytes() + u64::from(cached));
            // A multiplication a weight: four of them a dot.
            let matrices = model.directory().matrices.iter();
            let weights: u64 = matrices.map(|m| m.layout.rows * m.layout.groups * 32).sum();
            let scores = shape.blocks * shape.heads * 100 * 2 * head_words;
            assert_eq!(total.dots, weights / 4 + u64::from(scores));
        }
    }

    #[test]
    fn counts_of_a_group() {
        let counts: Vec<u64> = Encoding::ALL.into_iter().map(level_integers).collect();
        assert_eq!(counts, [40, 272, 104, 224, 316, 51, 50, 0]);
    }
}

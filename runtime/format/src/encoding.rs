//! The weight encodings: bits a code, bytes a group, weights a scale, and the table of levels.

/// Weights of a group: the codes that are stored together along a row, and the columns that share a scale
/// of the activations. A [`ScaleGroup`] is one, two or four of them.
pub const GROUP: usize = 32;
/// Rows whose groups are interleaved in a payload.
pub const TILE_ROWS: usize = 32;
/// Largest magnitude of a level; −128 is never written, and refused in a table.
pub const MAX_LEVEL: i8 = 127;

/// How the codes of a matrix are stored.
///
/// A weight is `level(code) · scale(group) · mantissa(row) · 2^exponent(row)`, where `level` looks
/// the code up in the tensor's [`Table`] (for [`Encoding::Int8`] the code is the level).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// 1-bit codes through a table of 2 levels.
    Pow1,
    /// 2-bit codes through a table of 4 levels.
    Pow2,
    /// 3-bit codes through a table of 8 levels: a 2-bit plane, then a 1-bit plane.
    Pow3,
    /// 4-bit codes through a table of 16 levels.
    Pow4,
    /// 8-bit levels without a table.
    Int8,
}

impl Encoding {
    /// Every encoding, by rising width.
    pub const ALL: [Encoding; 5] = [
        Encoding::Pow1,
        Encoding::Pow2,
        Encoding::Pow3,
        Encoding::Pow4,
        Encoding::Int8,
    ];

    /// The name in a file's directory.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Pow1 => "pow1",
            Encoding::Pow2 => "pow2",
            Encoding::Pow3 => "pow3",
            Encoding::Pow4 => "pow4",
            Encoding::Int8 => "int8",
        }
    }

    /// Bits of a code.
    pub const fn bits(self) -> u32 {
        match self {
            Encoding::Pow1 => 1,
            Encoding::Pow2 => 2,
            Encoding::Pow3 => 3,
            Encoding::Pow4 => 4,
            Encoding::Int8 => 8,
        }
    }

    /// The encoding with codes of `bits` bits.
    pub fn from_bits(bits: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.bits() == bits)
    }

    /// The encoding of that name in a file's directory.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Bytes of the codes of one group of one row.
    pub const fn group_bytes(self) -> usize {
        GROUP * self.bits() as usize / 8
    }

    /// Whether the levels depend on an exponent p: ±127 and all of int8 do not.
    pub const fn has_power(self) -> bool {
        self.levels() > 2
    }

    /// Levels in the tensor's table; 0 where the code is the level.
    pub const fn levels(self) -> usize {
        match self {
            Encoding::Int8 => 0,
            _ => 1 << self.bits(),
        }
    }
}

/// Weights of a row that share one 8-bit scale. Scales start at column 0; the last one of a row may cover
/// fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScaleGroup {
    /// 32 weights: one group.
    #[default]
    W32,
    /// 64 weights.
    W64,
    /// 128 weights.
    W128,
}

impl ScaleGroup {
    /// Every size, rising.
    pub const ALL: [ScaleGroup; 3] = [ScaleGroup::W32, ScaleGroup::W64, ScaleGroup::W128];

    /// How many weights.
    pub const fn weights(self) -> usize {
        GROUP << self.shift()
    }

    /// The scale of group `g` is scale `g >> shift` of its row.
    pub const fn shift(self) -> u32 {
        match self {
            ScaleGroup::W32 => 0,
            ScaleGroup::W64 => 1,
            ScaleGroup::W128 => 2,
        }
    }

    /// The size of `weights` weights.
    pub fn from_weights(weights: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|g| g.weights() == weights as usize)
    }
}

/// How the weights of a matrix are coded: its codes and the reach of its scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Coding {
    /// The codes.
    pub encoding: Encoding,
    /// The weights of a scale.
    pub group: ScaleGroup,
}

impl From<Encoding> for Coding {
    /// With a scale for each 32 weights.
    fn from(encoding: Encoding) -> Self {
        Self {
            encoding,
            group: ScaleGroup::default(),
        }
    }
}

/// The int8 levels of a tensor's codes; entries beyond `levels()` are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table(pub [i8; 16]);

impl Table {
    /// The mid-rise power grid: `u = 2c − (2^b − 1)`, `level = sgn(u) · round(127 · (|u|/(2^b−1))^p)`.
    ///
    /// Source: the power automorphisms of PowerQuant/NUPES on a grid without a zero level. The levels of
    /// [`Encoding::Pow1`] are ±127 whatever p is. Returns the zero table for [`Encoding::Int8`], which has none.
    pub fn power(encoding: Encoding, p: f64) -> Self {
        let mut table = [0i8; 16];
        let n = encoding.levels();
        for (c, level) in table.iter_mut().enumerate().take(n) {
            let u = 2 * c as i32 - (n as i32 - 1);
            let x = f64::from(u.abs()) / (n as f64 - 1.0);
            let magnitude = libm::round(f64::from(MAX_LEVEL) * libm::pow(x, p)) as i8;
            *level = if u < 0 { -magnitude } else { magnitude };
        }
        Table(table)
    }

    /// The table as the kernels' uniform takes it: byte `c` of the 16 is level `c`.
    pub fn words(&self) -> [u32; 4] {
        let b = self.0.map(|v| v as u8);
        core::array::from_fn(|w| {
            u32::from_le_bytes([b[4 * w], b[4 * w + 1], b[4 * w + 2], b[4 * w + 3]])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_has_two_opposite_levels_at_every_exponent() {
        for p in [0.5, 1.0, 1.3, 4.0] {
            let table = Table::power(Encoding::Pow1, p);
            assert_eq!(table.0[..2], [-127, 127]);
            assert_eq!(table.0[2..], [0; 14]);
        }
        let with_power = Encoding::ALL.map(Encoding::has_power);
        assert_eq!(with_power, [false, true, true, true, false]);
    }

    #[test]
    fn names_and_sizes_come_back() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
            assert_eq!(Encoding::from_bits(encoding.bits()), Some(encoding));
        }
        for group in ScaleGroup::ALL {
            assert_eq!(
                ScaleGroup::from_weights(group.weights() as u32),
                Some(group)
            );
            assert_eq!(group.weights(), GROUP << group.shift());
        }
        for weights in [0, 1, 16, 31, 33, 48, 96, 256, u32::MAX] {
            assert_eq!(ScaleGroup::from_weights(weights), None);
        }
    }
}

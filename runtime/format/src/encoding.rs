//! The weight encodings: bits a code, bytes a group, and the table of levels.

/// Weights that share one 8-bit scale, along a row.
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
    pub const ALL: [Encoding; 4] = [
        Encoding::Pow2,
        Encoding::Pow3,
        Encoding::Pow4,
        Encoding::Int8,
    ];

    /// The name in a file's directory.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Pow2 => "pow2",
            Encoding::Pow3 => "pow3",
            Encoding::Pow4 => "pow4",
            Encoding::Int8 => "int8",
        }
    }

    /// Bits of a code.
    pub const fn bits(self) -> u32 {
        match self {
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

    /// Levels in the tensor's table; 0 where the code is the level.
    pub const fn levels(self) -> usize {
        match self {
            Encoding::Int8 => 0,
            _ => 1 << self.bits(),
        }
    }
}

/// The int8 levels of a tensor's codes; entries beyond `levels()` are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table(pub [i8; 16]);

impl Table {
    /// The mid-rise power grid: `u = 2c − (2^b − 1)`, `level = sgn(u) · round(127 · (|u|/(2^b−1))^p)`.
    ///
    /// Source: the power automorphisms of PowerQuant/NUPES on a grid without a zero level. Returns
    /// the zero table for [`Encoding::Int8`], which has none.
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

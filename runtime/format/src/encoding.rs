//! The weight encodings: codes, bytes of a tile's group, weights a scale, and the table of levels.

/// Weights of a group: the codes that are stored together along a row, and the columns that share a scale
/// of the activations. A [`ScaleGroup`] is one, two or four of them.
pub const GROUP: usize = 32;
/// Rows whose groups are interleaved in a payload.
pub const TILE_ROWS: usize = 32;
/// Largest magnitude of a level; −128 is never written, and refused in a table.
pub const MAX_LEVEL: i8 = 127;

/// Declares the encodings, one row each: variant, name in a file's directory, [`Encoding::bits`], [`Encoding::codes`],
/// [`Encoding::cell_bytes`], and the step of its levels where the code alone gives them.
macro_rules! encodings {
    ($($(#[$doc:meta])* $variant:ident $name:literal $bits:literal $codes:literal $cell:literal $(step $step:literal)?;)*) => {
        /// How the codes of a matrix are stored.
        ///
        /// A weight is `level(code) · scale(group) · mantissa(row) · 2^exponent(row)`; see [`Encoding::level`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Encoding {
            $($(#[$doc])* $variant,)*
        }

        impl Encoding {
            /// Every encoding, by rising width.
            pub const ALL: [Encoding; [$($codes),*].len()] = [$(Encoding::$variant),*];

            /// The name in a file's directory.
            pub const fn name(self) -> &'static str {
                match self { $(Encoding::$variant => $name,)* }
            }

            /// Bits of a code, by which an encoding is asked for: 1.6 for five ternary codes in a byte. What the codes take
            /// in a file is [`Self::stored_bits`].
            pub const fn bits(self) -> f64 {
                match self { $(Encoding::$variant => $bits,)* }
            }

            /// How many codes there are; it names the encoding in the kernels.
            pub const fn codes(self) -> u32 {
                match self { $(Encoding::$variant => $codes,)* }
            }

            /// Bytes of the codes of one group of the rows of a tile. The 1,024 ternary codes need 205 bytes; 208 is
            /// the next multiple of the 16 that kernels load at once.
            pub const fn cell_bytes(self) -> usize {
                match self { $(Encoding::$variant => $cell,)* }
            }

            /// How far apart levels are that the code alone gives; 0 where a table gives them.
            const fn step(self) -> u8 {
                match self { $(Encoding::$variant => 0 $(+ $step)?,)* }
            }
        }
    };
}

encodings! {
    /// 1-bit codes through a table of 2 levels.
    Pow1 "pow1" 1.0 2 128;
    /// Codes 0, 1 and 2 through a table of 3 levels, five in a byte.
    Ternary "ternary" 1.6 3 208;
    /// 2-bit codes through a table of 4 levels.
    Pow2 "pow2" 2.0 4 256;
    /// 3-bit codes through a table of 8 levels: a 2-bit plane, then a 1-bit plane.
    Pow3 "pow3" 3.0 8 384;
    /// 4-bit codes through a table of 16 levels.
    Pow4 "pow4" 4.0 16 512;
    /// 5-bit codes of 32 levels 8 apart, without a table: a 4-bit plane of the codes' high bits, then a 1-bit plane.
    Int5 "int5" 5.0 32 640 step 8;
    /// 6-bit codes of 64 levels 4 apart, without a table: a 4-bit plane of the codes' high bits, then a 2-bit plane.
    Int6 "int6" 6.0 64 768 step 4;
    /// 8-bit levels without a table.
    Int8 "int8" 8.0 256 1024 step 1;
}

impl Encoding {
    /// The encoding with codes of `bits` bits.
    pub fn from_bits(bits: f64) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.bits() == bits)
    }

    /// The encoding whose [`Self::bits`] are written so, in the shortest way: `4`, `1.6`.
    pub fn from_bits_text(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|e| format!("{}", e.bits()) == text)
    }

    /// The bits of every encoding, for messages: `1, 1.6, … or 8`.
    pub fn bits_of_all() -> String {
        let [others @ .., last] = Self::ALL.map(|e| e.bits().to_string());
        format!("{} or {last}", others.join(", "))
    }

    /// The encoding of that name in a file's directory.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Bits that a code takes in a file: [`Self::bits`], but 1.625 for ternary codes.
    pub const fn stored_bits(self) -> f64 {
        self.cell_bytes() as f64 * 8.0 / (GROUP * TILE_ROWS) as f64
    }

    /// Whether the levels depend on an exponent p: ±127, −127, 0, 127 and those without a table do not.
    pub const fn has_power(self) -> bool {
        self.levels() > 3
    }

    /// Levels in the tensor's table; 0 where the code alone gives the level.
    pub const fn levels(self) -> usize {
        match self.step() {
            0 => self.codes() as usize,
            _ => 0,
        }
    }

    /// The level of a code, by the bytes of the tensor's [`Table`] where the encoding has one.
    ///
    /// Levels `s` apart lie half a step on either side of zero: `8·code − 124` within ±124 for 5 bits and `4·code − 126`
    /// within ±126 for 6. Of 8 bits the code is the level.
    #[inline(always)]
    pub const fn level(self, table: &[u8; 16], code: u8) -> i8 {
        (match self.step() {
            0 => table[(code & 15) as usize],
            1 => code,
            // The lowest level is −128 and half a step.
            step => code.wrapping_mul(step).wrapping_add(128 + step / 2),
        }) as i8
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
    /// The power grid of `n` levels: `u = 2c − (n − 1)`, `level = sgn(u) · round(127 · (|u|/(n−1))^p)`.
    ///
    /// Source: the power automorphisms of PowerQuant/NUPES, where n is even on a grid without a zero level. The
    /// levels of [`Encoding::Pow1`] are ±127 and those of [`Encoding::Ternary`] −127, 0 and 127 whatever p is. The zero
    /// table for encodings that have none.
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

    /// Byte `c` is level `c`.
    pub fn bytes(&self) -> [u8; 16] {
        self.0.map(|v| v as u8)
    }

    /// The table as the kernels' uniform takes it: byte `c` of the 16 is level `c`.
    pub fn words(&self) -> [u32; 4] {
        let b = self.bytes();
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
        assert_eq!(
            with_power,
            [false, false, true, true, true, false, false, false]
        );
        let ternary = Table::power(Encoding::Ternary, 1.7);
        assert_eq!(ternary.0[..4], [-127, 0, 127, 0]);
    }

    #[test]
    fn levels_without_a_table_are_even_and_opposite() {
        // What a table holds makes no difference.
        let table = [99; 16];
        for (encoding, step) in [(Encoding::Int5, 8), (Encoding::Int6, 4)] {
            let last = encoding.codes() as u8 - 1;
            let level = |code: u8| i32::from(encoding.level(&table, code));
            assert_eq!(level(last), 128 - step / 2);
            for code in 0..=last {
                assert_eq!(level(code), step * i32::from(code) - level(last));
                assert_eq!(level(last - code), -level(code));
                assert!(level(code).abs() <= MAX_LEVEL.into());
            }
            assert_eq!(Table::power(encoding, 1.3), Table::default());
        }
        for code in 0..=255u8 {
            assert_eq!(Encoding::Int8.level(&table, code), code as i8);
            assert_eq!(Encoding::Pow4.level(&table, code), 99);
        }
    }

    #[test]
    fn names_and_sizes_come_back() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
            assert_eq!(Encoding::from_bits(encoding.bits()), Some(encoding));
            let text = format!("{}", encoding.bits());
            assert_eq!(Encoding::from_bits_text(&text), Some(encoding));
            let stored = encoding.stored_bits() - encoding.bits();
            assert!((0.0..0.03).contains(&stored), "{encoding:?}");
            // Kernels load four words at a time.
            assert_eq!(encoding.cell_bytes() % 16, 0);
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

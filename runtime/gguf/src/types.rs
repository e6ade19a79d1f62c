//! Numbers that GGUF gives to the types of values and of tensor elements.

use core::fmt;

/// Type of a metadata value (`gguf_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs)] // The names say it.
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// All types, by number.
    pub const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Str,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// The type with this number in the file, if there is one.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(raw).ok()?).copied()
    }

    /// Number of the type in the file.
    pub fn raw(self) -> u32 {
        self as u32
    }

    /// Bytes of one value; `None` for strings and arrays.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Str | Self::Array => None,
        }
    }

    /// Whether values of the type are integers (booleans are not).
    pub fn is_integer(self) -> bool {
        !matches!(
            self,
            Self::F32 | Self::F64 | Self::Bool | Self::Str | Self::Array
        )
    }

    /// Name of the type, as the GGUF specification spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::F32 => "float32",
            Self::Bool => "bool",
            Self::Str => "string",
            Self::Array => "array",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F64 => "float64",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Type of a tensor's elements (`ggml_type`), by number. A number that this crate does not know is
/// kept, so that a file of a newer ggml can still be read and listed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorType(pub u32);

macro_rules! tensor_types {
    ($($name:ident = $raw:literal, $block:literal, $bytes:literal;)*) => {
        #[allow(missing_docs)] // The names are ggml's.
        impl TensorType {
            $(pub const $name: Self = Self($raw);)*

            /// All types that this crate knows, by number.
            pub const KNOWN: &'static [Self] = &[$(Self::$name),*];
        }

        impl TensorType {
            /// Name, elements of a block, bytes of a block.
            const fn facts(self) -> Option<(&'static str, u64, u64)> {
                match self.0 {
                    $($raw => Some((stringify!($name), $block, $bytes)),)*
                    _ => None,
                }
            }
        }
    };
}

// Numbers, elements and bytes of a block: ggml.h and ggml-common.h. Numbers that ggml has retired
// (4, 5, 31 to 33, 36 to 38) are unknown ones. 142 and 143 are of PrismML's fork.
tensor_types! {
    F32 = 0, 1, 4;
    F16 = 1, 1, 2;
    Q4_0 = 2, 32, 18;
    Q4_1 = 3, 32, 20;
    Q5_0 = 6, 32, 22;
    Q5_1 = 7, 32, 24;
    Q8_0 = 8, 32, 34;
    Q8_1 = 9, 32, 36;
    Q2_K = 10, 256, 84;
    Q3_K = 11, 256, 110;
    Q4_K = 12, 256, 144;
    Q5_K = 13, 256, 176;
    Q6_K = 14, 256, 210;
    Q8_K = 15, 256, 292;
    IQ2_XXS = 16, 256, 66;
    IQ2_XS = 17, 256, 74;
    IQ3_XXS = 18, 256, 98;
    IQ1_S = 19, 256, 50;
    IQ4_NL = 20, 32, 18;
    IQ3_S = 21, 256, 110;
    IQ2_S = 22, 256, 82;
    IQ4_XS = 23, 256, 136;
    I8 = 24, 1, 1;
    I16 = 25, 1, 2;
    I32 = 26, 1, 4;
    I64 = 27, 1, 8;
    F64 = 28, 1, 8;
    IQ1_M = 29, 256, 56;
    BF16 = 30, 1, 2;
    TQ1_0 = 34, 256, 54;
    TQ2_0 = 35, 256, 66;
    MXFP4 = 39, 32, 17;
    NVFP4 = 40, 64, 36;
    Q1_0 = 41, 128, 18;
    Q2_0 = 42, 64, 18;
    PQ2_0 = 142, 128, 34;
    PTQ1_0 = 143, 128, 28;
}

impl TensorType {
    /// ggml's name of the type; `None` for an unknown number.
    pub fn name(self) -> Option<&'static str> {
        self.facts().map(|f| f.0)
    }

    /// Elements of a block; `None` for an unknown number.
    pub fn block_size(self) -> Option<u64> {
        self.facts().map(|f| f.1)
    }

    /// Bytes of a block; `None` for an unknown number.
    pub fn type_size(self) -> Option<u64> {
        self.facts().map(|f| f.2)
    }

    /// The known type of this name, as [`name`](Self::name) spells it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::KNOWN.iter().copied().find(|t| t.name() == Some(name))
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown type {}", self.0),
        }
    }
}

impl fmt::Debug for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorType({}: {self})", self.0)
    }
}

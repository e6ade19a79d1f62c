//! The uniform of every kernel and the constants that WGSL and Rust share, declared once.
//!
//! `build.rs` includes this file and writes the WGSL `struct Params` and `const`s from it.

/// Positions of a KV page, and of the blocks on which attention is defined.
pub const PAGE: u32 = 256;
/// Fraction bits of attention scores, which are in units of log2.
pub const SCORE_BITS: u32 = 14;
/// Largest magnitude of a group's share of a score; 8 groups stay under 2^31.
pub const SCORE_GROUP_MAX: i32 = (1 << 28) - 1;
/// Largest magnitude of a score before a soft-cap, which may give any number of 32 bits: distances are counted in u32.
pub const SCORE_MAX: i32 = (1 << 30) - 1;
/// Largest magnitude of a quantized query: 12 bits.
pub const QUERY_MAX: i32 = 2047;
/// A weight of a value is `p · mantissa >> VALUE_SHIFT` for the block's largest exponent: `p ≤ 2^15` and
/// mantissas up to 255 give at most 65,280, and 256 of them times 127 stay under 2^31.
pub const VALUE_SHIFT: u32 = 7;
/// The cache's keys have 4 bits: a bit of `narrow`, see `CacheBits` in `kv.rs`.
pub const NARROW_KEYS: u32 = 1;
/// The cache's values have 4 bits.
pub const NARROW_VALUES: u32 = 2;
/// Bits by which the product of two groups of 32 is less after both were turned: `turn` in `reference/narrow.rs`.
pub const TURN_SHIFT: u32 = 5;
/// Words of one entry of the batch's row table: token, position, sequence.
pub const ROW_WORDS: u32 = 3;
/// Words of the statistics: saturations, largest |residual|.
pub const STATS_WORDS: u32 = 2;
/// Words of one row of `logits_stats`: checksum low, checksum high, arg-max, maximum.
pub const RESULT_WORDS: u32 = 4;
/// Seeds of the two halves of the logits checksum.
pub const MIX_LOW: u32 = 0x2545_f491;
/// See [`MIX_LOW`].
pub const MIX_HIGH: u32 = 0x9e6c_63d0;
/// A product is stored.
pub const STORE: u32 = 0;
/// A product is added to the residual stream with saturation and statistics.
pub const ACCUMULATE: u32 = 1;
/// A product is stored in a unit that contains its row of activations' own exponent: with scales of any
/// size nothing saturates, and a norm that follows takes the unit out.
pub const STORE_RELATIVE: u32 = 2;
/// Fraction bits of an adapter's strength.
pub const STRENGTH_BITS: u32 = 12;
/// Largest magnitude of a strength, 16: times a mantissa of 16 bits it stays below 2^32.
pub const STRENGTH_MAX: i32 = 16 << STRENGTH_BITS;
/// Gate: x·σ(x).
pub const SILU: u32 = 0;
/// Gate: the tanh approximation of GELU.
pub const GELU_TANH: u32 = 1;
/// Gate: max(x, 0)².
pub const RELU_SQUARED: u32 = 2;
/// 2·√(2/π)·log2(e) in Q27: GELU's exponent for small x.
pub const GELU_LINEAR_Q27: u32 = 308_997_154;
/// 0.044715 times that, in Q35.
pub const GELU_CUBIC_Q35: u32 = 3_537_102_779;
/// ln 2 in Q32.
pub const LN_2_Q32: u32 = 2_977_044_472;
/// log2(e) in Q30.
pub const LOG2_E_Q30: u32 = 1_549_082_005;

/// (name, value) of each constant above and of the encodings' geometry, for the WGSL prelude.
pub const WGSL_CONSTANTS: &[(&str, i64)] = &[
    ("GROUP", 32),
    ("TILE_ROWS", 32),
    ("PAGE", PAGE as i64),
    ("SCORE_BITS", SCORE_BITS as i64),
    ("VALUE_SHIFT", VALUE_SHIFT as i64),
    ("NARROW_KEYS", NARROW_KEYS as i64),
    ("TURN_SHIFT", TURN_SHIFT as i64),
    ("NARROW_VALUES", NARROW_VALUES as i64),
    ("ROW_WORDS", ROW_WORDS as i64),
    ("RESULT_WORDS", RESULT_WORDS as i64),
    ("MIX_LOW", MIX_LOW as i64),
    ("MIX_HIGH", MIX_HIGH as i64),
    ("LOG2_E_Q30", LOG2_E_Q30 as i64),
    ("LN_2_Q32", LN_2_Q32 as i64),
    ("GELU_LINEAR_Q27", GELU_LINEAR_Q27 as i64),
    ("GELU_CUBIC_Q35", GELU_CUBIC_Q35 as i64),
    ("ACCUMULATE", ACCUMULATE as i64),
    ("STORE_RELATIVE", STORE_RELATIVE as i64),
    ("STRENGTH_BITS", STRENGTH_BITS as i64),
    ("SILU", SILU as i64),
    ("GELU_TANH", GELU_TANH as i64),
];
/// Signed constants for the WGSL prelude.
pub const WGSL_SIGNED_CONSTANTS: &[(&str, i64)] = &[
    ("SCORE_GROUP_MAX", SCORE_GROUP_MAX as i64),
    ("SCORE_MAX", SCORE_MAX as i64),
    ("QUERY_MAX", QUERY_MAX as i64),
];

/// The WGSL type of a Rust field type.
pub trait WgslType {
    /// Its name.
    const NAME: &'static str;
}
impl WgslType for u32 {
    const NAME: &'static str = "u32";
}
impl WgslType for i32 {
    const NAME: &'static str = "i32";
}
impl WgslType for [u32; 4] {
    const NAME: &'static str = "vec4<u32>";
}
impl WgslType for [i32; 4] {
    const NAME: &'static str = "vec4<i32>";
}

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident for $kernels:expr => { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
            pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }
        )*
        /// (kernels, fields as (name, WGSL type)) of every uniform.
        pub const WGSL_PARAMS: &[(&[&str], &[(&str, &str)])] = &[
            $((&$kernels, &[$((stringify!($field), <$ty as WgslType>::NAME)),*]),)*
        ];
    };
}

params! {
    /// A matrix part as kernels see it: geometry in words and rows.
    EmbedRow for ["embed_row_q"] => {
        /// Levels of the codes.
        table: [u32; 4],
        /// First row of the bound part.
        row_start: u32,
        /// Rows of the bound part.
        part_rows: u32,
        /// Groups of a row.
        groups: u32,
        /// Word offset of the scales in the bound part.
        scales: u32,
        /// Word offset of the row scales in the bound part.
        row_scales: u32,
        /// Columns, D.
        cols: u32,
        /// Exponent of the residual stream.
        exponent: i32,
        /// The scale of group `g` is scale `g >> scale_shift` of its row; 0 to 2.
        scale_shift: u32,
    }
    /// RMSNorm with gains, quantized to activations.
    RmsnormRow for ["rmsnorm_row_q8"] => {
        /// Columns, D.
        cols: u32,
        /// Words of a row of activations.
        act_stride: u32,
        /// Mantissa of D·ε.
        eps_mantissa: u32,
        /// Exponent of D·ε relative to the square of the residual's unit.
        eps_exponent: i32,
        /// Exponent of the gains' mantissas (factor √D folded in).
        gain_exponent: i32,
        /// Padding to 16 bytes.
        pad0: u32,
        /// Padding to 16 bytes.
        pad1: u32,
        /// Padding to 16 bytes.
        pad2: u32,
    }
    /// i32 rows quantized to activations.
    QuantizeRow for ["quantize_row_q8"] => {
        /// Columns.
        cols: u32,
        /// Words of a row of activations.
        act_stride: u32,
        /// Exponent of the input.
        exponent: i32,
        /// Padding to 16 bytes.
        pad0: u32,
    }
    /// A matrix part times activations.
    LinearTile for ["linear_tile_q"] => {
        /// Levels of the codes.
        table: [u32; 4],
        /// Row of the output where the bound part starts.
        row_start: u32,
        /// Rows of the bound part.
        part_rows: u32,
        /// Groups of a row.
        groups: u32,
        /// Word offset of the scales in the bound part.
        scales: u32,
        /// Word offset of the row scales in the bound part.
        row_scales: u32,
        /// Words of a row of activations.
        act_stride: u32,
        /// Words of a row of the output.
        out_stride: u32,
        /// Exponent of the output.
        exponent: i32,
        /// What becomes of the product: [`STORE`], [`ACCUMULATE`] or [`STORE_RELATIVE`].
        mode: u32,
        /// The scale of group `g` is scale `g >> scale_shift` of its row; 0 to 2.
        scale_shift: u32,
        /// Padding to 16 bytes.
        pad0: u32,
        /// Padding to 16 bytes.
        pad1: u32,
    }
    /// activation(gate)·up of the products of two matrices of one layout with activations.
    LinearGated for ["linear_gated_tile_q"] => {
        /// Levels of the gate's codes.
        gate_table: [u32; 4],
        /// Levels of the up projection's codes.
        up_table: [u32; 4],
        /// Rows of each matrix.
        part_rows: u32,
        /// Groups of a row.
        groups: u32,
        /// Word offset of the scales in each matrix.
        scales: u32,
        /// Word offset of the row scales in each matrix.
        row_scales: u32,
        /// Words of a row of activations.
        act_stride: u32,
        /// Exponent of the gate.
        gate_exponent: i32,
        /// Exponent of the up projection.
        up_exponent: i32,
        /// [`SILU`], [`GELU_TANH`] or [`RELU_SQUARED`]: a constant of the kernel, too.
        activation: u32,
        /// The scale of group `g` is scale `g >> scale_shift` of its row; 0 to 2.
        scale_shift: u32,
        /// Padding to 16 bytes.
        pad0: u32,
        /// Padding to 16 bytes.
        pad1: u32,
        /// Padding to 16 bytes.
        pad2: u32,
    }
    /// Three matrices of one encoding times the same activations: queries, keys, values, and a zero.
    LinearQkv for ["linear_qkv_tile_q"] => {
        /// Levels of the queries' codes.
        q_table: [u32; 4],
        /// Levels of the keys' codes.
        k_table: [u32; 4],
        /// Levels of the values' codes.
        v_table: [u32; 4],
        /// Rows of each matrix.
        rows: [u32; 4],
        /// Word offset of the scales in each.
        scales: [u32; 4],
        /// Word offset of the row scales in each.
        row_scales: [u32; 4],
        /// Exponent of each product.
        exponents: [i32; 4],
        /// Groups of a row.
        groups: u32,
        /// Words of a row of activations.
        act_stride: u32,
        /// The scale of group `g` is scale `g >> scale_shift` of its row; 0 to 2.
        scale_shift: u32,
        /// Padding to 16 bytes.
        pad0: u32,
    }
    /// cos and sin of every pair at every row's position.
    RopeAngles for ["rope_angles_q30"] => {
        /// Rotated pairs, head_dim/2.
        pairs: u32,
        /// Padding to 16 bytes.
        pad0: u32,
        /// Padding to 16 bytes.
        pad1: u32,
        /// Padding to 16 bytes.
        pad2: u32,
    }
    /// Queries and keys rotated; queries quantized to 12 bits, keys and values stored in their page.
    RopeStore for ["rope_store_q8"] => {
        /// Query heads.
        heads: u32,
        /// Key/value heads.
        kv_heads: u32,
        /// Dimensions of a head.
        head_dim: u32,
        /// Words of a head, and of a plane of a query: ceil(head_dim / 4).
        head_words: u32,
        /// Groups of a head: ceil(head_dim / 32).
        groups: u32,
        /// Exponent of the queries.
        query_exponent: i32,
        /// Mantissa of log2(e)/√head_dim.
        scale_mantissa: u32,
        /// Its exponent.
        scale_exponent: i32,
        /// Exponent of the keys.
        key_exponent: i32,
        /// Exponent of the values.
        value_exponent: i32,
        /// Pages of a sequence's row in the page table.
        table_stride: u32,
        /// Which of the cache's codes have 4 bits: [`NARROW_KEYS`] | [`NARROW_VALUES`]; a constant of the kernel, too.
        narrow: u32,
    }
    /// Attention of one head, row and block of positions.
    AttnBlock for ["attn_block_q8"] => {
        /// Query heads.
        heads: u32,
        /// Query heads that share a key/value head.
        heads_per_kv: u32,
        /// Words of a head: ceil(head_dim / 4).
        head_words: u32,
        /// Groups of a head: ceil(head_dim / 32).
        groups: u32,
        /// Pages of a sequence's row in the page table.
        table_stride: u32,
        /// Blocks for which the partial results have room.
        max_blocks: u32,
        /// Positions that a row sees, its own included; 0 is all.
        window: u32,
        /// Mantissa of the cap in units of scores; 0 is none.
        cap_mantissa: u32,
        /// The cap is `cap_mantissa · 2^(30 − cap_shift)` units of scores.
        cap_shift: i32,
        /// Mantissa of 2·log2(e) over the cap.
        rate_mantissa: u32,
        /// `score · rate_mantissa · 2^-rate_shift` is 2·log2(e)·score/cap in Q26.
        rate_shift: i32,
        /// Which of the cache's codes have 4 bits: [`NARROW_KEYS`] | [`NARROW_VALUES`]; a constant of the kernel, too.
        narrow: u32,
    }
    /// The blocks of one head and row merged.
    AttnMerge for ["attn_merge_i32", "attn_merge_row_q8"] => {
        /// Query heads.
        heads: u32,
        /// Dimensions of a head.
        head_dim: u32,
        /// Words of a head: ceil(head_dim / 4).
        head_words: u32,
        /// Groups of a head: ceil(head_dim / 32).
        groups: u32,
        /// Blocks for which the partial results have room.
        max_blocks: u32,
        /// Exponent of the values and of the output.
        exponent: i32,
        /// Positions that a row sees, its own included; 0 is all.
        window: u32,
        /// Words of a row of activations, where the result is quantized.
        act_stride: u32,
    }
    /// activation(gate) · up.
    GatedUnit for ["gated_unit_row_i32"] => {
        /// Columns, F.
        cols: u32,
        /// Exponent of the gate.
        gate_exponent: i32,
        /// [`SILU`], [`GELU_TANH`] or [`RELU_SQUARED`]: a constant of the kernel, too.
        activation: u32,
        /// Padding to 16 bytes.
        pad0: u32,
    }
    /// A bias added to rows.
    Bias for ["bias_row_i32"] => {
        /// Columns.
        cols: u32,
        /// The bias is `mantissa · 2^-shift` units of the rows.
        shift: i32,
        /// 1: the rows are the residual stream; keep statistics.
        residual: u32,
        /// Padding to 16 bytes.
        pad0: u32,
    }
    /// An adapter's low-rank products as activations, times the strength that each row's sequence has of it.
    LoraRow for ["lora_row_q8"] => {
        /// Columns, the adapter's rank.
        cols: u32,
        /// Words of a row of activations.
        act_stride: u32,
        /// Exponent of the products without that of the activations that they were made from.
        exponent: i32,
        /// Words of a row of those activations.
        input_stride: u32,
        /// Word of their exponent in the row.
        input_exponent: u32,
        /// 1: that exponent stays in the unit, as [`STORE_RELATIVE`] has it.
        relative: u32,
        /// The adapter's place in a sequence's row of strengths.
        adapter: u32,
        /// Strengths of a sequence.
        adapters: u32,
    }
    /// A buffer that is only read.
    ReadWords for ["read_words_u32"] => {
        /// Its length in groups of four words.
        quads: u32,
        /// Padding to 16 bytes.
        pad0: u32,
        /// Padding to 16 bytes.
        pad1: u32,
        /// Padding to 16 bytes.
        pad2: u32,
    }
    /// RMSNorm of each head, in place.
    RmsnormHead for ["rmsnorm_head_i32"] => {
        /// Heads of a row.
        heads: u32,
        /// Dimensions of a head.
        head_dim: u32,
        /// Mantissa of head_dim·ε.
        eps_mantissa: u32,
        /// Exponent of head_dim·ε relative to the square of the input's unit.
        eps_exponent: i32,
    }
    /// RMSNorm with gains, added to the residual stream.
    RmsnormAdd for ["rmsnorm_add_row_i32"] => {
        /// Columns, D.
        cols: u32,
        /// Words of a row of the activations whose exponent the input's unit contains.
        act_stride: u32,
        /// Word of that exponent in the row.
        act_exponent: u32,
        /// Mantissa of D·ε.
        eps_mantissa: u32,
        /// Exponent of D·ε relative to the square of the input's unit without the activations' exponent.
        eps_exponent: i32,
        /// `n · gain · 2^-shift` is in the residual stream's unit, n the normalised element in Q30.
        shift: i32,
        /// Padding to 16 bytes.
        pad0: u32,
        /// Padding to 16 bytes.
        pad1: u32,
    }
    /// cap·tanh(z/cap) of logits, in place.
    Softcap for ["softcap_row_i32"] => {
        /// Columns, the vocabulary.
        cols: u32,
        /// Mantissa of the cap.
        cap_mantissa: u32,
        /// The cap is `cap_mantissa · 2^(30 − cap_shift)` units of logits.
        cap_shift: i32,
        /// Mantissa of 2·log2(e) over the cap.
        rate_mantissa: u32,
        /// `logit · rate_mantissa · 2^-rate_shift` is 2·log2(e)·logit/cap in Q26.
        rate_shift: i32,
        /// Padding to 16 bytes.
        pad0: u32,
        /// Padding to 16 bytes.
        pad1: u32,
        /// Padding to 16 bytes.
        pad2: u32,
    }
    /// Checksum and arg-max of each row of logits.
    LogitsStats for ["logits_stats_i32"] => {
        /// Columns, the vocabulary.
        cols: u32,
        /// Padding to 16 bytes.
        pad0: u32,
        /// Padding to 16 bytes.
        pad1: u32,
        /// Padding to 16 bytes.
        pad2: u32,
    }
}

//! Workgroups of each kernel along x; y is the batch row, or some of them, and, for `attn_block_q8`, z the block.

use crate::params::{
    AttnBlock, AttnMerge, Bias, EmbedRow, GatedUnit, LinearGated, LinearQkv, LinearTile,
    LogitsStats, LoraRow, QuantizeRow, ReadWords, RmsnormAdd, RmsnormHead, RmsnormRow, RopeAngles,
    RopeStore, Softcap,
};
use carat_format::TILE_ROWS;

/// Most workgroups along one dimension: WebGPU's default `maxComputeWorkgroupsPerDimension`.
pub const MAX_GROUPS: u32 = 65_535;
/// Invocations of a workgroup of the elementwise kernels.
const LANES: u32 = 64;

/// One invocation four columns.
pub const fn embed_row_q(p: &EmbedRow) -> u32 {
    (p.groups * 8).div_ceil(LANES)
}

/// One workgroup a row.
pub const fn rmsnorm_row_q8(_: &RmsnormRow) -> u32 {
    1
}

/// One workgroup a row.
pub const fn quantize_row_q8(_: &QuantizeRow) -> u32 {
    1
}

/// One workgroup a row.
pub const fn lora_row_q8(_: &LoraRow) -> u32 {
    1
}

/// One workgroup `tiles` tiles of 32 rows of the part.
pub const fn linear_tile_q(p: &LinearTile, tiles: u32) -> u32 {
    p.part_rows.div_ceil(TILE_ROWS as u32).div_ceil(tiles)
}

/// One workgroup a tile of 32 rows of both matrices.
pub const fn linear_gated_tile_q(p: &LinearGated) -> u32 {
    p.part_rows.div_ceil(TILE_ROWS as u32)
}

/// One workgroup a tile of 32 rows of one of the matrices.
pub const fn linear_qkv_tile_q(p: &LinearQkv) -> u32 {
    let tile = TILE_ROWS as u32;
    p.rows[0].div_ceil(tile) + p.rows[1].div_ceil(tile) + p.rows[2].div_ceil(tile)
}

/// Workgroups along y and z of a kernel of products that has `rows` rows of the batch in a workgroup, for `count`
/// rows: along z, one and one more for each row that the last workgroup along y lacks.
pub const fn product_rows(count: u32, rows: u32) -> (u32, u32) {
    let y = count.div_ceil(rows);
    (y, 1 + y * rows - count)
}

/// One invocation a pair.
pub const fn rope_angles_q30(p: &RopeAngles) -> u32 {
    p.pairs.div_ceil(LANES)
}

/// One workgroup a query head or a key/value head.
pub const fn rope_store_q8(p: &RopeStore) -> u32 {
    p.heads + p.kv_heads
}

/// One workgroup a query head (and a block along z).
pub const fn attn_block_q8(p: &AttnBlock) -> u32 {
    p.heads
}

/// One workgroup a query head.
pub const fn attn_merge_i32(p: &AttnMerge) -> u32 {
    p.heads
}

/// One workgroup a row.
pub const fn attn_merge_row_q8(_: &AttnMerge) -> u32 {
    1
}

/// One invocation an element.
pub const fn gated_unit_row_i32(p: &GatedUnit) -> u32 {
    p.cols.div_ceil(LANES)
}

/// One invocation an element.
pub const fn bias_row_i32(p: &Bias) -> u32 {
    p.cols.div_ceil(LANES)
}

/// One workgroup a head.
pub const fn rmsnorm_head_i32(p: &RmsnormHead) -> u32 {
    p.heads
}

/// One workgroup a row.
pub const fn rmsnorm_add_row_i32(_: &RmsnormAdd) -> u32 {
    1
}

/// One invocation some elements.
pub const fn softcap_row_i32(p: &Softcap) -> u32 {
    let groups = p.cols.div_ceil(LANES);
    if groups > 1024 { 1024 } else { groups }
}

/// One invocation 32 times 16 words, in workgroups of `lanes`.
pub const fn read_words_u32(p: &ReadWords, lanes: u32) -> u32 {
    p.quads.div_ceil(lanes * 128)
}

/// One workgroup a row.
pub const fn logits_stats_i32(_: &LogitsStats) -> u32 {
    1
}

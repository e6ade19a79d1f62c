//#import lanes
//#import fixed
//#import score
//#import merge
// The blocks of one head and row merged: one workgroup a head of a row, four dimensions a lane.
// Grid: x = heads, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [R][heads][max_blocks][sums: 4·head_words | sum of p | largest score | value exponents: groups]
@group(0) @binding(2) var<storage, read> partial: array<u32>;
// [R][heads][head_dim]
@group(0) @binding(3) var<storage, read_write> out: array<i32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let index = group.y * params.heads + group.x;
    let blocks = summed(blocks_of(index, row_table[group.y * ROW_WORDS + 1u]));
    for (var w = lid; w < params.head_words; w += LANES) {
        let x = merged(blocks, w);
        for (var i = 0u; i < 4u; i++) {
            if (w * 4u + i < params.head_dim) {
                out[index * params.head_dim + w * 4u + i] = x[i];
            }
        }
    }
}

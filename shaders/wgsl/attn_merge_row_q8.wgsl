//#import lanes
//#import fixed
//#import score
//#import merge
//#import quantize
//#import act
// The blocks of every head of a row merged, and the row quantized to activations: one workgroup a row.
// Grid: x = 1, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [R][heads][max_blocks][sums: 4·head_words | sum of p | largest score | value exponents: groups]
@group(0) @binding(2) var<storage, read> partial: array<u32>;
// [R][heads][head_dim]
@group(0) @binding(3) var<storage, read_write> out: array<i32>;
// [R][act_stride]
@group(0) @binding(4) var<storage, read_write> act: array<u32>;

// Of 64 heads.
var<workgroup> most: array<i32, 64>;
var<workgroup> reciprocal: array<u32, 64>;
var<workgroup> bits: array<i32, 64>;

// Word where the workgroup's row starts.
var<private> row_start: u32;

fn value(i: u32) -> i32 {
    return out[row_start + i];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = group.y;
    let position = row_table[row * ROW_WORDS + 1u];
    let words = params.head_words;
    for (var first = 0u; first < params.heads; first += LANES) {
        let end = min(first + 64u, params.heads);
        for (var head = first + lid; head < end; head += LANES) {
            let b = summed(blocks_of(row * params.heads + head, position));
            most[head - first] = b.most;
            reciprocal[head - first] = b.reciprocal;
            bits[head - first] = b.bits;
        }
        workgroupBarrier();
        for (var j = lid; j < (end - first) * words; j += LANES) {
            let i = j / words;
            let w = j % words;
            let index = row * params.heads + first + i;
            var b = blocks_of(index, position);
            b.most = most[i];
            b.reciprocal = reciprocal[i];
            b.bits = bits[i];
            let x = merged(b, w);
            for (var d = 0u; d < 4u; d++) {
                if (w * 4u + d < params.head_dim) {
                    out[index * params.head_dim + w * 4u + d] = x[d];
                }
            }
        }
        workgroupBarrier();
    }
    storageBarrier();
    let cols = params.heads * params.head_dim;
    row_start = row * cols;
    quantize_row(lid, row * params.act_stride, cols, params.exponent);
}

//#import lanes
//#import fixed
//#import quantize
//#import act
// An adapter's low-rank products as activations, times the strength of the row's sequence: one workgroup a row. Grid: x = 1,
// y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R]: token, position, sequence
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [sequences][adapters]
@group(0) @binding(2) var<storage, read> strengths: array<i32>;
// [R][input_stride]: the activations that the products were made from
@group(0) @binding(3) var<storage, read> input: array<u32>;
// [R][cols]
@group(0) @binding(4) var<storage, read> x: array<i32>;
// [R][act_stride]
@group(0) @binding(5) var<storage, read_write> act: array<u32>;

// Word where the workgroup's row starts.
var<private> row_start: u32;

fn value(i: u32) -> i32 {
    return x[row_start + i];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    row_start = group.y * params.cols;
    let at = group.y * params.act_stride;
    let exponent = bitcast<i32>(input[group.y * params.input_stride + params.input_exponent]);
    quantize_row(lid, at, params.cols, params.exponent + select(exponent, 0, params.relative == 1u));
    // Whatever a lane changes now it has written itself.
    let sequence = row_table[group.y * ROW_WORDS + 2u];
    let strength = strengths[sequence * params.adapters + params.adapter];
    let groups = (params.cols + GROUP - 1u) / GROUP;
    if (strength < 0) {
        for (var w = lid; w < groups * 8u; w += LANES) {
            act[at + w] = pack4xI8(-unpack4xI8(act[at + w]));
        }
    }
    if (lid == 0u) {
        let tail = at + groups * 8u + (groups + 3u) / 4u;
        // Below 2^32, rounded half up to 16 bits.
        let product = act[tail] * magnitude(strength);
        let drop = max(bit_len(product), 16u) - 16u;
        let rounded = (product + ((1u << drop) >> 1u)) >> drop;
        let more = rounded >> 16u;
        act[tail] = rounded >> more;
        act[tail + 1u] += drop + more - STRENGTH_BITS;
    }
}

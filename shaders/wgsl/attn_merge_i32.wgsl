//#import fixed
//#import score
// The blocks of one head and row merged: one workgroup a head of a row, dimensions over its lanes.
// Grid: x = heads, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [R][heads][max_blocks][sums: 4·head_words | sum of p | largest score | value exponents: groups]
@group(0) @binding(2) var<storage, read> partial: array<u32>;
// [R][heads][head_dim]
@group(0) @binding(3) var<storage, read_write> out: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let index = group.y * params.heads + group.x;
    let position = row_table[group.y * ROW_WORDS + 1u];
    let oldest = oldest_seen(position, params.window) / PAGE;
    let dims = 4u * params.head_words;
    let stride = dims + 2u + params.groups;
    let first = (index * params.max_blocks + oldest) * stride;
    let end = first + (position / PAGE + 1u - oldest) * stride;

    var most = bitcast<i32>(partial[first + dims + 1u]);
    for (var at = first; at < end; at += stride) {
        most = max(most, bitcast<i32>(partial[at + dims + 1u]));
    }
    // l·w < 2^53, after the shift < 2^38 a block.
    var total = vec2<u32>();
    for (var at = first; at < end; at += stride) {
        let w = exp2_neg_q30(score_distance(most, bitcast<i32>(partial[at + dims + 1u])));
        total = add64(total, round_shr64(mul_uu(partial[at + dims], w), 15u));
    }
    if (total.x == 0u && total.y == 0u) {
        total.x = 1u;
    }
    let bits = bit_len64(total);
    var normal = 0u;
    if (bits >= 32u) {
        normal = shr64(total, bits - 32u).x;
    } else {
        normal = total.x << (32u - bits);
    }
    let reciprocal = recip_q62(normal);

    for (var d = lid; d < params.head_dim; d += 64u) {
        let exponent = dims + 2u + d / GROUP;
        var top = bitcast<i32>(partial[first + exponent]);
        for (var at = first; at < end; at += stride) {
            top = max(top, bitcast<i32>(partial[at + exponent]));
        }
        var sum = vec2<u32>();
        for (var at = first; at < end; at += stride) {
            let w = exp2_neg_q30(score_distance(most, bitcast<i32>(partial[at + dims + 1u])));
            let shift = min(15 + top - bitcast<i32>(partial[at + exponent]), 62);
            // |o| < 2^31, w <= 2^30.
            sum = add64(sum, round_shr64(mul_su(bitcast<i32>(partial[at + d]), w), u32(shift)));
        }
        // 1/total = reciprocal · 2^-62 · 2^(32 - bits); the sums have the unit 2^(top + VALUE_SHIFT).
        let shift = 62 - (32 - i32(bits)) - (top + i32(VALUE_SHIFT) - params.exponent);
        out[index * params.head_dim + d] = scale64(sum, reciprocal, shift);
    }
}

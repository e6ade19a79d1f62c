//#import fixed
//#import rotate
// Queries rotated, scaled, quantized to 12 bits: one workgroup a head of a row.
// Grid: x = heads, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][pairs][cos, sin] in Q30
@group(0) @binding(1) var<storage, read> angles: array<i32>;
// [R][heads][head_dim]
@group(0) @binding(2) var<storage, read> q: array<i32>;
// [R][heads][high plane: head_words | low plane: head_words | exponent]
@group(0) @binding(3) var<storage, read_write> query: array<u32>;

var<workgroup> head_max: atomic<u32>;

// Element d of the head at `at`, rotated and scaled.
fn scaled(at: u32, row: u32, d: u32) -> i32 {
    let pairs = params.head_dim / 2u;
    if (d >= 2u * pairs) {
        return 0;
    }
    let first = d < pairs;
    let i = select(d - pairs, d, first);
    let angle = (row * pairs + i) * 2u;
    let v = rotate(first, q[at + i], q[at + i + pairs], angles[angle], angles[angle + 1u]);
    return sat32(round_shr64(mul_su(v, params.scale_mantissa), 31u));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let index = group.y * params.heads + group.x;
    let at = index * params.head_dim;
    var most = 0u;
    for (var d = lid; d < params.head_dim; d += 64u) {
        most = max(most, magnitude(scaled(at, group.y, d)));
    }
    atomicMax(&head_max, most);
    workgroupBarrier();
    let bits = bit_len(atomicLoad(&head_max));
    let shift = select(0u, bits - 11u, bits > 11u);

    let words = params.head_words;
    let out = index * (2u * words + 1u);
    for (var w = lid; w < words; w += 64u) {
        var low = vec4<i32>();
        var high = vec4<i32>();
        for (var b = 0u; b < 4u; b++) {
            if (w * 4u + b < params.head_dim) {
                let v = extend64(scaled(at, group.y, w * 4u + b));
                let q12 = clamp(bitcast<i32>(round_shr64(v, shift).x), -QUERY_MAX, QUERY_MAX);
                low[b] = ((q12 + 16) & 31) - 16;
                high[b] = (q12 - low[b]) >> 5u;
            }
        }
        query[out + w] = pack4xI8(high);
        query[out + words + w] = pack4xI8(low);
    }
    if (lid == 0u) {
        query[out + 2u * words] = bitcast<u32>(params.exponent + params.scale_exponent + 31 + i32(shift));
    }
}

//#import fixed
//#import quantize
//#import act
// RMSNorm with gains, quantized to activations: one workgroup a row. Grid: x = 1, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence, source row]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [R][cols]
@group(0) @binding(2) var<storage, read> h: array<i32>;
// [cols]
@group(0) @binding(3) var<storage, read> gains: array<i32>;
// [R][act_stride]
@group(0) @binding(4) var<storage, read_write> act: array<u32>;

var<workgroup> h_max: atomic<u32>;
var<workgroup> low_sum: atomic<u32>;
var<workgroup> high_sum: atomic<u32>;

// Word where the workgroup's row starts; mantissa and shift of 1/norm.
var<private> row_start: u32;
var<private> inverse: u32;
var<private> inverse_shift: u32;

fn value(i: u32) -> i32 {
    let n = clamp(sat32(round_shr64(mul_su(h[row_start + i], inverse), inverse_shift)), -0x40000000, 0x40000000);
    return sat32(round_shr64(mul_ss(n, gains[i]), 30u));
}

// D·epsilon in units of the squares, at most 2^47.
fn epsilon(mantissa: u32, e: i32) -> vec2<u32> {
    if (e > 15) {
        return select(vec2<u32>(0u, 1u << 15u), vec2<u32>(0u, 0u), mantissa == 0u);
    }
    let m = vec2<u32>(mantissa, 0u);
    if (e >= 0) { return shl64(m, u32(e)); }
    if (e >= -32) { return round_shr64(m, u32(-e)); }
    return vec2<u32>(0u, 0u);
}

// Sets `inverse` and `inverse_shift` from the sums over the row, whose squares are shifted by 2s.
fn invert(low: u32, high: u32, s: u32) {
    let squares = add64(vec2<u32>(low, 0u), shl64(vec2<u32>(high, 0u), 16u));
    var sum = add64(squares, epsilon(params.eps_mantissa, params.eps_exponent - 2 * i32(s)));
    if (sum.x == 0u && sum.y == 0u) { sum.x = 1u; }
    let k = i32((bit_len64(sum) + 1u) / 2u) - 16;
    var n = 0u;
    if (k >= 0) {
        n = shr64(sum, u32(2 * k)).x;
    } else {
        n = sum.x << u32(-2 * k);
    }
    inverse = rsqrt_q30(n);
    inverse_shift = u32(16 + k + i32(s));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    var source = group.y;
    if (params.gather == 1u) {
        source = row_table[group.y * ROW_WORDS + 3u];
    }
    row_start = source * params.cols;

    var most = 0u;
    for (var i = lid; i < params.cols; i += 64u) {
        most = max(most, magnitude(h[row_start + i]));
    }
    atomicMax(&h_max, most);
    workgroupBarrier();
    let bits = bit_len(atomicLoad(&h_max));
    let s = select(0u, bits - 15u, bits > 15u);

    // u < 2^15 and at most 2^15 columns: both sums fit.
    var low = 0u;
    var high = 0u;
    for (var i = lid; i < params.cols; i += 64u) {
        let u = magnitude(h[row_start + i]) >> s;
        low += (u * u) & 0xffffu;
        high += (u * u) >> 16u;
    }
    atomicAdd(&low_sum, low);
    atomicAdd(&high_sum, high);
    workgroupBarrier();
    invert(atomicLoad(&low_sum), atomicLoad(&high_sum), s);

    quantize_row(lid, group.y * params.act_stride, params.cols, params.gain_exponent);
}

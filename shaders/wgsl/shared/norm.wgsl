// Inverse of a row's root of squares by a workgroup, which supplies `input(i)`, element i of the
// row. Definition: src/reference/norm.rs, function by function.

var<workgroup> input_max: atomic<u32>;
var<workgroup> low_sum: atomic<u32>;
var<workgroup> high_sum: atomic<u32>;

struct InverseNorm {
    mantissa: u32,
    shift: u32,
}

// n·epsilon in units of the squares, 2^47 where it is more. The mantissa is 0 or in [2^30, 2^31].
fn epsilon(mantissa: u32, e: i32) -> vec2<u32> {
    if (e > 16) {
        return select(vec2<u32>(0u, 1u << 15u), vec2<u32>(0u, 0u), mantissa == 0u);
    }
    let m = vec2<u32>(mantissa, 0u);
    if (e >= 0) { return shl64(m, u32(e)); }
    if (e >= -32) { return round_shr64(m, u32(-e)); }
    return vec2<u32>(0u, 0u);
}

// From the sums over the row, whose squares are shifted by 2s.
fn invert(low: u32, high: u32, s: u32, eps_mantissa: u32, eps_exponent: i32) -> InverseNorm {
    let squares = add64(vec2<u32>(low, 0u), shl64(vec2<u32>(high, 0u), 16u));
    var sum = add64(squares, epsilon(eps_mantissa, eps_exponent - 2 * i32(s)));
    if (sum.x == 0u && sum.y == 0u) { sum.x = 1u; }
    let k = i32((bit_len64(sum) + 1u) / 2u) - 16;
    var n = 0u;
    if (k >= 0) {
        n = shr64(sum, u32(2 * k)).x;
    } else {
        n = sum.x << u32(-2 * k);
    }
    return InverseNorm(rsqrt_q30(n), u32(16 + k + i32(s)));
}

// All invocations of the workgroup call it together.
fn inverse_norm(lid: u32, cols: u32, eps_mantissa: u32, eps_exponent: i32) -> InverseNorm {
    var most = 0u;
    for (var i = lid; i < cols; i += LANES) {
        most = max(most, magnitude(input(i)));
    }
    atomicMax(&input_max, most);
    workgroupBarrier();
    let bits = bit_len(atomicLoad(&input_max));
    let s = select(0u, bits - 15u, bits > 15u);

    // u < 2^15 and at most 2^15 columns: both sums fit.
    var low = 0u;
    var high = 0u;
    for (var i = lid; i < cols; i += LANES) {
        let u = magnitude(input(i)) >> s;
        low += (u * u) & 0xffffu;
        high += (u * u) >> 16u;
    }
    atomicAdd(&low_sum, low);
    atomicAdd(&high_sum, high);
    workgroupBarrier();
    return invert(atomicLoad(&low_sum), atomicLoad(&high_sum), s, eps_mantissa, eps_exponent);
}

// The element in Q30, within one.
fn normalised(x: i32, inverse: InverseNorm) -> i32 {
    return clamp(sat32(round_shr64(mul_su(x, inverse.mantissa), inverse.shift)), -0x40000000, 0x40000000);
}

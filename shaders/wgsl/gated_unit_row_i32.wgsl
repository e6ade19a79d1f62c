//#import fixed
// activation(gate)·up: one invocation an element. Grid: x = ceil(cols / 64), y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][cols]
@group(0) @binding(1) var<storage, read> gate: array<i32>;
// [R][cols]
@group(0) @binding(2) var<storage, read> up: array<i32>;
// [R][cols]
@group(0) @binding(3) var<storage, read_write> out: array<i32>;

// |z|·log2(e) in Q16 for silu's z = g.
fn silu_rate(g: i32) -> u32 {
    return u32(requant64(mul_uu(magnitude(g), LOG2_E_Q30), 14 - params.gate_exponent));
}

// |z|·log2(e) in Q16 for z = 2·sqrt(2/pi)·(g + 0.044715·g^3): sigmoid(z) = (1 + tanh(z/2))/2.
fn gelu_rate(g: i32) -> u32 {
    // |g| in Q27, cut off at 8, where e^-z is 0 in Q30.
    let t = min(u32(requant64(vec2<u32>(magnitude(g), 0u), -27 - params.gate_exponent)), 1u << 30u);
    // t^2 in Q24 <= 64; the sum in Q27 < 2^31.
    let square = shr64(mul_uu(t, t), 30u).x;
    let rate = GELU_LINEAR_Q27 + mulhi(square, GELU_CUBIC_Q35);
    return round_shr64(mul_uu(t, rate), 38u).x;
}

// g / (1 + e^-z) in the unit of g, z of g's sign with |z|·log2(e) in Q16.
fn sigmoid_product(g: i32, rate: u32) -> i32 {
    let e = exp2_neg_q30(rate);
    // 1 + e in Q31, just below 2 where e = 1.
    let denominator = select(0x80000000u + (e << 1u), 0xffffffffu, e == 0x40000000u);
    var sigmoid = recip_q62(denominator);
    if (g < 0) {
        sigmoid = shr64(add64(mul_uu(sigmoid, e), vec2<u32>(1u << 29u, 0u)), 30u).x;
    }
    return bitcast<i32>(round_shr64(mul_su(g, sigmoid), 31u).x);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols) {
        return;
    }
    let i = id.y * params.cols + id.x;
    let g = gate[i];
    var a = 0;
    if (params.activation == SILU) {
        a = sigmoid_product(g, silu_rate(g));
    } else if (params.activation == GELU_TANH) {
        a = sigmoid_product(g, gelu_rate(g));
    } else {
        // g^2 < 2^62, rounded to 30 bits and multiplied exactly.
        let g2 = mul_uu(u32(max(g, 0)), u32(max(g, 0)));
        let m = scale64(g2, magnitude(up[i]), 60);
        out[i] = select(m, -m, up[i] < 0);
        return;
    }
    out[i] = sat32(round_shr64(mul_ss(a, up[i]), 30u));
}

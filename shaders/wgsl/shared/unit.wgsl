// activation(gate)·up of one element, by the uniform's `gate_exponent`.
// Definition: src/reference/gated_unit_row_i32.rs.

// SILU, GELU_TANH or RELU_SQUARED: the uniform's `activation`.
override ACTIVATION: u32;

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
    let positive = recip_q62(denominator);
    let negative = shr64(add64(mul_uu(positive, e), vec2<u32>(1u << 29u, 0u)), 30u).x;
    let sigmoid = select(positive, negative, g < 0);
    return bitcast<i32>(round_shr64(mul_su(g, sigmoid), 31u).x);
}

fn gated_unit(g: i32, up: i32) -> i32 {
    var a = 0;
    if (ACTIVATION == SILU) {
        a = sigmoid_product(g, silu_rate(g));
    } else if (ACTIVATION == GELU_TANH) {
        a = sigmoid_product(g, gelu_rate(g));
    } else {
        // g^2 < 2^62, rounded to 30 bits and multiplied exactly.
        let g2 = mul_uu(u32(max(g, 0)), u32(max(g, 0)));
        let m = scale64(g2, magnitude(up), 60);
        return select(m, -m, up < 0);
    }
    return sat32(round_shr64(mul_ss(a, up), 30u));
}

// cap·tanh(x/cap). Definition: src/reference/softcap.rs, function by function.

// tanh of t·ln(2)/2 in Q30, t unsigned Q26, from e = 2^-t: (1 - e) / (1 + e).
fn tanh_q30(t: u32) -> u32 {
    let coarse = exp2_neg_q30(t >> 10u);
    // 2^-l = 1 - l·ln 2 for the low 10 bits l < 2^-16: the next term is below 2^-33.
    let e = coarse - mulhi(coarse, mulhi((t & 1023u) << 6u, LN_2_Q32));
    // 1 + e in Q31, just below 2 where e = 1.
    let denominator = select(0x80000000u + (e << 1u), 0xffffffffu, e == 0x40000000u);
    return round_shr64(mul_uu(0x40000000u - e, recip_q62(denominator)), 31u).x;
}

fn softcap(x: i32, cap_mantissa: u32, cap_shift: i32, rate_mantissa: u32, rate_shift: i32) -> i32 {
    let t = requant64(shr64(mul_uu(magnitude(x), rate_mantissa), 1u), rate_shift - 1);
    // tanh <= 2^30 and the mantissa < 2^32.
    let y = requant64(mul_uu(tanh_q30(u32(t)), cap_mantissa), cap_shift);
    return select(y, -y, x < 0);
}

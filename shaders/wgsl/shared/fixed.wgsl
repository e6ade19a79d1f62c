// Integer arithmetic shared by all kernels. Definition: src/reference/fixed.rs, function by function.
// 64-bit values are vec2<u32>(low, high); signed ones in two's complement.

// High word of a 32 x 32 product, from four 16-bit halves.
fn mulhi(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu; let ah = a >> 16u;
    let bl = b & 0xffffu; let bh = b >> 16u;
    let lh = al * bh; let hl = ah * bl;
    let mid = ((al * bl) >> 16u) + (lh & 0xffffu) + (hl & 0xffffu);
    return ah * bh + (lh >> 16u) + (hl >> 16u) + (mid >> 16u);
}

fn mul_uu(a: u32, b: u32) -> vec2<u32> {
    return vec2<u32>(a * b, mulhi(a, b));
}

// Signed 32 x unsigned 32 -> signed 64.
fn mul_su(a: i32, b: u32) -> vec2<u32> {
    let ua = bitcast<u32>(a);
    return vec2<u32>(ua * b, mulhi(ua, b) - select(0u, b, a < 0));
}

// Signed 32 x signed 32 -> signed 64.
fn mul_ss(a: i32, b: i32) -> vec2<u32> {
    let ua = bitcast<u32>(a); let ub = bitcast<u32>(b);
    return vec2<u32>(ua * ub, mulhi(ua, ub) - select(0u, ub, a < 0) - select(0u, ua, b < 0));
}

fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let lo = a.x + b.x;
    return vec2<u32>(lo, a.y + b.y + select(0u, 1u, lo < a.x));
}

fn neg64(a: vec2<u32>) -> vec2<u32> {
    return add64(~a, vec2<u32>(1u, 0u));
}

fn is_neg64(a: vec2<u32>) -> bool {
    return (a.y >> 31u) == 1u;
}

fn extend64(a: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(a), bitcast<u32>(a >> 31u));
}

// Bits of |a|: 0 for 0.
fn bit_len64(a: vec2<u32>) -> u32 {
    return select(32u - countLeadingZeros(a.x), 64u - countLeadingZeros(a.y), a.y != 0u);
}

// a >> s, logical, s in 0..=63.
fn shr64(a: vec2<u32>, s: u32) -> vec2<u32> {
    let t = s & 31u;
    let high = a.y >> t;
    return select(vec2<u32>((a.x >> t) | ((a.y << 1u) << (31u - t)), high), vec2<u32>(high, 0u), s >= 32u);
}

// a >> s, arithmetic, s in 0..=63.
fn sar64(a: vec2<u32>, s: u32) -> vec2<u32> {
    let t = s & 31u;
    let high = bitcast<u32>(bitcast<i32>(a.y) >> t);
    let sign = bitcast<u32>(bitcast<i32>(a.y) >> 31u);
    return select(vec2<u32>((a.x >> t) | ((a.y << 1u) << (31u - t)), high), vec2<u32>(high, sign), s >= 32u);
}

// a << s, s in 0..=63.
fn shl64(a: vec2<u32>, s: u32) -> vec2<u32> {
    let t = s & 31u;
    let low = a.x << t;
    return select(vec2<u32>(low, (a.y << t) | ((a.x >> 1u) >> (31u - t))), vec2<u32>(0u, low), s >= 32u);
}

// Round half up: floor(a / 2^s + 1/2), s in 0..=63: the quotient and the bit below it, which a shift by 0 has not.
fn round_shr64(a: vec2<u32>, s: u32) -> vec2<u32> {
    let half = (select(a.x, a.y, s > 32u) >> ((s - 1u) & 31u)) & select(0u, 1u, s > 0u);
    return add64(sar64(a, s), vec2<u32>(half, 0u));
}

// The value as i32, saturated to +-(2^31 - 1).
fn sat32(a: vec2<u32>) -> i32 {
    let low = bitcast<i32>(a.x);
    let limit = select(0x7fffffff, -0x7fffffff, is_neg64(a));
    return select(limit, max(low, -0x7fffffff), bitcast<u32>(low >> 31u) == a.y);
}

// a * 2^-s rounded half up and saturated; |a| <= 2^62, any s: a negative s shifts left.
fn requant64(a: vec2<u32>, s: i32) -> i32 {
    // One of both shifts is by 0. What saturates before the left one does so after it.
    let v = sat32(round_shr64(a, u32(clamp(s, 0, 63))));
    let left = u32(clamp(-max(s, -31), 0, 31));
    let limit = select(0x7fffffff, -0x7fffffff, v < 0);
    let shifted = select(v << left, limit, magnitude(v) > (0x7fffffffu >> left));
    return select(shifted, 0, s > 62);
}

// a * m * 2^-s: a (|a| < 2^62) is first rounded to 30 bits, so the product stays under 2^62.
fn scale64(a: vec2<u32>, m: u32, s: i32) -> i32 {
    let bits = bit_len64(select(a, neg64(a), is_neg64(a)));
    let drop = max(bits, 30u) - 30u;
    let n = bitcast<i32>(round_shr64(a, drop).x);
    return requant64(mul_su(n, m), s - i32(drop));
}

// |a|, also of -2^31.
fn magnitude(a: i32) -> u32 {
    let u = bitcast<u32>(a);
    return select(u, 0u - u, a < 0);
}

fn bit_len(a: u32) -> u32 {
    return 32u - countLeadingZeros(a);
}

// 2^32 / sqrt(n) * 2^14, n in [2^30, 2^32): Q30 mantissa in (2^30, 2^31] of 1/sqrt(n / 2^32).
// A chord, then four Newton steps; relative error under 1e-8.
fn rsqrt_q30(n: u32) -> u32 {
    let h = n - 0x40000000u;
    var y = 0x7a000000u - (h >> 2u) - (h >> 4u) - (h >> 6u);
    for (var i = 0; i < 4; i++) {
        let t = mulhi(n, mulhi(y, y));
        y = mulhi(y, 0x30000000u - t) << 3u;
    }
    return y;
}

// 2^62 / x for x in [2^31, 2^32): in (2^30, 2^31]. A 16-bit quotient, then one Newton step.
fn recip_q62(x: u32) -> u32 {
    let y = (0x7fffffffu / (x >> 16u)) << 15u;
    return mulhi(y, 0x80000000u - mulhi(x, y)) << 2u;
}

// 2^-x in Q30, x unsigned Q16; 0 from 31 on. Polynomial of degree 5, error under 2e-7.
fn exp2_neg_q30(x: u32) -> u32 {
    let q = x >> 16u;
    let f = (x & 0xffffu) << 16u;
    var p = 0x000f8654u;
    p = 0x009705e3u - mulhi(p, f);
    p = 0x038a40e4u - mulhi(p, f);
    p = 0x0f5f3de8u - mulhi(p, f);
    p = 0x2c5c7c93u - mulhi(p, f);
    p = 0x40000000u - mulhi(p, f);
    return select(p >> (q & 31u), 0u, q >= 31u);
}

// Quantization to int8 in groups of 32. Definition: src/reference/quantize.rs, function by function.

struct RowUnit {
    mantissa: u32,
    exponent: i32,
    shift: u32,
    halved: u32,
}

fn row_unit(row_max: u32) -> RowUnit {
    if (row_max == 0u) {
        return RowUnit(0x8000u, 0, 0u, 0u);
    }
    let top = min(row_max, 0x7fffffffu);
    let shift = 31u - bit_len(top);
    let mantissa = (top << shift) / 32385u + 1u;
    let halved = select(0u, 1u, mantissa > 0xffffu);
    return RowUnit((mantissa + halved) >> halved, i32(halved) - i32(shift), shift, halved);
}

fn group_scale(unit: RowUnit, group_max: u32) -> u32 {
    return ((min(group_max, 0x7fffffffu) << unit.shift) >> unit.halved) / (127u * unit.mantissa) + 1u;
}

// (reciprocal, shift)
fn group_divisor(unit: RowUnit, scale: u32) -> vec2<u32> {
    let d = unit.mantissa * scale;
    let bits = bit_len(d);
    return vec2<u32>(0xffffffffu / (d >> (bits - 16u)), u32(16 + i32(bits) + unit.exponent));
}

fn code(x: i32, divisor: vec2<u32>) -> i32 {
    return clamp(sat32(round_shr64(mul_su(x, divisor.x), divisor.y)), -127, 127);
}

// (mantissa, exponent relative to the input); a group of zeros has the exponent KV_ZERO.
const KV_ZERO: i32 = 0x7fffffff;
struct KvUnit {
    mantissa: u32,
    exponent: i32,
}

fn kv_unit(group_max: u32) -> KvUnit {
    if (group_max == 0u) {
        return KvUnit(128u, KV_ZERO);
    }
    let top = min(group_max, 0x7fffffffu);
    let shift = 31u - bit_len(top);
    let mantissa = (((top << shift) / 127u) >> 16u) + 1u;
    let halved = select(0u, 1u, mantissa > 255u);
    return KvUnit((mantissa + halved) >> halved, 16 - i32(shift) + i32(halved));
}

fn kv_code(x: i32, unit: KvUnit) -> i32 {
    if (unit.exponent == KV_ZERO) {
        return 0;
    }
    let q = round_shr64(mul_su(x, 0xffffffffu / unit.mantissa), u32(32 + unit.exponent));
    return clamp(sat32(q), -127, 127);
}

// The scale as the cache holds it: mantissa | exponent << 8, the exponent with the input's folded in.
fn kv_scale(unit: KvUnit, exponent: i32) -> u32 {
    var e = -128;
    if (unit.exponent != KV_ZERO) {
        e = clamp(unit.exponent + exponent, -127, 127);
    }
    return unit.mantissa | ((bitcast<u32>(e) & 255u) << 8u);
}

// Codes of 4 bits for keys and values. Definition: src/reference/narrow.rs, function by function.

fn has_narrow(part: u32) -> bool {
    return (NARROW & part) != 0u;
}

// The levels of the four codes in the low halves of a word's bytes. A magnitude m of bits b0, b1 and b2 gives
// m² + 10·m + 4 as a sum of products of bits, at most 123 in each byte; the level below zero is its complement and one, and as
// no level is zero, no byte carries into the next.
fn narrow_levels(codes: u32) -> u32 {
    let b0 = codes & 0x01010101u;
    let b1 = (codes >> 1u) & 0x01010101u;
    let b2 = (codes >> 2u) & 0x01010101u;
    let minus = (codes >> 3u) & 0x01010101u;
    let pairs = 4u * (b0 & b1) + 8u * (b0 & b2) + 16u * (b1 & b2);
    let size = 0x04040404u + 11u * b0 + 24u * b1 + 56u * b2 + pairs;
    return (size ^ (minus * 255u)) + minus;
}

// The code whose level is nearest to a code of 8 bits.
fn narrowed(x: i32) -> u32 {
    let size = abs(x);
    var code = select(0u, 8u, x < 0);
    for (var m = 0; m < 7; m++) {
        code += select(0u, 1u, size >= m * m + 11 * m + 10);
    }
    return code;
}

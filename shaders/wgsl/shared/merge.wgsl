// The blocks of one head and row merged: what the kernels that merge share. A kernel binds `partial`.
// Definition: src/reference/attn_merge_i32.rs.

// Where a head's partial results are, [blocks][sums: 4·head_words | sum of p | largest score | value exponents: groups],
// and what all its dimensions have in common.
struct Blocks {
    first: u32,
    end: u32,
    // Largest score.
    most: i32,
    // Of the sum of p: 2^62 / its upper 32 bits, and how many bits it has.
    reciprocal: u32,
    bits: i32,
}

fn partial_stride() -> u32 {
    return 4u * params.head_words + 2u + params.groups;
}

// Without the largest score and the sum.
fn blocks_of(index: u32, position: u32) -> Blocks {
    let oldest = oldest_seen(position, params.window) / PAGE;
    let first = (index * params.max_blocks + oldest) * partial_stride();
    return Blocks(first, first + (position / PAGE + 1u - oldest) * partial_stride(), 0, 0u, 0);
}

fn block_score(at: u32) -> i32 {
    return bitcast<i32>(partial[at + 4u * params.head_words + 1u]);
}

// The largest score and the sum found.
fn summed(blocks: Blocks) -> Blocks {
    var b = blocks;
    b.most = block_score(b.first);
    for (var at = b.first; at < b.end; at += partial_stride()) {
        b.most = max(b.most, block_score(at));
    }
    // l·w < 2^53, after the shift < 2^38 a block.
    var total = vec2<u32>();
    for (var at = b.first; at < b.end; at += partial_stride()) {
        let w = exp2_neg_q30(score_distance(b.most, block_score(at)));
        total = add64(total, round_shr64(mul_uu(partial[at + 4u * params.head_words], w), 15u));
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
    b.reciprocal = recip_q62(normal);
    b.bits = i32(bits);
    return b;
}

// |o| < 2^31, p <= 2^30.
fn add_share(sum: vec2<u32>, o: u32, p: u32, shift: u32) -> vec2<u32> {
    return add64(sum, round_shr64(mul_su(bitcast<i32>(o), p), shift));
}

// Dimensions 4w to 4w + 3 of the head; what is beyond its last is no number of it.
fn merged(b: Blocks, w: u32) -> vec4<i32> {
    let exponent = 4u * params.head_words + 2u + w / 8u;
    var top = bitcast<i32>(partial[b.first + exponent]);
    for (var at = b.first; at < b.end; at += partial_stride()) {
        top = max(top, bitcast<i32>(partial[at + exponent]));
    }
    var s0 = vec2<u32>();
    var s1 = vec2<u32>();
    var s2 = vec2<u32>();
    var s3 = vec2<u32>();
    for (var at = b.first; at < b.end; at += partial_stride()) {
        let p = exp2_neg_q30(score_distance(b.most, block_score(at)));
        let shift = u32(min(15 + top - bitcast<i32>(partial[at + exponent]), 62));
        let sums = at + w * 4u;
        s0 = add_share(s0, partial[sums], p, shift);
        s1 = add_share(s1, partial[sums + 1u], p, shift);
        s2 = add_share(s2, partial[sums + 2u], p, shift);
        s3 = add_share(s3, partial[sums + 3u], p, shift);
    }
    // 1/total = reciprocal · 2^-62 · 2^(32 - bits); the sums have the unit 2^(top + VALUE_SHIFT).
    let shift = 62 - (32 - b.bits) - (top + i32(VALUE_SHIFT) - params.exponent);
    return vec4<i32>(
        scale64(s0, b.reciprocal, shift),
        scale64(s1, b.reciprocal, shift),
        scale64(s2, b.reciprocal, shift),
        scale64(s3, b.reciprocal, shift));
}

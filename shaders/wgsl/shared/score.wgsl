// Differences of scores. Twin: score_distance in src/cpu/attn_block_q8.rs.

// most - score in Q16, cut off where 2^-x is 0 in Q30 anyway.
fn score_distance(most: i32, score: i32) -> u32 {
    let d = bitcast<u32>(most) - bitcast<u32>(score);
    return select(d << (16u - SCORE_BITS), 32u << 16u, d >= (32u << SCORE_BITS));
}

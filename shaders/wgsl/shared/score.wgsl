// Scores and what of them is seen. Definitions: score_distance and oldest_seen in src/reference/attn_block_q8.rs.

// Oldest position that a row at `position` sees through a window; 0 is none.
fn oldest_seen(position: u32, window: u32) -> u32 {
    return select(0u, position + 1u - window, window > 0u && window <= position);
}

// most - score in Q16, cut off where 2^-x is 0 in Q30 anyway.
fn score_distance(most: i32, score: i32) -> u32 {
    let d = bitcast<u32>(most) - bitcast<u32>(score);
    return select(d << (16u - SCORE_BITS), 32u << 16u, d >= (32u << SCORE_BITS));
}

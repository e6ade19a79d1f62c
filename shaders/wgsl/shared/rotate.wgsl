// Rotation of the pairs (i, i + head_dim/2). Definition: rotated_pair in src/reference/rope_store_q8.rs.

// a·cos - b·sin for the pair's first half, b·cos + a·sin for its second.
// |a|, |b| <= 2^31 and |cos|, |sin| <= 2^30: the sums stay within 2^62.
fn rotate(first: bool, a: i32, b: i32, cos: i32, sin: i32) -> i32 {
    if (first) {
        return sat32(round_shr64(add64(mul_ss(a, cos), neg64(mul_ss(b, sin))), 30u));
    }
    return sat32(round_shr64(add64(mul_ss(b, cos), mul_ss(a, sin)), 30u));
}

//! Logits that look like a model's.

/// A few peaks over a broad bulk, the same for the same salt.
pub fn peaks(count: usize, salt: u32) -> Vec<i32> {
    let mut state = salt.wrapping_mul(0x9E37_79B9) | 1;
    (0..count)
        .map(|_| {
            let mut sum = 0i32;
            for _ in 0..4 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                sum += (state >> 16) as i32;
            }
            (sum - 131_072) * 6
        })
        .collect()
}

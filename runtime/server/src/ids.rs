//! Names of answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name that no other answer has: the prefix and 24 hexadecimal digits.
pub fn unique(prefix: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| d.as_nanos());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&now.to_le_bytes());
    hasher.update(&std::process::id().to_le_bytes());
    hasher.update(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    let hex = hasher.finalize().to_hex();
    format!("{prefix}{}", &hex[..24])
}

/// A name of a client as it may stand in a message: the beginning of it.
pub fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// A seed for a request that has none.
pub fn seed() -> u64 {
    let hex = unique("");
    // Below 2^32: clients of any language can hold it.
    u64::from_str_radix(&hex[..8], 16).unwrap_or(0)
}

/// Seconds since 1970-01-01.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_are_alike() {
        let (a, b) = (super::unique("x-"), super::unique("x-"));
        assert_ne!(a, b);
        assert_eq!(a.len(), 26);
    }
}

//! Memory that parsing takes, counted: at most 8 times the prefix and a constant, whatever it says.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;
#[path = "../../../tests/tests/counting/mod.rs"]
mod counting;

use carat_gguf::limits::{MAX_METADATA, MAX_TENSORS};
use carat_gguf::parse;

fn check(prefix: &[u8], total_len: u64, what: &str) {
    let (_, peak, _) = counting::measured(|| parse(prefix, total_len));
    assert!(
        peak <= 8 * prefix.len() + 1024,
        "{what}: {peak} bytes for {}",
        prefix.len()
    );
}

/// One test, since the counters are those of the process.
#[test]
fn memory_is_bounded_by_the_prefix() {
    for case in common::cases::cases() {
        check(&case.bytes, case.total_len, case.name);
        // The same start of a file that is said to be huge.
        check(&case.bytes, u64::MAX, case.name);
    }

    // The smallest entries and tensors, of which most fit in a byte.
    let entries = MAX_METADATA;
    let mut f = common::File::new(1, 0, entries);
    for i in 0..entries {
        f = f
            .key((i as u16).to_le_bytes().map(|b| b & 127), 0)
            .raw(&[0]);
    }
    check(&f.bytes, f.at(), "many entries");
    let f = common::File::new(1, 0, entries).raw(&vec![0; 9 * entries as usize]);
    check(&f.bytes, f.at(), "many entries of one key");
    let f = common::File::new(1, MAX_TENSORS, 0).raw(&vec![0; 24 * MAX_TENSORS as usize]);
    check(&f.bytes, f.at(), "many tensors without dimensions");
    let tensors = 10_000;
    let mut f = common::File::new(1, tensors, 0);
    for i in 0..tensors {
        f = f.tensor(format!("{i:x}"), &[1], 24, 32 * i);
    }
    let f = f.data(32 * tensors as usize);
    let header = &f.bytes[..f.bytes.len() - 32 * tensors as usize];
    assert!(matches!(
        parse(header, f.at()),
        Ok(carat_gguf::Parse::Complete(_))
    ));
    check(header, f.at(), "many tensors");

    // 20,000 mutations, as a whole file and as the start of a longer one.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % n
    };
    let files = [1, 2, 3].map(common::valid);
    for i in 0..20_000 {
        let mut bytes = files[i % 3].clone();
        for _ in 0..1 + random(4) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        check(&bytes, bytes.len() as u64, "mutation");
        check(&bytes, u64::MAX, "mutation of a long file");
    }
}

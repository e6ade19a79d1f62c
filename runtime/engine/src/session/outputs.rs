//! What passes give.

/// The 64-bit checksum of one row of logits.
pub type Checksum = u64;

/// Which of the given tokens' logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Those of the last token.
    Last,
    /// Those of the tokens from this index on.
    From(usize),
    /// The checksums and arg-maxes of the tokens from this index on, not their logits.
    FromResult(usize),
    /// The last token's checksum and arg-max, not its logits.
    LastResult,
    /// The same, where the next token will be that arg-max: a GPU begins its pass before the host has read the result.
    Greedy,
}

/// Logits of one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output<'a> {
    /// Position of the token whose successor they predict.
    pub position: u32,
    /// Logits in units of `2^Loaded::logits_exponent`; empty where only the result was wanted.
    pub logits: &'a [i32],
    /// Order-free checksum, computed on the device.
    pub checksum: Checksum,
    /// The largest logit's id, ties to the lower.
    pub argmax: u32,
}

/// blake3 over the exponent and the checksums of every row of logits that was sampled.
#[derive(Clone, Debug)]
pub struct LogitsHash(blake3::Hasher);

impl LogitsHash {
    /// No rows yet.
    pub fn new(exponent: i32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&exponent.to_le_bytes());
        Self(hasher)
    }

    /// Takes in one row's checksum.
    pub fn push(&mut self, checksum: Checksum) {
        self.0.update(&checksum.to_le_bytes());
    }

    /// The hash so far, in hexadecimal.
    pub fn hex(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

//! A bounded reader over a prefix of a file.

use crate::error::Error;

/// Why reading stopped: the prefix ends (with the length of prefix known to be needed, greater than
/// the present one and at most the file's), or the file is wrong.
pub(crate) enum Stop {
    Need(u64),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Stop::Error(e)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// Length of the whole file; `bytes.len() <= total`.
    total: u64,
    /// Whether counts and lengths have 64 bits (from version 2 on) or 32 (version 1).
    pub wide: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], total: u64, wide: bool) -> Self {
        Self {
            bytes,
            pos: 0,
            total,
            wide,
        }
    }

    pub fn position(&self) -> u64 {
        self.pos as u64
    }

    /// Bytes of the file, in the prefix or not, after the position.
    pub fn remaining(&self) -> u64 {
        self.total - self.pos as u64
    }

    /// Asks that `n` more bytes lie in the prefix. The caller has shown that `n <= remaining()`.
    pub fn require(&self, n: u64) -> Result<(), Stop> {
        let needed = self.position().saturating_add(n);
        if needed > self.bytes.len() as u64 {
            Err(Stop::Need(needed))
        } else {
            Ok(())
        }
    }

    /// The next `n` bytes, which are part of `what`.
    pub fn take(&mut self, n: u64, what: &'static str) -> Result<&'a [u8], Stop> {
        if n > self.remaining() {
            let (position, file_len) = (self.position(), self.total);
            return Err(Error::Truncated {
                what,
                position,
                needed: n,
                file_len,
            }
            .into());
        }
        self.require(n)?;
        // `n` is at most the length of a slice here.
        let end = self.pos + n as usize;
        let taken = &self.bytes[self.pos..end];
        self.pos = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Stop> {
        let mut a = [0; N];
        a.copy_from_slice(self.take(N as u64, what)?);
        Ok(a)
    }

    pub fn magic(&mut self) -> Result<[u8; 4], Stop> {
        self.array("the magic")
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count, length or dimension: 64 bits, or 32 in version 1.
    pub fn count(&mut self, what: &'static str) -> Result<u64, Stop> {
        if self.wide {
            self.u64(what)
        } else {
            Ok(u64::from(self.u32(what)?))
        }
    }

    /// Bytes of a count, length or dimension.
    pub fn count_width(&self) -> u64 {
        if self.wide { 8 } else { 4 }
    }
}

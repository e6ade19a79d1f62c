//! Huge pages for the memory of a rasteriser, which is this process's own.
//!
//! A driver allocates it as any program does, in small pages, and reading all weights for every token then waits for
//! the processor's look-ups of pages: in huge pages llvmpipe decodes 1.1 to 1.3 times as fast.

use std::collections::BTreeSet;

/// Bytes from which a map is a driver's memory for buffers, and no thread's stack.
const LARGE: usize = 32 << 20;

/// (first byte, length) of this process's large maps of memory that belong to no file.
#[derive(Debug, Default)]
pub struct Maps(BTreeSet<(usize, usize)>);

impl Maps {
    /// Those of now; none where the system does not tell.
    pub fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self(text.lines().filter_map(large).collect())
    }

    /// Asks for huge pages in those that have come since, before anything is written there. Without them all works the
    /// same. Returns their bytes.
    pub fn advise_new(&self) -> usize {
        let now = Self::now();
        let new = now.0.difference(&self.0);
        new.filter(|(start, len)| advise(*start, *len))
            .map(|m| m.1)
            .sum()
    }
}

/// A line of `/proc/self/maps`, see proc(5): `start-end permissions offset device inode path`.
fn large(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let private = fields.next()? == "rw-p";
    let inode = fields.nth(2)?;
    let nameless = inode == "0" && fields.next().is_none();
    let start = usize::from_str_radix(start, 16).ok()?;
    let len = usize::from_str_radix(end, 16).ok()?.checked_sub(start)?;
    (private && nameless && len >= LARGE).then_some((start, len))
}

#[allow(unsafe_code)]
fn advise(start: usize, len: usize) -> bool {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the advice changes no byte and no access right, whoever owns the memory; a range that was unmapped
    // meanwhile is refused.
    let advised = unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxHugepage) };
    if let Err(e) = &advised {
        tracing::debug!("pages stay small: {e}");
    }
    advised.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_memory_is_told_from_files_and_stacks() {
        let cases = [
            (
                "7f0000000000-7f0008000000 rw-p 00000000 00:00 0",
                Some(128 << 20),
            ),
            (
                "7f0000000000-7f0008000000 rw-p 00000000 00:00 0 [heap]",
                None,
            ),
            ("7f0000000000-7f0008000000 r--p 00000000 00:00 0", None),
            ("7f0000000000-7f0008000000 rw-s 00000000 00:00 0", None),
            (
                "7f0000000000-7f0008000000 rw-p 00000000 fe:00 77 /usr/lib/x",
                None,
            ),
            ("7f0000000000-7f0000100000 rw-p 00000000 00:00 0", None),
            ("7f0008000000-7f0000000000 rw-p 00000000 00:00 0", None),
            ("", None),
            ("nothing at all", None),
        ];
        for (line, expected) in cases {
            assert_eq!(large(line).map(|m| m.1), expected, "{line}");
        }
    }

    #[test]
    fn what_is_allocated_afterwards_is_advised() {
        let before = Maps::now();
        let memory = vec![0u8; 64 << 20];
        assert!(before.advise_new() >= memory.len());
        assert!(Maps::now().advise_new() < memory.len());
    }
}

//! Hashes of the written data: one a tensor, one a segment of 4 MiB.

use super::header::Plan;
use super::{ConvertError, Job};
use carat_format::keys::SEGMENT;
use carat_gguf::Layout;
use rayon::prelude::*;

/// Bytes read at a time.
const CHUNK: u64 = 1 << 18;

/// Reads the data back and enters its hashes. They are of what is in the file, so a write that went
/// astray shows in every later check.
pub(super) fn fill(job: &Job<'_>, plan: &mut Plan, layout: &Layout) -> Result<(), ConvertError> {
    let hash = |start: u64, len: u64| -> Result<[u8; 32], ConvertError> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = Vec::new();
        let mut at = 0;
        while at < len {
            job.check_cancelled()?;
            buffer.resize(CHUNK.min(len - at) as usize, 0);
            job.output.read_at(&mut buffer, start + at)?;
            hasher.update(&buffer);
            at += buffer.len() as u64;
        }
        Ok(hasher.finalize().into())
    };
    plan.directory
        .matrices
        .par_iter_mut()
        .try_for_each(|e| -> Result<(), ConvertError> {
            e.hash = hash(e.offset, e.layout.payload_bytes())?;
            Ok(())
        })?;
    for v in &mut plan.directory.vectors {
        v.hash = hash(v.offset, v.len * 4)?;
    }
    plan.segments.par_iter_mut().enumerate().try_for_each(
        |(i, segment)| -> Result<(), ConvertError> {
            let start = layout.data_start + i as u64 * SEGMENT;
            *segment = hash(start, SEGMENT.min(layout.file_len - start))?;
            Ok(())
        },
    )
}

//! Values that only a run of the written file gives: patched into the header in place.

use super::ConvertError;
use super::file::{write_all_at, write_error};
use super::header::DEFAULT_RESIDUAL_EXPONENT;
use crate::progress::Progress;
use carat::internals::golden::{Golden, Probe};
use carat::internals::{DeviceChoice, Model, Session, SessionOptions, Verify};
use carat_format::keys;
use carat_gguf::Layout;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

/// What a run of the file by the integer engine tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Finals {
    /// Unit of the residual stream: the range that was seen, with head-room.
    pub residual_exponent: i32,
    /// Token ids of the golden prompt.
    pub golden_prompt: [u32; keys::GOLDEN_PROMPT_LEN],
    /// Checksums of the logits at the first positions after it.
    pub golden_checksums: [u64; keys::GOLDEN_POSITIONS],
}

impl Default for Finals {
    fn default() -> Self {
        Self {
            residual_exponent: DEFAULT_RESIDUAL_EXPONENT,
            golden_prompt: [0; keys::GOLDEN_PROMPT_LEN],
            golden_checksums: [0; keys::GOLDEN_POSITIONS],
        }
    }
}

/// Positions of the probing and the golden text together.
const POSITIONS: u32 = 256;
/// Positions computed together: the golden prompt.
pub(super) const BATCH: u32 = keys::GOLDEN_PROMPT_LEN as u32;
/// Files from this size on are probed with little resident memory rather than fast.
const LARGE_FILE: u64 = 512 << 20;

/// Runs the written file: probes the residual stream over a text that the model samples itself, sets its
/// unit, then computes the golden vectors. Integers only, so the same file gives the same bytes anywhere.
///
/// # Errors
/// A file that the engine refuses, such as one with a tokenizer of an unknown kind; cancellation.
pub(super) fn probe(
    path: &Path,
    layout: &Layout,
    threads: Option<usize>,
    progress: &dyn Progress,
) -> Result<Finals, ConvertError> {
    let cancelled = || progress.cancelled();
    let mut session = open(path, threads, BATCH)?;
    let start = session.model().tokenizer()?.bos().unwrap_or(0);
    let found = pollster::block_on(Probe::run(&mut session, start, &cancelled))?;
    drop(session);
    let mut finals = Finals {
        residual_exponent: found.residual_exponent,
        ..Finals::default()
    };
    finals
        .golden_prompt
        .iter_mut()
        .zip(&found.tokens)
        .for_each(|(to, from)| *to = *from);
    // The unit has to be in the file before the golden vectors are computed.
    finalize(path, layout, &finals)?;
    let mut session = open(path, threads, BATCH)?;
    let golden = pollster::block_on(Golden::run(&mut session, &finals.golden_prompt, &cancelled))?;
    finals
        .golden_checksums
        .iter_mut()
        .zip(&golden.checksums)
        .for_each(|(to, from)| *to = *from);
    Ok(finals)
}

/// A session on the CPU that computes `batch` positions together and holds as many results.
pub(super) fn open(
    path: &Path,
    threads: Option<usize>,
    batch: u32,
) -> Result<Session, ConvertError> {
    let model = Model::open(path, Verify::Structure)?;
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: POSITIONS,
        batch: Some(batch),
        outputs: batch,
        threads,
        release_weights: model.len() > LARGE_FILE,
        ..SessionOptions::default()
    };
    Ok(pollster::block_on(Session::new(Arc::new(model), &options))?)
}

/// Patches the header of the file at `path`, laid out as `layout`.
///
/// # Errors
/// The file cannot be written; a key that the layout lacks, or of another width.
pub fn finalize(path: &Path, layout: &Layout, finals: &Finals) -> Result<(), ConvertError> {
    let prompt = finals
        .golden_prompt
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let checksums = finals
        .golden_checksums
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let values: [(&str, Vec<u8>); 3] = [
        (
            keys::RESIDUAL_EXPONENT,
            finals.residual_exponent.to_le_bytes().into(),
        ),
        (keys::GOLDEN_PROMPT, prompt),
        (keys::GOLDEN_CHECKSUMS, checksums),
    ];
    patch(path, layout, &values)
}

/// Writes values of fixed width over those of the header at `path`, laid out as `layout`.
pub(super) fn patch(
    path: &Path,
    layout: &Layout,
    values: &[(&str, Vec<u8>)],
) -> Result<(), ConvertError> {
    let error = |error| write_error(path.into(), layout.file_len, error);
    let file = OpenOptions::new().write(true).open(path).map_err(error)?;
    for (key, bytes) in values {
        match layout.value_offset(key) {
            Some(range) if range.end - range.start == bytes.len() as u64 => {
                write_all_at(&file, bytes, range.start).map_err(error)?;
            }
            _ => {
                let fault = format!("'{key}' has no room for {} bytes", bytes.len());
                return Err(ConvertError::HeaderCheck { fault });
            }
        }
    }
    Ok(())
}

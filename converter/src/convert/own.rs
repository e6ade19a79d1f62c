//! A text of the model's own: sampled from the checkpoint's data-free file by the integer engine.
//!
//! Source: Liu et al., "LLM-QAT: Data-Free Quantization Aware Training for Large Language Models" (2023),
//! which calibrates on what the model itself generates.

use super::finalize::{BATCH, open};
use super::{ConvertError, Options, convert};
use crate::calibrate::{Calibration, CalibrationError};
use crate::progress::{Part, Progress};
use carat::internals::Want;
use carat::internals::sample::{Params, SampleError, Sampler};
use carat_format::ScaleGroup;
use std::path::Path;

/// Bits of the file that the text is sampled from.
const BITS: f64 = 4.0;

/// Sequences of `length` tokens from the token that begins a text on, at temperature 1. The same bits everywhere:
/// data-free conversion, integer inference and the sampler have but one result.
pub(super) fn sequences(
    options: &Options,
    calibration: &Calibration,
    length: usize,
    progress: &dyn Progress,
) -> Result<Vec<Vec<u32>>, ConvertError> {
    let directory = options.output.parent();
    let directory = directory
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let folder = tempfile::Builder::new()
        .prefix(".carat-")
        .tempdir_in(directory);
    let folder = folder.map_err(|error| ConvertError::TargetDirectory {
        path: directory.into(),
        error,
    })?;
    let path = folder.path().join("sampled.gguf");
    let sampled = Options {
        source: options.source.clone(),
        output: path.clone(),
        bits: BITS,
        group: ScaleGroup::default(),
        threads: options.threads,
        ..Options::default()
    };
    convert(&sampled, &Part::new(progress, 0, 1, 8))?;
    let mut session = open(&path, options.threads, BATCH)?;
    session.model().check_head()?;
    let start = session.model().tokenizer()?.bos().unwrap_or(0);
    let exponent = session.logits_exponent();
    let length = length.min(session.context() as usize).max(1);
    let wanted = (calibration.tokens / length).max(1);
    let params = Params {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: calibration.seed,
        ..Params::default().repeating()
    };
    let fault = |e: &dyn std::fmt::Display| CalibrationError::Sample {
        fault: e.to_string(),
    };
    let mut sampler = Sampler::new(params).map_err(|e| fault(&e))?;
    let part = Part::new(progress, 1, 7, 8);
    let mut out = Vec::with_capacity(wanted);
    for done in 0..wanted {
        session.truncate(0);
        let mut tokens = vec![start];
        while tokens.len() < length {
            if progress.cancelled() {
                return Err(ConvertError::Cancelled);
            }
            let last = tokens[tokens.len() - 1];
            let mut next = Err(SampleError::NoLogits);
            pollster::block_on(session.forward(&[last], Want::Last, &mut |o| {
                next = sampler.sample(o.logits, exponent, &tokens);
            }))?;
            tokens.push(next.map_err(|e| fault(&e))?);
        }
        out.push(tokens);
        part.step(done as u64 + 1, wanted as u64);
    }
    Ok(out)
}

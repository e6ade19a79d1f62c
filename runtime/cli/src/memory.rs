//! What a model takes of memory, and a limit on it.

use crate::term;
use anyhow::{Result, anyhow};
use carat::internals::plan::Memory;
use carat::internals::{Model, SessionOptions};
use serde::Serialize;

/// Contexts that [`account`] shows, as far as the model goes.
const CONTEXTS: [u32; 9] = [256, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072];

/// The options with the context that the limit allows, said where it is shorter than what was asked for.
///
/// Errors: the limit is too small for any.
pub fn fitted(
    options: SessionOptions,
    model: &Model,
) -> Result<SessionOptions, carat::internals::Error> {
    let Some(limit) = options.memory_limit else {
        return Ok(options);
    };
    let fits = options.plan(model)?.extent.context;
    if fits >= options.context {
        return Ok(options);
    }
    term::warn(&format!(
        "--memory-limit: {} are enough for {fits} positions, not for {}",
        term::bytes(limit),
        options.context
    ));
    Ok(SessionOptions {
        context: fits,
        ..options
    })
}

/// What a context takes, in bytes.
#[derive(Serialize)]
pub struct Entry {
    context: u32,
    weights: u64,
    cache: u64,
    work: u64,
    total: u64,
    /// While the CPU answers and a GPU is made ready: what both take. Null in a build without GPUs.
    beside_gpu: Option<u64>,
}

/// What the model takes by the length of the context, with the options of `carat run` and every core.
///
/// Errors: a model that has no plan.
pub fn account(model: &Model) -> Result<Vec<Entry>> {
    let trained = model.spec().context_length;
    let mut entries = Vec::new();
    for context in CONTEXTS {
        // The first one that holds all that the model was trained for is the last.
        if entries.last().is_some_and(|e: &Entry| e.context >= trained) {
            break;
        }
        let options = SessionOptions {
            context,
            ..SessionOptions::default()
        };
        let plan = match options.plan(model) {
            Ok(plan) => plan,
            Err(carat::internals::Error::Context { .. }) if !entries.is_empty() => break,
            Err(e) => return Err(anyhow!(e)),
        };
        let m: Memory = plan.memory(options.cpu_threads());
        #[cfg(feature = "gpu")]
        let gpu = Some(options.gpu_memory(model).map_err(|e| anyhow!(e))?);
        #[cfg(not(feature = "gpu"))]
        let gpu: Option<Memory> = None;
        entries.push(Entry {
            context: plan.extent.context,
            weights: m.weights,
            cache: m.cache,
            work: m.work,
            total: m.total(),
            beside_gpu: gpu.map(|g| m.total() + g.total()),
        });
    }
    Ok(entries)
}

/// The account for a person.
pub fn table(entries: &[Entry]) -> String {
    let mut out = format!(
        "\n  {:>8}  {:>11}  {:>11}  {:>11}  {:>11}  {:>11}\n",
        "context", "weights", "KV cache", "work", "in all", "and a GPU"
    );
    for e in entries {
        let [weights, cache, work, total] = [e.weights, e.cache, e.work, e.total].map(term::bytes);
        let beside_gpu = e.beside_gpu.map_or("-".into(), term::bytes);
        let columns = [weights, cache, work, total, beside_gpu];
        let columns = columns.map(|c| format!("  {c:>11}"));
        out += &format!("  {:>8}{}\n", e.context, columns.concat());
    }
    out + "\n  weights are the file's: mapped on the CPU, copied by a GPU. The last column is what both\n  \
           take while the CPU answers and a GPU is made ready; a limit below it has one at a time.\n"
}

//! One pass, step by step on two executors.

use crate::error::Error;
use crate::exec::{Batch, Executor};
use crate::plan::{Plan, Row, Step};
use crate::session::Session;
use carat_format::Encoding;
use std::fmt;

/// A kernel with one encoding on a device, compared with its twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCheck {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Bits of its encoding, where it has one.
    pub encoding: Option<Encoding>,
    /// 32-bit words compared.
    pub words: u64,
    /// The first difference, if there is one.
    pub difference: Option<Difference>,
}

/// Where a device's words first differ from the twin's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Label of the step, e.g. `blk.0.attn_q`.
    pub step: String,
    /// Index of the first differing word of the step's result, or of the statistics after it.
    pub word: u64,
    /// The twin's word; `None` where it wrote fewer.
    pub expected: Option<u32>,
    /// The device's word; `None` where it gave fewer.
    pub found: Option<u32>,
    /// Words that differ.
    pub differing: u64,
    /// Words compared.
    pub of: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |w: Option<u32>| w.map_or("nothing".into(), |w| format!("{w:#010x}"));
        write!(
            f,
            "word {} of '{}' is {}, expected {} ({} of {} words differ)",
            self.word,
            self.step,
            word(self.found),
            word(self.expected),
            self.differing,
            self.of
        )
    }
}

impl Difference {
    fn find(step: &str, expected: &[u32], found: &[u32]) -> Option<Self> {
        let of = expected.len().max(found.len());
        let differs = |i: &usize| expected.get(*i) != found.get(*i);
        let first = (0..of).find(differs)?;
        Some(Self {
            step: step.into(),
            word: first as u64,
            expected: expected.get(first).copied(),
            found: found.get(first).copied(),
            differing: (first..of).filter(differs).count() as u64,
            of: of as u64,
        })
    }
}

/// Runs one batch step by step on two sessions of the same model and extent, and compares what each step
/// wrote. Adds to `checks`; false where a step differed, which is the last one run.
///
/// Errors: a device failed.
pub async fn compare(
    expected: &mut Session,
    found: &mut Session,
    rows: &[Row],
    outputs: usize,
    checks: &mut Vec<KernelCheck>,
) -> Result<bool, Error> {
    let ((a, plan), (b, _)) = (expected.executor(), found.executor());
    let batch = Batch { rows, outputs };
    for (i, step) in plan.steps.iter().enumerate() {
        let (twin, twin_stats) = result(a, plan, step, batch, i).await?;
        let (words, stats) = result(b, plan, step, batch, i).await?;
        let difference = Difference::find(&step.label, &twin, &words).or_else(|| {
            let label = format!("{} (statistics)", step.label);
            Difference::find(&label, &twin_stats, &stats)
        });
        let same = difference.is_none();
        let key = (step.op.kernel(), step.op.encoding());
        let check = match checks.iter_mut().find(|c| (c.kernel, c.encoding) == key) {
            Some(check) => check,
            None => {
                checks.push(KernelCheck {
                    kernel: key.0,
                    encoding: key.1,
                    words: 0,
                    difference: None,
                });
                let last = checks.len() - 1;
                &mut checks[last]
            }
        };
        check.words += (twin.len() + twin_stats.len()) as u64;
        if !same {
            check.difference = check.difference.take().or(difference);
            return Ok(false);
        }
    }
    Ok(true)
}

/// What step `i` wrote, one result after the other, and the statistics after it where it keeps them.
async fn result(
    executor: &mut Executor,
    plan: &Plan,
    step: &Step,
    batch: Batch<'_>,
    i: usize,
) -> Result<(Vec<u32>, Vec<u32>), Error> {
    let rows = batch.rows_of(step.rows) as u64;
    let buffer = step.bindings[step.result];
    let words = match step.result_stride {
        0 => plan.buffers[buffer.0].words,
        stride => rows * stride,
    };
    executor.run(plan, batch, i..i + 1).await?;
    let (mut written, mut stats, mut more) = (Vec::new(), Vec::new(), Vec::new());
    executor.read(buffer, words, &mut written).await?;
    for (binding, stride) in step.op.more_results().into_iter().flatten() {
        let id = step.bindings[binding];
        executor.read(id, rows * stride, &mut more).await?;
        written.append(&mut more);
    }
    if step.bindings.contains(&plan.stats) {
        let words = plan.buffers[plan.stats.0].words;
        executor.read(plan.stats, words, &mut stats).await?;
    }
    Ok((written, stats))
}

//! One pass, step by step on two executors.

use crate::error::Error;
use crate::exec::{Batch, PageTables};
use crate::plan::Row;
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
    /// Index of the first differing word of what the step wrote.
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
    let tables = PageTables::whole(plan);
    let batch = Batch {
        rows,
        outputs,
        tables: &tables,
    };
    for (i, step) in plan.steps.iter().enumerate() {
        a.run(plan, batch, i..i + 1).await?;
        b.run(plan, batch, i..i + 1).await?;
        let (mut words, mut difference) = (0, None);
        let (mut twin, mut other) = (Vec::new(), Vec::new());
        for (n, bound) in step.bindings.iter().filter(|b| b.written).enumerate() {
            let count = match bound.stride {
                0 => plan.buffers[bound.buffer.0].words,
                stride => batch.rows_of(step) as u64 * stride,
            };
            a.read(bound.buffer, count, &mut twin).await?;
            b.read(bound.buffer, count, &mut other).await?;
            words += twin.len() as u64;
            let label = match n {
                0 => step.label.clone(),
                _ => format!("{} ({})", step.label, bound.name),
            };
            difference = difference.or_else(|| Difference::find(&label, &twin, &other));
        }
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
        check.words += words;
        if difference.is_some() {
            check.difference = check.difference.take().or(difference);
            return Ok(false);
        }
    }
    Ok(true)
}

//! A pass in several submissions, so that none of them keeps a slow device longer than its driver waits.

use super::Session;
use crate::plan::{Content, Plan, Step};
use std::ops::Range;

/// Most work of a submission, and the work done so far. Work is words of weights times rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submissions {
    most: u64,
    done: u64,
}

impl Default for Submissions {
    fn default() -> Self {
        Self {
            most: u64::MAX,
            done: 0,
        }
    }
}

impl Submissions {
    /// The steps from `start` on that a pass of so many rows submits next: all, unless they are more work than allowed. A
    /// step is never cut.
    pub(super) fn next(&self, plan: &Plan, rows: usize, start: usize) -> Range<usize> {
        let mut sum = 0u64;
        for (i, step) in plan.steps.iter().enumerate().skip(start) {
            let work = work(plan, step, rows);
            if i > start && sum.saturating_add(work) > self.most {
                return start..i;
            }
            sum = sum.saturating_add(work);
        }
        start..plan.steps.len()
    }

    /// Counts a pass of so many rows.
    pub(super) fn count(&mut self, plan: &Plan, rows: usize) {
        let all = plan.steps.iter().map(|s| work(plan, s, rows));
        self.done = all.fold(self.done, u64::saturating_add);
    }
}

/// Words of a step's weights times rows.
fn work(plan: &Plan, step: &Step, rows: usize) -> u64 {
    let weights = step.bindings.iter().map(|b| &plan.buffers[b.buffer.0]);
    let weights =
        weights.filter(|b| matches!(b.content, Content::File { .. } | Content::Adapter(_)));
    let words: u64 = weights.map(|b| b.words).sum();
    words.saturating_mul(rows as u64)
}

impl Session {
    /// Limits the work of one submission, in words of weights times rows of the pass. Results do not depend on it.
    pub fn limit_submissions(&mut self, work: u64) {
        self.loaded.submissions.most = work.max(1);
    }

    /// Work submitted so far, in the same unit.
    pub fn work(&self) -> u64 {
        self.loaded.submissions.done
    }
}

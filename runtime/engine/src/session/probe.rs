//! How long a token takes on this processor, before a whole model is in its memory.

use crate::error::Error;
use crate::exec::cpu::CpuExecutor;
use crate::exec::{Batch, Executor, PageTables};
use crate::model::Model;
use crate::plan::{Content, Extent, MOST_BINDING, Plan, Row, Step};
use std::ops::Range;
use std::sync::Arc;

/// Weights that are enough to tell a processor's speed by: more than its nearest caches hold. A step is never cut.
const BYTES: u64 = 16 << 20;

/// A run of steps of a model's pass, on the CPU, with the weights of those steps alone.
pub struct Probe {
    plan: Plan,
    /// Place in the file and buffer of each of their tensors.
    tensors: Vec<(u64, usize)>,
    share: f64,
    executor: Option<Executor>,
    model: Arc<Model>,
}

/// The first steps from the first product on that read at least [`BYTES`], or all that there are.
fn chosen(plan: &Plan) -> Range<usize> {
    let start = plan.steps.iter().position(|s| s.op.is_product());
    let start = start.unwrap_or(plan.steps.len());
    let mut bytes = 0;
    let enough = plan.steps[start..].iter().position(|s| {
        bytes += plan.weight_bytes(s);
        bytes >= BYTES
    });
    start..enough.map_or(plan.steps.len(), |i| start + i + 1)
}

impl Probe {
    /// Memory for some steps of `model`, of which nothing but the header has to be there.
    ///
    /// Errors: a tensor that the directory lacks.
    pub fn new(model: Arc<Model>) -> Result<Self, Error> {
        let extent = Extent {
            binding: MOST_BINDING,
            ..Extent::default()
        };
        let mut plan = Plan::new(model.spec(), model.directory(), extent)?;
        let steps = chosen(&plan);
        let products = |plan: &Plan, steps: &[Step]| -> u64 {
            steps.iter().map(|s| plan.cost(s, 0).dots).sum()
        };
        let all = products(&plan, &plan.steps);
        let part = products(&plan, &plan.steps[steps.clone()]);
        plan.steps = plan.steps[steps].to_vec();
        let mut used = vec![false; plan.buffers.len()];
        let bindings = plan.steps.iter().flat_map(|s| &s.bindings);
        bindings.for_each(|b| used[b.buffer.0] = true);
        let mut tensors = Vec::new();
        for (i, buffer) in plan.buffers.iter_mut().enumerate() {
            let Content::File { offset } = buffer.content else {
                continue;
            };
            if used[i] {
                tensors.push((offset, i));
                buffer.content = Content::Constant(vec![0; buffer.words as usize]);
            } else {
                buffer.words = 0;
                buffer.content = Content::Work;
            }
        }
        Ok(Self {
            plan,
            tensors,
            share: all as f64 / part.max(1) as f64,
            executor: None,
            model,
        })
    }

    /// Takes what it needs of the bytes of the file from `offset` on. What never comes counts as zeros.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len() as u64);
        for &(start, buffer) in &self.tensors {
            let Content::Constant(words) = &mut self.plan.buffers[buffer].content else {
                continue;
            };
            let place: &mut [u8] = bytemuck::cast_slice_mut(words);
            let from = offset.max(start);
            let to = end.min(start + place.len() as u64);
            if from < to {
                let source = (from - offset) as usize..(to - offset) as usize;
                let target = (from - start) as usize..(to - start) as usize;
                place[target].copy_from_slice(&bytes[source]);
            }
        }
    }

    /// How many times the work of these steps a token is.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Runs the steps for one token `times` times. `each` is called before the first and after every one.
    ///
    /// Errors: as for a session on the CPU.
    pub async fn rehearse(&mut self, times: usize, mut each: impl FnMut()) -> Result<(), Error> {
        let executor = match &mut self.executor {
            Some(executor) => executor,
            none => {
                let cpu = CpuExecutor::new(self.model.clone(), &self.plan, None)?;
                none.insert(Executor::Cpu(Box::new(cpu)))
            }
        };
        let row = Row {
            token: 0,
            position: 0,
            sequence: 0,
        };
        let batch = Batch {
            rows: &[row],
            outputs: 1,
            tables: &PageTables::whole(&self.plan),
        };
        each();
        for _ in 0..times {
            let steps = 0..self.plan.steps.len();
            executor.run(&self.plan, batch, steps).await?;
            each();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::internals::{Head, Verify};
    use crate::selftest::Shape;

    /// 24 blocks of some 1.5 MB each.
    fn large() -> Vec<u8> {
        let shape = Shape {
            dim: 512,
            blocks: 24,
            heads: 8,
            kv_heads: 2,
            head_dim: 64,
            ff: 1536,
            ..Shape::default()
        };
        shape.bytes()
    }

    fn head(bytes: &[u8]) -> Arc<Model> {
        let mut have = 1 << 12;
        loop {
            match Model::head(&bytes[..have], bytes.len() as u64).unwrap() {
                Head::NeedMore(need) => have = need as usize,
                Head::Whole(model) => return Arc::new(*model),
            }
        }
    }

    #[test]
    fn a_part_of_a_large_model_stands_for_it() {
        let bytes = large();
        let mut probe = Probe::new(head(&bytes)).unwrap();
        let taken: u64 = probe
            .tensors
            .iter()
            .map(|t| probe.plan.buffers[t.1].words * 4)
            .sum();
        assert!((BYTES..BYTES + (2 << 20)).contains(&taken), "{taken}");
        assert!(
            probe.share() > 1.5 && probe.share() < 4.0,
            "{}",
            probe.share()
        );
        // In pieces of any length.
        for (i, piece) in bytes.chunks(100_003).enumerate() {
            probe.put(i as u64 * 100_003, piece);
        }
        let whole = Model::from_bytes(&bytes, Verify::Structure).unwrap();
        for (offset, buffer) in &probe.tensors {
            let Content::Constant(words) = &probe.plan.buffers[*buffer].content else {
                panic!("{}", probe.plan.buffers[*buffer].name);
            };
            assert_eq!(whole.words(*offset, words.len() as u64), words);
        }
        let mut calls = 0;
        pollster::block_on(probe.rehearse(2, || calls += 1)).unwrap();
        assert_eq!(calls, 3);
    }

    #[test]
    fn a_small_model_is_run_whole_but_for_its_beginning() {
        let bytes = Shape::default().bytes();
        let probe = Probe::new(head(&bytes)).unwrap();
        assert_eq!(probe.share(), 1.0);
    }
}

//! From a model to the buffers and steps of its forward pass.

use super::adapters::LowRankWork;
use super::widths::{HeadWords, Widths, fitting, kept};
use super::{
    Bound, Buffer, BufferId, CacheBuffer, Content, Extent, Fusions, Op, PAGE, Pages, Plan, Rows,
    Step,
};
use crate::error::Error;
use carat_adapter::Applied;
use carat_format::model::Block;
use carat_format::{Directory, Fixed, ModelSpec, PartLayout, Tensor, TensorEntry, Vector};
use carat_shaders::cpu::softcap::Cap;
use carat_shaders::kv::KvLayout;
use carat_shaders::params::{self, RESULT_WORDS, ROW_WORDS, STATS_WORDS};
use carat_shaders::{Access, Binding, act_stride, groups_of, kernel, kv_page_words};

pub(super) struct Builder<'a> {
    pub(super) spec: &'a ModelSpec,
    pub(super) directory: &'a Directory,
    pub(super) buffers: Vec<Buffer>,
    pub(super) steps: Vec<Step>,
    pub(super) pages: Vec<Pages>,
    pub(super) caches: Vec<CacheBuffer>,
    pub(super) extent: Extent,
    pub(super) fusions: Fusions,
    pub(super) adapters: &'a [Applied],
}

/// The buffers that every block shares.
pub(super) struct Work {
    pub(super) row_table: BufferId,
    /// One for each table of rotary positions.
    pub(super) angles: Vec<BufferId>,
    pub(super) stats: BufferId,
    pub(super) h: BufferId,
    pub(super) act: BufferId,
    pub(super) q: BufferId,
    pub(super) k: BufferId,
    pub(super) v: BufferId,
    pub(super) query: BufferId,
    pub(super) partial: BufferId,
    pub(super) attn: BufferId,
    pub(super) gate: BufferId,
    pub(super) up: BufferId,
    pub(super) mid: BufferId,
    /// What a norm takes before it is added to the residual stream, where a model has such norms.
    pub(super) branch: Option<BufferId>,
    /// What adapters need, where there are some.
    pub(super) low_rank: Option<LowRankWork>,
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub(super) enum Out {
    /// Stored, in the matrix's own unit.
    Buffer(BufferId),
    /// Added to the residual stream.
    Residual,
    /// Stored for a norm, in a unit that contains the activations' exponent.
    Branch(BufferId),
}

impl Builder<'_> {
    pub(super) fn buffer(&mut self, name: &str, words: u64, content: Content) -> BufferId {
        self.buffers.push(Buffer {
            name: name.into(),
            words,
            content,
        });
        BufferId(self.buffers.len() - 1)
    }

    pub(super) fn work(&mut self, name: &str, stride: u64) -> BufferId {
        let words = stride * u64::from(self.extent.batch);
        self.buffer(name, words, Content::Work)
    }

    /// The cache of a block with that window, whose pages have `heads` heads of that layout, and where its pages are.
    pub(super) fn cache(
        &mut self,
        name: &str,
        window: Option<u32>,
        (heads, layout): (u32, KvLayout),
    ) -> (BufferId, BufferId) {
        let kind = self.pages(window);
        let Pages { table, count, .. } = self.pages[kind];
        let words = u64::from(count) * u64::from(layout.page(heads));
        let buffer = self.buffer(name, words, Content::Work);
        self.caches.push(CacheBuffer {
            buffer,
            kind,
            window: window.unwrap_or(u32::MAX),
            heads,
            layout,
        });
        (buffer, table)
    }

    /// Pages of a block with that window: their index.
    fn pages(&mut self, window: Option<u32>) -> usize {
        let blocks = self.extent.context.div_ceil(PAGE);
        let kept = kept(window, self.extent.batch).min(blocks);
        let window = window.unwrap_or(u32::MAX);
        if let Some(i) = self.pages.iter().position(|p| p.kept == kept) {
            let pages = &mut self.pages[i];
            pages.window = pages.window.max(window);
            return i;
        }
        let Extent {
            sequences,
            spare,
            pool,
            cache,
            binding,
            ..
        } = self.extent;
        // Blocks that share a table have as many pages, whatever the words of theirs are.
        let words = self
            .spec
            .blocks
            .iter()
            .filter_map(Block::attention)
            .map(|a| {
                let h = HeadWords::new(a.head_dim);
                kv_page_words(a.kv_heads, h.words, h.groups, cache.narrow())
            });
        let page = words.max().unwrap_or(1);
        let all = kept.saturating_mul(sequences + spare);
        let in_pool = pool.map_or(all, |p| p / PAGE);
        let words = u64::from(sequences) * u64::from(blocks);
        let pages = Pages {
            table: self.buffer(&format!("pages.{kept}"), words, Content::PageTable),
            kept,
            window,
            count: all.min(in_pool).min(fitting(page, binding)),
        };
        self.pages.push(pages);
        self.pages.len() - 1
    }

    /// Adds a step. `buffers` are those of the kernel's bindings by name, in any order; `results` have the words of a row,
    /// of what is written by rows.
    ///
    /// Errors: other names than the kernel's, or a result that it does not write.
    pub(super) fn step(
        &mut self,
        label: String,
        op: Op,
        rows: Rows,
        buffers: &[(&str, BufferId)],
        results: &[(&str, u64)],
    ) -> Result<(), Error> {
        let Some(bindings) = bind(op.kernel(), buffers, results) else {
            let kernel = op.kernel();
            return Err(Error::Bindings {
                step: label,
                kernel,
            });
        };
        self.steps.push(Step {
            label,
            op,
            bindings,
            rows,
            adapter: None,
        });
        Ok(())
    }

    pub(super) fn build(mut self) -> Result<Plan, Error> {
        let (spec, extent) = (self.spec, self.extent);
        let w = Widths::new(spec, extent.context);
        let tables = spec.rope_tables.iter().enumerate();
        let work = Work {
            row_table: {
                let words = u64::from(extent.batch * ROW_WORDS);
                self.buffer("rows", words, Content::RowTable)
            },
            angles: tables
                .map(|(i, t)| self.work(&format!("rope.{i}.angles"), t.len() as u64 * 2))
                .collect(),
            stats: self.buffer("stats", STATS_WORDS.into(), Content::Work),
            h: self.work("h", w.d),
            act: self.work("act", w.act),
            q: self.work("q", w.q),
            k: self.work("k", w.kv),
            v: self.work("v", w.kv),
            query: self.work("query", w.query),
            partial: self.work("partial", w.partial),
            attn: self.work("attn", w.q),
            gate: self.work("gate", w.f),
            up: self.work("up", w.f),
            mid: self.work("mid", w.f),
            branch: w.branch.then(|| self.work("branch", w.d)),
            low_rank: self.low_rank_work(),
        };
        self.embed(&work)?;
        self.angles(&work)?;
        for block in 0..spec.block_count() {
            self.block(&work, block)?;
        }
        self.head(work)
    }

    pub(super) fn matrix(&self, tensor: Tensor) -> Result<TensorEntry, Error> {
        self.directory
            .matrix(tensor)
            .cloned()
            .ok_or_else(|| Error::MissingTensor(tensor.name()))
    }

    /// The buffer of one part of a matrix, the same for every step that reads it.
    pub(super) fn part(&mut self, entry: &TensorEntry, part: &PartLayout) -> BufferId {
        let content = Content::File {
            offset: entry.offset + part.codes,
        };
        if let Some(i) = self.buffers.iter().position(|b| b.content == content) {
            return BufferId(i);
        }
        self.buffer(&entry.tensor.name(), (part.end - part.codes) / 4, content)
    }

    fn embed(&mut self, work: &Work) -> Result<(), Error> {
        let entry = self.matrix(Tensor::TokenEmbedding)?;
        for (i, part) in entry.layout.parts.clone().iter().enumerate() {
            let weights = self.part(&entry, part);
            let op = Op::EmbedRow(
                params::EmbedRow {
                    table: entry.table.words(),
                    row_start: part.row_start as u32,
                    part_rows: part.rows as u32,
                    groups: entry.layout.groups as u32,
                    scales: ((part.scales - part.codes) / 4) as u32,
                    row_scales: ((part.row_scales - part.codes) / 4) as u32,
                    cols: entry.layout.cols as u32,
                    exponent: self.spec.residual_exponent,
                    scale_shift: entry.layout.group.shift(),
                },
                entry.layout.encoding,
            );
            let label = if i == 0 {
                "embed".into()
            } else {
                format!("embed.{i}")
            };
            let buffers = [
                ("row_table", work.row_table),
                ("weights", weights),
                ("h", work.h),
            ];
            let results = [("h", entry.layout.cols)];
            self.step(label, op, Rows::Batch, &buffers, &results)?;
        }
        Ok(())
    }

    /// The phases of every table at the rows' positions.
    fn angles(&mut self, work: &Work) -> Result<(), Error> {
        let spec = self.spec;
        for (i, (table, angles)) in spec.rope_tables.iter().zip(&work.angles).enumerate() {
            let words = table.iter().flat_map(|v| [*v as u32, (*v >> 32) as u32]);
            let words: Vec<u32> = words.collect();
            let pairs = table.len() as u32;
            let increments = self.buffer(
                &format!("rope.{i}.increments"),
                words.len() as u64,
                Content::Constant(words),
            );
            let op = Op::RopeAngles(params::RopeAngles {
                pairs,
                ..Default::default()
            });
            let buffers = [
                ("row_table", work.row_table),
                ("increments", increments),
                ("angles", *angles),
            ];
            let results = [("angles", u64::from(pairs) * 2)];
            let label = format!("rope.{i}.angles");
            self.step(label, op, Rows::Batch, &buffers, &results)?;
        }
        Ok(())
    }

    pub(super) fn vector(&self, tensor: Tensor) -> Result<Vector, Error> {
        let found = self.directory.vector(tensor).cloned();
        found.ok_or_else(|| Error::MissingTensor(tensor.name()))
    }

    /// The buffer of a vector of the file.
    pub(super) fn mantissas(&mut self, v: &Vector) -> BufferId {
        let content = Content::File { offset: v.offset };
        self.buffer(&v.tensor.name(), v.len, content)
    }

    /// The norm of the residual stream: activations of the next products.
    pub(super) fn norm(
        &mut self,
        work: &Work,
        tensor: Tensor,
        label: String,
        rows: Rows,
    ) -> Result<(), Error> {
        self.norm_of(
            work,
            (work.h, self.spec.residual_exponent),
            tensor,
            label,
            rows,
        )
    }

    /// The norm of rows `x` of an exponent, quantized.
    pub(super) fn norm_of(
        &mut self,
        work: &Work,
        (x, exponent): (BufferId, i32),
        tensor: Tensor,
        label: String,
        rows: Rows,
    ) -> Result<(), Error> {
        let gains = self.vector(tensor)?;
        let cols = gains.len as u32;
        let buffer = self.mantissas(&gains);
        let stride = act_stride(groups_of(cols));
        let epsilon = self.spec.epsilon.times(cols);
        let op = Op::RmsnormRow(params::RmsnormRow {
            cols,
            act_stride: stride,
            eps_mantissa: epsilon.mantissa,
            eps_exponent: epsilon.exponent - 2 * exponent,
            gain_exponent: gains.exponent,
            ..Default::default()
        });
        let buffers = [("h", x), ("gains", buffer), ("act", work.act)];
        self.step(label, op, rows, &buffers, &[("act", stride.into())])
    }

    pub(super) fn quantize(
        &mut self,
        work: &Work,
        label: String,
        x: BufferId,
        cols: u32,
        exponent: i32,
        rows: Rows,
    ) -> Result<(), Error> {
        let stride = act_stride(groups_of(cols));
        let op = Op::QuantizeRow(params::QuantizeRow {
            cols,
            act_stride: stride,
            exponent,
            ..Default::default()
        });
        let buffers = [("x", x), ("act", work.act)];
        self.step(label, op, rows, &buffers, &[("act", stride.into())])
    }

    /// `out (+)= W · act (+ bias)`; returns the exponent of the result.
    pub(super) fn linear(
        &mut self,
        work: &Work,
        tensor: Tensor,
        label: String,
        to: Out,
        rows: Rows,
    ) -> Result<i32, Error> {
        let entry = self.matrix(tensor)?;
        let (out, exponent, mode) = match to {
            Out::Buffer(b) => (b, entry.exponent, params::STORE),
            Out::Residual => (work.h, self.spec.residual_exponent, params::ACCUMULATE),
            Out::Branch(b) => (b, entry.exponent, params::STORE_RELATIVE),
        };
        for (i, part) in entry.layout.parts.clone().iter().enumerate() {
            let weights = self.part(&entry, part);
            let op = Op::LinearTile(
                params::LinearTile {
                    table: entry.table.words(),
                    row_start: part.row_start as u32,
                    part_rows: part.rows as u32,
                    groups: entry.layout.groups as u32,
                    scales: ((part.scales - part.codes) / 4) as u32,
                    row_scales: ((part.row_scales - part.codes) / 4) as u32,
                    act_stride: act_stride(entry.layout.groups as u32),
                    out_stride: entry.layout.rows as u32,
                    exponent,
                    mode,
                    scale_shift: entry.layout.group.shift(),
                    ..Default::default()
                },
                entry.layout.encoding,
            );
            let label = if i == 0 {
                label.clone()
            } else {
                format!("{label}.{i}")
            };
            let buffers = [
                ("act", work.act),
                ("weights", weights),
                ("h", out),
                ("stats", work.stats),
            ];
            self.step(label, op, rows, &buffers, &[("h", entry.layout.rows)])?;
        }
        let product = (out, exponent);
        self.bias(work, &entry, product, mode, label.clone(), rows)?;
        self.adapt(work, &entry, product, mode, &label, rows)?;
        Ok(exponent)
    }

    /// The bias of a product of an exponent, where a model has one.
    pub(super) fn bias(
        &mut self,
        work: &Work,
        entry: &TensorEntry,
        (out, exponent): (BufferId, i32),
        mode: u32,
        label: String,
        rows: Rows,
    ) -> Result<(), Error> {
        let found = self.spec.bias(entry.tensor);
        let found = found.and_then(|b| self.directory.vector(b));
        let Some(bias) = found.cloned() else {
            return Ok(());
        };
        let buffer = self.mantissas(&bias);
        let op = Op::Bias(params::Bias {
            cols: entry.layout.rows as u32,
            shift: exponent - bias.exponent,
            residual: u32::from(mode == params::ACCUMULATE),
            ..Default::default()
        });
        let buffers = [("bias", buffer), ("h", out), ("stats", work.stats)];
        let results = [("h", entry.layout.rows)];
        self.step(format!("{label}.bias"), op, rows, &buffers, &results)
    }

    fn head(mut self, work: Work) -> Result<Plan, Error> {
        let vocab = u64::from(self.spec.vocab_size);
        let outputs = u64::from(self.extent.outputs);
        let logits = self.buffer("logits", vocab * outputs, Content::Work);
        let results = self.buffer("results", u64::from(RESULT_WORDS) * outputs, Content::Work);
        self.norm(
            &work,
            Tensor::OutputNorm,
            "output_norm".into(),
            Rows::Outputs,
        )?;
        let tensor = self.spec.head();
        let to = Out::Buffer(logits);
        let exponent = self.linear(&work, tensor, "logits".into(), to, Rows::Outputs)?;
        if self.spec.logits_softcap.is_some() {
            let cap = capped(self.spec.logits_softcap, exponent);
            let op = Op::Softcap(params::Softcap {
                cols: self.spec.vocab_size,
                cap_mantissa: cap.mantissa,
                cap_shift: cap.shift,
                rate_mantissa: cap.rate_mantissa,
                rate_shift: cap.rate_shift,
                ..Default::default()
            });
            let (buffers, results) = ([("logits", logits)], [("logits", vocab)]);
            self.step("logits.cap".into(), op, Rows::Outputs, &buffers, &results)?;
        }
        let op = Op::LogitsStats(params::LogitsStats {
            cols: self.spec.vocab_size,
            ..Default::default()
        });
        let buffers = [("logits", logits), ("results", results)];
        let strides = [("results", RESULT_WORDS.into())];
        self.step("results".into(), op, Rows::Outputs, &buffers, &strides)?;
        Ok(Plan {
            buffers: self.buffers,
            steps: self.steps,
            extent: self.extent,
            row_table: work.row_table,
            pages: self.pages,
            caches: self.caches,
            logits,
            results,
            stats: work.stats,
            logits_exponent: exponent,
            adapters: self.adapters.to_vec(),
            strengths: work.low_rank.map(|l| l.strengths),
        })
    }
}

/// The buffers in the order of a kernel's bindings; `None` where names are others than the kernel's.
fn bind(name: &str, buffers: &[(&str, BufferId)], results: &[(&str, u64)]) -> Option<Vec<Bound>> {
    let storage = |b: &&Binding| b.access != Access::Uniform;
    let of = |b: &Binding| {
        let (_, buffer) = buffers.iter().find(|(name, _)| *name == b.name)?;
        let result = results.iter().find(|(name, _)| *name == b.name);
        Some(Bound {
            name: b.name,
            written: b.access == Access::ReadWrite,
            buffer: *buffer,
            stride: result.map_or(0, |r| r.1),
        })
    };
    let bindings = kernel(name)?.bindings.iter().filter(storage);
    let bound = bindings.map(of).collect::<Option<Vec<Bound>>>()?;
    let is_written = |(name, _): &(&str, u64)| bound.iter().any(|b| b.written && b.name == *name);
    let all = bound.len() == buffers.len() && results.iter().all(is_written);
    all.then_some(bound)
}

/// A cap in units of `2^exponent`; mantissa 0 is none.
pub(super) fn capped(cap: Option<Fixed>, exponent: i32) -> Cap {
    cap.map_or(Cap::default(), |c| {
        Cap::new(c.mantissa, c.exponent - exponent)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_bound_by_name() {
        let (h, gains, act) = (
            ("h", BufferId(3)),
            ("gains", BufferId(5)),
            ("act", BufferId(4)),
        );
        let bind = |buffers: &[_], results: &[_]| bind("rmsnorm_row_q8", buffers, results);
        let bound = bind(&[act, gains, h], &[("act", 20)]).unwrap();
        let order: Vec<_> = bound
            .iter()
            .map(|b| (b.name, b.buffer, b.written))
            .collect();
        assert_eq!(
            order,
            [
                (h.0, h.1, false),
                (gains.0, gains.1, false),
                (act.0, act.1, true)
            ]
        );
        assert_eq!(
            bound.iter().map(|b| b.stride).collect::<Vec<_>>(),
            [0, 0, 20]
        );
        // One too few, one too many, one of another name; a result that is only read.
        for wrong in [
            &[act, h][..],
            &[act, gains, h, ("x", h.1)],
            &[act, h, ("x", gains.1)],
        ] {
            assert_eq!(bind(wrong, &[]), None);
        }
        assert_eq!(bind(&[act, gains, h], &[("h", 20)]), None);
    }
}

//! From a model to the buffers and steps of its forward pass.

use super::{Buffer, BufferId, Content, Extent, MAX_BUFFER_WORDS, Op, PAGE, Plan, Rows, Step};
use crate::error::Error;
use carat_format::{
    Activation, Directory, Fixed, ModelSpec, PartLayout, Tensor, TensorEntry, Vector,
};
use carat_shaders::cpu::gated_unit_row_i32;
use carat_shaders::cpu::softcap::Cap;
use carat_shaders::params::{self, RESULT_WORDS, ROW_WORDS, SCORE_BITS, STATS_WORDS};
use carat_shaders::{act_stride, groups_of, kv_page_words, partial_stride, query_stride};

pub(super) struct Builder<'a> {
    pub(super) spec: &'a ModelSpec,
    pub(super) directory: &'a Directory,
    pub(super) buffers: Vec<Buffer>,
    pub(super) steps: Vec<Step>,
    pub(super) extent: Extent,
}

/// The buffers that every block shares.
struct Work {
    row_table: BufferId,
    page_table: BufferId,
    /// One for each table of rotary positions.
    angles: Vec<BufferId>,
    stats: BufferId,
    h: BufferId,
    act: BufferId,
    q: BufferId,
    k: BufferId,
    v: BufferId,
    query: BufferId,
    partial: BufferId,
    attn: BufferId,
    gate: BufferId,
    up: BufferId,
    mid: BufferId,
    /// What a norm takes before it is added to the residual stream, where a model has such norms.
    branch: Option<BufferId>,
}

/// Where a product goes.
#[derive(Clone, Copy)]
enum Out {
    /// Stored, in the matrix's own unit.
    Buffer(BufferId),
    /// Added to the residual stream.
    Residual,
    /// Stored for a norm, in a unit that contains the activations' exponent.
    Branch(BufferId),
}

/// Words of one row in each buffer.
pub(super) struct Widths {
    d: u64,
    q: u64,
    kv: u64,
    f: u64,
    act: u64,
    query: u64,
    partial: u64,
    head_words: u32,
    groups: u32,
    blocks: u32,
}

impl Widths {
    pub(super) fn new(spec: &ModelSpec, context: u32) -> Self {
        let (d, f) = (spec.embedding_length, spec.feed_forward_length);
        let q = spec.head_count * spec.head_dim;
        let head_words = spec.head_dim.div_ceil(4);
        let groups = groups_of(spec.head_dim);
        let blocks = context.div_ceil(PAGE);
        let act = [d, f, q]
            .map(|c| u64::from(act_stride(groups_of(c))))
            .into_iter()
            .max()
            .unwrap_or(0);
        Self {
            d: d.into(),
            q: q.into(),
            kv: u64::from(spec.head_count_kv) * u64::from(spec.head_dim),
            f: f.into(),
            act,
            query: u64::from(spec.head_count) * u64::from(query_stride(head_words)),
            partial: u64::from(spec.head_count)
                * u64::from(blocks)
                * u64::from(partial_stride(head_words, groups)),
            head_words,
            groups,
            blocks,
        }
    }

    pub(super) fn largest(&self) -> u64 {
        [
            self.d,
            self.q,
            self.kv,
            self.f,
            self.act,
            self.query,
            self.partial,
        ]
        .into_iter()
        .max()
        .unwrap_or(1)
    }
}

/// Positions whose cache and partial results of one row fit a binding.
pub(super) fn most_context(spec: &ModelSpec) -> u32 {
    let (head_words, groups) = (spec.head_dim.div_ceil(4), groups_of(spec.head_dim));
    let page = u64::from(kv_page_words(spec.head_count_kv, head_words, groups));
    let partial = u64::from(spec.head_count) * u64::from(partial_stride(head_words, groups));
    ((MAX_BUFFER_WORDS / page.max(partial)) as u32).saturating_mul(PAGE)
}

impl Builder<'_> {
    fn buffer(&mut self, name: &str, words: u64, content: Content) -> BufferId {
        self.buffers.push(Buffer {
            name: name.into(),
            words,
            content,
        });
        BufferId(self.buffers.len() - 1)
    }

    fn work(&mut self, name: &str, stride: u64) -> BufferId {
        let words = stride * u64::from(self.extent.batch);
        self.buffer(name, words, Content::Work)
    }

    fn step(
        &mut self,
        label: String,
        op: Op,
        bindings: &[BufferId],
        result: usize,
        stride: u64,
        rows: Rows,
    ) {
        self.steps.push(Step {
            label,
            op,
            bindings: bindings.to_vec(),
            result,
            result_stride: stride,
            rows,
        });
    }

    pub(super) fn build(mut self) -> Result<Plan, Error> {
        let (spec, extent) = (self.spec, self.extent);
        let w = Widths::new(spec, extent.context);
        let pairs = u64::from(spec.head_dim / 2);
        let tables = 0..spec.rope_tables.len();
        let work = Work {
            row_table: {
                let words = u64::from(extent.batch * ROW_WORDS);
                self.buffer("rows", words, Content::RowTable)
            },
            page_table: self.buffer("pages", w.blocks.into(), Content::PageTable),
            angles: tables
                .map(|i| self.work(&format!("rope.{i}.angles"), pairs * 2))
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
            branch: spec.extras.post_norm.then(|| self.work("branch", w.d)),
        };
        self.embed(&work)?;
        self.angles(&work);
        for block in 0..spec.block_count {
            self.attention(&work, &w, block)?;
            self.feed_forward(&work, block)?;
        }
        self.head(work)
    }

    fn matrix(&self, tensor: Tensor) -> Result<TensorEntry, Error> {
        self.directory
            .matrix(tensor)
            .cloned()
            .ok_or_else(|| Error::MissingTensor(tensor.name()))
    }

    /// The buffer of one part of a matrix, the same for every step that reads it.
    fn part(&mut self, entry: &TensorEntry, part: &PartLayout) -> BufferId {
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
            self.step(
                label,
                op,
                &[work.row_table, weights, work.h],
                2,
                entry.layout.cols,
                Rows::Batch,
            );
        }
        Ok(())
    }

    /// The phases of every table at the rows' positions.
    fn angles(&mut self, work: &Work) {
        let spec = self.spec;
        let pairs = spec.head_dim / 2;
        for (i, (table, angles)) in spec.rope_tables.iter().zip(&work.angles).enumerate() {
            let words = table.iter().flat_map(|v| [*v as u32, (*v >> 32) as u32]);
            let words: Vec<u32> = words.collect();
            let increments = self.buffer(
                &format!("rope.{i}.increments"),
                words.len() as u64,
                Content::Constant(words),
            );
            let op = Op::RopeAngles(params::RopeAngles {
                pairs,
                ..Default::default()
            });
            self.step(
                format!("rope.{i}.angles"),
                op,
                &[work.row_table, increments, *angles],
                2,
                u64::from(pairs) * 2,
                Rows::Batch,
            );
        }
    }

    fn vector(&self, tensor: Tensor) -> Result<Vector, Error> {
        let found = self.directory.vector(tensor).cloned();
        found.ok_or_else(|| Error::MissingTensor(tensor.name()))
    }

    /// The buffer of a vector of the file.
    fn mantissas(&mut self, v: &Vector) -> BufferId {
        let content = Content::File { offset: v.offset };
        self.buffer(&v.tensor.name(), v.len, content)
    }

    /// The norm of the residual stream: activations of the next products.
    fn norm(
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
    fn norm_of(
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
            gather: u32::from(rows == Rows::Outputs),
            eps_mantissa: epsilon.mantissa,
            eps_exponent: epsilon.exponent - 2 * exponent,
            gain_exponent: gains.exponent,
            ..Default::default()
        });
        self.step(
            label,
            op,
            &[work.row_table, x, buffer, work.act],
            3,
            stride.into(),
            rows,
        );
        Ok(())
    }

    /// Rows `(x, exponent, columns)` as activations, through a norm where a model has one there.
    fn activations(
        &mut self,
        work: &Work,
        (x, exponent, cols): (BufferId, i32, u32),
        norm: Tensor,
        label: String,
    ) -> Result<(), Error> {
        if self.spec.extras.sub_norm {
            return self.norm_of(work, (x, exponent), norm, label, Rows::Batch);
        }
        self.quantize(work, label, x, cols, exponent);
        Ok(())
    }

    fn quantize(&mut self, work: &Work, label: String, x: BufferId, cols: u32, exponent: i32) {
        let stride = act_stride(groups_of(cols));
        let op = Op::QuantizeRow(params::QuantizeRow {
            cols,
            act_stride: stride,
            exponent,
            ..Default::default()
        });
        self.step(label, op, &[x, work.act], 1, stride.into(), Rows::Batch);
    }

    /// `out (+)= W · act (+ bias)`; returns the exponent of the result.
    fn linear(
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
            self.step(
                label,
                op,
                &[work.act, weights, out, work.stats],
                2,
                entry.layout.rows,
                rows,
            );
        }
        if let Some(bias) = tensor
            .bias()
            .and_then(|b| self.directory.vector(b))
            .cloned()
        {
            let buffer = self.mantissas(&bias);
            let op = Op::Bias(params::Bias {
                cols: entry.layout.rows as u32,
                shift: exponent - bias.exponent,
                residual: u32::from(mode == params::ACCUMULATE),
                ..Default::default()
            });
            let bindings = [buffer, out, work.stats];
            let stride = entry.layout.rows;
            self.step(format!("{label}.bias"), op, &bindings, 1, stride, rows);
        }
        Ok(exponent)
    }

    /// Product, then either straight into the residual stream or through a norm of its own.
    fn add_branch(
        &mut self,
        work: &Work,
        matrix: Tensor,
        norm: Tensor,
        label: String,
    ) -> Result<(), Error> {
        let Some(branch) = work.branch else {
            self.linear(work, matrix, label, Out::Residual, Rows::Batch)?;
            return Ok(());
        };
        let to = Out::Branch(branch);
        let exponent = self.linear(work, matrix, label.clone(), to, Rows::Batch)?;
        let groups = self.matrix(matrix)?.layout.groups as u32;
        let gains = self.vector(norm)?;
        let cols = gains.len as u32;
        let buffer = self.mantissas(&gains);
        let epsilon = self.spec.epsilon.times(cols);
        let op = Op::RmsnormAdd(params::RmsnormAdd {
            cols,
            act_stride: act_stride(groups),
            act_exponent: groups * 8 + groups.div_ceil(4) + 1,
            eps_mantissa: epsilon.mantissa,
            eps_exponent: epsilon.exponent - 2 * exponent,
            shift: 30 + self.spec.residual_exponent - gains.exponent,
            ..Default::default()
        });
        let bindings = [work.act, branch, buffer, work.h, work.stats];
        self.step(
            format!("{label}.norm"),
            op,
            &bindings,
            3,
            cols.into(),
            Rows::Batch,
        );
        Ok(())
    }

    /// The norm of each head in place, where a model has one; returns the exponent of the result.
    fn norm_heads(
        &mut self,
        (x, exponent): (BufferId, i32),
        tensor: Tensor,
        heads: u32,
        label: String,
    ) -> Result<i32, Error> {
        if !self.spec.extras.qk_norm {
            return Ok(exponent);
        }
        let head_dim = self.spec.head_dim;
        let gains = self.vector(tensor)?;
        let buffer = self.mantissas(&gains);
        let epsilon = self.spec.epsilon.times(head_dim);
        let op = Op::RmsnormHead(params::RmsnormHead {
            heads,
            head_dim,
            eps_mantissa: epsilon.mantissa,
            eps_exponent: epsilon.exponent - 2 * exponent,
        });
        let stride = u64::from(heads) * u64::from(head_dim);
        self.step(label, op, &[buffer, x], 1, stride, Rows::Batch);
        Ok(gains.exponent)
    }

    fn attention(&mut self, work: &Work, w: &Widths, block: u32) -> Result<(), Error> {
        let spec = self.spec;
        let name = |part: &str| format!("blk.{block}.{part}");
        let pages = u64::from(w.blocks)
            * u64::from(kv_page_words(spec.head_count_kv, w.head_words, w.groups));
        let cache = self.buffer(&name("cache"), pages, Content::Work);
        self.norm(
            work,
            Tensor::AttnNorm(block),
            name("attn_norm"),
            Rows::Batch,
        )?;
        let q = self.linear(
            work,
            Tensor::AttnQ(block),
            name("attn_q"),
            Out::Buffer(work.q),
            Rows::Batch,
        )?;
        let k = self.linear(
            work,
            Tensor::AttnK(block),
            name("attn_k"),
            Out::Buffer(work.k),
            Rows::Batch,
        )?;
        let v = self.linear(
            work,
            Tensor::AttnV(block),
            name("attn_v"),
            Out::Buffer(work.v),
            Rows::Batch,
        )?;
        let norm = Tensor::AttnQNorm(block);
        let q = self.norm_heads((work.q, q), norm, spec.head_count, name("attn_q_norm"))?;
        let norm = Tensor::AttnKNorm(block);
        let k = self.norm_heads((work.k, k), norm, spec.head_count_kv, name("attn_k_norm"))?;
        let of_block = |list: &[u32]| list.get(block as usize).copied().unwrap_or(0);
        let angles = work.angles[of_block(&spec.block_rope) as usize];
        let window = of_block(&spec.block_window);
        let cap = capped(spec.attention_softcap, -(SCORE_BITS as i32));
        let op = Op::RopeQuery(params::RopeQuery {
            heads: spec.head_count,
            head_dim: spec.head_dim,
            head_words: w.head_words,
            exponent: q,
            scale_mantissa: spec.attention_scale.mantissa,
            scale_exponent: spec.attention_scale.exponent,
            ..Default::default()
        });
        self.step(
            name("query"),
            op,
            &[angles, work.q, work.query],
            2,
            w.query,
            Rows::Batch,
        );
        let op = Op::KvStore(params::KvStore {
            heads: spec.head_count_kv,
            head_dim: spec.head_dim,
            head_words: w.head_words,
            groups: w.groups,
            key_exponent: k,
            value_exponent: v,
            table_stride: w.blocks,
            ..Default::default()
        });
        let bindings = [
            work.row_table,
            work.page_table,
            angles,
            work.k,
            work.v,
            cache,
        ];
        self.step(name("kv"), op, &bindings, 5, 0, Rows::Batch);
        let op = Op::AttnBlock(params::AttnBlock {
            heads: spec.head_count,
            heads_per_kv: spec.heads_per_kv(),
            head_words: w.head_words,
            groups: w.groups,
            table_stride: w.blocks,
            max_blocks: w.blocks,
            window,
            cap_mantissa: cap.mantissa,
            cap_shift: cap.shift,
            rate_mantissa: cap.rate_mantissa,
            rate_shift: cap.rate_shift,
            ..Default::default()
        });
        let bindings = [
            work.row_table,
            work.page_table,
            work.query,
            cache,
            work.partial,
        ];
        self.step(name("attn_block"), op, &bindings, 4, 0, Rows::Batch);
        let op = Op::AttnMerge(params::AttnMerge {
            heads: spec.head_count,
            head_dim: spec.head_dim,
            head_words: w.head_words,
            groups: w.groups,
            max_blocks: w.blocks,
            exponent: v,
            window,
            ..Default::default()
        });
        self.step(
            name("attn"),
            op,
            &[work.row_table, work.partial, work.attn],
            2,
            w.q,
            Rows::Batch,
        );
        self.activations(
            work,
            (work.attn, v, w.q as u32),
            Tensor::AttnSubNorm(block),
            name("attn_act"),
        )?;
        let (matrix, norm) = (Tensor::AttnOutput(block), Tensor::AttnPostNorm(block));
        self.add_branch(work, matrix, norm, name("attn_output"))
    }

    fn feed_forward(&mut self, work: &Work, block: u32) -> Result<(), Error> {
        let name = |part: &str| format!("blk.{block}.{part}");
        let cols = self.spec.feed_forward_length;
        self.norm(work, Tensor::FfnNorm(block), name("ffn_norm"), Rows::Batch)?;
        let gate = self.linear(
            work,
            Tensor::FfnGate(block),
            name("ffn_gate"),
            Out::Buffer(work.gate),
            Rows::Batch,
        )?;
        let up = self.linear(
            work,
            Tensor::FfnUp(block),
            name("ffn_up"),
            Out::Buffer(work.up),
            Rows::Batch,
        )?;
        let activation = match self.spec.activation {
            Activation::Silu => params::SILU,
            Activation::GeluTanh => params::GELU_TANH,
            Activation::ReluSquared => params::RELU_SQUARED,
        };
        let op = Op::GatedUnit(params::GatedUnit {
            cols,
            gate_exponent: gate,
            activation,
            ..Default::default()
        });
        self.step(
            name("ffn_mid"),
            op,
            &[work.gate, work.up, work.mid],
            2,
            cols.into(),
            Rows::Batch,
        );
        let exponent = gated_unit_row_i32::exponent(activation, gate, up);
        self.activations(
            work,
            (work.mid, exponent, cols),
            Tensor::FfnSubNorm(block),
            name("ffn_act"),
        )?;
        let (matrix, norm) = (Tensor::FfnDown(block), Tensor::FfnPostNorm(block));
        self.add_branch(work, matrix, norm, name("ffn_down"))
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
        let tensor = if self.directory.tied() {
            Tensor::TokenEmbedding
        } else {
            Tensor::Output
        };
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
            self.step("logits.cap".into(), op, &[logits], 0, vocab, Rows::Outputs);
        }
        let op = Op::LogitsStats(params::LogitsStats {
            cols: self.spec.vocab_size,
            ..Default::default()
        });
        self.step(
            "results".into(),
            op,
            &[logits, results],
            1,
            RESULT_WORDS.into(),
            Rows::Outputs,
        );
        Ok(Plan {
            buffers: self.buffers,
            steps: self.steps,
            extent: self.extent,
            row_table: work.row_table,
            logits,
            results,
            stats: work.stats,
            logits_exponent: exponent,
        })
    }
}

/// A cap in units of `2^exponent`; mantissa 0 is none.
fn capped(cap: Option<Fixed>, exponent: i32) -> Cap {
    cap.map_or(Cap::default(), |c| {
        Cap::new(c.mantissa, c.exponent - exponent)
    })
}

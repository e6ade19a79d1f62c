//! The steps of one transformer block.

use super::build::{Builder, Out, Widths, Work, capped};
use super::{BufferId, Content, Op, Rows};
use crate::error::Error;
use carat_format::{Activation, Tensor, TensorEntry};
use carat_shaders::cpu::gated_unit_row_i32;
use carat_shaders::params::{self, SCORE_BITS};
use carat_shaders::{act_stride, groups_of, kv_page_words};

impl Builder<'_> {
    pub(super) fn attention(&mut self, work: &Work, w: &Widths, block: u32) -> Result<(), Error> {
        let spec = self.spec;
        let rows = self.rows_after_cache(block);
        let name = |part: &str| format!("blk.{block}.{part}");
        let of_block = |list: &[u32]| list.get(block as usize).copied().unwrap_or(0);
        let window = of_block(&spec.block_window);
        let pages = self.pages(window, w);
        let page = kv_page_words(spec.head_count_kv, w.head_words, w.groups);
        let words = u64::from(pages.count) * u64::from(page);
        let cache = self.buffer(&name("cache"), words, Content::Work);
        self.norm(
            work,
            Tensor::AttnNorm(block),
            name("attn_norm"),
            Rows::Batch,
        )?;
        let [q, k, v] = self.queries_keys_values(work, block, rows)?;
        let norm = Tensor::AttnQNorm(block);
        let q = self.norm_heads(
            (work.q, q),
            norm,
            spec.head_count,
            name("attn_q_norm"),
            rows,
        )?;
        let norm = Tensor::AttnKNorm(block);
        let k = self.norm_heads(
            (work.k, k),
            norm,
            spec.head_count_kv,
            name("attn_k_norm"),
            Rows::Batch,
        )?;
        let angles = work.angles[of_block(&spec.block_rope) as usize];
        let cap = capped(spec.attention_softcap, -(SCORE_BITS as i32));
        let op = Op::RopeStore(params::RopeStore {
            heads: spec.head_count,
            kv_heads: spec.head_count_kv,
            head_dim: spec.head_dim,
            head_words: w.head_words,
            groups: w.groups,
            query_exponent: q,
            scale_mantissa: spec.attention_scale.mantissa,
            scale_exponent: spec.attention_scale.exponent,
            key_exponent: k,
            value_exponent: v,
            table_stride: w.blocks,
            ..Default::default()
        });
        let buffers = [
            ("row_table", work.row_table),
            ("page_table", pages.table),
            ("angles", angles),
            ("q", work.q),
            ("k", work.k),
            ("v", work.v),
            ("query", work.query),
            ("cache", cache),
        ];
        // Of the last block's queries those beyond `rows` are nobody's.
        let results = [("query", w.query)];
        self.step(name("kv"), op, Rows::Batch, &buffers, &results)?;
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
        let buffers = [
            ("row_table", work.row_table),
            ("page_table", pages.table),
            ("query", work.query),
            ("cache", cache),
            ("partial", work.partial),
        ];
        self.step(name("attn_block"), op, rows, &buffers, &[])?;
        let mut merge = params::AttnMerge {
            heads: spec.head_count,
            head_dim: spec.head_dim,
            head_words: w.head_words,
            groups: w.groups,
            max_blocks: w.blocks,
            exponent: v,
            window,
            act_stride: 0,
        };
        let buffers = [
            ("row_table", work.row_table),
            ("partial", work.partial),
            ("out", work.attn),
            ("act", work.act),
        ];
        if spec.extras.sub_norm {
            let op = Op::AttnMerge(merge);
            self.step(name("attn"), op, rows, &buffers[..3], &[("out", w.q)])?;
            let norm = Tensor::AttnSubNorm(block);
            self.norm_of(work, (work.attn, v), norm, name("attn_act"), rows)?;
        } else {
            merge.act_stride = act_stride(groups_of(w.q as u32));
            let op = Op::AttnMergeRow(merge);
            let results = [("out", w.q), ("act", merge.act_stride.into())];
            self.step(name("attn_act"), op, rows, &buffers, &results)?;
        }
        let (matrix, norm) = (Tensor::AttnOutput(block), Tensor::AttnPostNorm(block));
        self.add_branch(work, matrix, norm, name("attn_output"), rows)
    }

    /// Products that attention begins with, in one step where they may be: one encoding, one part each, and as many
    /// rows of the batch. Returns their exponents.
    fn queries_keys_values(
        &mut self,
        work: &Work,
        block: u32,
        rows: Rows,
    ) -> Result<[i32; 3], Error> {
        let name = |part: &str| format!("blk.{block}.{part}");
        let tensors = [
            Tensor::AttnQ(block),
            Tensor::AttnK(block),
            Tensor::AttnV(block),
        ];
        let outputs = [work.q, work.k, work.v];
        let labels = ["attn_q", "attn_k", "attn_v"].map(name);
        let entries = [
            self.matrix(tensors[0])?,
            self.matrix(tensors[1])?,
            self.matrix(tensors[2])?,
        ];
        let coding = |e: &TensorEntry| (e.layout.encoding, e.layout.group, e.layout.cols);
        let alike = |e: &TensorEntry| coding(e) == coding(&entries[0]) && e.layout.parts.len() == 1;
        let fused = self.fusions.qkv && rows == Rows::Batch && entries.iter().all(alike);
        if !fused {
            let mut exponents = [0; 3];
            for (m, label) in labels.into_iter().enumerate() {
                let of = if m == 0 { rows } else { Rows::Batch };
                let to = Out::Buffer(outputs[m]);
                exponents[m] = self.linear(work, tensors[m], label, to, of)?;
            }
            return Ok(exponents);
        }
        let groups = entries[0].layout.groups as u32;
        let mut p = params::LinearQkv {
            q_table: entries[0].table.words(),
            k_table: entries[1].table.words(),
            v_table: entries[2].table.words(),
            groups,
            act_stride: act_stride(groups),
            scale_shift: entries[0].layout.group.shift(),
            ..Default::default()
        };
        let weights = ["q_weights", "k_weights", "v_weights"];
        let names = ["q", "k", "v"];
        let mut buffers = vec![("act", work.act)];
        let mut results = [("", 0); 3];
        for (m, entry) in entries.iter().enumerate() {
            let part = &entry.layout.parts[0];
            p.rows[m] = part.rows as u32;
            p.scales[m] = ((part.scales - part.codes) / 4) as u32;
            p.row_scales[m] = ((part.row_scales - part.codes) / 4) as u32;
            p.exponents[m] = entry.exponent;
            buffers.push((weights[m], self.part(entry, part)));
            buffers.push((names[m], outputs[m]));
            results[m] = (names[m], part.rows);
        }
        let op = Op::LinearQkv(p, entries[0].layout.encoding);
        self.step(name("attn_qkv"), op, rows, &buffers, &results)?;
        for (m, label) in labels.into_iter().enumerate() {
            let product = (outputs[m], entries[m].exponent);
            self.bias(work, &entries[m], product, params::STORE, label, rows)?;
        }
        Ok(entries.map(|e| e.exponent))
    }

    pub(super) fn feed_forward(&mut self, work: &Work, block: u32) -> Result<(), Error> {
        let name = |part: &str| format!("blk.{block}.{part}");
        let rows = self.rows_after_cache(block);
        let cols = self.spec.feed_forward_length;
        self.norm(work, Tensor::FfnNorm(block), name("ffn_norm"), rows)?;
        let activation = match self.spec.activation {
            Activation::Silu => params::SILU,
            Activation::GeluTanh => params::GELU_TANH,
            Activation::ReluSquared => params::RELU_SQUARED,
        };
        let (gate, up) = match self.gated_matrices(block)? {
            Some(matrices) => {
                self.linear_gated(work, matrices, activation, name("ffn_mid"), rows)?
            }
            None => self.linear_then_gated(work, block, activation, rows)?,
        };
        let exponent = gated_unit_row_i32::exponent(activation, gate, up);
        self.activations(
            work,
            (work.mid, exponent, cols),
            Tensor::FfnSubNorm(block),
            name("ffn_act"),
            rows,
        )?;
        let (matrix, norm) = (Tensor::FfnDown(block), Tensor::FfnPostNorm(block));
        self.add_branch(work, matrix, norm, name("ffn_down"), rows)
    }

    /// Gate and up projection where one step may compute both and their unit: one layout and part each, no biases.
    fn gated_matrices(&self, block: u32) -> Result<Option<[TensorEntry; 2]>, Error> {
        let tensors = [Tensor::FfnGate(block), Tensor::FfnUp(block)];
        let biased = |t: &Tensor| t.bias().is_some_and(|b| self.directory.vector(b).is_some());
        let [gate, up] = [self.matrix(tensors[0])?, self.matrix(tensors[1])?];
        let one = gate.layout == up.layout && gate.layout.parts.len() == 1;
        let fused = one && self.fusions.gates && !tensors.iter().any(biased);
        Ok(fused.then_some([gate, up]))
    }

    /// Both products and their unit in one step; returns the products' exponents.
    fn linear_gated(
        &mut self,
        work: &Work,
        [gate, up]: [TensorEntry; 2],
        activation: u32,
        label: String,
        rows: Rows,
    ) -> Result<(i32, i32), Error> {
        let part = gate.layout.parts[0];
        let (rows_of_part, groups) = (part.rows as u32, gate.layout.groups as u32);
        let op = Op::LinearGated(
            params::LinearGated {
                gate_table: gate.table.words(),
                up_table: up.table.words(),
                part_rows: rows_of_part,
                groups,
                scales: ((part.scales - part.codes) / 4) as u32,
                row_scales: ((part.row_scales - part.codes) / 4) as u32,
                act_stride: act_stride(groups),
                gate_exponent: gate.exponent,
                up_exponent: up.exponent,
                activation,
                scale_shift: gate.layout.group.shift(),
                ..Default::default()
            },
            gate.layout.encoding,
        );
        let buffers = [
            ("act", work.act),
            ("gate", self.part(&gate, &part)),
            ("up", self.part(&up, &part)),
            ("out", work.mid),
        ];
        self.step(label, op, rows, &buffers, &[("out", part.rows)])?;
        Ok((gate.exponent, up.exponent))
    }

    /// A step for each product and one for their unit; returns the products' exponents.
    fn linear_then_gated(
        &mut self,
        work: &Work,
        block: u32,
        activation: u32,
        rows: Rows,
    ) -> Result<(i32, i32), Error> {
        let name = |part: &str| format!("blk.{block}.{part}");
        let (to_gate, to_up) = (Out::Buffer(work.gate), Out::Buffer(work.up));
        let gate = self.linear(
            work,
            Tensor::FfnGate(block),
            name("ffn_gate"),
            to_gate,
            rows,
        )?;
        let up = self.linear(work, Tensor::FfnUp(block), name("ffn_up"), to_up, rows)?;
        let cols = self.spec.feed_forward_length;
        let op = Op::GatedUnit(params::GatedUnit {
            cols,
            gate_exponent: gate,
            activation,
            ..Default::default()
        });
        let buffers = [("gate", work.gate), ("up", work.up), ("out", work.mid)];
        let results = [("out", cols.into())];
        self.step(name("ffn_mid"), op, rows, &buffers, &results)?;
        Ok((gate, up))
    }

    /// Product, then either straight into the residual stream or through a norm of its own.
    fn add_branch(
        &mut self,
        work: &Work,
        matrix: Tensor,
        norm: Tensor,
        label: String,
        rows: Rows,
    ) -> Result<(), Error> {
        let Some(branch) = work.branch else {
            self.linear(work, matrix, label, Out::Residual, rows)?;
            return Ok(());
        };
        let to = Out::Branch(branch);
        let exponent = self.linear(work, matrix, label.clone(), to, rows)?;
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
        let buffers = [
            ("act", work.act),
            ("x", branch),
            ("gains", buffer),
            ("h", work.h),
            ("stats", work.stats),
        ];
        let results = [("h", cols.into())];
        self.step(format!("{label}.norm"), op, rows, &buffers, &results)
    }

    /// The norm of each head in place, where a model has one; returns the exponent of the result.
    fn norm_heads(
        &mut self,
        (x, exponent): (BufferId, i32),
        tensor: Tensor,
        heads: u32,
        label: String,
        rows: Rows,
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
        let buffers = [("gains", buffer), ("x", x)];
        self.step(label, op, rows, &buffers, &[("x", stride)])?;
        Ok(gains.exponent)
    }

    /// Rows `(x, exponent, columns)` as activations, through a norm where a model has one there.
    fn activations(
        &mut self,
        work: &Work,
        (x, exponent, cols): (BufferId, i32, u32),
        norm: Tensor,
        label: String,
        rows: Rows,
    ) -> Result<(), Error> {
        if self.spec.extras.sub_norm {
            return self.norm_of(work, (x, exponent), norm, label, rows);
        }
        self.quantize(work, label, x, cols, exponent, rows)
    }

    /// Rows of a block's queries and of what follows them: nobody reads more of the last block than the rows that
    /// logits are made from, and every row's keys and values.
    fn rows_after_cache(&self, block: u32) -> Rows {
        if block + 1 == self.spec.block_count {
            Rows::Outputs
        } else {
            Rows::Batch
        }
    }
}

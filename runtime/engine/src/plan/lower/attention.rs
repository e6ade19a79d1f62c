//! Attention as steps.

use crate::error::Error;
use crate::plan::build::{Builder, Out, Work, capped};
use crate::plan::widths::HeadWords;
use crate::plan::{BufferId, Op, Rows};
use carat_format::model::Attention;
use carat_format::{Part, Tensor, TensorEntry};
use carat_shaders::kv::KvLayout;
use carat_shaders::params::{self, SCORE_BITS};
use carat_shaders::{act_stride, groups_of, query_stride};

impl Builder<'_> {
    pub(super) fn attention(
        &mut self,
        work: &Work,
        block: u32,
        a: &Attention,
    ) -> Result<(), Error> {
        let w = HeadWords::new(a.head_dim);
        let blocks = self.extent.context.div_ceil(params::PAGE);
        let of = |part: Part| part.of(block);
        let rows = self.rows_after_cache(block);
        let name = |part: &str| format!("blk.{block}.{part}");
        let narrow = self.extent.cache.narrow();
        let page = (a.kv_heads, KvLayout::new(w.words, w.groups, narrow));
        let (cache, pages) = self.cache(&name("cache"), a.window, page);
        self.norm(work, of(Part::AttnNorm), name("attn_norm"), Rows::Batch)?;
        let [mut q, mut k, v] = self.queries_keys_values(work, block, rows)?;
        if a.head_norm {
            let queries = (work.q, q, a.heads, a.head_dim);
            let label = name("attn_q_norm");
            q = self.norm_heads(queries, of(Part::AttnQNorm), label, rows)?;
            let keys = (work.k, k, a.kv_heads, a.head_dim);
            let label = name("attn_k_norm");
            k = self.norm_heads(keys, of(Part::AttnKNorm), label, Rows::Batch)?;
        }
        let angles = work.angles[a.rope as usize];
        let window = a.window.unwrap_or(0);
        let cap = capped(a.softcap, -(SCORE_BITS as i32));
        let op = Op::RopeStore(params::RopeStore {
            heads: a.heads,
            kv_heads: a.kv_heads,
            head_dim: a.head_dim,
            head_words: w.words,
            groups: w.groups,
            query_exponent: q,
            scale_mantissa: a.scale.mantissa,
            scale_exponent: a.scale.exponent,
            key_exponent: k,
            value_exponent: v,
            table_stride: blocks,
            narrow,
        });
        let buffers = [
            ("row_table", work.row_table),
            ("page_table", pages),
            ("angles", angles),
            ("q", work.q),
            ("k", work.k),
            ("v", work.v),
            ("query", work.query),
            ("cache", cache),
        ];
        // Of the last block's queries those beyond `rows` are nobody's.
        let words = u64::from(a.heads) * u64::from(query_stride(w.words));
        let results = [("query", words)];
        self.step(name("kv"), op, Rows::Batch, &buffers, &results)?;
        let op = Op::AttnBlock(params::AttnBlock {
            heads: a.heads,
            heads_per_kv: a.heads_per_kv(),
            head_words: w.words,
            groups: w.groups,
            table_stride: blocks,
            max_blocks: blocks,
            window,
            cap_mantissa: cap.mantissa,
            cap_shift: cap.shift,
            rate_mantissa: cap.rate_mantissa,
            rate_shift: cap.rate_shift,
            narrow,
        });
        let buffers = [
            ("row_table", work.row_table),
            ("page_table", pages),
            ("query", work.query),
            ("cache", cache),
            ("partial", work.partial),
        ];
        self.step(name("attn_block"), op, rows, &buffers, &[])?;
        let mut merge = params::AttnMerge {
            heads: a.heads,
            head_dim: a.head_dim,
            head_words: w.words,
            groups: w.groups,
            max_blocks: blocks,
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
        let out = ("out", u64::from(a.width()));
        if a.sub_norm {
            let op = Op::AttnMerge(merge);
            self.step(name("attn"), op, rows, &buffers[..3], &[out])?;
            let norm = of(Part::AttnSubNorm);
            self.norm_of(work, (work.attn, v), norm, name("attn_act"), rows)?;
        } else {
            merge.act_stride = act_stride(groups_of(a.width()));
            let op = Op::AttnMergeRow(merge);
            let results = [out, ("act", merge.act_stride.into())];
            self.step(name("attn_act"), op, rows, &buffers, &results)?;
        }
        let norm = a.post_norm.then_some(of(Part::AttnPostNorm));
        self.add_branch(work, of(Part::AttnOutput), norm, name("attn_output"), rows)
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
        let tensors = [Part::AttnQ, Part::AttnK, Part::AttnV].map(|part| part.of(block));
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
            self.bias(
                work,
                &entries[m],
                product,
                params::STORE,
                label.clone(),
                rows,
            )?;
            self.adapt(work, &entries[m], product, params::STORE, &label, rows)?;
        }
        Ok(entries.map(|e| e.exponent))
    }

    /// The norm of each head in place, of rows `(x, exponent, heads, head_dim)`; returns the exponent of the result.
    fn norm_heads(
        &mut self,
        (x, exponent, heads, head_dim): (BufferId, i32, u32, u32),
        tensor: Tensor,
        label: String,
        rows: Rows,
    ) -> Result<i32, Error> {
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
}

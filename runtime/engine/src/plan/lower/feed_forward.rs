//! A gated feed-forward network as steps.

use crate::error::Error;
use crate::plan::build::{Builder, Out, Work};
use crate::plan::{Op, Rows};
use carat_format::model::Gated;
use carat_format::{Activation, Part, Tensor, TensorEntry};
use carat_shaders::cpu::gated_unit_row_i32;
use carat_shaders::{act_stride, params};

/// The matrices that a gated network reads the stream with.
const READERS: [Part; 2] = [Part::FfnGate, Part::FfnUp];

impl Builder<'_> {
    pub(super) fn gated(&mut self, work: &Work, block: u32, g: &Gated) -> Result<(), Error> {
        let name = |part: &str| format!("blk.{block}.{part}");
        let rows = self.rows_after_cache(block);
        self.norm(work, Part::FfnNorm.of(block), name("ffn_norm"), rows)?;
        let activation = match g.activation {
            Activation::Silu => params::SILU,
            Activation::GeluTanh => params::GELU_TANH,
            Activation::ReluSquared => params::RELU_SQUARED,
        };
        let (gate, up) = match self.gated_matrices(block, g)? {
            Some(matrices) => {
                self.linear_gated(work, matrices, activation, name("ffn_mid"), rows)?
            }
            None => self.linear_then_gated(work, block, activation, rows)?,
        };
        let of = |part: Part| part.of(block);
        let exponent = gated_unit_row_i32::exponent(activation, gate, up);
        self.activations(
            work,
            (work.mid, exponent, g.width),
            g.sub_norm.then_some(of(Part::FfnSubNorm)),
            name("ffn_act"),
            rows,
        )?;
        let norm = g.post_norm.then_some(of(Part::FfnPostNorm));
        self.add_branch(work, of(Part::FfnDown), norm, name("ffn_down"), rows)
    }

    /// Gate and up projection where one step may compute both and their unit: one layout and part each, no biases, and
    /// nothing that adapters add.
    fn gated_matrices(&self, block: u32, g: &Gated) -> Result<Option<[TensorEntry; 2]>, Error> {
        let [gate, up] = READERS.map(|part| self.matrix(part.of(block)));
        let [gate, up] = [gate?, up?];
        let one = gate.layout == up.layout && gate.layout.parts.len() == 1;
        let adapted = READERS.iter().any(|part| self.is_adapted(part.of(block)));
        let fused = one && self.fusions.gates && !g.bias && !adapted;
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
        let [gate, up]: [Tensor; 2] = READERS.map(|part| part.of(block));
        let cols = self.matrix(gate)?.layout.rows as u32;
        let gate = self.linear(work, gate, name("ffn_gate"), to_gate, rows)?;
        let up = self.linear(work, up, name("ffn_up"), to_up, rows)?;
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
}

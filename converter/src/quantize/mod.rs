//! Data-free quantization of a matrix, row by row.
//!
//! A weight becomes `level(code) · scale(group) · mantissa(row) · 2^exponent(row)`. The levels of a
//! tensor follow from one exponent p ([`choose_power`]); within a row the scales and codes minimise the
//! (weighted) squared error ([`Quantizer::row`]).
//!
//! A row's result depends on the row, the table and the objective alone, sums have a fixed order, and
//! only IEEE basic operations and `libm` are used: the same bytes on every machine, whatever the threads.

mod grid;
mod power;
mod scale;

pub use power::{POWERS, choose_power, sample_rows, spread};

use carat_format::{Coding, Encoding, PackedRow, RowScale, ScaleGroup, Table};
use grid::{Grid, Int8, Power, Stepped, Ternary};
use scale::Group;

/// Largest scale of a group.
const MAX_SCALE: f64 = 255.0;
/// Groups more than this many powers of two below the row's largest weight are searched at this distance;
/// they get the least scale anyway.
const DEEPEST: i32 = 40;

/// What a row's quantization minimises.
#[derive(Clone, Copy, Debug, Default)]
pub struct Objective<'a> {
    /// Weight of each column's squared error, `cols` of them, finite and not negative; all alike where
    /// absent.
    pub importance: Option<&'a [f32]>,
    /// Rescales each row to the norm it had. Least squares shrinks a row by its relative error, which
    /// flattens the attention and the predicted distribution.
    pub keep_norm: bool,
    /// Tries a third of the start values, for scales that [`crate::calibrate`] moves again.
    pub coarse: bool,
}

/// A quantized row and its errors.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedRow {
    /// Codes and scales.
    pub packed: PackedRow,
    /// Σ (ŵ − w)².
    pub error: f64,
    /// Σ importance · (ŵ − w)², before a norm is restored.
    pub weighted_error: f64,
    /// Σ w².
    pub energy: f64,
}

/// Quantizes the rows of one tensor: a coding and its table.
#[derive(Clone, Debug)]
pub struct Quantizer {
    coding: Coding,
    power: f64,
    table: Table,
    levels: Levels,
    /// The level of each code.
    values: [i8; 256],
}

#[derive(Clone, Debug)]
enum Levels {
    One(Power<1>),
    Ternary(Ternary),
    Two(Power<2>),
    Four(Power<4>),
    Eight(Power<8>),
    Int5(Stepped<8>),
    Int6(Stepped<4>),
    Int8(Int8),
}

impl Quantizer {
    /// The levels of [`Table::power`] at `power` (0.5 to 4), which makes a difference where
    /// [`Encoding::has_power`]. An [`Encoding`] alone has a scale for each 32 weights.
    pub fn new(coding: impl Into<Coding>, power: f64) -> Self {
        let coding = coding.into();
        let encoding = coding.encoding;
        let table = Table::power(encoding, power);
        let levels = match encoding {
            Encoding::Pow1 => Levels::One(Power::new(&table)),
            Encoding::Ternary => Levels::Ternary(Ternary),
            Encoding::Pow2 => Levels::Two(Power::new(&table)),
            Encoding::Pow3 => Levels::Four(Power::new(&table)),
            Encoding::Pow4 => Levels::Eight(Power::new(&table)),
            Encoding::Int5 => Levels::Int5(Stepped),
            Encoding::Int6 => Levels::Int6(Stepped),
            Encoding::Int8 => Levels::Int8(Int8),
        };
        let bytes = table.bytes();
        Self {
            coding,
            power,
            table,
            levels,
            values: core::array::from_fn(|code| encoding.level(&bytes, code as u8)),
        }
    }

    /// The encoding of the codes and the weights of a scale.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// The exponent p of the table.
    pub fn power(&self) -> f64 {
        self.power
    }

    /// The levels of the codes.
    pub fn table(&self) -> Table {
        self.table
    }

    /// Level of a code.
    pub fn level(&self, code: u8) -> i8 {
        self.values[usize::from(code)]
    }

    /// The weights of a row that it quantized.
    pub fn decode(&self, row: &PackedRow) -> Vec<f32> {
        let unit = value(row.scale);
        let group = self.coding.group.weights();
        let weights = row.codes.iter().enumerate().map(|(i, code)| {
            let scale = f64::from(row.scales[i / group]) * unit;
            (f64::from(self.level(*code)) * scale) as f32
        });
        weights.collect()
    }

    /// Code of the level nearest to `x`, in units of a level.
    pub fn nearest(&self, x: f32) -> u8 {
        let (magnitude, negative) = (x.abs(), x < 0.0);
        match &self.levels {
            Levels::One(grid) => grid.code(magnitude, negative),
            Levels::Ternary(grid) => grid.code(magnitude, negative),
            Levels::Two(grid) => grid.code(magnitude, negative),
            Levels::Four(grid) => grid.code(magnitude, negative),
            Levels::Eight(grid) => grid.code(magnitude, negative),
            Levels::Int5(grid) => grid.code(magnitude, negative),
            Levels::Int6(grid) => grid.code(magnitude, negative),
            Levels::Int8(grid) => grid.code(magnitude, negative),
        }
    }

    /// Quantizes a row of finite weights. A row of zeros gets the row scale 0.
    pub fn row(&self, weights: &[f32], objective: &Objective<'_>) -> QuantizedRow {
        match &self.levels {
            Levels::One(grid) => self.grid_row(grid, weights, objective),
            Levels::Ternary(grid) => self.grid_row(grid, weights, objective),
            Levels::Two(grid) => self.grid_row(grid, weights, objective),
            Levels::Four(grid) => self.grid_row(grid, weights, objective),
            Levels::Eight(grid) => self.grid_row(grid, weights, objective),
            Levels::Int5(grid) => self.grid_row(grid, weights, objective),
            Levels::Int6(grid) => self.grid_row(grid, weights, objective),
            Levels::Int8(grid) => self.grid_row(grid, weights, objective),
        }
    }

    fn grid_row<G: Grid>(&self, grid: &G, w: &[f32], objective: &Objective<'_>) -> QuantizedRow {
        match self.coding.group {
            ScaleGroup::W32 => quantize_row::<G, 32>(grid, w, objective),
            ScaleGroup::W64 => quantize_row::<G, 64>(grid, w, objective),
            ScaleGroup::W128 => quantize_row::<G, 128>(grid, w, objective),
        }
    }
}

/// `N` weights share a scale.
fn quantize_row<G: Grid, const N: usize>(
    grid: &G,
    weights: &[f32],
    objective: &Objective<'_>,
) -> QuantizedRow {
    let largest = weights.iter().fold(0f32, |m, w| m.max(w.abs()));
    let (_, row_exponent) = libm::frexp(f64::from(largest));
    let deepest = row_exponent - DEEPEST;
    let groups: Vec<Group<N>> = weights
        .chunks(N)
        .enumerate()
        .map(|(g, w)| {
            let importance = objective
                .importance
                .and_then(|o| o.get(g * N..g * N + w.len()));
            Group::new(w, importance, deepest)
        })
        .collect();

    let mut row = QuantizedRow {
        packed: PackedRow {
            codes: Vec::with_capacity(weights.len()),
            scales: Vec::with_capacity(groups.len()),
            scale: RowScale::default(),
        },
        error: 0.0,
        weighted_error: 0.0,
        energy: 0.0,
    };
    let step = if objective.coarse { 3 } else { 1 };
    let scales = groups.iter().map(|g| scale::search(grid, g, step));
    let scales: Vec<f64> = scales.collect();
    // The row's own mantissa is not searched: moving every group within its rounding of at most half a
    // unit in 255 changes the error by less than 0.2 %.
    let unit = scales.iter().fold(0.0, |m: f64, s| m.max(*s)) / MAX_SCALE;
    row.packed.scale = row_scale(unit);
    let unit = value(row.packed.scale);
    // Σ w·ŵ and Σ ŵ², for the norm.
    let (mut inner, mut norm) = (0.0, 0.0);
    for (g, scale) in groups.iter().zip(&scales) {
        let w = &weights[row.packed.codes.len()..];
        let fit = scale::round(grid, g, *scale, unit);
        row.packed.scales.push(fit.scale);
        grid::codes(grid, g, w, fit.level_unit, &mut row.packed.codes);
        row.error += fit.error;
        row.weighted_error += fit.weighted_error;
        row.energy += fit.energy;
        inner += fit.inner;
        norm += fit.norm;
    }
    if objective.keep_norm && norm > 0.0 && row.energy > 0.0 {
        row.packed.scale = row_scale(unit * libm::sqrt(row.energy / norm));
        let c = value(row.packed.scale) / unit;
        // (Rounding can take the sum a little below zero for exact rows.)
        row.error = (row.energy - 2.0 * c * inner + c * c * norm).max(0.0);
    }
    row
}

/// The nearest row scale; 0 for 0.
fn row_scale(unit: f64) -> RowScale {
    let (m, e) = libm::frexp(unit); // m in [0.5, 1), or 0
    let mantissa = libm::round(m * 65536.0);
    // Weights of f32 have exponents of −149 to 128.
    match mantissa as u32 {
        0x1_0000 => RowScale {
            mantissa: 0x8000,
            exponent: (e - 15) as i16,
        },
        0 => RowScale::default(),
        mantissa => RowScale {
            mantissa: mantissa as u16,
            exponent: (e - 16) as i16,
        },
    }
}

/// `mantissa · 2^exponent`.
pub(crate) fn value(scale: RowScale) -> f64 {
    libm::ldexp(f64::from(scale.mantissa), i32::from(scale.exponent))
}

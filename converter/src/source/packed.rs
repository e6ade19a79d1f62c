//! Quantized matrices of safetensors: codes, scales and zero points in tensors of their own beside each other, one
//! [`Scheme`] for each way to store them. A weight is `(value(code) − value(zero))·scale`, computed in the scales'
//! type where the library that wrote the checkpoint does so: values equal its own bit for bit.
//!
//! Rows are read by strips: of codes, scales and zero points the part that the rows need.

use super::SourceError;
use super::decode::{self, ElementType};
use super::io::SourceFile;
use super::normal::Form;
use half::{bf16, f16};
use std::borrow::Cow;
use std::ops::Range;

/// Weights decoded at a time, unless a row is longer.
const STRIP: u64 = 1 << 20;

/// The element type of a tensor of codes: what safetensors calls it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Holder {
    /// Bytes of E4M3 or E5M2.
    Fp8,
    I8,
    U8,
    I32,
}

/// What a code stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    E4m3,
    E5m2,
    E2m1,
    /// Two's complement of 8 bits.
    Signed,
    /// From 0 on.
    Unsigned,
    /// From `−2^(bits − 1)` on.
    Centred,
}

/// How codes of less than 8 bits share words of 32 bits or bytes, from the low bits up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Packing {
    /// Codes of a stored row side by side.
    Along,
    /// The same, in words of eight whose code `i` is in the half byte [`INTERLEAVED`]`[i]`.
    Interleaved,
    /// Codes of one stored column below each other.
    Down,
}

/// AWQ's order in a word.
const INTERLEAVED: [u64; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// A way to store a matrix. Names end in these; the stem is the matrix's name without `.weight`.
#[derive(Debug, PartialEq)]
pub(super) struct Scheme {
    /// For messages.
    pub name: &'static str,
    pub codes: &'static str,
    pub holder: Holder,
    /// Bits of a code where the scheme fixes them.
    pub bits: Option<u32>,
    /// What codes stand for: without zero points, with them.
    pub value: (Value, Value),
    pub packing: Packing,
    /// Stored are the columns of the matrix as rows.
    pub transposed: bool,
    /// The bytes of a scale's codes are a dimension of their own.
    pub in_blocks: bool,
    pub scales: &'static str,
    /// Scales are exponents of two in bytes.
    pub exponents: bool,
    /// What divides the scales.
    pub divisor: Option<&'static str>,
    pub zeros: Option<&'static str>,
    pub zeros_packing: Packing,
    /// Added to the codes of zero points, modulo their number.
    pub zeros_less: u8,
    /// The group of each column.
    pub order: Option<&'static str>,
    /// Rows and columns, which say nothing that is not known.
    pub shape: Option<&'static str>,
    pub arithmetic: Arithmetic,
}

/// The type that a weight is computed in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Arithmetic {
    F32,
    Bf16,
    /// That of the scales.
    OfScales,
}

/// Tensors beside a matrix that are for activations.
const OF_ACTIVATIONS: [&str; 6] = [
    ".input_scale",
    ".output_scale",
    ".input_zero_point",
    ".input_global_scale",
    ".activation_scale",
    ".weight_activation_scale",
];

/// FP8 as DeepSeek and Qwen store it (DeepSeek-V3, `weight_dequant`; transformers, `Fp8Dequantize`): in f32.
pub(super) static FP8: Scheme = Scheme {
    name: "FP8",
    codes: ".weight",
    holder: Holder::Fp8,
    bits: Some(8),
    value: (Value::E4m3, Value::E4m3),
    packing: Packing::Along,
    transposed: false,
    in_blocks: false,
    scales: ".weight_scale_inv",
    exponents: false,
    divisor: None,
    zeros: None,
    zeros_packing: Packing::Along,
    zeros_less: 0,
    order: None,
    shape: None,
    arithmetic: Arithmetic::F32,
};
/// compressed-tensors, `float-quantized`.
pub(super) static FLOAT: Scheme = Scheme {
    scales: ".weight_scale",
    arithmetic: Arithmetic::OfScales,
    ..FP8
};
/// compressed-tensors, `int-quantized`.
pub(super) static INT: Scheme = Scheme {
    name: "INT8",
    holder: Holder::I8,
    value: (Value::Signed, Value::Signed),
    zeros: Some(".weight_zero_point"),
    ..FLOAT
};
/// compressed-tensors, `pack-quantized`: words along rows; zero points in words along columns.
pub(super) static PACK: Scheme = Scheme {
    name: "packed integers",
    codes: ".weight_packed",
    holder: Holder::I32,
    bits: None,
    value: (Value::Centred, Value::Unsigned),
    zeros_packing: Packing::Down,
    order: Some(".weight_g_idx"),
    shape: Some(".weight_shape"),
    ..INT
};
/// gpt-oss: E2M1, two to a byte, for 32 an exponent.
pub(super) static MXFP4: Scheme = Scheme {
    name: "MXFP4",
    codes: "_blocks",
    in_blocks: true,
    holder: Holder::U8,
    bits: Some(4),
    value: (Value::E2m1, Value::E2m1),
    scales: "_scales",
    exponents: true,
    ..FP8
};
/// compressed-tensors, `mxfp4-pack-quantized`.
pub(super) static MXFP4_PACK: Scheme = Scheme {
    codes: ".weight_packed",
    in_blocks: false,
    scales: ".weight_scale",
    ..MXFP4
};
/// compressed-tensors, `nvfp4-pack-quantized`: for 16 a scale of E4M3, divided by one of the matrix.
pub(super) static NVFP4_PACK: Scheme = Scheme {
    name: "NVFP4",
    exponents: false,
    divisor: Some(".weight_global_scale"),
    arithmetic: Arithmetic::Bf16,
    ..MXFP4_PACK
};
/// GPTQ (AutoGPTQ, `qlinear_cuda_old.py`): columns down words, zero points along, less one.
pub(super) static GPTQ: Scheme = Scheme {
    name: "GPTQ",
    codes: ".qweight",
    holder: Holder::I32,
    bits: None,
    value: (Value::Unsigned, Value::Unsigned),
    packing: Packing::Down,
    transposed: true,
    scales: ".scales",
    zeros: Some(".qzeros"),
    zeros_less: 1,
    order: Some(".g_idx"),
    arithmetic: Arithmetic::OfScales,
    ..FP8
};
/// GPTQModel's second format: zero points as they are.
pub(super) static GPTQ_V2: Scheme = Scheme {
    zeros_less: 0,
    ..GPTQ
};
/// AWQ (AutoAWQ, `dequantize_gemm`): rows along words, interleaved.
pub(super) static AWQ: Scheme = Scheme {
    name: "AWQ",
    packing: Packing::Interleaved,
    zeros_packing: Packing::Interleaved,
    order: None,
    ..GPTQ_V2
};

/// How the names of quantized matrices end that have no other.
pub(super) const CODES: [&str; 3] = [".qweight", ".weight_packed", "_blocks"];

/// A scheme with what the configuration says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub scheme: &'static Scheme,
    pub bits: u32,
    /// Rows and columns of a scale, cut at the matrix's end; `None` for one scale of the matrix.
    pub block: Option<(u64, u64)>,
    /// There are zero points.
    pub zeros: bool,
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.scheme, other.scheme)
            && (self.bits, self.block, self.zeros) == (other.bits, other.block, other.zeros)
    }
}

impl Layout {
    pub fn of(scheme: &'static Scheme) -> Self {
        Self {
            scheme,
            bits: scheme.bits.unwrap_or(8),
            block: match scheme.bits {
                Some(4) if scheme.exponents => Some((1, 32)),
                Some(4) => Some((1, 16)),
                _ => None,
            },
            zeros: false,
        }
    }

    /// Rows and columns of the scales of a matrix.
    pub fn scales(&self, rows: u64, cols: u64) -> (u64, u64) {
        match self.block {
            None => (1, 1),
            Some((r, c)) => (rows.div_ceil(r), cols.div_ceil(c)),
        }
    }

    /// Codes of a word, or of a byte.
    pub fn per(&self, holder: Holder) -> u64 {
        let bits = match holder {
            Holder::I32 => 32,
            _ => 8,
        };
        u64::from(bits / self.bits)
    }

    /// The shape of packed codes `[rows, cols]`, as they are stored.
    pub fn packed(&self, packing: Packing, holder: Holder, rows: u64, cols: u64) -> [u64; 2] {
        let per = self.per(holder);
        match packing {
            Packing::Down => [rows.div_ceil(per), cols],
            _ => [rows, cols.div_ceil(per)],
        }
    }
}

/// Whether a tensor is a scale or zero point of the cache of keys and values, which is not rounded by it here.
pub(super) fn is_of_cache(name: &str) -> bool {
    ["q", "k", "v"].iter().any(|what| {
        let ends = ["scale", "zero_point"];
        ends.iter()
            .any(|end| name.ends_with(&format!(".self_attn.{what}_{end}")))
    })
}

/// Names beside a matrix of this stem that say nothing about its weights.
pub(super) fn beside(stem: &str) -> impl Iterator<Item = String> {
    OF_ACTIVATIONS.iter().map(move |end| format!("{stem}{end}"))
}

/// A tensor of two dimensions in a file.
#[derive(Debug)]
pub(super) struct Array {
    pub file: usize,
    pub offset: u64,
    /// Bytes of a stored row.
    pub stride: u64,
}

impl Array {
    /// The bytes `bytes` of each stored row of `rows`, row after row.
    fn read(
        &self,
        files: &[SourceFile],
        rows: Range<u64>,
        bytes: Range<u64>,
    ) -> Result<Vec<u8>, SourceError> {
        let (file, len) = (&files[self.file], (bytes.end - bytes.start) as usize);
        let mut out = vec![0; (rows.end - rows.start) as usize * len];
        if len as u64 == self.stride {
            file.read_exact_at(&mut out, self.offset + rows.start * self.stride)?;
            return Ok(out);
        }
        for (row, out) in rows.zip(out.chunks_exact_mut(len.max(1))) {
            file.read_exact_at(out, self.offset + row * self.stride + bytes.start)?;
        }
        Ok(out)
    }
}

/// Codes `[rows, cols]` as they are stored.
#[derive(Debug)]
pub(super) struct Codes {
    pub array: Array,
    pub bits: u32,
    pub packing: Packing,
}

impl Codes {
    /// The codes of a part, row after row.
    fn window(
        &self,
        files: &[SourceFile],
        rows: Range<u64>,
        cols: Range<u64>,
    ) -> Result<Vec<u8>, SourceError> {
        let (bits, mask) = (u64::from(self.bits), ((1u32 << self.bits) - 1) as u8);
        // Bytes that are read together, and codes in them.
        let unit = match self.packing {
            Packing::Along => 1,
            _ => 4,
        };
        let per = unit * 8 / bits;
        let mut out =
            Vec::with_capacity(((rows.end - rows.start) * (cols.end - cols.start)) as usize);
        if self.packing == Packing::Down {
            let first = rows.start / per;
            let bytes = cols.start * unit..cols.end * unit;
            let width = (bytes.end - bytes.start) as usize;
            let words = self
                .array
                .read(files, first..rows.end.div_ceil(per), bytes)?;
            for row in rows {
                let bit = row % per * bits;
                let words = &words[(row / per - first) as usize * width..][..width];
                let of = |word: &[u8; 4]| word[(bit / 8) as usize] >> (bit % 8) & mask;
                out.extend(words.as_chunks::<4>().0.iter().map(of));
            }
            return Ok(out);
        }
        let first = cols.start / per * unit;
        let bytes = first..(cols.end.div_ceil(per) * unit).min(self.array.stride);
        let width = (bytes.end - bytes.start) as usize;
        let words = self.array.read(files, rows, bytes)?;
        for row in words.chunks_exact(width.max(1)) {
            out.extend(cols.clone().map(|col| {
                let slot = match self.packing {
                    Packing::Interleaved => INTERLEAVED[(col % per) as usize],
                    _ => col % per,
                };
                let bit = (col / per * unit - first) * 8 + slot * bits;
                row[(bit / 8) as usize] >> (bit % 8) & mask
            }));
        }
        Ok(out)
    }
}

/// A quantized matrix.
#[derive(Debug)]
pub(super) struct Matrix {
    pub layout: Layout,
    pub value: Value,
    /// Rows before those of the matrix.
    pub first: u64,
    pub cols: u64,
    pub codes: Codes,
    pub scales: Array,
    pub scales_type: &'static ElementType,
    /// What the scales are divided by.
    pub divisor: f32,
    pub zeros: Option<Codes>,
    /// The group of each column, where they are in no order; each less than the number of groups.
    pub order: Option<Vec<u32>>,
    pub form: Form,
}

impl Matrix {
    /// Appends the weights of `rows`.
    pub fn read(
        &self,
        files: &[SourceFile],
        rows: Range<u64>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let (form, done) = (&self.form, out.len());
        match form.heads.as_deref() {
            None => {
                let at_once = (STRIP / self.cols.max(1)).max(1);
                let mut row = rows.start;
                while row < rows.end {
                    let end = rows.end.min(row + at_once);
                    self.strip(files, self.first + row..self.first + end, out)?;
                    row = end;
                }
            }
            Some(heads) => {
                for row in rows {
                    let (row, factor) = heads.stored(row);
                    let done = out.len();
                    self.strip(files, self.first + row..self.first + row + 1, out)?;
                    out[done..].iter_mut().for_each(|x| *x *= factor);
                }
            }
        }
        if (form.add, form.times) != (0.0, 1.0) {
            for x in &mut out[done..] {
                *x = (*x + form.add) * form.times;
            }
        }
        Ok(())
    }

    /// Appends the weights of some stored rows.
    fn strip(
        &self,
        files: &[SourceFile],
        rows: Range<u64>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let Layout { scheme, block, .. } = self.layout;
        let (high, wide) = block.unwrap_or((u64::MAX, u64::MAX));
        let groups = self.layout.scales(1, self.cols).1;
        let of_rows = rows.start / high..(rows.end - 1) / high + 1;
        let codes = self.part(files, &self.codes, rows.clone(), self.cols)?;
        let scales = self.scales(files, of_rows.clone(), groups)?;
        let zeros = match &self.zeros {
            Some(zeros) => self.part(files, zeros, of_rows.clone(), groups)?,
            None => Vec::new(),
        };
        let values = values(self.value, self.layout.bits);
        let mask = ((1u32 << self.layout.bits) - 1) as u8;
        let zero = |code: u8| values[usize::from(code.wrapping_add(scheme.zeros_less) & mask)];
        let round = self.rounding();
        let order: Cow<'_, [u32]> = match &self.order {
            Some(order) => order.into(),
            // Less than 2^32: the columns are.
            None => (0..self.cols).map(|c| (c / wide) as u32).collect(),
        };
        let (n, heights) = (rows.end - rows.start, of_rows.end - of_rows.start);
        // Where an element lies in what was read.
        let at = |row: u64, col: u64, rows: u64, cols: u64| match scheme.transposed {
            true => (col * rows + row) as usize,
            false => (row * cols + col) as usize,
        };
        out.reserve((n * self.cols) as usize);
        for row in 0..n {
            let of_row = (rows.start + row) / high - of_rows.start;
            for col in 0..self.cols {
                let group = at(of_row, order[col as usize].into(), heights, groups);
                let value = values[usize::from(codes[at(row, col, n, self.cols)])];
                let value = match zeros.get(group) {
                    Some(code) => value - zero(*code),
                    None => value,
                };
                out.push(round(value * scales[group]));
            }
        }
        Ok(())
    }

    /// The codes of some rows and all of `cols` columns of the matrix, as they are stored.
    fn part(
        &self,
        files: &[SourceFile],
        codes: &Codes,
        rows: Range<u64>,
        cols: u64,
    ) -> Result<Vec<u8>, SourceError> {
        match self.layout.scheme.transposed {
            true => codes.window(files, 0..cols, rows),
            false => codes.window(files, rows, 0..cols),
        }
    }

    /// The scales of some rows of them, as they are stored.
    fn scales(
        &self,
        files: &[SourceFile],
        rows: Range<u64>,
        groups: u64,
    ) -> Result<Vec<f32>, SourceError> {
        let width = self.scales_type.bytes as u64;
        let bytes = match self.layout.scheme.transposed {
            true => self
                .scales
                .read(files, 0..groups, rows.start * width..rows.end * width)?,
            false => self.scales.read(files, rows, 0..groups * width)?,
        };
        let mut scales = vec![0.0; bytes.len() / width as usize];
        (self.scales_type.decode)(&bytes, &mut scales);
        if self.layout.scheme.divisor.is_some() {
            scales.iter_mut().for_each(|s| *s /= self.divisor);
        }
        Ok(scales)
    }

    fn rounding(&self) -> fn(f32) -> f32 {
        let as_bf16: fn(f32) -> f32 = |x| bf16::from_f32(x).to_f32();
        let as_f16: fn(f32) -> f32 = |x| f16::from_f32(x).to_f32();
        match self.layout.scheme.arithmetic {
            Arithmetic::Bf16 => as_bf16,
            Arithmetic::OfScales if std::ptr::eq(self.scales_type, &decode::BF16) => as_bf16,
            Arithmetic::OfScales if std::ptr::eq(self.scales_type, &decode::F16) => as_f16,
            _ => |x| x,
        }
    }
}

/// What each code stands for; beyond the codes of less than 8 bits zeros.
fn values(value: Value, bits: u32) -> [f32; 256] {
    let mut values = [0.0; 256];
    let half = 1i32 << (bits - 1);
    for (code, v) in (0u8..=255).zip(&mut values).take(1 << bits) {
        *v = match value {
            Value::E4m3 => decode::e4m3(code),
            Value::E5m2 => decode::e5m2(code),
            // Zero has a sign here.
            Value::E2m1 => {
                let magnitude = 0.5 * f32::from(decode::E2M1[usize::from(code & 7)]);
                if code & 8 == 0 { magnitude } else { -magnitude }
            }
            Value::Signed => f32::from(code as i8),
            Value::Unsigned => f32::from(code),
            Value::Centred => (i32::from(code) - half) as f32,
        };
    }
    values
}

//! Embeddings of texts: the hidden state after the last norm, pooled in integers.

use super::{Loaded, Part, Sequence, Session};
use crate::error::Error;
use crate::plan::{Bound, Op};
use carat_format::{GROUP, Pooling};

/// A pooled hidden state: `integers[i] · 2^exponent`, the same on every device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// One integer a dimension, below 2^41 in magnitude.
    pub integers: Vec<i64>,
    /// Their unit, a constant of the model.
    pub exponent: i32,
}

/// Bits of the unit below the unit of the norm's gains.
const FRACTION: i32 = 8;

impl Embedding {
    /// The vector at length 1; zeros stay zeros. The sum of squares is exact and the rest are three
    /// operations that IEEE 754 rounds correctly, so the same integers give the same floats everywhere.
    pub fn unit(&self) -> Vec<f64> {
        // Squares below 2^82, at most 2^15 of them in any model's width, 2^45 of them before an overflow.
        let squares: i128 = self
            .integers
            .iter()
            .map(|v| i128::from(*v) * i128::from(*v))
            .sum();
        let length = (squares as f64).sqrt();
        let scaled = |v: &i64| {
            if length > 0.0 {
                *v as f64 / length
            } else {
                0.0
            }
        };
        self.integers.iter().map(scaled).collect()
    }
}

impl Session {
    /// [`Loaded::embed`] in the place of what the cache holds.
    ///
    /// Errors: as there.
    pub async fn embed(
        &mut self,
        tokens: &[u32],
        pooling: Pooling,
    ) -> Result<Vec<Embedding>, Error> {
        self.forget_ahead()?;
        self.loaded.embed(&mut self.sequence, tokens, pooling).await
    }
}

impl Loaded {
    /// Forgets what the sequence holds, appends `tokens` and pools their hidden states after the last norm, as
    /// the product with the head reads them: `code · scale · mantissa · 2^exponent`. Each is rounded half up to
    /// a unit that is a constant of the model, their mean is rounded half up. One vector, or without pooling one
    /// for each token in the order of the text.
    ///
    /// Logits are not computed. Errors: no tokens; as of [`Loaded::pass`].
    pub async fn embed(
        &mut self,
        sequence: &mut Sequence,
        tokens: &[u32],
        pooling: Pooling,
    ) -> Result<Vec<Embedding>, Error> {
        sequence.truncate(0);
        self.check(tokens)?;
        self.reserve(sequence, tokens.len())?;
        if tokens.is_empty() {
            return Err(Error::NoTokens);
        }
        let plan = &self.plan;
        let missing = || Error::MissingTensor(carat_format::Tensor::OutputNorm.name());
        let norm = plan.steps.iter().position(|s| s.label == "output_norm");
        let norm = norm.ok_or_else(missing)?;
        let step = &plan.steps[norm];
        let (Op::RmsnormRow(p), Some(act)) = (step.op, step.bound("act").copied()) else {
            return Err(missing());
        };
        let exponent = p.gain_exponent.saturating_sub(FRACTION);
        let cols = p.cols as usize;

        let vectors = match pooling {
            Pooling::None => tokens.len(),
            Pooling::Mean | Pooling::Cls | Pooling::Last => 1,
        };
        let mut sums = vec![vec![0i64; cols]; vectors];
        let batch = plan.extent.batch as usize;
        for start in (0..tokens.len()).step_by(batch) {
            let part = &tokens[start..tokens.len().min(start + batch)];
            let is_end = start + part.len() == tokens.len();
            // Rows that come first, and those whose states are wanted.
            let (first, outputs) = match pooling {
                Pooling::None | Pooling::Mean => (0, part.len()),
                Pooling::Cls => (0, usize::from(start == 0)),
                Pooling::Last => (usize::from(is_end), usize::from(is_end)),
            };
            let mut parts = [Part {
                sequence: &mut *sequence,
                tokens: part,
                outputs: first,
            }];
            self.gather(&mut parts)?;
            self.run_steps(outputs, 0..norm + 1).await?;
            let into = match pooling {
                Pooling::None => &mut sums[start..start + part.len()],
                _ => &mut sums[..],
            };
            self.add(act, outputs, exponent, into).await?;
            sequence.append(part);
        }
        let count = match pooling {
            Pooling::Mean => tokens.len() as i64,
            Pooling::None | Pooling::Cls | Pooling::Last => 1,
        };
        // |sum| < 2^40 · 2^22 tokens.
        let mean = |sum: &mut i64| *sum = (2 * *sum + count).div_euclid(2 * count);
        let vectors = sums.into_iter().map(|mut integers| {
            integers.iter_mut().for_each(mean);
            Embedding { integers, exponent }
        });
        Ok(vectors.collect())
    }

    /// Adds the first `rows` rows of the activations `act`, in units of `2^exponent`: each to a vector of its own,
    /// or all to the only one.
    async fn add(
        &mut self,
        act: Bound,
        rows: usize,
        exponent: i32,
        sums: &mut [Vec<i64>],
    ) -> Result<(), Error> {
        let Some(stride) = usize::try_from(act.stride).ok().filter(|s| *s > 0) else {
            return Ok(());
        };
        if rows == 0 {
            return Ok(());
        }
        let mut words = Vec::new();
        let count = rows as u64 * act.stride;
        let executor = &mut self.executor;
        executor.read(act.buffer, count, &mut words).await?;
        let last = sums.len().saturating_sub(1);
        for (i, row) in words.chunks_exact(stride).enumerate() {
            if let Some(sum) = sums.get_mut(i.min(last)) {
                add_row(row, exponent, sum);
            }
        }
        Ok(())
    }
}

/// Adds a row of activations (see `carat_shaders::act_stride`).
fn add_row(row: &[u32], exponent: i32, sums: &mut [i64]) {
    let groups = sums.len().div_ceil(GROUP);
    let bytes: &[u8] = bytemuck::cast_slice(row);
    let (codes, rest) = bytes.split_at((groups * GROUP).min(bytes.len()));
    let tail = groups * GROUP / 4 + groups.div_ceil(4);
    let (Some(mantissa), Some(unit)) = (row.get(tail), row.get(tail + 1)) else {
        return;
    };
    let shift = (*unit as i32).saturating_sub(exponent);
    for (i, (sum, code)) in sums.iter_mut().zip(codes).enumerate() {
        let scale = rest.get(i / GROUP).copied().unwrap_or(0);
        // 127 · 255 · 65,535 < 2^31.
        let value = i64::from(*code as i8) * i64::from(scale) * i64::from(*mantissa & 0xffff);
        // The row's exponent is at most one above the gains'.
        *sum += if shift >= 0 {
            value << shift.min(FRACTION + 1)
        } else {
            round_shr(value, shift.unsigned_abs())
        };
    }
}

/// `value / 2^shift`, rounded half up.
fn round_shr(value: i64, shift: u32) -> i64 {
    match shift {
        0 => value,
        1..=62 => (value + (1 << (shift - 1))) >> shift,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding() {
        assert_eq!(round_shr(5, 1), 3);
        assert_eq!(round_shr(-5, 1), -2);
        assert_eq!(round_shr(-0x7fff_ffff, 62), 0);
        assert_eq!(round_shr(7, 0), 7);
    }

    #[test]
    fn unit_vectors() {
        let unit = |integers: &[i64]| {
            Embedding {
                integers: integers.into(),
                exponent: 3,
            }
            .unit()
        };
        assert_eq!(unit(&[3, -4]), [0.6, -0.8]);
        assert_eq!(unit(&[0, 0]), [0.0, 0.0]);
        assert_eq!(unit(&[i64::MAX >> 22, 0]), [1.0, 0.0]);
    }
}

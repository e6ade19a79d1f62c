//! Rows of floats as int8 codes with a scale for each 32.
//!
//! Only IEEE basic operations and `libm`: the same bytes on every machine.

use crate::adapter::Packed;
use carat_format::{
    Encoding, FormatError, MAX_LEVEL, PackedRow, RowScale, TensorLayout, bounds, pack_rows,
};

/// Weights of a scale.
const GROUP: usize = carat_format::GROUP;
/// Largest activation in units of its row's exponent: code, scale and mantissa of 16 bits.
const LARGEST_ACTIVATION: f64 = 127.0 * 255.0 * 65_535.0;

/// Packs rows of `cols` finite values; every scale is the least that covers its group.
pub(crate) fn pack(rows: &[f64], cols: usize) -> Result<Packed, FormatError> {
    let packed: Vec<PackedRow> = rows.chunks(cols.max(1)).map(row).collect();
    let layout = TensorLayout::new(Encoding::Int8, packed.len() as u64, cols as u64)?;
    let bytes = pack_rows(&layout, &packed)?;
    let words = bytes.as_chunks::<4>().0.iter();
    Ok(Packed {
        words: words.map(|b| u32::from_le_bytes(*b)).collect(),
        layout,
    })
}

fn row(weights: &[f64]) -> PackedRow {
    let largest = |w: &[f64]| w.iter().fold(0f64, |m, x| m.max(x.abs()));
    let level = f64::from(MAX_LEVEL);
    let scale = row_scale(largest(weights) / level / 255.0);
    let unit = value(scale);
    let mut out = PackedRow {
        codes: Vec::with_capacity(weights.len()),
        scales: Vec::with_capacity(weights.len().div_ceil(GROUP)),
        scale,
    };
    for group in weights.chunks(GROUP) {
        let least = if unit > 0.0 {
            libm::ceil(largest(group) / level / unit)
        } else {
            1.0
        };
        let scale = least.clamp(1.0, 255.0);
        out.scales.push(scale as u8);
        out.codes.extend(group.iter().map(|w| {
            let code = if unit > 0.0 {
                libm::round(w / (scale * unit))
            } else {
                0.0
            };
            code.clamp(-level, level) as i8 as u8
        }));
    }
    out
}

/// The least row scale of at least `unit`; 0 for 0.
fn row_scale(unit: f64) -> RowScale {
    let (m, e) = libm::frexp(unit); // m in [0.5, 1), or 0
    match libm::ceil(m * 65_536.0) as u32 {
        0 => RowScale::default(),
        0x1_0000 => RowScale {
            mantissa: 0x8000,
            exponent: (e - 15) as i16,
        },
        mantissa => RowScale {
            mantissa: mantissa as u16,
            exponent: (e - 16) as i16,
        },
    }
}

/// `mantissa · 2^exponent`.
fn value(scale: RowScale) -> f64 {
    libm::ldexp(f64::from(scale.mantissa), i32::from(scale.exponent))
}

/// The exponent of products with these rows of `cols` whole values, for whatever activations: by Cauchy–Schwarz, with √K for
/// the norm of K activations of at most 1, and a half for what rounding to codes adds. `None` where there is none.
pub(crate) fn product_exponent(rows: &[f64], cols: usize) -> Option<i32> {
    let norm = |row: &[f64]| libm::sqrt(row.iter().map(|w| w * w).sum());
    let largest = rows.chunks(cols.max(1)).map(norm).fold(0f64, f64::max);
    let bound = 1.5 * largest * libm::sqrt(cols as f64) * LARGEST_ACTIVATION;
    let (_, e) = libm::frexp(bound); // bound < 2^e
    let (least, most) = (
        *bounds::PRODUCT_EXPONENTS.start(),
        *bounds::PRODUCT_EXPONENTS.end(),
    );
    let exponent = (e - 30).max(least);
    (bound.is_finite() && exponent <= most).then_some(exponent)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use carat_format::{Table, decode_row_f32};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_are_within_half_a_step(
            weights in prop::collection::vec(prop_oneof![-1.0f64..1.0, -1e-4..1e-4, Just(0.0)], 1..100),
            power in -40i32..40,
        ) {
            let weights: Vec<f64> = weights.iter().map(|w| libm::ldexp(*w, power)).collect();
            let packed = pack(&weights, weights.len()).unwrap();
            let mut back = Vec::new();
            let bytes = bytemuck::cast_slice(&packed.words);
            decode_row_f32(&packed.layout, &Table::default(), bytes, 0, &mut back).unwrap();
            for (group, back) in weights.chunks(GROUP).zip(back.chunks(GROUP)) {
                // A group's scale is at most a 255th of the row's above what its largest needs.
                let of = |w: &[f64]| w.iter().fold(0f64, |m, x| m.max(x.abs()));
                let step = (of(group) + of(&weights) / 254.0) / 127.0 * 1.001;
                for (w, b) in group.iter().zip(back) {
                    prop_assert!((w - f64::from(*b)).abs() <= step / 2.0 + 1e-300, "{w} {b}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_of_zeros_has_products_of_zero() {
        let packed = pack(&[0.0; 40], 20).unwrap();
        assert!(
            packed.words[(packed.layout.parts[0].row_scales / 4) as usize..]
                .iter()
                .all(|w| *w == 0)
        );
        assert_eq!(product_exponent(&[0.0; 40], 20), Some(-30));
    }

    #[test]
    fn what_no_product_can_hold_is_found() {
        assert_eq!(product_exponent(&[1e30], 1), None);
        assert_eq!(product_exponent(&[f64::MAX; 2], 2), None);
        let e = product_exponent(&[1.0; 64], 64).unwrap();
        assert!(64.0 * LARGEST_ACTIVATION <= libm::ldexp(1.0, 30 + e));
    }
}

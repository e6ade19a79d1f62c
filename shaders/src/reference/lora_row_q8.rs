//! An adapter's low-rank products as activations, times a strength; the definition of `wgsl/lora_row_q8.wgsl`.
//!
//! An adapter adds `s · B(A x)` to a product `W x`. `A x` is a product like any other, in a unit that contains the exponent
//! of its row of activations. Here it becomes activations of its own, which `B` is multiplied with; the strength is in their
//! mantissa. So `B`'s product is one that is added, as products are added to the residual stream.

use super::quantize_row;
use crate::params::{LoraRow, ROW_WORDS, STRENGTH_BITS};

/// `act[r] = s · quantize(x[r])`, `s` the strength of [`LoraRow::adapter`] in the row's sequence.
///
/// A strength of 0 gives the mantissa 0, with which every product is 0; a strength of 1 leaves mantissa and exponent as
/// they are.
pub fn run(
    p: &LoraRow,
    row_table: &[u32],
    strengths: &[i32],
    input: &[u32],
    x: &[i32],
    act: &mut [u32],
) {
    let groups = p.cols.div_ceil(32) as usize;
    let tail = groups * 8 + groups.div_ceil(4);
    let rows = x.chunks_exact(p.cols as usize);
    let rows = rows.zip(act.chunks_exact_mut(p.act_stride as usize));
    for (r, (x, act)) in rows.enumerate() {
        let unit = match p.relative {
            1 => 0,
            _ => input[r * p.input_stride as usize + p.input_exponent as usize] as i32,
        };
        quantize_row(x, p.exponent.wrapping_add(unit), act);
        let sequence = row_table[r * ROW_WORDS as usize + 2];
        let strength = strengths[(sequence * p.adapters + p.adapter) as usize];
        if strength < 0 {
            let codes: &mut [i8] = bytemuck::cast_slice_mut(&mut act[..groups * 8]);
            codes.iter_mut().for_each(|c| *c = c.wrapping_neg());
        }
        let (mantissa, more) = scaled(act[tail], strength);
        act[tail] = mantissa;
        act[tail + 1] = (act[tail + 1] as i32).wrapping_add(more) as u32;
    }
}

/// A mantissa of 16 bits times the magnitude of a strength: 16 bits again, and what that adds to the exponent.
///
/// Proof: `mantissa < 2^16` and `|strength| ≤ 2^16`, so the product is at most `(2^16 − 1)·2^16`, and adding half of
/// `2^drop`, `drop ≤ 16`, stays below 2^32. Where rounding gives 2^16 itself, one more shift loses nothing.
fn scaled(mantissa: u32, strength: i32) -> (u32, i32) {
    let product = mantissa.wrapping_mul(strength.unsigned_abs());
    let drop = (32 - product.leading_zeros()).saturating_sub(16);
    let half = (1 << drop) >> 1;
    let rounded = product.wrapping_add(half) >> drop;
    let more = rounded >> 16;
    (rounded >> more, (drop + more) as i32 - STRENGTH_BITS as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act_stride;
    use crate::params::STRENGTH_MAX;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strengths_are_in_the_mantissa(m in 0x8000u32..=0xffff, s in -STRENGTH_MAX..=STRENGTH_MAX) {
            let (mantissa, more) = scaled(m, s);
            prop_assert!(mantissa <= 0xffff);
            let exact = f64::from(m) * f64::from(s.abs()) / f64::from(1 << STRENGTH_BITS);
            let got = f64::from(mantissa) * f64::from(more).exp2();
            prop_assert!((got - exact).abs() <= exact / 65_536.0, "{got} {exact}");
        }
    }

    #[test]
    fn the_extremes() {
        let one = 1 << STRENGTH_BITS;
        for m in [0x8000, 0xabcd, 0xffff] {
            assert_eq!(scaled(m, one), (m, 0));
            assert_eq!(scaled(m, -2 * one), (m, 1));
            assert_eq!(scaled(m, 0).0, 0);
            assert_eq!(scaled(m, STRENGTH_MAX), (m, 4));
            // Rounding up to 2^16.
            assert!(scaled(0xffff, one + 1).0 <= 0xffff);
        }
    }

    #[test]
    fn each_row_has_the_strength_of_its_sequence() {
        let p = LoraRow {
            cols: 3,
            act_stride: act_stride(1),
            exponent: -20,
            input_stride: 4,
            input_exponent: 1,
            relative: 0,
            adapter: 1,
            adapters: 2,
        };
        let one = 1 << STRENGTH_BITS;
        let strengths = [9, one, 9, 0, 9, -one];
        let table = [0, 0, 2, 0, 0, 0, 0, 0, 1];
        let input = [0, 5, 0, 0, 0, -6i32 as u32, 0, 0, 0, 7, 0, 0];
        let x = [100, -200, 300].repeat(3);
        let mut act = vec![9; 3 * p.act_stride as usize];
        run(&p, &table, &strengths, &input, &x, &mut act);
        let rows: Vec<&[u32]> = act.chunks(p.act_stride as usize).collect();
        let codes = |row: &[u32]| row[0].to_le_bytes().map(|c| c as i8);
        let plain = codes(rows[1]);
        assert_eq!(codes(rows[0]), plain.map(|c| -c));
        assert_eq!(codes(rows[2]), plain);
        let (mantissa, exponent) = (rows[1][9], rows[1][10] as i32);
        assert_eq!((rows[0][9], rows[0][10] as i32 - exponent), (mantissa, 11));
        assert_eq!(rows[2][9], 0);
        // Without the exponent of the activations.
        let relative = LoraRow { relative: 1, ..p };
        let mut act = vec![9; 3 * p.act_stride as usize];
        run(&relative, &table, &strengths, &input, &x, &mut act);
        assert_eq!(act[p.act_stride as usize + 10] as i32, exponent + 6);
    }
}

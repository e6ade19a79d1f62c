//! Twins over rows against their definitions, by every version that the processor has. Products and blocks of attention
//! have tests beside them; a twin that is its definition has none.

use super::random::{EPSILONS, FLAVOURS, Random};
use super::simd::tests::with_each;
use super::*;
use crate::params::*;
use crate::reference;
use crate::reference::softcap::Cap;
use crate::{act_stride, groups_of, kv_page_words, partial_stride, query_stride};

const COLS: [u32; 9] = [1, 31, 32, 33, 172, 288, 1023, 2100, 4864];

fn ints(mut words: Vec<u32>) -> Vec<i32> {
    bytemuck::cast_slice_mut(&mut words).to_vec()
}

/// A row of each flavour, and rows of one magnitude from 1 to 2^31 - 1.
fn rows(random: &mut Random, cols: u32) -> Vec<i32> {
    let mut x = ints(random.rows(cols));
    for bits in 1..32 {
        let most = i32::MAX >> (31 - bits);
        x.extend((0..cols).map(|_| random.range(-most, most)));
    }
    x
}

#[test]
fn quantized_rows() {
    let mut random = Random(1);
    for cols in COLS {
        let p = QuantizeRow {
            cols,
            act_stride: act_stride(groups_of(cols)),
            exponent: random.range(-64, 32),
            pad0: 0,
        };
        let x = rows(&mut random, cols);
        let before = random.words(x.len() / cols as usize * p.act_stride as usize);
        let mut expected = before.clone();
        reference::quantize_row_q8::run(&p, &x, &mut expected);
        with_each(|isa| {
            let mut found = before.clone();
            quantize_row_q8::run(&p, &x, &mut found);
            assert_eq!(found, expected, "{cols} columns, {isa:?}");
        });
    }
}

#[test]
fn normalised_rows() {
    let mut random = Random(2);
    for cols in COLS.into_iter().chain([32_768]) {
        for (eps_mantissa, eps_exponent) in EPSILONS {
            let p = RmsnormRow {
                cols,
                act_stride: act_stride(groups_of(cols)),
                eps_mantissa,
                eps_exponent,
                gain_exponent: random.range(-64, 32),
                ..Default::default()
            };
            let h = ints(random.rows(cols));
            let flavour = random.below(FLAVOURS);
            let gains = ints(random.values(cols as usize, flavour));
            let before = random.words((FLAVOURS * p.act_stride) as usize);
            let mut expected = before.clone();
            reference::rmsnorm_row_q8::run(&p, &h, &gains, &mut expected);
            with_each(|isa| {
                let mut found = before.clone();
                rmsnorm_row_q8::run(&p, &h, &gains, &mut found);
                assert_eq!(found, expected, "{cols} columns, {isa:?}");
            });
        }
    }
}

#[test]
fn normalised_heads() {
    let mut random = Random(3);
    for head_dim in [2, 10, 32, 64, 80, 128, 256] {
        for (n, (eps_mantissa, eps_exponent)) in EPSILONS.into_iter().enumerate() {
            let heads = [1, 5][n % 2];
            let p = RmsnormHead {
                heads,
                head_dim,
                eps_mantissa,
                eps_exponent,
            };
            let gains = ints(random.values(head_dim as usize, n as u32 % FLAVOURS));
            let before = ints(random.rows(heads * head_dim));
            let mut expected = before.clone();
            // A row less than there are.
            reference::rmsnorm_head_i32::run(&p, FLAVOURS - 1, &gains, &mut expected);
            let mut found = before;
            rmsnorm_head_i32::run(&p, FLAVOURS - 1, &gains, &mut found);
            assert_eq!(found, expected, "{heads} heads of {head_dim}");
        }
    }
}

#[test]
fn gated_units() {
    let mut random = Random(4);
    for activation in [SILU, GELU_TANH, RELU_SQUARED] {
        for gate_exponent in [-96, -64, -30, -27, -20, -16, 0, 32] {
            let cols = COLS[random.below(COLS.len() as u32) as usize];
            let p = GatedUnit {
                cols,
                gate_exponent,
                activation,
                ..Default::default()
            };
            let (mut gate, mut up) = (Vec::new(), Vec::new());
            for flavours in 0..FLAVOURS * FLAVOURS {
                gate.extend(ints(random.values(cols as usize, flavours % FLAVOURS)));
                up.extend(ints(random.values(cols as usize, flavours / FLAVOURS)));
            }
            let mut expected = vec![0; gate.len()];
            reference::gated_unit_row_i32::run(&p, &gate, &up, &mut expected);
            with_each(|isa| {
                let mut found = vec![7; gate.len()];
                gated_unit_row_i32::run(&p, &gate, &up, &mut found);
                assert_eq!(found, expected, "{activation}, {gate_exponent}, {isa:?}");
            });
        }
    }
}

#[test]
fn capped_rows() {
    let mut random = Random(5);
    for (cols, mantissa, exponent) in [
        (1, 1 << 30, 0),
        (300, 0x5555_5555, -10),
        (4864, 1 << 31, 5),
        (70_000, 0x7fff_ffff, -28),
    ] {
        let cap = Cap::new(mantissa, exponent);
        let p = Softcap {
            cols,
            cap_mantissa: cap.mantissa,
            cap_shift: cap.shift,
            rate_mantissa: cap.rate_mantissa,
            rate_shift: cap.rate_shift,
            ..Default::default()
        };
        let mut expected = ints(random.rows(cols));
        let mut found = expected.clone();
        reference::softcap_row_i32::run(&p, &mut expected);
        softcap_row_i32::run(&p, &mut found);
        assert_eq!(found, expected, "{cols} columns");
    }
}

#[test]
fn statistics_of_logits() {
    let mut random = Random(6);
    for cols in COLS.into_iter().chain([15, 16, 17, 255, 256, 257, 50_001]) {
        let p = LogitsStats {
            cols,
            ..Default::default()
        };
        // Flavours 2, 4 and 6 are full of ties; the last row holds the least i32 alone.
        let mut logits = ints(random.rows(cols));
        logits.extend(vec![i32::MIN; cols as usize]);
        let mut expected = [7; (FLAVOURS as usize + 1) * 4];
        reference::logits_stats_i32::run(&p, &logits, &mut expected);
        with_each(|isa| {
            let mut found = [9; (FLAVOURS as usize + 1) * 4];
            logits_stats_i32::run(&p, &logits, &mut found);
            assert_eq!(found, expected, "{cols} columns, {isa:?}");
        });
    }
}

/// Positions on both sides of the blocks' borders, of two sequences in turn.
const POSITIONS: [u32; 8] = [0, 1, 31, 254, 255, 256, 511, 700];
const PAGES: [u32; 8] = [5, 0, 7, 2, 1, 6, 3, 4];

fn row_table() -> Vec<u32> {
    let rows = POSITIONS.iter().zip(0u32..);
    rows.flat_map(|(p, r)| [9, *p, r % 2]).collect()
}

#[test]
fn stored_queries_keys_and_values() {
    let mut random = Random(7);
    let (heads, kv_heads, rows) = (3, 2, POSITIONS.len() as u32);
    for head_dim in [2, 7, 8, 10, 32, 64, 80, 96, 128, 256] {
        for (key_exponent, value_exponent) in [(-20, -18), (-64, 32), (32, -64)] {
            let p = RopeStore {
                heads,
                kv_heads,
                head_dim,
                head_words: head_dim.div_ceil(4),
                groups: groups_of(head_dim),
                query_exponent: random.range(-30, -10),
                scale_mantissa: [1 << 31, 1 << 30, 0x5555_5555][random.below(3) as usize],
                scale_exponent: random.range(-40, -30),
                key_exponent,
                value_exponent,
                table_stride: 4,
                narrow: random.below(4),
            };
            let table = row_table();
            let pairs = head_dim / 2;
            let mut angles = vec![0; (rows * pairs * 2) as usize];
            let of_angles = RopeAngles {
                pairs,
                ..Default::default()
            };
            let increments = random.words(2 * pairs as usize);
            rope_angles_q30::run(&of_angles, rows, &table, &increments, &mut angles);
            let mut of = |heads: u32, first: u32| -> Vec<i32> {
                let row = |r| random.values((heads * head_dim) as usize, (r + first) % FLAVOURS);
                ints((0..rows).flat_map(row).collect())
            };
            let (q, k, v) = (of(heads, 1), of(kv_heads, 0), of(kv_heads, 2));
            let tables = [&table[..], &PAGES];
            let query = random.words((rows * heads * query_stride(p.head_words)) as usize);
            let pages =
                PAGES.len() as u32 * kv_page_words(kv_heads, p.head_words, p.groups, p.narrow);
            let cache = random.words(pages as usize);
            let (mut expected, mut cells) = (query.clone(), cache.clone());
            let rotated = [&q[..], &k, &v];
            reference::rope_store_q8::run(
                &p,
                rows,
                tables,
                &angles,
                rotated,
                &mut expected,
                &mut cells,
            );
            with_each(|isa| {
                let (mut found, mut found_cells) = (query.clone(), cache.clone());
                rope_store_q8::run(
                    &p,
                    rows,
                    tables,
                    &angles,
                    rotated,
                    &mut found,
                    &mut found_cells,
                );
                assert_eq!(found, expected, "queries of {head_dim}, {isa:?}");
                assert!(found_cells == cells, "cells of {head_dim}, {isa:?}");
            });
        }
    }
}

/// Any partial results within the bounds of attention's blocks, of one row and of several.
#[test]
fn merged_blocks() {
    let mut random = Random(8);
    let (heads, max_blocks) = (4, 4);
    for head_dim in [2, 8, 10, 32, 64, 80, 128, 256] {
        for exponent in [-64, -18, 32] {
            let (head_words, groups) = (u32::div_ceil(head_dim, 4), groups_of(head_dim));
            let p = AttnMerge {
                heads,
                head_dim,
                head_words,
                groups,
                max_blocks,
                exponent,
                window: [0, 1, 40, 300, 5000][random.below(5) as usize],
                act_stride: act_stride(groups_of(heads * head_dim)),
            };
            let stride = partial_stride(head_words, groups) as usize;
            let dims = 4 * head_words as usize;
            let mut partial =
                random.words(POSITIONS.len() * (heads * max_blocks) as usize * stride);
            for block in partial.chunks_mut(stride) {
                for sum in &mut block[..dims] {
                    *sum = (*sum as i32 >> random.range(1, 20)) as u32;
                }
                block[dims] >>= random.range(8, 31);
                block[dims + 1] = (block[dims + 1] as i32 >> random.range(1, 17)) as u32;
                for exponent in &mut block[dims + 2..] {
                    *exponent = random.range(-128, 127) as u32;
                }
            }
            let table = row_table();
            for rows in [1, POSITIONS.len() as u32] {
                // The row at the last position alone, too.
                let first = POSITIONS.len() - rows as usize;
                let table = &table[first * ROW_WORDS as usize..];
                let row = (heads * max_blocks) as usize * stride;
                let partial = &partial[first * row..];
                let before = vec![7; (rows * heads * head_dim) as usize];
                let (mut expected, mut found) = (before.clone(), before.clone());
                let mut expected_act = vec![7; (rows * p.act_stride) as usize];
                reference::attn_merge_row_q8::run(
                    &p,
                    rows,
                    table,
                    partial,
                    &mut expected,
                    &mut expected_act,
                );
                reference::attn_merge_i32::run(&p, rows, table, partial, &mut found);
                assert_eq!(found, expected);
                with_each(|isa| {
                    let mut found = before.clone();
                    attn_merge_i32::run(&p, rows, table, partial, &mut found);
                    assert_eq!(found, expected, "{rows} rows of {head_dim}, {isa:?}");
                    let (mut found, mut act) = (before.clone(), vec![9; expected_act.len()]);
                    attn_merge_row_q8::run(&p, rows, table, partial, &mut found, &mut act);
                    assert_eq!(found, expected, "{rows} rows of {head_dim}, {isa:?}");
                    assert_eq!(act, expected_act, "{rows} rows of {head_dim}, {isa:?}");
                });
            }
        }
    }
}

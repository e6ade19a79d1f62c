//! Kernels of attention against their twins: RoPE, KV cache, blocks, merge.
#![allow(clippy::unwrap_used)]

mod common;

use carat_shaders::cpu::softcap::Cap;
use carat_shaders::params::{
    AttnBlock, AttnMerge, KvStore, PAGE, ROW_WORDS, RopeAngles, RopeQuery,
};
use carat_shaders::{cpu, grid, groups_of, kv_page_words, partial_stride, query_stride};
use common::{FLAVOURS, Gpu, Random, on_each_driver, same, signed};

const HEAD_DIMS: [u32; 6] = [8, 32, 64, 80, 128, 256];
/// Positions on both sides of the blocks' borders.
const POSITIONS: [u32; 8] = [0, 1, 31, 254, 255, 256, 511, 700];
const KV_HEADS: u32 = 2;
const SEQUENCES: u32 = 2;
const TABLE_STRIDE: u32 = 4;

/// Rows of the table: the positions, the sequences alternating.
fn row_table() -> Vec<u32> {
    POSITIONS
        .iter()
        .enumerate()
        .flat_map(|(r, p)| [9, *p, r as u32 % SEQUENCES])
        .collect()
}

/// Pages of both sequences in no order.
const PAGES: [u32; 8] = [5, 0, 7, 2, 1, 6, 3, 4];

fn angles(random: &mut Random, table: &[u32], pairs: u32) -> Vec<u32> {
    let increments = random.words(2 * pairs as usize);
    let rows = table.len() / ROW_WORDS as usize;
    let mut angles = vec![0u32; rows * pairs as usize * 2];
    let p = RopeAngles {
        pairs,
        ..Default::default()
    };
    cpu::rope_angles_q30::run(&p, rows as u32, table, &increments, signed(&mut angles));
    angles
}

#[test]
fn rope_angles_q30() {
    on_each_driver("rope_angles_q30", |gpu| {
        let mut random = Random(10);
        for pairs in [1, 4, 40, 64, 65, 1000] {
            let p = RopeAngles {
                pairs,
                ..Default::default()
            };
            let positions = [0, 1, 255, 256, 4095, 131_071, 0xffff_ffff];
            let mut table: Vec<u32> = positions.iter().flat_map(|p| [9, *p, 0]).collect();
            // Quarter turns and their neighbours among random increments.
            let mut increments = random.words(2 * pairs as usize);
            for (i, pair) in increments.chunks_mut(2).enumerate().take(12) {
                pair[0] = 0;
                pair[1] = ((i as u32 / 3) << 30)
                    .wrapping_add(i as u32 % 3)
                    .wrapping_sub(1);
            }
            let rows = positions.len() as u32;
            let mut device = random.words((rows * pairs * 2) as usize);
            let mut twin = device.clone();
            cpu::rope_angles_q30::run(&p, rows, &table, &increments, signed(&mut twin));
            gpu.kernel(
                "rope_angles_q30",
                &[],
                bytemuck::bytes_of(&p),
                &mut [&mut table, &mut increments, &mut device],
                [grid::rope_angles_q30(&p), rows, 1],
            );
            same(&format!("{pairs} pairs"), &device, &twin);
        }
    });
}

fn query_params(random: &mut Random, heads: u32, head_dim: u32) -> RopeQuery {
    RopeQuery {
        heads,
        head_dim,
        head_words: head_dim.div_ceil(4),
        exponent: random.range(-30, -10),
        scale_mantissa: [1 << 31, 1 << 30, 0x5555_5555, u32::MAX][random.below(4) as usize],
        scale_exponent: random.range(-40, -30),
        ..Default::default()
    }
}

#[test]
fn rope_query_q12() {
    on_each_driver("rope_query_q12", |gpu| {
        let mut random = Random(11);
        for head_dim in HEAD_DIMS.into_iter().chain([2, 10, 96]) {
            let p = query_params(&mut random, 3, head_dim);
            let mut table: Vec<u32> = (0..FLAVOURS).flat_map(|r| [9, r * 77, 0]).collect();
            let mut angles = angles(&mut random, &table, head_dim / 2);
            let n = (p.heads * head_dim) as usize;
            let mut q = random.rows(n as u32);
            let mut device = random.words((FLAVOURS * 3 * query_stride(p.head_words)) as usize);
            let mut twin = device.clone();
            cpu::rope_query_q12::run(&p, FLAVOURS, signed(&mut angles), signed(&mut q), &mut twin);
            gpu.kernel(
                "rope_query_q12",
                &[],
                bytemuck::bytes_of(&p),
                &mut [&mut angles, &mut q, &mut device],
                [grid::rope_query_q12(&p), FLAVOURS, 1],
            );
            same(&format!("head_dim {head_dim}"), &device, &twin);
            table.clear();
        }
    });
}

fn kv_params(head_dim: u32, exponents: (i32, i32)) -> KvStore {
    KvStore {
        heads: KV_HEADS,
        head_dim,
        head_words: head_dim.div_ceil(4),
        groups: groups_of(head_dim),
        key_exponent: exponents.0,
        value_exponent: exponents.1,
        table_stride: TABLE_STRIDE,
        pad0: 0,
    }
}

fn cache_words(p: &KvStore) -> usize {
    PAGES.len() * kv_page_words(p.heads, p.head_words, p.groups) as usize
}

#[test]
fn kv_store_q8() {
    on_each_driver("kv_store_q8", |gpu| {
        let mut random = Random(12);
        for head_dim in HEAD_DIMS.into_iter().chain([2, 10, 96]) {
            for exponents in [(-20, -18), (-64, 32), (32, -64)] {
                let p = kv_params(head_dim, exponents);
                let mut table = row_table();
                let rows = POSITIONS.len() as u32;
                let mut angles = angles(&mut random, &table, head_dim / 2);
                let n = (p.heads * head_dim) as usize;
                let mut k: Vec<u32> = (0..rows)
                    .flat_map(|r| random.values(n, r % FLAVOURS))
                    .collect();
                let mut v: Vec<u32> = (0..rows)
                    .flat_map(|r| random.values(n, (r + 2) % FLAVOURS))
                    .collect();
                let mut device = random.words(cache_words(&p));
                let mut twin = device.clone();
                let pages = &mut PAGES.to_vec();
                cpu::kv_store_q8::run(
                    &p,
                    rows,
                    &table,
                    pages,
                    signed(&mut angles),
                    signed(&mut k),
                    signed(&mut v),
                    &mut twin,
                );
                gpu.kernel(
                    "kv_store_q8",
                    &[],
                    bytemuck::bytes_of(&p),
                    &mut [&mut table, pages, &mut angles, &mut k, &mut v, &mut device],
                    [grid::kv_store_q8(&p), rows, 1],
                );
                same(
                    &format!("head_dim {head_dim} {exponents:?}"),
                    &device,
                    &twin,
                );
            }
        }
    });
}

/// A cache whose every cell was written by the twin of `kv_store_q8`.
fn filled_cache(random: &mut Random, p: &KvStore) -> Vec<u32> {
    let mut cache = vec![0; cache_words(p)];
    for block in 0..TABLE_STRIDE {
        let rows = SEQUENCES * PAGE;
        let table: Vec<u32> = (0..rows)
            .flat_map(|r| [9, block * PAGE + r / 2, r % 2])
            .collect();
        let mut angles = angles(random, &table, p.head_dim / 2);
        let n = (rows * p.heads * p.head_dim) as usize;
        let mut k = random.values(n, [1, 5][block as usize % 2]);
        let mut v = random.values(n, [5, 1][block as usize % 2]);
        cpu::kv_store_q8::run(
            p,
            rows,
            &table,
            &PAGES,
            signed(&mut angles),
            signed(&mut k),
            signed(&mut v),
            &mut cache,
        );
    }
    cache
}

/// Queries from the twin of `rope_query_q12` over small and large elements.
fn queries(random: &mut Random, heads: u32, head_dim: u32, exponent: i32) -> Vec<u32> {
    let mut p = query_params(random, heads, head_dim);
    p.exponent = exponent;
    let table = row_table();
    let mut angles = angles(random, &table, head_dim / 2);
    let mut q = random.values(POSITIONS.len() * (heads * head_dim) as usize, 5);
    let mut query = vec![0; POSITIONS.len() * (heads * query_stride(p.head_words)) as usize];
    cpu::rope_query_q12::run(
        &p,
        POSITIONS.len() as u32,
        signed(&mut angles),
        signed(&mut q),
        &mut query,
    );
    query
}

fn attend(
    gpu: &mut Gpu,
    what: &str,
    p: &AttnBlock,
    query: &mut [u32],
    cache: &mut [u32],
    random: &mut Random,
) -> Vec<u32> {
    let mut table = row_table();
    let pages = &mut PAGES.to_vec();
    let rows = POSITIONS.len() as u32;
    let stride = partial_stride(p.head_words, p.groups);
    let mut device = random.words((rows * p.heads * p.max_blocks * stride) as usize);
    let mut twin = device.clone();
    let blocks = 3;
    cpu::attn_block_q8::run(p, rows, blocks, &table, pages, query, cache, &mut twin);
    gpu.kernel(
        "attn_block_q8",
        &[],
        bytemuck::bytes_of(p),
        &mut [&mut table, pages, query, cache, &mut device],
        [grid::attn_block_q8(p), rows, blocks],
    );
    same(&format!("blocks: {what}"), &device, &twin);
    twin
}

fn merge(gpu: &mut Gpu, what: &str, p: &AttnMerge, partial: &mut [u32], random: &mut Random) {
    let mut table = row_table();
    let rows = POSITIONS.len() as u32;
    let mut device = random.words((rows * p.heads * p.head_dim) as usize);
    let mut twin = device.clone();
    cpu::attn_merge_i32::run(p, rows, &table, partial, signed(&mut twin));
    gpu.kernel(
        "attn_merge_i32",
        &[],
        bytemuck::bytes_of(p),
        &mut [&mut table, partial, &mut device],
        [grid::attn_merge_i32(p), rows, 1],
    );
    same(&format!("merge: {what}"), &device, &twin);
}

fn attention_params(heads: u32, kv: &KvStore, exponent: i32) -> (AttnBlock, AttnMerge) {
    let (head_words, groups, max_blocks) = (kv.head_words, kv.groups, 4);
    let block = AttnBlock {
        heads,
        heads_per_kv: heads / KV_HEADS,
        head_words,
        groups,
        table_stride: TABLE_STRIDE,
        max_blocks,
        ..Default::default()
    };
    let head_dim = kv.head_dim;
    let merge = AttnMerge {
        heads,
        head_dim,
        head_words,
        groups,
        max_blocks,
        exponent,
        ..Default::default()
    };
    (block, merge)
}

#[test]
fn attention_of_stored_keys_and_values() {
    on_each_driver("attention_of_stored_keys_and_values", |gpu| {
        let mut random = Random(13);
        for head_dim in HEAD_DIMS.into_iter().chain([10]) {
            let kv = kv_params(head_dim, (-20, -18));
            let mut cache = filled_cache(&mut random, &kv);
            // From flat probabilities to one position that takes all.
            for exponent in [-60, -36, -30, -20] {
                let heads = [2, 6][head_dim as usize / 8 % 2];
                let mut query = queries(&mut random, heads, head_dim, exponent);
                let (mut block, mut merged) = attention_params(heads, &kv, -18);
                // None, one position, a part of a block, a part of two, more than there is.
                let window = [0, 1, 40, 300, 5000][random.below(5) as usize];
                (block.window, merged.window) = (window, window);
                if exponent % 20 == 0 {
                    let cap = Cap::new(0x6000_0000 + random.below(1 << 29), random.range(-20, -8));
                    block.cap_mantissa = cap.mantissa;
                    block.cap_shift = cap.shift;
                    block.rate_mantissa = cap.rate_mantissa;
                    block.rate_shift = cap.rate_shift;
                }
                let what = format!("head_dim {head_dim} exponent {exponent} window {window}");
                let mut partial = attend(gpu, &what, &block, &mut query, &mut cache, &mut random);
                merge(gpu, &what, &merged, &mut partial, &mut random);
            }
        }
    });
}

#[test]
fn attention_of_any_bits() {
    on_each_driver("attention_of_any_bits", |gpu| {
        let mut random = Random(14);
        for head_dim in HEAD_DIMS.into_iter().chain([10]) {
            let kv = kv_params(head_dim, (0, 0));
            let (block, mut merged) = attention_params(4, &kv, 0);
            let mut cache = random.words(cache_words(&kv));
            let stride = query_stride(kv.head_words) as usize;
            let mut query = random.words(POSITIONS.len() * 4 * stride);
            for head in query.chunks_mut(stride) {
                head[stride - 1] = random.range(-150, 120) as u32;
            }
            let what = format!("head_dim {head_dim}");
            attend(gpu, &what, &block, &mut query, &mut cache, &mut random);

            let stride = partial_stride(kv.head_words, kv.groups) as usize;
            let dims = 4 * kv.head_words as usize;
            let mut partial = random.words(POSITIONS.len() * 4 * 4 * stride);
            for block in partial.chunks_mut(stride) {
                for sum in &mut block[..dims] {
                    *sum = (*sum as i32 >> random.range(1, 20)) as u32;
                }
                block[dims] >>= random.below(32);
                block[dims + 1] = (block[dims + 1] as i32 >> random.range(1, 17)) as u32;
                for exponent in &mut block[dims + 2..] {
                    *exponent = random.range(-128, 127) as u32;
                }
            }
            for exponent in [-64, -18, 32] {
                merged.exponent = exponent;
                merge(gpu, &what, &merged, &mut partial, &mut random);
            }
        }
    });
}

//! Kernels of attention against their twins: RoPE, KV cache, blocks, merge.
#![allow(clippy::unwrap_used)]

mod common;

use carat_shaders::cpu::softcap::Cap;
use carat_shaders::kv::CacheBits;
use carat_shaders::params::{AttnBlock, AttnMerge, PAGE, ROW_WORDS, RopeAngles, RopeStore};
use carat_shaders::{
    act_stride, cpu, grid, groups_of, kv_page_words, partial_stride, query_stride,
};
use common::{FLAVOURS, Gpu, LANES, Random, lanes, on_each_driver, same, signed};

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

/// `exponents` of the keys and values.
fn store_params(
    random: &mut Random,
    heads: u32,
    head_dim: u32,
    exponents: (i32, i32),
    narrow: u32,
) -> RopeStore {
    RopeStore {
        heads,
        kv_heads: KV_HEADS,
        head_dim,
        head_words: head_dim.div_ceil(4),
        groups: groups_of(head_dim),
        query_exponent: random.range(-30, -10),
        scale_mantissa: [1 << 31, 1 << 30, 0x5555_5555, u32::MAX][random.below(4) as usize],
        scale_exponent: random.range(-40, -30),
        key_exponent: exponents.0,
        value_exponent: exponents.1,
        table_stride: TABLE_STRIDE,
        narrow,
    }
}

fn cache_words(p: &RopeStore) -> usize {
    PAGES.len() * kv_page_words(p.kv_heads, p.head_words, p.groups, p.narrow) as usize
}

#[test]
fn rope_store_q8() {
    on_each_driver("rope_store_q8", |gpu| {
        let mut random = Random(12);
        for head_dim in HEAD_DIMS.into_iter().chain([2, 7, 10, 96]) {
            let kinds = [(-20, -18), (-64, 32), (32, -64)].map(|e| (e, random.below(4)));
            // Each kind of cache, and each kind of exponents.
            for (exponents, narrow) in kinds.into_iter().chain((0..4).map(|n| ((-20, -18), n))) {
                let p = store_params(&mut random, 3, head_dim, exponents, narrow);
                let mut table = row_table();
                let rows = POSITIONS.len() as u32;
                let mut angles = angles(&mut random, &table, head_dim / 2);
                let mut of = |heads: u32, first: u32| -> Vec<u32> {
                    let row =
                        |r| random.values((heads * head_dim) as usize, (r + first) % FLAVOURS);
                    (0..rows).flat_map(row).collect()
                };
                let (mut q, mut k, mut v) = (of(3, 1), of(KV_HEADS, 0), of(KV_HEADS, 2));
                let cache = random.words(cache_words(&p));
                let query = random.words((rows * 3 * query_stride(p.head_words)) as usize);
                let (mut twin_cache, mut twin_query) = (cache.clone(), query.clone());
                let pages = &mut PAGES.to_vec();
                cpu::rope_store_q8::run(
                    &p,
                    rows,
                    [&table, pages],
                    signed(&mut angles),
                    [signed(&mut q), signed(&mut k), signed(&mut v)],
                    &mut twin_query,
                    &mut twin_cache,
                );
                for n in LANES {
                    let (mut query, mut cache) = (query.clone(), cache.clone());
                    gpu.kernel(
                        "rope_store_q8",
                        &of_heads(n, narrow),
                        bytemuck::bytes_of(&p),
                        &mut [
                            &mut table,
                            pages,
                            &mut angles,
                            &mut q,
                            &mut k,
                            &mut v,
                            &mut query,
                            &mut cache,
                        ],
                        [grid::rope_store_q8(&p), rows, 1],
                    );
                    let what =
                        format!("head_dim {head_dim} {exponents:?} narrow {narrow} {n} lanes");
                    same(&format!("queries: {what}"), &query, &twin_query);
                    same(&format!("cells: {what}"), &cache, &twin_cache);
                }
            }
        }
    });
}

/// The pipeline constants of kernels that know the cache.
fn of_heads(n: u32, narrow: u32) -> Vec<(&'static str, f64)> {
    let mut constants = lanes(n).to_vec();
    constants.push(("NARROW", narrow.into()));
    constants
}

/// A cache whose every cell was written by the twin of `rope_store_q8`.
fn filled_cache(random: &mut Random, p: &RopeStore) -> Vec<u32> {
    let mut cache = vec![0; cache_words(p)];
    for block in 0..TABLE_STRIDE {
        let rows = SEQUENCES * PAGE;
        let table: Vec<u32> = (0..rows)
            .flat_map(|r| [9, block * PAGE + r / 2, r % 2])
            .collect();
        let mut angles = angles(random, &table, p.head_dim / 2);
        let n = (rows * p.kv_heads * p.head_dim) as usize;
        let mut k = random.values(n, [1, 5][block as usize % 2]);
        let mut v = random.values(n, [5, 1][block as usize % 2]);
        let p = RopeStore { heads: 0, ..*p };
        cpu::rope_store_q8::run(
            &p,
            rows,
            [&table, &PAGES],
            signed(&mut angles),
            [&[], signed(&mut k), signed(&mut v)],
            &mut [],
            &mut cache,
        );
    }
    cache
}

/// Queries from the twin of `rope_store_q8` over small and large elements.
fn queries(random: &mut Random, heads: u32, kv: &RopeStore, exponent: i32) -> Vec<u32> {
    let head_dim = kv.head_dim;
    let mut p = store_params(random, heads, head_dim, (0, 0), kv.narrow);
    (p.query_exponent, p.kv_heads) = (exponent, 0);
    let table = row_table();
    let mut angles = angles(random, &table, head_dim / 2);
    let mut q = random.values(POSITIONS.len() * (heads * head_dim) as usize, 5);
    let mut query = vec![0; POSITIONS.len() * (heads * query_stride(p.head_words)) as usize];
    cpu::rope_store_q8::run(
        &p,
        POSITIONS.len() as u32,
        [&table, &PAGES],
        signed(&mut angles),
        [signed(&mut q), &[], &[]],
        &mut query,
        &mut [],
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
    let device = random.words((rows * p.heads * p.max_blocks * stride) as usize);
    let mut twin = device.clone();
    let blocks = 3;
    cpu::attn_block_q8::run(p, rows, blocks, &table, pages, query, cache, &mut twin);
    for n in LANES {
        let mut device = device.clone();
        gpu.kernel(
            "attn_block_q8",
            &of_heads(n, p.narrow),
            bytemuck::bytes_of(p),
            &mut [&mut table, pages, query, cache, &mut device],
            [grid::attn_block_q8(p), rows, blocks],
        );
        same(&format!("blocks: {what}, {n} lanes"), &device, &twin);
    }
    twin
}

fn merge(gpu: &mut Gpu, what: &str, p: &AttnMerge, partial: &mut [u32], random: &mut Random) {
    let mut table = row_table();
    let rows = POSITIONS.len() as u32;
    let mut device = random.words((rows * p.heads * p.head_dim) as usize);
    let mut twin = device.clone();
    cpu::attn_merge_i32::run(p, rows, &table, partial, signed(&mut twin));
    for n in LANES {
        device.fill(7);
        gpu.kernel(
            "attn_merge_i32",
            &lanes(n),
            bytemuck::bytes_of(p),
            &mut [&mut table, partial, &mut device],
            [grid::attn_merge_i32(p), rows, 1],
        );
        same(&format!("merge: {what}, {n} lanes"), &device, &twin);
    }

    let mut act = random.words((rows * p.act_stride) as usize);
    let mut twin_act = act.clone();
    let out = signed(&mut twin);
    cpu::attn_merge_row_q8::run(p, rows, &table, partial, out, &mut twin_act);
    device.fill(7);
    gpu.kernel(
        "attn_merge_row_q8",
        &[],
        bytemuck::bytes_of(p),
        &mut [&mut table, partial, &mut device, &mut act],
        [grid::attn_merge_row_q8(p), rows, 1],
    );
    same(&format!("merged rows: {what}"), &device, &twin);
    same(&format!("activations: {what}"), &act, &twin_act);
}

fn attention_params(heads: u32, kv: &RopeStore, exponent: i32) -> (AttnBlock, AttnMerge) {
    let (head_words, groups, max_blocks) = (kv.head_words, kv.groups, 4);
    let block = AttnBlock {
        heads,
        heads_per_kv: heads / KV_HEADS,
        head_words,
        groups,
        table_stride: TABLE_STRIDE,
        max_blocks,
        narrow: kv.narrow,
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
        act_stride: act_stride(groups_of(heads * head_dim)),
        ..Default::default()
    };
    (block, merge)
}

/// Every kind of cache for a head.
fn kinds(head_dim: u32) -> [(u32, u32); 4] {
    CacheBits::ALL.map(|bits| (head_dim, bits.narrow()))
}

#[test]
fn attention_of_stored_keys_and_values() {
    on_each_driver("attention_of_stored_keys_and_values", |gpu| {
        let mut random = Random(13);
        for (head_dim, narrow) in HEAD_DIMS.into_iter().chain([10]).flat_map(kinds) {
            let kv = store_params(&mut random, 0, head_dim, (-20, -18), narrow);
            let mut cache = filled_cache(&mut random, &kv);
            // From flat probabilities to one position that takes all.
            for exponent in [-60, -36, -30, -20] {
                let heads = [2, 6][head_dim as usize / 8 % 2];
                let mut query = queries(&mut random, heads, &kv, exponent);
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
                let what = format!(
                    "head_dim {head_dim} narrow {narrow} exponent {exponent} window {window}"
                );
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
        for (head_dim, narrow) in HEAD_DIMS.into_iter().chain([10]).flat_map(kinds) {
            let kv = store_params(&mut random, 0, head_dim, (0, 0), narrow);
            let (block, mut merged) = attention_params(4, &kv, 0);
            let mut cache = random.words(cache_words(&kv));
            let stride = query_stride(kv.head_words) as usize;
            let mut query = random.words(POSITIONS.len() * 4 * stride);
            for head in query.chunks_mut(stride) {
                head[stride - 1] = random.range(-150, 120) as u32;
            }
            let what = format!("head_dim {head_dim} narrow {narrow}");
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

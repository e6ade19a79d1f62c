//! The twins' speed by operation and shape: `cargo bench -p carat-shaders`. `CARAT_CPU` names the instructions.
//!
//! Products are counted in multiplications, attention in positions, of one thread.

use carat_format::{Coding, Encoding, ScaleGroup, TensorLayout};
use carat_shaders::cpu::{attn_block_q8, linear_tile_q};
use carat_shaders::params::{AttnBlock, LinearTile, PAGE, ROW_WORDS, STORE};
use carat_shaders::{act_stride, kv_page_words, partial_stride, query_stride};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Words without a pattern.
fn words(n: usize) -> Vec<u32> {
    let mut state = 1u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 32) as u32
    };
    (0..n).map(next).collect()
}

const ENCODINGS: &[Encoding] = &Encoding::ALL;
const COLUMNS: u64 = 2048;

/// A matrix of 2,048 columns times rows of activations: of one row, twice what the caches hold; of more, a part that they do.
fn product(bencher: Bencher<'_, '_>, encoding: Encoding, matrix_rows: u64, batch: u32) {
    let coding = Coding {
        encoding,
        group: ScaleGroup::default(),
    };
    let layout = TensorLayout::new(coding, matrix_rows, COLUMNS).expect("a shape of the format");
    let part = &layout.parts[0];
    let mut weights = words((part.end / 4) as usize);
    // Mantissas with their first bit, exponents of a real file.
    for scale in &mut weights[(part.row_scales / 4) as usize..] {
        *scale = *scale & 0x7fff | 0x8000 | (-30i32 << 16) as u32;
    }
    let stride = act_stride(layout.groups as u32);
    let mut act = words((batch * stride) as usize);
    for row in act.chunks_mut(stride as usize) {
        let codes: &mut [i8] = bytemuck::cast_slice_mut(&mut row[..layout.groups as usize * 8]);
        codes.iter_mut().for_each(|c| *c = (*c).max(-127));
        let tail = (layout.groups * 8 + layout.groups.div_ceil(4)) as usize;
        row[tail] = row[tail] & 0x7fff | 0x8000;
        row[tail + 1] = -20i32 as u32;
    }
    let p = LinearTile {
        table: [0xf0e0_d0c0, 0xb0a0_9080, 0x7060_5040, 0x3020_1000],
        part_rows: matrix_rows as u32,
        groups: layout.groups as u32,
        scales: (part.scales / 4) as u32,
        row_scales: (part.row_scales / 4) as u32,
        act_stride: stride,
        out_stride: matrix_rows as u32,
        exponent: -20,
        mode: STORE,
        ..Default::default()
    };
    let mut out = vec![0; (u64::from(batch) * matrix_rows) as usize];
    let mut stats = [0; 2];
    bencher
        .counter(ItemsCount::new(matrix_rows * COLUMNS * u64::from(batch)))
        .bench_local(|| {
            let (act, weights) = (black_box(&act), black_box(&weights));
            linear_tile_q::run(&p, encoding, batch, act, weights, &mut out, &mut stats);
        });
}

#[divan::bench(args = ENCODINGS)]
fn linear_one_row(bencher: Bencher<'_, '_>, encoding: &Encoding) {
    product(bencher, *encoding, 32_768, 1);
}

#[divan::bench(args = ENCODINGS)]
fn linear_512_rows(bencher: Bencher<'_, '_>, encoding: &Encoding) {
    product(bencher, *encoding, 512, 512);
}

/// 32 heads of 64 over 8 for keys and values, one row; the cache of every kind.
#[divan::bench(args = [128, 256, 1024, 8192], consts = [0, 1, 2, 3])]
fn attention<const NARROW: u32>(bencher: Bencher<'_, '_>, positions: u32) {
    let (heads, kv_heads, head_words, groups) = (32, 8, 16, 2);
    let blocks = positions.div_ceil(PAGE);
    let p = AttnBlock {
        heads,
        heads_per_kv: heads / kv_heads,
        head_words,
        groups,
        max_blocks: blocks,
        table_stride: blocks,
        narrow: NARROW,
        ..Default::default()
    };
    let mut row = vec![0; ROW_WORDS as usize];
    row[1] = positions - 1;
    let pages: Vec<u32> = (0..blocks).collect();
    let mut query = words((query_stride(head_words) * heads) as usize);
    for head in query.chunks_mut(query_stride(head_words) as usize) {
        head[2 * head_words as usize] = 8;
    }
    let cache =
        words(kv_page_words(kv_heads, head_words, groups, NARROW) as usize * blocks as usize);
    let stride = partial_stride(head_words, groups);
    let mut partial = vec![0; (heads * blocks * stride) as usize];
    bencher
        .counter(ItemsCount::new(heads * positions))
        .bench_local(|| {
            let (query, cache) = (black_box(&query), black_box(&cache));
            attn_block_q8::run(&p, 1, blocks, &row, &pages, query, cache, &mut partial);
        });
}

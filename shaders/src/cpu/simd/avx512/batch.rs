//! Many rows of activations: multiplications bind, dots and scalings alike, so groups are scaled in pairs.
//!
//! Of a pair of groups `t = d·ws` (below 2^27) is cut into `t >> 14` and `t mod 2^14`; both groups' parts lie side by
//! side in 16 bits, and one `vpdpwssd` multiplies each by its activations' scale and adds. `lo = Σ (t mod 2^14)·as` stays
//! below 2^32 and `hi = Σ (t >> 14)·as` below 2^31 over 1,024 groups, so the sum is `2^14·hi + lo`.
//!
//! A chunk of groups of the whole tile is decoded into the first cache, then every block of rows passes over it.

use super::{Line, Tile, V, decode, order, scales, splat, store, table, zero};
use crate::cpu::scratch::grow;
use crate::cpu::simd::Batch;
use crate::cpu::simd::kernel::{by_codes, unrolled};
use crate::cpu::simd::panels::{CHUNK, PAIR};
use carat_format::TILE_ROWS;
use std::arch::x86_64::*;

/// Rows of activations at once: twelve sums and six dots in registers.
pub const BLOCK: usize = 6;
/// Vectors of sixteen weight rows in a tile.
const PARTS: usize = TILE_ROWS / 16;

/// Levels of a group of sixteen weight rows, raised by 128.
type Levels = [Line; 8];

/// What a thread keeps: `[part][group]` levels and scales of a chunk, `[row][part]` of both sums.
struct Room<'a> {
    levels: &'a mut [Levels],
    scales: &'a mut [Line],
    sums: &'a mut [[Line; 2]],
}

/// Lines of [`Room`] for `rows` rows.
pub const fn room_lines(rows: usize) -> usize {
    PARTS * CHUNK * 9 + rows * PARTS * 2
}

impl<'a> Room<'a> {
    fn new(lines: &'a mut Vec<Line>, rows: usize) -> Self {
        grow(lines, room_lines(rows), Line([0; 64]));
        let (levels, rest) = lines.split_at_mut(PARTS * CHUNK * 8);
        let (scales, rest) = rest.split_at_mut(PARTS * CHUNK);
        let sums: &mut [[Line; 2]] = bytemuck::cast_slice_mut(&mut rest[..rows * PARTS * 2]);
        sums.fill([Line([0; 64]); 2]);
        Self {
            levels: bytemuck::cast_slice_mut(levels),
            scales,
            sums,
        }
    }
}

/// See [`crate::cpu::simd::tile_sums`]; the batch has panels of pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub fn run(
    tile: &Tile<'_>,
    batch: &Batch<'_>,
    lines: &mut Vec<Line>,
    emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
) {
    by_codes!(tile.encoding, with_codes(tile, batch, lines, emit))
}

#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn with_codes<const CODES: usize>(
    tile: &Tile<'_>,
    batch: &Batch<'_>,
    lines: &mut Vec<Line>,
    emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
) {
    let (groups, rows) = (tile.groups, batch.rows);
    let mut room = Room::new(lines, rows);
    let panels: &[[u32; PAIR]] = bytemuck::cast_slice(batch.panels);
    for first in (0..groups).step_by(CHUNK) {
        let count = CHUNK.min(groups - first);
        fill::<CODES>(tile, first, count, &mut room);
        let here = count.div_ceil(2);
        let mut ahead = Ahead::new(tile, first, rows.div_ceil(BLOCK));
        for block in (0..rows).step_by(BLOCK) {
            ahead.step();
            let size = BLOCK.min(rows - block);
            let panel = &panels[first / 2 * rows + block * here..][..here * size];
            let sums = &mut room.sums[block * PARTS..(block + size) * PARTS];
            for part in 0..PARTS {
                let levels = &room.levels[part * CHUNK..][..here * 2];
                let scales = &room.scales[part * CHUNK..][..here * 2];
                match size {
                    6 => pass::<6>(levels, scales, panel, part, sums),
                    5 => pass::<5>(levels, scales, panel, part, sums),
                    4 => pass::<4>(levels, scales, panel, part, sums),
                    3 => pass::<3>(levels, scales, panel, part, sums),
                    2 => pass::<2>(levels, scales, panel, part, sums),
                    _ => pass::<1>(levels, scales, panel, part, sums),
                }
            }
        }
    }
    // Lane i of a sum is that of row order[i]; of the result, row r comes from lane place[r].
    let mut place = [0i32; 16];
    for (lane, row) in order(CODES).into_iter().enumerate() {
        place[usize::from(row)] = lane as i32;
    }
    // SAFETY: `place` is 64 readable bytes; the load is unaligned.
    let place = unsafe { _mm512_loadu_si512(place.as_ptr().cast()) };
    for (r, sums) in room.sums.chunks_exact(PARTS).enumerate() {
        let mut all = [0i64; TILE_ROWS];
        for (out, [lo, hi]) in all.chunks_exact_mut(16).zip(sums) {
            join(get(lo), get(hi), place, out);
        }
        emit(r, &all);
    }
}

/// Asks for the codes and scales of the next chunk, or of the next tile's first, which follows in the file, a part with
/// every block of rows.
struct Ahead {
    /// Where the codes and the scales start, and the bytes of each.
    ranges: [(*const u8, usize); 2],
    /// Bytes of both that a step asks for, and the steps done.
    share: [usize; 2],
    done: usize,
}

impl Ahead {
    fn new(tile: &Tile<'_>, first: usize, steps: usize) -> Self {
        let next = first + CHUNK;
        let codes = tile.encoding.cell_bytes();
        let scales = (next >> tile.scale_shift) * TILE_ROWS;
        let bytes = [CHUNK * codes, (CHUNK >> tile.scale_shift) * TILE_ROWS];
        Self {
            ranges: [
                (tile.cells.as_ptr().wrapping_add(next * codes), bytes[0]),
                (tile.scales.as_ptr().wrapping_add(scales), bytes[1]),
            ],
            share: bytes.map(|b| b.div_ceil(steps.max(1)).next_multiple_of(64)),
            done: 0,
        }
    }

    #[inline]
    fn step(&mut self) {
        for ((start, len), share) in self.ranges.iter().zip(self.share) {
            let from = self.done * share;
            for at in (from..(from + share).min(*len)).step_by(64) {
                // SAFETY: a prefetch reads nothing that a program sees and faults nowhere.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(at).cast()) };
            }
        }
        self.done += 1;
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn get(line: &Line) -> V {
    // SAFETY: a line is 64 readable bytes, aligned to as many.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

/// `2^14·hi + lo` of sixteen lanes, in the order of `place`.
#[inline]
#[target_feature(enable = "avx512f")]
fn join(lo: V, hi: V, place: V, out: &mut [i64]) {
    let lo = _mm512_permutexvar_epi32(place, lo);
    let hi = _mm512_permutexvar_epi32(place, hi);
    let sum = |lo: __m256i, hi: __m256i| {
        let high = _mm512_slli_epi64::<14>(_mm512_cvtepi32_epi64(hi));
        _mm512_add_epi64(high, _mm512_cvtepu32_epi64(lo))
    };
    let halves = [
        sum(_mm512_castsi512_si256(lo), _mm512_castsi512_si256(hi)),
        sum(
            _mm512_extracti64x4_epi64::<1>(lo),
            _mm512_extracti64x4_epi64::<1>(hi),
        ),
    ];
    for (out, half) in out.chunks_exact_mut(8).zip(halves) {
        // SAFETY: `out` is 64 writable bytes; the store is unaligned.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), half) };
    }
}

/// Levels and scales of `count` groups from `first` on. Of an odd count the last pair's second group stays as it was:
/// its activations and their scale are zeros.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn fill<const CODES: usize>(tile: &Tile<'_>, first: usize, count: usize, room: &mut Room<'_>) {
    let (table, order) = (table(tile), order(CODES));
    let len = tile.encoding.cell_bytes();
    for g in 0..count {
        let at = first + g;
        let cell = &tile.cells[at * len..(at + 1) * len];
        let of_group = &tile.scales[(at >> tile.scale_shift) * TILE_ROWS..][..TILE_ROWS];
        for part in 0..PARTS {
            let place = part * CHUNK + g;
            for (line, l) in room.levels[place]
                .iter_mut()
                .zip(decode::<CODES>(cell, part, table))
            {
                store(&mut line.0, l);
            }
            store(&mut room.scales[place].0, scales(of_group, part, &order));
        }
    }
}

/// `B` rows of activations times sixteen weight rows, added to their sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn pass<const B: usize>(
    levels: &[Levels],
    scales: &[Line],
    panel: &[[u32; PAIR]],
    part: usize,
    sums: &mut [[Line; 2]],
) {
    let mut lo = [zero(); B];
    let mut hi = [zero(); B];
    unrolled!(b < B, {
        let [low, high] = &sums[b * PARTS + part];
        lo[b] = get(low);
        hi[b] = get(high);
    });
    let low_half = splat(0xffff);
    let low_bits = splat(0x3fff_3fff);
    // `(a & low_half) | (b & !low_half)`.
    let select = |a: V, b: V| _mm512_ternarylogic_epi32::<0xca>(low_half, a, b);
    let pairs = levels.chunks_exact(2).zip(scales.chunks_exact(2));
    for ((levels, scales), x) in pairs.zip(panel.chunks_exact(B)) {
        let Ok(x) = <&[[u32; PAIR]; B]>::try_from(x) else {
            return;
        };
        let first = dots::<B, 0>(&levels[0], x);
        let second = dots::<B, 1>(&levels[1], x);
        let ws = [get(&scales[0]), get(&scales[1])];
        unrolled!(b < B, {
            let (s, t) = (
                _mm512_mullo_epi32(first[b], ws[0]),
                _mm512_mullo_epi32(second[b], ws[1]),
            );
            let a = splat(x[b][18] as i32);
            let low = _mm512_and_si512(select(s, _mm512_slli_epi32::<16>(t)), low_bits);
            let high = select(_mm512_srli_epi32::<14>(s), _mm512_slli_epi32::<2>(t));
            lo[b] = _mm512_dpwssd_epi32(lo[b], low, a);
            hi[b] = _mm512_dpwssd_epi32(hi[b], high, a);
        });
    }
    unrolled!(b < B, {
        let [low, high] = &mut sums[b * PARTS + part];
        store(&mut low.0, lo[b]);
        store(&mut high.0, hi[b]);
    });
}

/// The dots of group `G` of a pair with `B` rows, side by side: a dot waits for the one before it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn dots<const B: usize, const G: usize>(levels: &Levels, x: &[[u32; PAIR]; B]) -> [V; B] {
    const WORDS: usize = 8;
    let mut d = [zero(); B];
    unrolled!(b < B, {
        d[b] = splat(x[b][16 + G] as i32);
    });
    unrolled!(q < WORDS, {
        let l = get(&levels[q]);
        unrolled!(b < B, {
            d[b] = _mm512_dpbusd_epi32(d[b], l, splat(x[b][G * 8 + q] as i32));
        });
    });
    d
}

//! The plan that the wide versions share, as a macro: functions of one instruction set must be compiled
//! together.
//!
//! Exact sums without 64-bit lanes: `t = d·ws` lies below 2^27, `lo = Σ t·as` is kept modulo 2^32 and
//! `hi = Σ (t >> 14)·as` below 2^31 (1,024 groups); since `Σ (t mod 2^14)·as < 2^32`, the sum is
//! `2^14·hi + ((lo − 2^14·hi) mod 2^32)`.

/// `2^14·hi + ((lo − 2^14·hi) mod 2^32)`.
#[inline(always)]
pub fn join(lo: i32, hi: i32) -> i64 {
    let high = i64::from(hi) << 14;
    high + i64::from((lo as u32).wrapping_sub(high as u32))
}

/// The table over 64 bytes, each level raised by `bias` modulo 256, so that bits of an index beyond the code's do not
/// matter where the codes fill theirs.
pub fn spread(encoding: carat_format::Encoding, table: &[u8; 16], bias: u8) -> [u8; 64] {
    let n = encoding.levels().max(1).next_power_of_two();
    std::array::from_fn(|i| table[i % n].wrapping_add(bias))
}

/// A byte with a code of 5 (32 codes) or 6 bits at its top and zeros below, plus this modulo 256, is the code's level raised by
/// `raise`: the lowest level, half a step above −128.
#[cfg_attr(not(wide_isa), allow(dead_code))]
pub const fn lowest(codes: usize, raise: u8) -> u8 {
    raise.wrapping_add(128 + 128 / codes as u8)
}

/// Most rows of activations for which each block of `block` rows decodes the levels itself, in registers. Beyond, levels decoded
/// once for all blocks are cheaper: of ternary codes, which take longest to decode, for a second block already. A version with
/// blocks of one row alone does so for one row alone.
pub const fn few(block: usize, encoding: carat_format::Encoding) -> usize {
    match encoding {
        carat_format::Encoding::Ternary => block,
        _ if block == 1 => 1,
        _ => 2 * block,
    }
}

/// Bytes of weights that each part of a tile's rows passes over before the next part does: within a first cache.
pub const CHUNK: usize = 4096;

/// Asks for what lies ahead of a cell: weights are read once, and the processor alone does not run far enough ahead. A line
/// comes from memory as far as the second cache long before it is needed, and into the first just before: in one step it would
/// hold one of the few places for lines on their way into the first cache all along.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub fn fetch(cell: &[u8]) {
    use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
    const FAR: usize = 4096;
    const NEAR: usize = 512;
    for line in cell.chunks(64) {
        let ahead = |bytes| line.as_ptr().wrapping_add(bytes).cast();
        // SAFETY: a prefetch reads nothing that a program sees and faults nowhere.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(ahead(FAR));
            _mm_prefetch::<_MM_HINT_T0>(ahead(NEAR));
        }
    }
}

/// Nothing where it has no stable instruction.
#[inline(always)]
#[cfg(not(target_arch = "x86_64"))]
pub fn fetch(_cell: &[u8]) {}

/// The body for each index below a constant of at most 8, written out: an array that only constants index stays in
/// registers.
macro_rules! unrolled {
    ($i:ident < $n:ident, $body:block) => {
        const { assert!($n <= 8) };
        crate::cpu::simd::kernel::unrolled!(@ $i $n $body 0 1 2 3 4 5 6 7);
    };
    (@ $i:ident $n:ident $body:block $($at:literal)*) => {
        $(if $at < $n {
            #[allow(non_upper_case_globals)]
            const $i: usize = $at;
            $body
        })*
    };
}
pub(in crate::cpu) use unrolled;

/// Calls a function for an encoding's number of codes.
macro_rules! by_codes {
    ($encoding:expr, $f:ident $arguments:tt) => {
        match $encoding {
            carat_format::Encoding::Pow1 => $f::<2> $arguments,
            carat_format::Encoding::Ternary => $f::<3> $arguments,
            carat_format::Encoding::Pow2 => $f::<4> $arguments,
            carat_format::Encoding::Pow3 => $f::<8> $arguments,
            carat_format::Encoding::Pow4 => $f::<16> $arguments,
            carat_format::Encoding::Int5 => $f::<32> $arguments,
            carat_format::Encoding::Int6 => $f::<64> $arguments,
            carat_format::Encoding::Int8 => $f::<256> $arguments,
        }
    };
}
pub(super) use by_codes;

/// Calls a function for a number of codes whose levels are decoded in the same order of rows; by rows in order alone.
#[cfg(not(target_arch = "x86_64"))]
macro_rules! by_one_order {
    ($encoding:expr, $f:ident $arguments:tt) => {
        $f::<2> $arguments
    };
}
#[cfg(not(target_arch = "x86_64"))]
pub(super) use by_one_order;

/// Products with any number of rows of activations, few of them in blocks of the numbers given. Expects in scope what [`row_kernel`]
/// does, `load` and `by_order`; `BLOCK` is 4.
macro_rules! tile_kernel {
    ($features:literal, $($rows:literal)*) => {
        crate::cpu::simd::kernel::row_kernel!($features, $($rows)*);

        /// See [`crate::cpu::simd::tile_sums`].
        #[target_feature(enable = $features)]
        pub fn run(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            lines: &mut Vec<Line>,
            emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
        ) {
            if batch.rows <= few(FEW, tile.encoding) {
                return crate::cpu::simd::kernel::by_codes!(tile.encoding, few_blocks(tile, batch, emit));
            }
            crate::cpu::simd::kernel::by_codes!(tile.encoding, decoded(tile, lines));
            by_order!(tile.encoding, blocks(tile, batch, lines, emit))
        }

        /// The levels of a tile, once for all rows.
        #[target_feature(enable = $features)]
        fn decoded<const CODES: usize>(tile: &Tile<'_>, lines: &mut Vec<Line>) {
            let table = table(tile);
            let len = tile.encoding.cell_bytes();
            // `[part][group][8]` vectors.
            let vector = LANES * 4;
            let needed = tile.groups * TILE_ROWS * 32 / 64;
            crate::cpu::scratch::grow(lines, needed, Line([0; 64]));
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(lines);
            for g in 0..tile.groups {
                let cell = &tile.cells[g * len..(g + 1) * len];
                fetch(cell);
                for part in 0..TILE_ROWS / LANES {
                    let out = &mut bytes[(part * tile.groups + g) * 8 * vector..][..8 * vector];
                    let l = decode::<CODES>(cell, part, table);
                    for (out, l) in out.chunks_exact_mut(vector).zip(l) {
                        store(out, l);
                    }
                }
            }
        }

        /// Every row, in blocks, with the levels of [`decoded`], which lie in the order of `CODES` codes.
        #[target_feature(enable = $features)]
        fn blocks<const CODES: usize>(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            lines: &[Line],
            emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
        ) {
            let bytes: &[u8] = bytemuck::cast_slice(lines);
            let mut first = 0;
            while first < batch.rows {
                let count = match block_rows(BLOCK, batch.rows - first) {
                    BLOCK => buffered::<CODES, BLOCK>(tile, batch, first, bytes, emit),
                    3 => buffered::<CODES, 3>(tile, batch, first, bytes, emit),
                    2 => buffered::<CODES, 2>(tile, batch, first, bytes, emit),
                    _ => buffered::<CODES, 1>(tile, batch, first, bytes, emit),
                };
                first += count;
            }
        }

        /// `B` rows of activations from `first` on; returns `B`.
        #[target_feature(enable = $features)]
        fn buffered<const CODES: usize, const B: usize>(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            first: usize,
            bytes: &[u8],
            emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
        ) -> usize {
            let vector = LANES * 4;
            let source = |part: usize, g: usize| {
                let at = (part * tile.groups + g) * 8 * vector;
                let cell = &bytes[at..at + 8 * vector];
                let mut l = [zero(); 8];
                for (q, l) in l.iter_mut().enumerate() {
                    *l = load(cell, q * vector);
                }
                l
            };
            let panel = &batch.panels[first * tile.groups * CELL..][..tile.groups * B * CELL];
            let mut sums = [[0i64; TILE_ROWS]; B];
            for part in 0..TILE_ROWS / LANES {
                let (mut lo, mut hi) = ([[zero(); B]], [[zero(); B]]);
                pass::<CODES, B, 1>(tile, 0, panel, part, source, &mut lo, &mut hi);
                for (b, sums) in sums.iter_mut().enumerate() {
                    let out = &mut sums.as_chunks_mut().0[part];
                    joined::<CODES>(lo[0][b], hi[0][b], out);
                }
            }
            for (b, sums) in sums.iter().enumerate() {
                emit(first + b, sums);
            }
            B
        }
    };
}
pub(super) use tile_kernel;

/// Products with few rows of activations, in blocks of the numbers given: 1 to `BLOCK`, or 1 alone, which is less code. Expects in scope: `V`, `LANES`, `BLOCK`,
/// `parts` (vectors of weight rows at once, for so many rows of activations), `zero`, `store`, `table`, `order`, `decode`,
/// `scales`, `splat`, `dot`, `mul`, `high` and `add`.
macro_rules! row_kernel {
    ($features:literal, $($rows:literal)*) => {
        /// Rows of the largest block of few.
        const FEW: usize = [$($rows),*].len();

        /// Few rows, a block after another: what the first brings from memory others find near.
        #[target_feature(enable = $features)]
        fn few_blocks<const CODES: usize>(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
        ) {
            const { assert!(FEW == BLOCK || FEW == 1) };
            let mut first = 0;
            while first < batch.rows {
                let count = block_rows(FEW, batch.rows - first);
                match count {
                    $($rows => few_rows::<CODES, $rows, { parts($rows) }>(tile, batch, first, emit),)*
                    _ => return,
                }
                first += count;
            }
        }

        /// `B` rows of activations from `row` on, `P` vectors of weight rows at once: levels go from codes to products in
        /// registers.
        #[target_feature(enable = $features)]
        fn few_rows<const CODES: usize, const B: usize, const P: usize>(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            row: usize,
            emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
        ) {
            const VECTORS: usize = TILE_ROWS / LANES;
            let table = table(tile);
            let len = tile.encoding.cell_bytes();
            // Where a pass has not all of the tile's rows, their sums wait for the next chunk.
            let chunk = match P {
                VECTORS => tile.groups,
                _ => (crate::cpu::simd::kernel::CHUNK / len).max(4),
            };
            let mut lo = [[zero(); B]; VECTORS];
            let mut hi = [[zero(); B]; VECTORS];
            let rows = &batch.panels[row * tile.groups * CELL..][..tile.groups * B * CELL];
            // What a step asks for: lines in the file's order, whatever part of the rows it multiplies.
            let share = (len * P / VECTORS).next_multiple_of(64);
            for first in (0..tile.groups).step_by(chunk) {
                let count = chunk.min(tile.groups - first);
                let weights = &tile.cells[first * len..];
                let panel = &rows[first * B * CELL..][..count * B * CELL];
                for part in (0..VECTORS).step_by(P) {
                    let source = |p: usize, g: usize| {
                        let cell = &tile.cells[g * len..(g + 1) * len];
                        if P == VECTORS {
                            if p == part {
                                fetch(cell);
                            }
                            return decode::<CODES>(cell, p, table);
                        }
                        let step = part / P * count + g - first;
                        if p == part && let Some(ahead) = weights.get(step * share..) {
                            fetch(&ahead[..share.min(ahead.len())]);
                        }
                        decode::<CODES>(cell, p, table)
                    };
                    let (lo, hi) = (&mut lo[part..part + P], &mut hi[part..part + P]);
                    pass::<CODES, B, P>(tile, first, panel, part, source, lo, hi);
                }
            }
            for b in 0..B {
                let mut sums = [0i64; TILE_ROWS];
                for (part, out) in sums.as_chunks_mut().0.iter_mut().enumerate() {
                    joined::<CODES>(lo[part][b], hi[part][b], out);
                }
                emit(row + b, &sums);
            }
        }

        /// Sums of a vector of rows, in the rows' order.
        #[inline]
        #[target_feature(enable = $features)]
        fn joined<const CODES: usize>(lo: V, hi: V, out: &mut [i64; LANES]) {
            let (mut low, mut top) = ([0u8; LANES * 4], [0u8; LANES * 4]);
            store(&mut low, lo);
            store(&mut top, hi);
            let low: [i32; LANES] = bytemuck::cast(low);
            let top: [i32; LANES] = bytemuck::cast(top);
            let order = order(CODES);
            for i in 0..LANES {
                out[usize::from(order[i])] = join(low[i], top[i]);
            }
        }

        /// `P` vectors of rows from `part` on times the `B` rows of activations of `panel`, whose first group is `first`.
        #[inline]
        #[target_feature(enable = $features)]
        fn pass<const CODES: usize, const B: usize, const P: usize>(
            tile: &Tile<'_>,
            first: usize,
            panel: &[u32],
            part: usize,
            source: impl Fn(usize, usize) -> [V; 8],
            low: &mut [[V; B]],
            top: &mut [[V; B]],
        ) {
            let order = order(CODES);
            let mut lo = [[zero(); B]; P];
            let mut hi = [[zero(); B]; P];
            lo.copy_from_slice(low);
            hi.copy_from_slice(top);
            for (i, cells) in panel.chunks_exact(B * CELL).enumerate() {
                let g = first + i;
                let ws = &tile.scales[(g >> tile.scale_shift) * TILE_ROWS..][..TILE_ROWS];
                crate::cpu::simd::kernel::unrolled!(p < P, {
                    let l = source(part + p, g);
                    let ws = scales(ws, part + p, &order);
                    crate::cpu::simd::kernel::unrolled!(b < B, {
                        let x = &cells[b * CELL..b * CELL + CELL];
                        let t = mul(dot(&l, &x[..8], x[9] as i32), ws);
                        let a = splat(x[8] as i32);
                        lo[p][b] = add(lo[p][b], mul(t, a));
                        hi[p][b] = add(hi[p][b], mul(high(t), a));
                    });
                });
            }
            low.copy_from_slice(&lo);
            top.copy_from_slice(&hi);
        }
    };
}
pub(super) use row_kernel;

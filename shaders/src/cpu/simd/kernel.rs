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

/// Products with any number of rows of activations. Expects in scope what [`row_kernel`] does, `BLOCK` (rows of activations
/// at once) and `load`.
macro_rules! tile_kernel {
    ($features:literal) => {
        crate::cpu::simd::kernel::row_kernel!($features);

        /// See [`crate::cpu::simd::tile_sums`].
        #[target_feature(enable = $features)]
        pub fn run(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            lines: &mut Vec<Line>,
            emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
        ) {
            crate::cpu::simd::kernel::by_codes!(tile.encoding, with_codes(tile, batch, lines, emit))
        }

        #[target_feature(enable = $features)]
        fn with_codes<const CODES: usize>(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            lines: &mut Vec<Line>,
            emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
        ) {
            if batch.rows == 1 {
                return one_row::<CODES>(tile, batch, emit);
            }
            let table = table(tile);
            let len = tile.encoding.cell_bytes();
            // Decoded once for all rows: `[part][group][8]` vectors.
            let vector = LANES * 4;
            let needed = tile.groups * TILE_ROWS * 32 / 64;
            crate::cpu::scratch::grow(lines, needed, Line([0; 64]));
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(lines);
            for (i, out) in bytes
                .chunks_exact_mut(8 * vector)
                .take(tile.groups * TILE_ROWS / LANES)
                .enumerate()
            {
                let (part, g) = (i / tile.groups, i % tile.groups);
                let l = decode::<CODES>(&tile.cells[g * len..(g + 1) * len], part, table);
                for (out, l) in out.chunks_exact_mut(vector).zip(l) {
                    store(out, l);
                }
            }
            let bytes: &[u8] = bytes;
            let mut first = 0;
            while first < batch.rows {
                let count = match block_rows(BLOCK, batch.rows - first) {
                    BLOCK => buffered::<CODES, BLOCK>(tile, batch, first, bytes, emit),
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
            let mut sums = [[0i64; TILE_ROWS]; B];
            for part in 0..TILE_ROWS / LANES {
                pass::<CODES, B, 1>(tile, batch, first, part, source, |b, row, v| {
                    sums[b][row] = v
                });
            }
            for (b, sums) in sums.iter().enumerate() {
                emit(first + b, sums);
            }
            B
        }
    };
}
pub(super) use tile_kernel;

/// Products with one row of activations. Expects in scope: `V`, `LANES`, `PARTS` (vectors of rows in a pass), `zero`, `store`,
/// `table`, `order`, `decode`, `scales`, `splat`, `dot`, `mul`, `high` and `add`.
macro_rules! row_kernel {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        fn one_row<const CODES: usize>(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
        ) {
            let table = table(tile);
            let len = tile.encoding.cell_bytes();
            let source = |part: usize, g: usize| {
                let cell = &tile.cells[g * len..(g + 1) * len];
                if part == 0 {
                    fetch(cell);
                }
                decode::<CODES>(cell, part, table)
            };
            let mut sums = [0i64; TILE_ROWS];
            for part in (0..TILE_ROWS / LANES).step_by(PARTS) {
                pass::<CODES, 1, PARTS>(tile, batch, 0, part, source, |_, row, v| sums[row] = v);
            }
            emit(0, &sums);
        }

        /// `P` vectors of rows from `part` on times `B` rows of activations.
        #[inline]
        #[target_feature(enable = $features)]
        fn pass<const CODES: usize, const B: usize, const P: usize>(
            tile: &Tile<'_>,
            batch: &Batch<'_>,
            first: usize,
            part: usize,
            source: impl Fn(usize, usize) -> [V; 8],
            mut emit: impl FnMut(usize, usize, i64),
        ) {
            let order = order(CODES);
            let groups = tile.groups;
            let panel = &batch.panels[first * groups * CELL..][..groups * B * CELL];
            let mut lo = [[zero(); B]; P];
            let mut hi = [[zero(); B]; P];
            for (g, cells) in panel.chunks_exact(B * CELL).enumerate() {
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
            for p in 0..P {
                for b in 0..B {
                    let (mut low, mut top) = ([0u8; LANES * 4], [0u8; LANES * 4]);
                    store(&mut low, lo[p][b]);
                    store(&mut top, hi[p][b]);
                    let lanes = low.chunks_exact(4).zip(top.chunks_exact(4));
                    for (i, (l, h)) in lanes.enumerate() {
                        let word = |b: &[u8]| i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                        let row = (part + p) * LANES + usize::from(order[i]);
                        emit(b, row, join(word(l), word(h)));
                    }
                }
            }
        }
    };
}
pub(super) use row_kernel;

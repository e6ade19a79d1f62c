//! Every version of the products against the definition, and every version in its turn for the tests of twins.

use super::*;
use crate::act_stride;
use crate::reference::linear_tile_q::sum;
use crate::reference::matrix::Matrix;
use carat_format::ScaleGroup;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Place in [`Isa::ALL`] of the version that [`Isa::get`] gives; none beyond the last.
static NAMED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The version that [`with_each`] has come to.
pub fn named() -> Option<Isa> {
    Isa::ALL.get(NAMED.load(Ordering::SeqCst)).copied()
}

/// Calls `f` with every version that the processor has, which [`Isa::get`] gives meanwhile.
pub fn with_each(mut f: impl FnMut(Isa)) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for (i, isa) in Isa::ALL.iter().enumerate() {
        if isa.supported() {
            NAMED.store(i, Ordering::SeqCst);
            f(*isa);
        }
    }
    NAMED.store(usize::MAX, Ordering::SeqCst);
}

fn check(tile: &Tile<'_>, act: &[u32], rows: usize) {
    let stride = act_stride(tile.groups as u32) as usize;
    let matrix = Matrix {
        encoding: tile.encoding,
        table: *tile.table,
        groups: tile.groups,
        scale_shift: tile.scale_shift,
        cells: tile.cells,
        scales: tile.scales,
        row_scales: &[],
    };
    let defined = act.chunks_exact(stride).take(rows).map(|row| {
        let x = Activations::new(row, tile.groups);
        std::array::from_fn(|n| sum(&matrix, n, x))
    });
    let defined: Vec<[i64; TILE_ROWS]> = defined.collect();
    for isa in Isa::ALL.iter().copied().filter(|i| i.supported()) {
        let mut panels = Panels::default();
        let batch = Batch::new(
            isa,
            tile.encoding,
            act,
            stride,
            tile.groups,
            rows,
            &mut panels,
        );
        let mut seen = vec![None; rows];
        tile_sums(isa, tile, &batch, |r, sums| {
            assert!(seen[r].replace(*sums).is_none())
        });
        let seen: Vec<_> = seen.into_iter().map(Option::unwrap).collect();
        assert_eq!(
            seen, defined,
            "{isa:?} {:?} {rows} rows of {} groups",
            tile.encoding, tile.groups
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_version_gives_the_same_sums(
        encoding in select(Encoding::ALL.to_vec()),
        group in select(ScaleGroup::ALL.to_vec()),
        // Of all encodings more groups than a chunk has.
        groups in prop_oneof![1usize..12, 31usize..40],
        table in any::<[u8; 16]>(),
        random in prop::collection::vec(any::<u8>(), 4096),
    ) {
        let rows = 19;
        let mut bytes = random.iter().copied().cycle();
        let mut take = |n: usize| -> Vec<u8> { bytes.by_ref().take(n).collect() };
        let cells = take(groups * encoding.cell_bytes());
        let scales = take(groups.div_ceil(1 << group.shift()) * TILE_ROWS);
        let stride = act_stride(groups as u32) as usize;
        let mut act = vec![0u32; rows * stride];
        let codes: &mut [i8] = bytemuck::cast_slice_mut(&mut act);
        for (c, b) in codes.iter_mut().zip(take(rows * stride * 4)) {
            *c = (b as i8).max(-127);
        }
        let scale_shift = group.shift();
        let tile = Tile { encoding, table: &table, cells: &cells, scales: &scales, groups, scale_shift };
        for rows in (1..=9).chain(15..=rows) {
            check(&tile, &act, rows);
        }
    }
}

/// The longest rows that a file may hold, with every magnitude at its largest and one sign.
#[test]
fn the_largest_sums_are_exact() {
    let groups = 1024;
    for encoding in Encoding::ALL {
        for (level, code) in [(i8::MIN, 127i8), (i8::MIN, -127), (127, 127), (127, -127)] {
            let table = [level as u8; 16];
            // Where a table gives the levels any code will do.
            let byte = match encoding {
                Encoding::Int8 => level as u8,
                _ if level < 0 => 0,
                _ => 0xff,
            };
            let cells = vec![byte; groups * encoding.cell_bytes()];
            let scales = vec![255; groups * TILE_ROWS];
            let stride = act_stride(groups as u32) as usize;
            let mut act = vec![u32::MAX; 9 * stride];
            for row in act.chunks_mut(stride) {
                row[..groups * 8].fill(u32::from_ne_bytes([code as u8; 4]));
            }
            let tile = Tile {
                encoding,
                table: &table,
                cells: &cells,
                scales: &scales,
                groups,
                scale_shift: 0,
            };
            for rows in [1, 2, 8, 9] {
                check(&tile, &act, rows);
            }
        }
    }
}

#[test]
fn names_tell_the_versions_apart() {
    for (i, isa) in Isa::ALL.iter().enumerate() {
        let same = Isa::ALL.iter().filter(|o| o.name() == isa.name());
        assert_eq!(same.count(), 1, "{i}");
    }
    assert!(Isa::get().supported());
}

//! Numbers of a kernel that depend on what an adapter is made of. No result depends on them.

use super::{Adapter, Kind};
use std::sync::{Mutex, PoisonError};

/// Pipeline constants of the kernels of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProductTuning {
    /// Lanes that share a row: a power of two in 1..=32.
    pub slices: u32,
    /// Tiles of a workgroup of `linear_tile_q`: 1 or 2.
    pub tiles: u32,
    /// Rows of the batch for which a workgroup decodes its weights once: 1, 2 or 4.
    pub rows: u32,
    /// Codes of four bits are looked up in workgroup memory, two at a time, instead of by logic.
    pub pairs: bool,
    /// Levels are multiplied as numbers without sign, 128 more than they are.
    pub biased: bool,
}

impl ProductTuning {
    /// Whether the kernels take these numbers.
    pub fn is_valid(&self) -> bool {
        self.slices.is_power_of_two()
            && self.slices <= 32
            && matches!(self.tiles, 1 | 2)
            && matches!(self.rows, 1 | 2 | 4)
    }
}

/// Pipeline constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// For passes of one row.
    pub one: ProductTuning,
    /// For passes of several.
    pub many: ProductTuning,
    /// Lanes of a workgroup that has a head, and of those of `read_words_u32`: a power of two.
    pub lanes: u32,
}

const fn product(slices: u32, tiles: u32, rows: u32) -> ProductTuning {
    ProductTuning {
        slices,
        tiles,
        rows,
        pairs: false,
        biased: false,
    }
}

const fn with_pairs(slices: u32, rows: u32) -> ProductTuning {
    ProductTuning {
        pairs: true,
        ..product(slices, 1, rows)
    }
}

const fn with_bias(slices: u32, tiles: u32, rows: u32) -> ProductTuning {
    ProductTuning {
        biased: true,
        ..product(slices, tiles, rows)
    }
}

/// For GPUs, which need more lanes than a decoded token has rows.
const WIDE: Tuning = Tuning {
    one: product(8, 1, 1),
    many: product(8, 1, 4),
    lanes: 64,
};
/// For rasterisers, whose vectors have few lanes and whose barriers are slow.
const NARROW: Tuning = Tuning {
    one: product(1, 2, 1),
    many: product(1, 1, 4),
    lanes: 8,
};
/// For one that has no dot of bytes.
const WITHOUT_DOT: Tuning = Tuning {
    one: with_bias(1, 2, 1),
    many: with_bias(1, 1, 4),
    ..NARROW
};

/// For a browser's rasteriser, where compiling the kernels of several rows takes longer than they are worth.
const FEW: Tuning = Tuning {
    many: NARROW.one,
    ..NARROW
};

/// By class.
const TUNINGS: [(Kind, Tuning); 8] = [
    (Kind::Discrete, WIDE),
    (Kind::Integrated, WIDE),
    (Kind::Virtual, WIDE),
    (Kind::Browser, WIDE),
    (Kind::Unknown, NARROW),
    (Kind::Llvmpipe, WITHOUT_DOT),
    (Kind::Software, NARROW),
    (Kind::Fallback, FEW),
];

impl Tuning {
    /// Whether the kernels take these numbers.
    pub fn is_valid(&self) -> bool {
        let lanes = self.lanes.is_power_of_two() && self.lanes <= 256;
        lanes && self.one.rows == 1 && self.one.is_valid() && self.many.is_valid()
    }

    /// That of a class.
    pub fn of(kind: Kind) -> Self {
        let row = TUNINGS.iter().find(|(k, _)| *k == kind);
        row.map_or(NARROW, |(_, t)| *t)
    }
}

/// Numbers measured on an adapter, which is known by what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuned {
    /// [`Adapter::name`].
    pub name: String,
    /// [`Adapter::driver`].
    pub driver: String,
    /// [`Adapter::version`].
    pub version: String,
    /// The numbers; those of `one` have one row.
    pub tuning: Tuning,
}

impl Tuned {
    /// Those of an adapter.
    pub fn new(adapter: &Adapter, tuning: Tuning) -> Self {
        Self {
            name: adapter.name.clone(),
            driver: adapter.driver.clone(),
            version: adapter.version.clone(),
            tuning,
        }
    }

    fn is_of(&self, adapter: &Adapter) -> bool {
        (&self.name, &self.driver, &self.version)
            == (&adapter.name, &adapter.driver, &adapter.version)
    }
}

/// What the process was told. No result depends on it.
static TUNED: Mutex<Vec<Tuned>> = Mutex::new(Vec::new());

/// Devices opened from now on take these numbers where their adapter is meant; false and without effect where kernels
/// do not take them.
pub fn tune(tuned: Tuned) -> bool {
    let valid = tuned.tuning.is_valid();
    if valid {
        let mut known = TUNED.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|t| {
            (&t.name, &t.driver, &t.version) != (&tuned.name, &tuned.driver, &tuned.version)
        });
        known.push(tuned);
    }
    valid
}

pub(super) fn of_adapter(adapter: &Adapter) -> Tuning {
    let known = TUNED.lock().unwrap_or_else(PoisonError::into_inner);
    let tuned = known.iter().find(|t| t.is_of(adapter));
    tuned.map_or(Tuning::of(adapter.kind), |t| t.tuning)
}

impl ProductTuning {
    /// What is worth measuring for passes of one row.
    pub fn candidates_for_one() -> Vec<Self> {
        let slices = [1, 2, 4, 8, 16, 32];
        let of = |slices| [1, 2].map(|tiles| product(slices, tiles, 1));
        let logic = slices.into_iter().flat_map(of);
        logic
            .chain([1, 2].map(|tiles| with_bias(1, tiles, 1)))
            .chain([4, 8, 16, 32].map(|s| with_pairs(s, 1)))
            .collect()
    }

    /// What is worth measuring for passes of several rows.
    pub fn candidates_for_many() -> Vec<Self> {
        let shapes = [(1, 1), (2, 1), (1, 2), (1, 4), (2, 2), (2, 4)];
        let of = |slices| shapes.map(|(tiles, rows)| product(slices, tiles, rows));
        let logic = [1, 4, 8, 16].into_iter().flat_map(of);
        logic
            .chain(shapes.map(|(tiles, rows)| with_bias(1, tiles, rows)))
            .chain([4, 8, 16].map(|s| with_pairs(s, 4)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(version: &str) -> Adapter {
        Adapter {
            name: "Adapter of this test".into(),
            driver: "driver, Vulkan".into(),
            version: version.into(),
            kind: Kind::Discrete,
        }
    }

    #[test]
    fn an_adapter_takes_what_was_measured_on_it_alone() {
        let mut tuning = WIDE;
        tuning.one.slices = 32;
        assert!(tune(Tuned::new(&adapter("1"), tuning)));
        assert_eq!(of_adapter(&adapter("1")), tuning);
        assert_eq!(of_adapter(&adapter("2")), WIDE);
        // The last word counts; numbers that kernels do not take never do.
        assert!(tune(Tuned::new(&adapter("1"), NARROW)));
        for wrong in [
            product(3, 1, 1),
            product(64, 1, 1),
            product(1, 3, 1),
            product(1, 1, 2),
        ] {
            tuning.one = wrong;
            assert!(!tune(Tuned::new(&adapter("1"), tuning)), "{wrong:?}");
        }
        assert_eq!(of_adapter(&adapter("1")), NARROW);
    }

    #[test]
    fn candidates_are_what_kernels_take() {
        let (one, many) = (
            ProductTuning::candidates_for_one(),
            ProductTuning::candidates_for_many(),
        );
        assert!(one.iter().all(|c| c.is_valid() && c.rows == 1));
        assert!(many.iter().all(ProductTuning::is_valid));
        for (_, tuning) in TUNINGS {
            assert!(
                one.contains(&tuning.one) && many.contains(&tuning.many),
                "{tuning:?}"
            );
        }
    }

    #[test]
    fn every_class_has_a_tuning_that_fits_a_workgroup() {
        for (kind, tuning) in TUNINGS {
            assert_eq!(Tuning::of(kind), tuning, "each class once");
            assert!(tuning.is_valid());
            // Eight lanes of four rows are a tile.
            assert!(
                [tuning.one, tuning.many]
                    .iter()
                    .all(|p| 8 * p.slices <= 256)
            );
        }
    }
}

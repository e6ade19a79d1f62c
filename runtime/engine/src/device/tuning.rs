//! Numbers of a kernel that depend on what an adapter is made of. No result depends on them.

use super::Kind;

/// Pipeline constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// Lanes of `linear_tile_q` that share a row: a power of two in 1..=32.
    pub slices: u32,
    /// Lanes of a workgroup of `read_words_u32`.
    pub read_lanes: u32,
}

/// For GPUs, which need more lanes than a decoded token has rows.
const WIDE: Tuning = Tuning {
    slices: 8,
    read_lanes: 64,
};
/// For rasterisers, whose vectors have eight lanes and whose barriers are slow.
const NARROW: Tuning = Tuning {
    slices: 1,
    read_lanes: 8,
};

/// By class.
const TUNINGS: [(Kind, Tuning); 6] = [
    (Kind::Discrete, WIDE),
    (Kind::Integrated, WIDE),
    (Kind::Virtual, WIDE),
    (Kind::Browser, WIDE),
    (Kind::Unknown, NARROW),
    (Kind::Software, NARROW),
];

impl Tuning {
    /// That of a class.
    pub fn of(kind: Kind) -> Self {
        let row = TUNINGS.iter().find(|(k, _)| *k == kind);
        row.map_or(NARROW, |(_, t)| *t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_tuning_that_fits_a_workgroup() {
        for (kind, tuning) in TUNINGS {
            assert_eq!(Tuning::of(kind), tuning, "each class once");
            // Eight lanes of four rows are a tile.
            assert!((1..=256).contains(&tuning.read_lanes));
            assert!(tuning.slices.is_power_of_two() && 8 * tuning.slices <= 256);
        }
    }
}

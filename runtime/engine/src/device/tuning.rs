//! Numbers of a kernel that depend on what an adapter is made of. No result depends on them.

use super::Kind;

/// Pipeline constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// Lanes of `linear_tile_q` that share a row: a power of two in 1..=32.
    pub slices: u32,
}

/// By class. A rasteriser is fastest without a barrier; a GPU needs more lanes than a decoded token has rows.
const TUNINGS: [(Kind, Tuning); 6] = [
    (Kind::Discrete, Tuning { slices: 8 }),
    (Kind::Integrated, Tuning { slices: 8 }),
    (Kind::Virtual, Tuning { slices: 8 }),
    (Kind::Browser, Tuning { slices: 8 }),
    (Kind::Unknown, Tuning { slices: 1 }),
    (Kind::Software, Tuning { slices: 1 }),
];

impl Tuning {
    /// That of a class.
    pub fn of(kind: Kind) -> Self {
        let row = TUNINGS.iter().find(|(k, _)| *k == kind);
        row.map_or(Self { slices: 1 }, |(_, t)| *t)
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
            assert!(tuning.slices.is_power_of_two() && 8 * tuning.slices <= 256);
        }
    }
}

//! Synthetic Carat files.

pub use carat::internals::selftest::Shape;

use carat::internals::selftest::Flavour;
use carat::internals::{Model, Verify};
use std::sync::Arc;

/// A small model of a flavour.
///
/// Panics where its file cannot be read: a failed test.
#[allow(clippy::expect_used)]
pub fn model(flavour: Flavour, seed: u64) -> Arc<Model> {
    let shape = Shape {
        flavour,
        seed,
        ..Default::default()
    };
    let model = Model::from_bytes(&shape.bytes(), Verify::Hashes);
    Arc::new(model.expect("a synthetic file is sound"))
}

//! The bundled checkpoint, converted.

use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use std::path::{Path, PathBuf};

/// Its directory.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/facet-6m")
}

/// Converts it to `bits` at `output`.
///
/// # Panics
/// If it does not convert.
pub fn convert_to(bits: u32, output: &Path) {
    convert_with(
        output,
        Options {
            bits: f64::from(bits),
            ..Options::default()
        },
    );
}

/// Converts it at `output` as the options say, whose source and output do not count.
///
/// # Panics
/// If it does not convert.
pub fn convert_with(output: &Path, options: Options) {
    let options = Options {
        source: directory(),
        output: output.into(),
        ..options
    };
    if let Err(e) = convert(&options, &Silent) {
        panic!("{e}");
    }
}

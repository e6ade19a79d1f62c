//! The bundled model as a Carat file, for the programs' tests and for the library's documentation.
#![forbid(unsafe_code)]

use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The file of the bundled model, until this is dropped.
pub struct Bundled {
    file: PathBuf,
    _folder: TempDir,
}

impl AsRef<Path> for Bundled {
    fn as_ref(&self) -> &Path {
        &self.file
    }
}

/// Converts the bundled model, `facet-6m`, at 4 bits without a calibration, which takes a second or two.
///
/// Errors: the file cannot be written.
pub fn bundled() -> std::io::Result<Bundled> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("facet-6m.gguf");
    let options = Options {
        source: Path::new(env!("CARGO_MANIFEST_DIR")).join("models/facet-6m"),
        output: file.clone(),
        ..Options::default()
    };
    convert(&options, &Silent).map_err(std::io::Error::other)?;
    Ok(Bundled {
        file,
        _folder: folder,
    })
}

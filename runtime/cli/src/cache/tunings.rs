//! What `carat bench --autotune` found fastest, a file for each adapter, driver and version of Carat.

use super::source::part;
use super::store::{KEY, Store, is_tuning, names, write};
use crate::term;
use anyhow::{Context, Result, bail};
use carat::internals::device::{ProductTuning, Tuned, Tuning};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The program that measured; another one's kernels may differ.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 14;

/// The JSON object.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    carat: String,
    adapter: String,
    driver: String,
    driver_version: String,
    /// For passes of one row, and of several.
    one: Product,
    many: Product,
    lanes: u32,
}

/// See [`ProductTuning`].
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Product {
    slices: u32,
    tiles: u32,
    rows: u32,
    pairs: bool,
    biased: bool,
}

impl Product {
    fn new(p: ProductTuning) -> Self {
        Self {
            slices: p.slices,
            tiles: p.tiles,
            rows: p.rows,
            pairs: p.pairs,
            biased: p.biased,
        }
    }

    fn tuning(self) -> ProductTuning {
        ProductTuning {
            slices: self.slices,
            tiles: self.tiles,
            rows: self.rows,
            pairs: self.pairs,
            biased: self.biased,
        }
    }
}

/// Where the tuning of an adapter is.
fn file(store: &Store, tuned: &Tuned) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    for text in [VERSION, &tuned.name, &tuned.driver, &tuned.version] {
        part(&mut hasher, text.as_bytes());
    }
    let key: String = hasher.finalize().to_hex().chars().take(KEY).collect();
    store.tunings().join(format!("{key}.json"))
}

/// Keeps it; returns the file.
///
/// Errors: there is no cache, or it cannot be written.
pub fn keep_tuning(tuned: &Tuned) -> Result<PathBuf> {
    keep_in(&Store::open()?, tuned)
}

fn keep_in(store: &Store, tuned: &Tuned) -> Result<PathBuf> {
    let path = file(store, tuned);
    fs::create_dir_all(store.tunings()).with_context(|| store.tunings().display().to_string())?;
    let kept = Kept {
        carat: VERSION.into(),
        adapter: tuned.name.clone(),
        driver: tuned.driver.clone(),
        driver_version: tuned.version.clone(),
        one: Product::new(tuned.tuning.one),
        many: Product::new(tuned.tuning.many),
        lanes: tuned.tuning.lanes,
    };
    write(&path, &serde_json::to_vec_pretty(&kept)?)?;
    Ok(path)
}

/// Devices take what is kept for their adapters. A damaged file counts for nothing, with a warning.
pub fn tune() {
    // Without a cache there is nothing to take.
    let Ok(store) = Store::locate() else {
        return;
    };
    for path in names(&store.tunings()).unwrap_or_default() {
        if !is_tuning(&path) {
            continue;
        }
        match read(&store, &path) {
            Ok(Some(tuned)) => {
                carat::internals::device::tune(tuned);
            }
            Ok(None) => {}
            Err(e) => term::warn(&format!(
                "a damaged tuning is ignored: {}; carat bench --autotune measures anew",
                crate::failure::describe(&e)
            )),
        }
    }
}

/// The tuning of a file; `None` if another version of Carat measured it.
fn read(store: &Store, path: &Path) -> Result<Option<Tuned>> {
    let shown = || path.display().to_string();
    let mut text = String::new();
    let start = File::open(path).with_context(shown)?.take(MAX_BYTES);
    { start }.read_to_string(&mut text).with_context(shown)?;
    let kept: Kept = serde_json::from_str(&text).with_context(shown)?;
    if kept.carat != VERSION {
        return Ok(None);
    }
    let tuned = Tuned {
        name: kept.adapter,
        driver: kept.driver,
        version: kept.driver_version,
        tuning: Tuning {
            one: kept.one.tuning(),
            many: kept.many.tuning(),
            lanes: kept.lanes,
        },
    };
    if file(store, &tuned) != path {
        bail!(
            "{}: names another adapter than its name does",
            path.display()
        );
    }
    if !tuned.tuning.is_valid() {
        bail!("{}: numbers that no kernel takes", path.display());
    }
    Ok(Some(tuned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned() -> Tuned {
        let product = |slices, tiles, rows| ProductTuning {
            slices,
            tiles,
            rows,
            pairs: slices == 16,
            biased: slices == 1,
        };
        Tuned {
            name: "Some adapter".into(),
            driver: "driver, Vulkan".into(),
            version: "1.2".into(),
            tuning: Tuning {
                one: product(16, 2, 1),
                many: product(4, 1, 4),
                lanes: 64,
            },
        }
    }

    #[test]
    fn what_was_kept_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        let path = keep_in(&store, &tuned()).unwrap();
        assert!(is_tuning(&path));
        assert_eq!(read(&store, &path).unwrap(), Some(tuned()));
        let text = fs::read_to_string(&path).unwrap();
        // Another version's numbers are nobody's fault.
        fs::write(&path, text.replace(VERSION, "0.0.0-other")).unwrap();
        assert_eq!(read(&store, &path).unwrap(), None);
        let damages = [
            text.replace("\"slices\": 16", "\"slices\": 3"),
            text.replace("Some adapter", "Another"),
            text.replace("tiles", "tile"),
            text.chars().take(40).collect(),
            String::new(),
        ];
        for damaged in damages {
            fs::write(&path, &damaged).unwrap();
            assert!(read(&store, &path).is_err(), "{damaged}");
        }
    }
}

//! Names the code that decides a converted file's bytes, for caches of converted files.

use std::path::{Path, PathBuf};

/// Folders whose code and texts decide them; those outside this package are there in the workspace only, elsewhere
/// the package's version stands for the versions that it depends on.
const FOLDERS: [&str; 8] = [
    "src",
    "../runtime/gguf/src",
    "../runtime/format/src",
    "../runtime/text/src",
    "../runtime/engine/src",
    "../shaders/src",
    "../shaders/wgsl",
    // What files are calibrated on and measured with.
    "texts",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    // FNV-1a: tells states of the code apart, guards against nobody.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut take = |bytes: &[u8]| {
        for b in bytes {
            hash = (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    println!("cargo:rerun-if-changed=build.rs");
    for folder in FOLDERS {
        let mut files = Vec::new();
        let place = root.join(folder);
        if place.is_dir() {
            println!("cargo:rerun-if-changed={}", place.display());
            walk(&place, &mut files)?;
        }
        files.sort();
        for file in files {
            let name = file.strip_prefix(&root).unwrap_or(&file);
            take(name.to_string_lossy().as_bytes());
            take(&[0]);
            take(&std::fs::read(&file)?);
            take(&[0]);
        }
    }
    println!("cargo:rustc-env=CARAT_CONVERTER_CODE={hash:016x}");
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

//! `include/carat.h` is what the code says. `CARAT_WRITE=1` writes it.

#![allow(clippy::unwrap_used)]

use std::path::Path;

fn generated() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new()
        .with_crate(folder)
        .with_config(config)
        .generate()
        .unwrap();
    let mut out = Vec::new();
    bindings.write(&mut out);
    let text = String::from_utf8(out).unwrap();
    // Safety notes are for Rust's callers; a line without an end of spaces.
    let lines = text.lines().map(str::trim_end);
    let mut kept: Vec<&str> = Vec::new();
    let mut skipping = false;
    for line in lines {
        if line.trim() == "// # Safety" {
            skipping = true;
            while kept.last().is_some_and(|l| l.trim() == "//") {
                kept.pop();
            }
        } else if !line.trim_start().starts_with("//") {
            skipping = false;
        }
        if !skipping {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}

#[test]
fn the_header_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/carat.h");
    let made = generated();
    if std::env::var_os("CARAT_WRITE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(
        there == made,
        "include/carat.h is not what the code says; run `CARAT_WRITE=1 cargo test -p carat-ffi --test header`"
    );
}

/// Names that the header declares.
fn functions(header: &str) -> Vec<&str> {
    let words = header.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let mut names: Vec<&str> = words.filter(|w| w.starts_with("carat_")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn what_was_once_there_stays() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let released = std::fs::read_to_string(folder.join("include/abi-1.txt")).unwrap();
    let header = std::fs::read_to_string(folder.join("include/carat.h")).unwrap();
    let now = functions(&header);
    for line in released.lines().filter(|l| l.starts_with("carat_")) {
        let name = line.split_whitespace().next().unwrap();
        assert!(now.contains(&name), "{name} is gone from the interface");
    }
}

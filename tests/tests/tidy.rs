//! The structure's invariants, read from the sources themselves: see ARCHITECTURE.md.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// (path from the root, text) of every file under `dir` with that ending.
fn files(dir: &str, ending: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, ending: &str, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let skip = path.file_name().is_some_and(|n| {
                n == "target" || n == "fuzz" || n == "node_modules" || n == "dist"
            });
            if path.is_dir() && !skip {
                walk(&path, ending, out);
            } else if path.extension().is_some_and(|e| e == ending) {
                out.push(path);
            }
        }
    }
    let (root, mut paths) = (root(), Vec::new());
    walk(&root.join(dir), ending, &mut paths);
    paths.sort();
    let found: Vec<_> = paths
        .into_iter()
        .map(|p| {
            (
                p.strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
                fs::read_to_string(&p).unwrap(),
            )
        })
        .collect();
    assert!(!found.is_empty(), "no .{ending} under {dir}");
    found
}

/// Lines of code: without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, l)| !l.trim_start().starts_with("//"))
        .map(|(i, l)| (i + 1, l.split(" //").next().unwrap_or(l)))
}

/// A crate's dependencies on others of the workspace, without those of its tests.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let sections = text.split("\n[").filter(|s| {
        s.starts_with("dependencies]") || s.starts_with("target.") && s.contains(".dependencies]")
    });
    sections
        .flat_map(str::lines)
        .filter_map(|l| l.split(['.', ' ', '=']).next())
        .filter(|n| n.starts_with("carat"))
        .map(Into::into)
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let allowed: [(&str, &[&str]); 13] = [
        ("runtime/gguf/Cargo.toml", &[]),
        ("runtime/format/Cargo.toml", &["carat-gguf"]),
        (
            "runtime/adapter/Cargo.toml",
            &["carat-format", "carat-gguf"],
        ),
        ("runtime/text/Cargo.toml", &["carat-format", "carat-gguf"]),
        ("shaders/Cargo.toml", &["carat-format"]),
        (
            "runtime/engine/Cargo.toml",
            &[
                "carat-adapter",
                "carat-format",
                "carat-gguf",
                "carat-shaders",
                "carat-text",
            ],
        ),
        (
            "converter/Cargo.toml",
            &["carat", "carat-format", "carat-gguf", "carat-text"],
        ),
        ("runtime/hub/Cargo.toml", &[]),
        (
            "runtime/server/Cargo.toml",
            &["carat", "carat-format", "carat-text"],
        ),
        (
            "runtime/cli/Cargo.toml",
            &[
                "carat",
                "carat-converter",
                "carat-format",
                "carat-gguf",
                "carat-hub",
                "carat-server",
                "carat-text",
            ],
        ),
        (
            "runtime/web/Cargo.toml",
            &["carat", "carat-format", "carat-text"],
        ),
        (
            "runtime/ffi/Cargo.toml",
            &["carat", "carat-format", "carat-hub", "carat-text"],
        ),
        ("examples/Cargo.toml", &["carat", "carat-converter"]),
    ];
    for (manifest, allowed) in allowed {
        let allowed: BTreeSet<String> = allowed.iter().map(|s| s.to_string()).collect();
        let found = dependencies(manifest);
        assert!(found.is_subset(&allowed), "{manifest}: {found:?}");
    }
}

#[test]
fn only_device_and_the_gpu_executor_name_wgpu() {
    for dir in ["runtime", "converter/src", "shaders/src"] {
        for (path, text) in files(dir, "rs") {
            let may = path.starts_with("runtime/engine/src/device")
                || path.starts_with("runtime/engine/src/exec/gpu");
            if may || path.contains("/tests/") {
                continue;
            }
            for (n, line) in code(&text) {
                assert!(!line.contains("wgpu::"), "{path}:{n}: {line}");
            }
        }
    }
}

/// A file's name without its ending.
fn stem(path: &str) -> String {
    let stem = Path::new(path).file_stem().unwrap();
    stem.to_string_lossy().into_owned()
}

/// A module without its tests.
fn without_tests(text: &str) -> &str {
    let end = text.find("#[cfg(test)]\nmod tests");
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn kernels_have_definitions_and_twins_and_no_floats() {
    let defined: BTreeSet<String> = files("shaders/src/reference", "rs")
        .iter()
        .map(|(p, _)| stem(p))
        .collect();
    // A twin has a file of its own or is the definition, by name.
    let twins = fs::read_to_string(root().join("shaders/src/cpu/mod.rs")).unwrap();
    let twins: BTreeSet<&str> = code(&twins)
        .flat_map(|(_, l)| l.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .collect();
    for (path, text) in files("shaders/wgsl", "wgsl") {
        if !path.contains("shared") {
            let name = stem(&path);
            assert!(defined.contains(&name), "{path} has no definition");
            assert!(twins.contains(&name[..]), "{path} has no twin");
        }
        for (n, line) in code(&text) {
            for float in [
                "f32", "f16", "vec2<f", "vec3<f", "vec4<f", "vec4f", "enable ",
            ] {
                assert!(!line.contains(float), "{path}:{n}: {line}");
            }
        }
    }
    for dir in ["shaders/src/reference", "shaders/src/cpu"] {
        for (path, text) in files(dir, "rs") {
            for (n, line) in code(without_tests(&text)) {
                let float = line.contains("f32") || line.contains("f64");
                assert!(!float, "{path}:{n}: {line}");
            }
        }
    }
}

/// What is there to be read has nothing in it that is there for speed, and depends on nothing that has.
#[test]
fn definitions_are_plain() {
    for (path, text) in files("shaders/src/reference", "rs") {
        for (n, line) in code(without_tests(&text)) {
            for fast in [
                "unsafe",
                "std::arch",
                "std::thread",
                "thread_local",
                "rayon",
                "target_feature",
                "for_chunks",
                "crate::cpu",
                "super::cpu",
            ] {
                assert!(!line.contains(fast), "{path}:{n}: {line}");
            }
        }
    }
}

#[test]
fn unsafe_is_where_it_may_be() {
    let may = [
        "runtime/engine/src/model/map.rs",
        "runtime/engine/src/model/guard.rs",
        "runtime/engine/src/model/guard/signal.rs",
        // Advice on maps.
        "runtime/engine/src/device/rasteriser/pages.rs",
        // The GEMM library takes pointers.
        "converter/src/reference/gemm.rs",
        // The calibration's inner loops in AVX2.
        "converter/src/calibrate/lanes.rs",
    ];
    for dir in ["runtime", "converter", "shaders"] {
        for (path, text) in files(dir, "rs") {
            let simd = path.starts_with("shaders/src/cpu/simd/");
            let test = path.contains("/tests/")
                || path.contains("/benches/")
                || path.contains("/examples/");
            let abi = path.starts_with("runtime/ffi/src/c/");
            if may.contains(&path.as_str()) || simd || abi || test {
                continue;
            }
            for (n, line) in code(&text) {
                let word = line
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|w| w == "unsafe");
                assert!(!word, "{path}:{n}: {line}");
            }
        }
    }
}

#[test]
fn products_know_nothing_outside_the_project() {
    for dir in ["runtime", "converter/src", "shaders/src", "shaders/wgsl"] {
        for ending in ["rs", "wgsl"] {
            if !root().join(dir).exists()
                || (dir.ends_with("wgsl") && ending == "rs")
                || (!dir.ends_with("wgsl") && ending == "wgsl")
            {
                continue;
            }
            for (path, text) in files(dir, ending) {
                if !path.contains("/tests/") {
                    assert!(!text.contains("../shared"), "{path}");
                }
            }
        }
    }
}

/// A block's matrices are data: whoever works on them loops over sites, and only those who read a source, compute a
/// reference or lower a block to steps know one by name.
#[test]
fn matrices_of_blocks_are_named_where_they_may_be() {
    let matrices: Vec<String> = carat_format::Part::ALL
        .iter()
        .filter(|p| p.kind() == carat_format::Shape::Matrix)
        .map(|p| format!("{p:?}"))
        .collect();
    assert_eq!(matrices.len(), 7);
    let (mut seen, mut named) = (0, 0);
    for dir in ["converter/src", "runtime/engine/src", "runtime/cli/src"] {
        for (path, text) in files(dir, "rs") {
            let may = ["converter/src/source/", "converter/src/reference/"];
            let may = may.iter().any(|p| path.starts_with(p))
                || path.starts_with("runtime/engine/src/plan/lower/");
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (n, line) in code(product) {
                let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                let names = words.any(|w| matrices.iter().any(|m| m == w));
                assert!(may || !names, "{path}:{n}: {line}");
                named += usize::from(names);
            }
            seen += 1;
        }
    }
    assert!(seen > 50 && named > 7, "{seen} files, {named} names");
}

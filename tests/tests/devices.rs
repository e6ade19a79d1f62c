//! One hash of all logits on every device, for every batch: the twins, two Vulkan drivers, emulated ARM.
#![allow(clippy::unwrap_used)]

use carat_converter::convert::Options;
use carat_format::{Encoding, ScaleGroup};
use carat_tests::drivers::{self, Driver};
use carat_tests::hashes::{Request, hashes};
use carat_tests::synth::Shape;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PROGRAM: &str = env!("CARGO_BIN_EXE_logits_hash");

fn on_cpu(model: &Path, batch: u32, tokens: u32) -> Value {
    hashes(&mut Command::new(PROGRAM), "cpu", &[(model, batch, tokens)]).remove(0)
}

fn on_driver(driver: &Driver, manifest: &str, runs: &[Request<'_>]) -> Vec<Value> {
    let mut command = Command::new(PROGRAM);
    let program = command.envs(Driver::environment(manifest));
    let found = hashes(program, driver.adapter, runs);
    for v in &found {
        // It cannot have passed on the CPU.
        let device = v["device"].as_str().unwrap();
        assert!(device.contains(driver.adapter), "{v}");
        assert!(v["dispatches"].as_u64().unwrap() > 0, "{v}");
    }
    found
}

/// The bundled checkpoint at 4 bits, converted once.
fn facet() -> &'static Path {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("facet.gguf");
        carat_tests::facet::convert_to(4, &path);
        (dir, path)
    });
    path
}

#[test]
fn facet_has_one_hash_on_every_device() {
    let model = facet();
    let tokens = 512;
    let expected = on_cpu(model, 64, tokens);
    assert_eq!(
        (&expected["positions"], &expected["saturated"]),
        (&Value::from(512), &Value::from(0))
    );
    for batch in [0, 1, 7, 512] {
        assert_eq!(
            on_cpu(model, batch, tokens)["hash"],
            expected["hash"],
            "cpu, batch {batch}"
        );
    }
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        // Whole prompts, and token by token over a shorter one.
        let runs = [(model, 64, tokens), (model, 0, 40), (model, 7, 40)];
        let found = on_driver(driver, manifest, &runs);
        for ((_, batch, tokens), v) in runs.iter().zip(found) {
            let expected = on_cpu(model, 64, *tokens);
            assert_eq!(
                v["hash"], expected["hash"],
                "{}, batch {batch}",
                driver.name
            );
        }
    }
}

#[test]
fn a_file_of_mixed_codings_has_one_hash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mixed.gguf");
    let rules = [
        "ffn_down=4,g64",
        "token_embd=8,g32",
        "attn_v=3",
        "blk.[24].=2,g64",
    ];
    let options = Options {
        bits: 1.0,
        group: ScaleGroup::W128,
        rules: rules.iter().map(|r| r.parse().unwrap()).collect(),
        ..Options::default()
    };
    carat_tests::facet::convert_with(&path, options);
    let expected = on_cpu(&path, 64, 270);
    assert_eq!(on_cpu(&path, 0, 270)["hash"], expected["hash"]);
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let v = on_driver(driver, manifest, &[(&path, 64, 270)]).remove(0);
        assert_eq!(v["hash"], expected["hash"], "{}", driver.name);
    }
}

#[test]
fn odd_shapes_and_every_encoding_have_one_hash() {
    let base = Shape {
        blocks: 1,
        vocab: 200,
        ..Default::default()
    };
    let shapes = [
        Shape {
            dim: 64,
            heads: 8,
            kv_heads: 4,
            head_dim: 8,
            ff: 172,
            encoding: Encoding::Pow4,
            group: ScaleGroup::W128,
            ..base
        },
        Shape {
            dim: 288,
            heads: 9,
            kv_heads: 3,
            head_dim: 32,
            ff: 288,
            encoding: Encoding::Pow3,
            tied: false,
            ..base
        },
        Shape {
            dim: 576,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            ff: 100,
            encoding: Encoding::Pow2,
            group: ScaleGroup::W64,
            ..base
        },
        Shape {
            dim: 128,
            heads: 2,
            kv_heads: 1,
            head_dim: 128,
            ff: 4864,
            encoding: Encoding::Int8,
            ..base
        },
        Shape {
            dim: 192,
            heads: 6,
            kv_heads: 2,
            head_dim: 32,
            ff: 420,
            encoding: Encoding::Pow1,
            group: ScaleGroup::W128,
            tied: false,
            ..base
        },
        Shape {
            dim: 36,
            heads: 3,
            kv_heads: 1,
            head_dim: 12,
            ff: 33,
            encoding: Encoding::Pow3,
            ..base
        },
        Shape {
            dim: 100,
            heads: 3,
            kv_heads: 1,
            head_dim: 20,
            ff: 300,
            encoding: Encoding::Int5,
            group: ScaleGroup::W128,
            tied: false,
            ..base
        },
        Shape {
            dim: 64,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            ff: 129,
            encoding: Encoding::Int6,
            group: ScaleGroup::W64,
            ..base
        },
        // Weights 2^12 times too large: everything that can saturate does.
        Shape {
            dim: 64,
            gain: 12,
            encoding: Encoding::Pow4,
            ..base
        },
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = |i: usize| dir.path().join(format!("synthetic-{i}.gguf"));
    let paths: Vec<PathBuf> = (0..shapes.len()).map(path).collect();
    for (shape, path) in shapes.iter().zip(&paths) {
        std::fs::write(path, shape.bytes()).unwrap();
    }
    let runs: Vec<Request<'_>> = paths.iter().map(|p| (p.as_path(), 64, 300)).collect();
    let expected = hashes(&mut Command::new(PROGRAM), "cpu", &runs);
    for ((shape, path), v) in shapes.iter().zip(&paths).zip(&expected) {
        assert_eq!(on_cpu(path, 0, 300)["hash"], v["hash"], "{shape:?}");
    }
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let found = on_driver(driver, manifest, &runs);
        for ((shape, v), expected) in shapes.iter().zip(found).zip(&expected) {
            let of = |v: &Value| (v["hash"].clone(), v["saturated"].clone());
            assert_eq!(of(&v), of(expected), "{} {shape:?}", driver.name);
        }
    }
}

#[test]
fn emulated_arm_gives_the_same_file_and_hash() {
    if !drivers::qemu() {
        return drivers::absent("qemu-aarch64", drivers::QEMU_INSTALL);
    }
    // A target directory of its own: the outer cargo may hold the lock of the workspace's.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/arm");
    let status = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["build", "--release", "-p", "carat-tests", "--bins"])
        .args([
            "--no-default-features",
            "--target",
            "aarch64-unknown-linux-gnu",
        ])
        .arg("--target-dir")
        .arg(&target)
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            "aarch64-linux-gnu-gcc",
        )
        .status()
        .unwrap();
    assert!(status.success());
    let emulated = |program: &str| {
        let mut command = Command::new("qemu-aarch64");
        command.args(["-L", "/usr/aarch64-linux-gnu"]);
        command.arg(
            target
                .join("aarch64-unknown-linux-gnu/release")
                .join(program),
        );
        command
    };
    let dir = tempfile::tempdir().unwrap();
    let converted = dir.path().join("arm.gguf");
    let status = emulated("convert_facet")
        .arg("4")
        .arg(&converted)
        .status()
        .unwrap();
    assert!(status.success());
    assert!(
        std::fs::read(&converted).unwrap() == std::fs::read(facet()).unwrap(),
        "conversion on ARM gives other bytes"
    );
    let arm = hashes(
        &mut emulated("logits_hash"),
        "cpu",
        &[(&converted, 64, 512)],
    );
    assert_eq!(arm[0]["hash"], on_cpu(facet(), 64, 512)["hash"]);
    // A text that begins here and goes on there.
    let session = dir.path().join("text.session");
    let here = |args: [&str; 2]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goes_on"));
        command.arg(facet()).arg(&session).args(args);
        command
    };
    let whole = line(&mut here(["begin", "48"]));
    line(&mut here(["begin", "13"]));
    let mut there = emulated("goes_on");
    there.arg(facet()).arg(&session).args(["go-on", "48"]);
    assert_eq!(line(&mut there), whole);
}

/// What a program prints.
fn line(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}:\n{error}");
    String::from_utf8(out.stdout).unwrap()
}

//! `bench` and `doctor`: keys, what the numbers mean, what they refuse.

use crate::support::{carat, failure, json, model};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn bench_reports() {
    let bench = json(carat().arg("bench").arg(model()).args([
        "--pp",
        "70",
        "--tg",
        "5",
        "-r",
        "2",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--json",
    ]));
    let number = |key: &str| bench[key].as_f64().unwrap();
    assert_eq!(number("pp"), 70.0);
    assert_eq!(number("tg"), 5.0);
    assert!(bench["device"].as_str().unwrap().contains("cpu (1 thread"));
    for (key, runs) in [("pp_tps", "pp_runs"), ("tg_tps", "tg_runs")] {
        let runs: Vec<f64> = bench[runs]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert_eq!(runs.len(), 2);
        let mean = (runs[0] + runs[1]) / 2.0;
        assert!(number(key) > 0.0 && (number(key) / mean - 1.0).abs() < 1e-9);
    }
    assert!(number("load_ms") > 0.0);
    // A tied model reads all of its matrices, and the embedding's row of the token once more.
    let inspect = json(
        carat()
            .arg("inspect")
            .arg(model())
            .args(["--tensors", "--json"]),
    );
    assert_eq!(inspect["model"]["tied"], true);
    let payload: f64 = inspect["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["bytes"].as_f64().unwrap())
        .sum();
    let share = number("bytes_per_token") / payload;
    assert!((0.99..1.0001).contains(&share), "{share}");
    let gbps = number("bytes_per_token") * number("tg_tps") / 1e9;
    assert!((number("bandwidth_gbps") / gbps - 1.0).abs() < 1e-9);
    let shared = number("bandwidth_gbps") / number("read_bandwidth_gbps");
    assert!((number("bandwidth_share") / shared - 1.0).abs() < 1e-9);
    if cfg!(target_os = "linux") {
        // The file is mapped and read; the 256 MiB that measure the memory do not count.
        let peak = number("peak_rss_bytes");
        assert!(peak > payload && peak < 256e6, "{peak}");
    }
}

#[test]
fn bench_is_read_in_80_columns() {
    let output = carat()
        .arg("bench")
        .arg(model())
        .args(["--pp", "3", "--tg", "2", "-r", "1", "--device", "cpu"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    for word in [
        "prompt",
        "text",
        "weights",
        "tokens/s",
        "GB/s",
        "the same threads",
    ] {
        assert!(text.contains(word), "{text}");
    }
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
}

#[test]
fn bench_refuses() {
    let text = failure(carat().arg("bench").arg(env!("CARGO_MANIFEST_DIR")), 1);
    assert!(text.contains("config.json"), "{text}");
    let text = failure(carat().args(["bench", "nowhere.gguf"]), 1);
    assert!(text.contains("nowhere.gguf"), "{text}");
    let mut command = carat();
    command
        .arg("bench")
        .arg(model())
        .args(["--device", "gpu:voodoo"]);
    let text = failure(&mut command, 1);
    assert!(
        text.contains("gpu:voodoo") && text.contains("cpu"),
        "{text}"
    );
}

/// `doctor` with no Vulkan driver at all.
fn without_gpu(command: &mut assert_cmd::Command) -> &mut assert_cmd::Command {
    command
        .env("VK_DRIVER_FILES", "/nonexistent.json")
        .env("VK_ICD_FILENAMES", "/nonexistent.json")
}

fn golden_is_equal(golden: &Value) {
    assert_eq!(golden["positions"], 32);
    assert!(golden["first_difference"].is_null(), "{golden}");
}

#[test]
fn doctor_finds_every_device_sound() {
    let report = json(carat().arg("doctor").arg(model()).arg("--json"));
    assert_eq!(report["ok"], true);
    assert!(report["cpu"]["threads"].as_u64().unwrap() > 0);
    golden_is_equal(&report["cpu"]["golden"]);
    let adapters = report["adapters"].as_array().unwrap();
    if adapters.is_empty() {
        eprintln!("ABSENT: any Vulkan driver (apt-get install libvulkan1 mesa-vulkan-drivers)");
    }
    for adapter in adapters.iter().filter(|a| a["usable"] == true) {
        assert!(!adapter["name"].as_str().unwrap().is_empty());
        assert!(adapter["error"].is_null(), "{adapter}");
        let kernels = adapter["kernels"].as_array().unwrap();
        assert!(
            kernels.len() > 11,
            "every kernel, some at several encodings"
        );
        for kernel in kernels {
            assert!(kernel["words"].as_u64().unwrap() > 0, "{kernel}");
            assert!(kernel["difference"].is_null(), "{kernel}");
        }
        let limits = adapter["limits"].as_array().unwrap();
        assert!(limits.iter().all(|l| l["ok"] == true), "{adapter}");
        golden_is_equal(&adapter["golden"]);
    }
}

#[test]
fn doctor_without_a_gpu_says_so() {
    let mut command = carat();
    let output = without_gpu(command.arg("doctor").arg(model()))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if cfg!(target_os = "linux") {
        assert!(text.contains("No GPU adapter"), "{text}");
    }
    assert!(output.status.success(), "{text}");
    assert!(text.contains("golden vectors      equal"), "{text}");
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
}

/// A copy of the model whose last golden checksum is another.
fn wrong_checksum(path: &Path) {
    let mut bytes = fs::read(model()).unwrap();
    let key = b"carat.golden.checksums";
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
    // Key, u32 type of the value (array), u32 type of its elements, u64 length, elements.
    let array = at + key.len();
    let length = u64::from_le_bytes(bytes[array + 8..array + 16].try_into().unwrap()) as usize;
    bytes[array + 16 + 8 * (length - 1)] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn doctor_fails_where_a_checksum_differs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wrong.gguf");
    wrong_checksum(&path);
    let mut command = carat();
    let output = without_gpu(command.arg("doctor").arg(&path).arg("--json"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let golden = &report["cpu"]["golden"];
    assert_eq!(golden["first_difference"], 31);
    assert_ne!(golden["expected"], golden["found"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: cpu: golden vectors"), "{stderr}");
    assert!(stderr.contains("position 31"), "{stderr}");
}

#[test]
fn doctor_refuses() {
    let text = failure(carat().arg("doctor").arg(env!("CARGO_MANIFEST_DIR")), 1);
    assert!(text.contains("config.json"), "{text}");
    failure(carat().args(["doctor", "nowhere.gguf"]), 1);
}

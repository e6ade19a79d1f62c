//! `inspect --memory` and `--memory-limit`.

use crate::support::{carat, checkpoint, failure, json, model};

fn account() -> Vec<serde_json::Value> {
    let report = json(
        carat()
            .arg("inspect")
            .arg(model())
            .args(["--memory", "--json"]),
    );
    report["memory"].as_array().unwrap().clone()
}

fn of(entry: &serde_json::Value, key: &str) -> u64 {
    entry[key].as_u64().unwrap()
}

#[test]
fn the_account_grows_with_the_context() {
    let entries = account();
    assert!(entries.len() > 1);
    for pair in entries.windows(2) {
        assert_eq!(of(&pair[0], "weights"), of(&pair[1], "weights"));
        // A page is a page: the cache is in proportion.
        let [a, b] = [&pair[0], &pair[1]].map(|e| of(e, "cache") / of(e, "context"));
        assert_eq!(a, b);
        assert!(of(&pair[0], "work") <= of(&pair[1], "work"));
    }
    let parts = ["weights", "cache", "work"].map(|k| of(&entries[0], k));
    assert_eq!(parts.iter().sum::<u64>(), of(&entries[0], "total"));
    for entry in &entries {
        // A GPU has its own weights and cache, and smaller batches.
        let [own, all] = ["total", "beside_gpu"].map(|k| of(entry, k));
        let second = of(entry, "weights") + of(entry, "cache");
        assert!(all > own + second, "{entry}");
    }
    let size = std::fs::metadata(model()).unwrap().len();
    assert!(of(&entries[0], "weights") < size);
    let text = carat().arg("inspect").arg(model()).arg("--memory").output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    assert!(text.contains("KV cache"), "{text}");
    let wrong = failure(carat().arg("inspect").arg(checkpoint()).arg("--memory"), 2);
    assert!(wrong.contains("convert it first"), "{wrong}");
}

#[test]
fn a_copy_gives_the_same_tokens() {
    let hash = |extra: &[&str]| {
        let mut command = carat();
        command.arg("run").arg(model());
        command.args([
            "-p",
            "The old house",
            "-n",
            "8",
            "--device",
            "cpu",
            "--json",
        ]);
        json(command.args(extra))["logits_hash"].clone()
    };
    assert_eq!(hash(&["--no-mmap"]), hash(&[]));
    let folder = model().parent().unwrap().to_str().unwrap();
    let wrong = failure(carat().args(["run", folder, "-p", "x", "--no-mmap"]), 1);
    assert!(wrong.contains(folder), "{wrong}");
}

#[test]
fn keys_and_values_may_have_4_bits() {
    let hash = |extra: &[&str]| {
        let mut command = carat();
        command.arg("run").arg(model());
        command.args([
            "-p",
            "The old house",
            "-n",
            "4",
            "--device",
            "cpu",
            "--json",
        ]);
        json(command.args(extra))["logits_hash"].clone()
    };
    let plain = hash(&[]);
    assert_eq!(hash(&["--kv", "8"]), plain);
    assert_eq!(hash(&["--kv", "8,8"]), plain);
    assert_eq!(hash(&["--kv", "4"]), hash(&["--kv", "4,4"]));
    let kinds = ["8,4", "4,8", "4,4"].map(|kv| hash(&["--kv", kv]));
    for (i, kind) in kinds.iter().enumerate() {
        assert!(*kind != plain && !kinds[..i].contains(kind), "{kinds:?}");
    }
    for wrong in ["", "16", "8,", "8,4,4", "4 8"] {
        let mut command = carat();
        let said = failure(
            command
                .arg("run")
                .arg(model())
                .args(["-p", "x", "--kv", wrong]),
            2,
        );
        assert!(said.contains("expected 8 or 4"), "{said}");
    }
}

#[test]
fn a_limit_shortens_the_context_or_refuses() {
    let run = |limit: &str| {
        let mut command = carat();
        command.arg("run").arg(model());
        command.args([
            "-p",
            "The old house",
            "-n",
            "4",
            "--ctx",
            "2048",
            "--device",
            "cpu",
        ]);
        command.args(["--json", "--memory-limit", limit]);
        command
    };
    let entries = account();
    let least = of(&entries[0], "total");
    let free = json(&mut run("8GiB"));
    let output = run(&(least + (1 << 20)).to_string()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("--memory-limit") && said.contains("not for 2048"),
        "{said}"
    );
    let shortened: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shortened["logits_hash"], free["logits_hash"]);
    let refused = failure(&mut run("1MB"), 1);
    assert!(refused.contains("raise --memory-limit"), "{refused}");
    let wrong = failure(&mut run("much"), 2);
    assert!(wrong.contains("expected a size"), "{wrong}");
}

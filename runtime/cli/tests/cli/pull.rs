//! `carat pull`, and models that are named as a hub has them. The hub is played by this machine.

use crate::hub::{At, COMMIT, Kept, Played, Reply, large, noise, sha256, small};
use crate::support::{carat, checkpoint, failure, json, model};
use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const MODEL: &str = "owner/model";

/// A hub, and the cache of who asks.
struct Stage {
    played: Played,
    home: TempDir,
}

impl Stage {
    fn new(played: Played) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { played, home }
    }

    fn carat(&self) -> Command {
        let mut command = carat();
        for user in [
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "SSL_CERT_FILE",
        ] {
            command.env_remove(user);
        }
        command.env("HF_HOME", self.home.path());
        command.env("HF_ENDPOINT", &self.played.hub.url);
        command.env("NO_PROXY", "127.0.0.1");
        command
    }

    fn pull(&self, args: &[&str]) -> Command {
        let mut command = self.carat();
        command.arg("pull").args(args);
        command
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("hub/models--owner--model")
    }

    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }
}

fn gguf(bytes: &[u8]) -> Vec<Kept> {
    vec![large("model-Q8_0.gguf", bytes)]
}

/// The bundled checkpoint as a hub has it.
fn bundled() -> Vec<Kept> {
    let kept = |name: &str| fs::read(checkpoint().join(name)).unwrap();
    vec![
        small("README.md", "x"),
        small("config.json", kept("config.json")),
        small("generation_config.json", kept("generation_config.json")),
        small("tokenizer_config.json", kept("tokenizer_config.json")),
        large("tokenizer.json", kept("tokenizer.json")),
        large("model.safetensors", kept("model.safetensors")),
    ]
}

/// Storage that takes its time.
fn slow(bytes: &[u8], pause: u64) -> Played {
    Played::twisted(gguf(bytes), move |at, _, reply| match at {
        At::Storage => Reply {
            slow: Duration::from_millis(pause),
            ..reply
        },
        _ => reply,
    })
}

#[test]
fn the_path_is_printed_and_the_object_has_the_rest() {
    let bytes = noise(100_000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    let output = stage.pull(&[MODEL]).output().unwrap();
    assert!(output.status.success());
    let path = stage.snapshot().join("model-Q8_0.gguf");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, format!("{}\n", path.display()));
    assert!(fs::read(&path).unwrap() == bytes);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("1 file, 100.0 kB"), "{told}");

    let object = json(&mut stage.pull(&[MODEL, "--json", "--verify"]));
    assert_eq!(object["repo"], MODEL);
    assert_eq!(object["revision"], "main");
    assert_eq!(object["commit"], COMMIT);
    assert_eq!(object["path"], path.to_str().unwrap());
    assert_eq!(
        (&object["bytes"], &object["fetched_bytes"]),
        (&100_000.into(), &0.into())
    );
    let files = object["files"].as_array().unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0]["name"], "model-Q8_0.gguf");
    assert_eq!(files[0]["hash"], sha256(&bytes));
    let pinned = json(&mut stage.pull(&[MODEL, "--revision", COMMIT, "--json"]));
    assert_eq!(
        (&pinned["revision"], &pinned["path"]),
        (&COMMIT.into(), &object["path"])
    );
}

#[test]
fn commands_take_what_a_hub_has() {
    let mut files = bundled();
    files.push(large("carat/facet.gguf", fs::read(model()).unwrap()));
    let stage = Stage::new(Played::start(files));
    let told =
        |name: &str, args: &[&str]| json(stage.carat().args([args[0], name]).args(&args[1..]));
    let inspected = told("hf:owner/model", &["inspect", "--json"]);
    let own = json(carat().arg("inspect").arg(checkpoint()).arg("--json"));
    assert_eq!(inspected["model"], own["model"]);
    assert_eq!(inspected["model"]["architecture"], "llama");
    assert_eq!(
        inspected["name"], "model",
        "the repository's, not the commit"
    );
    assert!(!stage.snapshot().join("README.md").exists());

    let run = ["run", "It was", "-n", "4", "--device", "cpu", "--json"];
    let here = json(
        carat()
            .args([run[0], model().to_str().unwrap()])
            .args(&run[1..]),
    );
    let there = told("hf.co/owner/model:carat/facet.gguf", &run);
    assert_eq!(there["logits_hash"], here["logits_hash"]);
    let target = stage.home.path().join("facet.gguf");
    let convert = [
        "convert",
        "--method",
        "none",
        "-o",
        target.to_str().unwrap(),
        "--json",
    ];
    let (source, own) = (checkpoint(), stage.home.path().join("own.gguf"));
    told("hf:owner/model@main", &convert);
    let convert = ["--method", "none", "-o", own.to_str().unwrap()];
    carat()
        .arg("convert")
        .arg(source)
        .args(convert)
        .assert()
        .success();
    let card = |path: &Path| json(carat().arg("inspect").arg(path).arg("--json"));
    let (there, own) = (card(&target), card(&own));
    assert_eq!(
        (&there["model"], &there["payload_bpw"]),
        (&own["model"], &own["payload_bpw"])
    );
    assert_eq!(there["name"], "model");
    let fast = [
        "run", "It was", "-n", "4", "--device", "cpu", "--fast", "--json",
    ];
    let converted = told("hf:owner/model", &fast);
    assert_eq!(converted["logits_hash"], here["logits_hash"]);
    // Also as llama.cpp names it.
    let mut llama = stage.carat();
    let named = [
        "run",
        "-hf",
        MODEL,
        "--hf-file",
        "carat/facet.gguf",
        "-p",
        "It was",
    ];
    llama
        .args(named)
        .args(["-n", "4", "--device", "cpu", "--json"]);
    assert_eq!(json(&mut llama)["logits_hash"], here["logits_hash"]);
}

/// The failure's object, which says what the last line on stderr does.
fn error(command: &mut Command, code: i32) -> Value {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let last = stderr.lines().rfind(|l| l.starts_with("error: "));
    let message = told["error"]["message"].as_str().unwrap();
    if code == 1 {
        assert_eq!(last, Some(&*format!("error: {message}")));
    }
    told["error"].clone()
}

#[test]
fn failures_have_codes_and_hints() {
    let stage = Stage::new(Played::start(bundled()));
    let of = |name: &str| error(&mut stage.pull(&[name, "--json"]), 1);
    let told = of("owner/none");
    assert_eq!(told["code"], "not_found");
    assert!(
        told["hint"].as_str().unwrap().contains("HF_TOKEN"),
        "{told}"
    );
    let told = of("owner/model:model.safetensor");
    assert_eq!(told["code"], "not_found");
    assert!(told["hint"].as_str().unwrap().contains("model.safetensors"));
    assert_eq!(of("owner/model@v9")["code"], "not_found");
    for name in ["a/../b", "owner/model:/etc/passwd", "a b"] {
        let told = error(&mut stage.pull(&[name, "--json"]), 2);
        assert_eq!(told["code"], "usage", "{name}");
        let named = format!("hf:{name}");
        let told = error(stage.carat().args(["inspect", &named, "--json"]), 2);
        assert_eq!(told["code"], "usage", "{name}");
    }
    failure(&mut stage.pull(&[MODEL, "--revision", "../x"]), 2);

    let reply = |at: At, status: u16, code: &'static str| {
        Stage::new(Played::twisted(bundled(), move |place, _, reply| {
            match place == at {
                true => Reply::new(status, "x").with("X-Error-Code", code),
                false => reply,
            }
        }))
    };
    let gated = reply(At::Resolve, 403, "GatedRepo");
    let told = error(&mut gated.pull(&[MODEL, "--json"]), 1);
    assert_eq!(told["code"], "access");
    assert!(
        told["message"].as_str().unwrap().contains("gated"),
        "{told}"
    );
    // Bytes that are not the listing's.
    let wrong = reply(At::Storage, 200, "");
    let told = error(&mut wrong.pull(&[MODEL, "--json"]), 1);
    assert_eq!(told["code"], "damaged", "{told}");
}

#[test]
fn the_token_of_the_environment_is_sent() {
    let stage = Stage::new(Played::start(gguf(&noise(10))));
    let sent = || {
        let requests = stage.played.hub.requests();
        let last = requests.last().unwrap();
        last.header("authorization").map(str::to_owned)
    };
    stage.pull(&[MODEL]).assert().success();
    assert_eq!(sent(), None);
    fs::write(stage.home.path().join("token"), "hf_file").unwrap();
    stage.pull(&[MODEL]).assert().success();
    assert_eq!(sent().as_deref(), Some("Bearer hf_file"));
    stage
        .pull(&[MODEL])
        .env("HF_TOKEN", "hf_own")
        .assert()
        .success();
    assert_eq!(sent().as_deref(), Some("Bearer hf_own"));
    let told = failure(stage.pull(&[MODEL]).env("HF_TOKEN", "a b"), 1);
    assert!(told.contains("HF_TOKEN") && !told.contains("a b"), "{told}");
}

#[test]
fn without_a_network_what_was_fetched_is_taken() {
    let stage = Stage::new(Played::start(vec![large(
        "facet.gguf",
        fs::read(model()).unwrap(),
    )]));
    let inspect = ["inspect", "hf:owner/model", "--json"];
    let never = error(stage.carat().args(inspect).env("HF_HUB_OFFLINE", "1"), 1);
    assert_eq!(never["code"], "not_found");
    let online = json(stage.carat().args(inspect));
    let asked = stage.played.hub.requests().len();
    let offline = json(stage.carat().args(inspect).env("HF_HUB_OFFLINE", "1"));
    assert_eq!(online, offline);
    assert_eq!(stage.played.hub.requests().len(), asked);
    // Nobody answers.
    let nobody = "http://127.0.0.1:9";
    let output = stage
        .carat()
        .args(inspect)
        .env("HF_ENDPOINT", nobody)
        .output();
    let output = output.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("warning: ") && told.contains("0123456789"),
        "{told}"
    );
    let pull = error(stage.pull(&[MODEL, "--json"]).env("HF_ENDPOINT", nobody), 1);
    assert_eq!(pull["code"], "network");
}

#[cfg(unix)]
#[test]
fn an_interrupted_pull_goes_on() {
    let bytes = noise(16 << 20);
    let stage = Stage::new(slow(&bytes, 20));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_carat"));
    command.args(["pull", MODEL, "--json"]);
    command.env("HF_HOME", stage.home.path());
    command.env("HF_ENDPOINT", &stage.played.hub.url);
    command
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE");
    let piped = std::process::Stdio::piped;
    let child = command.stdout(piped()).stderr(piped()).spawn().unwrap();
    let incomplete = format!("blobs/{}.incomplete", sha256(&bytes));
    let incomplete = stage.repository().join(incomplete);
    let there = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while there(&incomplete) < 1 << 20 {
        assert!(std::time::Instant::now() < end, "nothing comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["error"]["code"], "interrupted");
    let hint = told["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("of 16.78 MB are kept"), "{hint}");
    let kept = there(&incomplete);
    assert!((1 << 20..16 << 20).contains(&kept), "{kept}");

    let object = json(&mut stage.pull(&[MODEL, "--json"]));
    assert_eq!(object["fetched_bytes"], (16 << 20) - kept);
    let path = object["path"].as_str().unwrap();
    assert!(fs::read(path).unwrap() == bytes);
    assert!(!incomplete.exists());
}

#[test]
fn two_processes_fetch_a_file_once() {
    let bytes = noise(2 << 20);
    let stage = Stage::new(slow(&bytes, 30));
    let fetched: Vec<u64> = std::thread::scope(|scope| {
        let stage = &stage;
        let one = || json(&mut stage.pull(&[MODEL, "--json"]))["fetched_bytes"].as_u64();
        let threads = [scope.spawn(one), scope.spawn(one)];
        threads.map(|t| t.join().unwrap().unwrap()).to_vec()
    });
    assert_eq!(fetched.iter().sum::<u64>(), 2 << 20, "{fetched:?}");
    assert_eq!(stage.played.storage.requests().len(), 1);
    assert!(fs::read(stage.snapshot().join("model-Q8_0.gguf")).unwrap() == bytes);
}

#[test]
fn a_page_of_several_models() {
    let stage = Stage::new(Played::start(vec![
        large("m-Q4_0.gguf", noise(10)),
        large("m-Q8_0.gguf", noise(20)),
    ]));
    let output = stage
        .pull(&["https://huggingface.co/owner/model"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.ends_with("m-Q8_0.gguf\n"), "{printed}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("taking m-Q8_0.gguf"), "{told}");
    let small = stage.pull(&["owner/model:q4_0"]).output().unwrap();
    assert!(
        String::from_utf8(small.stdout)
            .unwrap()
            .ends_with("m-Q4_0.gguf\n")
    );
}

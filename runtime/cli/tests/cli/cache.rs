//! Checkpoints where a Carat file is expected: converted once, kept, made anew when anything changed.

use crate::support::{carat, checkpoint, failure, json, model};
use assert_cmd::Command;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn run(cache: &Path, source: &Path) -> Command {
    let mut c = carat();
    c.env("CARAT_CACHE", cache).arg("run").arg(source);
    c.args(["-p", "The sea", "-n", "3", "--device", "cpu"]);
    if source != model() {
        c.arg("--fast");
    }
    c
}

/// (stdout, stderr) of a command that must succeed.
fn out(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    (String::from_utf8(output.stdout).unwrap(), stderr)
}

/// Files of the cache with this ending.
fn files(cache: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(cache.join("models"))
        .map(|d| d.map(|e| e.unwrap().path()).collect())
        .unwrap_or_default();
    found.retain(|p| p.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

/// A copy of the bundled checkpoint.
fn copy(to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(checkpoint()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn converted_once_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let (text, said) = out(&mut run(&cache, &checkpoint()));
    assert!(
        said.contains("converting it to 4 bits") && said.contains("--no-cache"),
        "{said}"
    );
    let kept = files(&cache, ".gguf");
    assert!(
        kept.len() == 1 && said.contains(kept[0].to_str().unwrap()),
        "{said}"
    );
    assert!(said.contains("quality: KL 0.01"), "{said}");
    // What `convert` makes of it.
    let same = directory.path().join("same.gguf");
    let mut convert = carat();
    convert
        .arg("convert")
        .arg(checkpoint())
        .arg("-o")
        .arg(&same);
    convert.args(["--method", "none"]).assert().success();
    assert!(fs::read(&kept[0]).unwrap() == fs::read(same).unwrap());
    let (again, said) = out(&mut run(&cache, &checkpoint()));
    assert_eq!(again, text);
    assert!(
        said.contains("cached") && !said.contains("converting"),
        "{said}"
    );
    let (_, said) = out(run(&cache, &checkpoint()).args(["--bits", "2"]));
    assert!(said.contains("converting it to 2 bits"), "{said}");
    assert_eq!(files(&cache, ".gguf").len(), 2);

    let cached = |action: &str| {
        let mut c = carat();
        c.env("CARAT_CACHE", &cache).args(["cache", action]);
        c
    };
    let list = json(cached("list").arg("--json"));
    let found: Vec<u64> = (0..2)
        .map(|i| list["files"][i]["bits"].as_u64().unwrap())
        .collect();
    assert_eq!(found, [2, 4]);
    assert_eq!(
        list["files"][1]["bytes"],
        fs::metadata(&kept[0]).unwrap().len()
    );
    assert!(out(&mut cached("list")).0.contains("facet-6m"));
    // What the cache did not make stays.
    fs::write(cache.join("models/mine.gguf"), "mine").unwrap();
    let cleared = json(cached("clear").arg("--json"));
    assert_eq!(cleared["files"], 2);
    assert_eq!(files(&cache, ""), [cache.join("models/mine.gguf")]);
    assert!(out(&mut cached("list")).0.contains("empty"));
}

#[test]
fn a_changed_checkpoint_is_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, source) = (directory.path().join("cache"), directory.path().join("m"));
    copy(&source);
    out(&mut run(&cache, &source));
    let said = out(&mut run(&cache, &source)).1;
    assert!(!said.contains("converting"), "{said}");
    // As long as before, and the time of the change set back.
    let weights = source.join("model.safetensors");
    let before = fs::metadata(&weights).unwrap().modified().unwrap();
    let mut bytes = fs::read(&weights).unwrap();
    let at = bytes.len() - 2;
    bytes[at] ^= 0x10;
    fs::write(&weights, &bytes).unwrap();
    let opened = File::options().write(true).open(&weights).unwrap();
    opened.set_modified(before).unwrap();
    let said = out(&mut run(&cache, &source)).1;
    assert!(said.contains("converting"), "{said}");
    fs::write(
        source.join("generation_config.json"),
        "{\"temperature\": 0.5}",
    )
    .unwrap();
    let said = out(&mut run(&cache, &source)).1;
    assert!(said.contains("converting"), "{said}");
    assert_eq!(files(&cache, ".gguf").len(), 3);
}

#[test]
fn a_damaged_file_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let (text, _) = out(&mut run(&cache, &checkpoint()));
    let kept = files(&cache, ".gguf").remove(0);
    let whole = fs::read(&kept).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for bad in [
        flipped(whole.len() - 300),
        flipped(2000),
        whole[..whole.len() / 2].to_vec(),
        Vec::new(),
    ] {
        fs::write(&kept, bad).unwrap();
        let (again, said) = out(&mut run(&cache, &checkpoint()));
        assert_eq!(again, text);
        assert!(said.contains("warning: a damaged file"), "{said}");
        assert!(fs::read(&kept).unwrap() == whole);
    }
    // Without its description a file is one that was not finished.
    fs::write(&kept, "half").unwrap();
    fs::remove_file(files(&cache, ".json").remove(0)).unwrap();
    assert_eq!(out(&mut run(&cache, &checkpoint())).0, text);
    assert!(fs::read(&kept).unwrap() == whole);
    fs::write(files(&cache, ".json").remove(0), "{").unwrap();
    assert_eq!(out(&mut run(&cache, &checkpoint())).0, text);
}

#[test]
fn nothing_is_kept_where_that_is_wanted_or_impossible() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let temporary = directory.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let (text, said) = out(run(&cache, &checkpoint())
        .env("TMPDIR", &temporary)
        .arg("--no-cache"));
    assert!(said.contains("temporary"), "{said}");
    assert!(!cache.exists());
    // A file is where the directory should be.
    fs::write(&cache, "").unwrap();
    let (again, said) = out(run(&cache, &checkpoint()).env("TMPDIR", &temporary));
    assert_eq!(again, text);
    assert!(
        said.contains("warning: the cache cannot be used") && said.contains("CARAT_CACHE"),
        "{said}"
    );
    if cfg!(unix) {
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
        let error = failure(
            run(&cache, &checkpoint())
                .env("TMPDIR", directory.path().join("none"))
                .args(["--no-cache"]),
            1,
        );
        assert!(
            error.contains("TMPDIR=") && error.contains("none"),
            "{error}"
        );
    }
}

#[test]
fn several_at_once_and_one_killed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let spawn = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_carat"))
            .env("CARAT_CACHE", &cache)
            .arg("run")
            .arg(checkpoint())
            .args(["-p", "The sea", "-n", "3", "--device", "cpu", "--fast"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut killed = spawn();
    let temporary = || files(&cache, ".part");
    while temporary().is_empty() && killed.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Killed while it wrote, unless it was faster.
    let left = temporary();
    assert!(left.len() <= 1);
    for path in &left {
        let hours_ago = SystemTime::now() - Duration::from_secs(7200);
        let opened = File::options().write(true).open(path).unwrap();
        opened.set_modified(hours_ago).unwrap();
        assert!(files(&cache, ".gguf").is_empty());
    }
    let running: Vec<_> = (0..3).map(|_| spawn()).collect();
    let texts: Vec<_> = running
        .into_iter()
        .map(|c| c.wait_with_output().unwrap())
        .collect();
    for output in &texts {
        assert!(output.status.success() && output.stdout == texts[0].stdout);
    }
    assert_eq!(files(&cache, ".gguf").len(), 1);
    assert!(temporary().is_empty());
}

#[test]
fn what_cannot_be_converted() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let error = failure(run(&cache, model()).args(["--bits", "2"]), 2);
    assert!(error.contains("a Carat file already"), "{error}");
    let error = failure(run(&cache, model()).arg("--fast"), 2);
    assert!(error.contains("--fast"), "{error}");
    out(run(&cache, model()).arg("--no-cache"));
    let vocabulary = directory.path().join("vocabulary.gguf");
    let mut writer = carat_gguf::Writer::new();
    writer.kv("general.architecture", "llama").unwrap();
    fs::write(&vocabulary, writer.finish().unwrap().header).unwrap();
    let error = failure(&mut run(&cache, &vocabulary), 1);
    assert!(error.contains("vocabulary.gguf"), "{error}");
    // A directory that is no checkpoint.
    let error = failure(&mut run(&cache, directory.path()), 1);
    assert!(error.contains("config.json"), "{error}");
    assert!(files(&cache, "").is_empty());
}

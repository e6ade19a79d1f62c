//! What goes wrong with exit code 1 and one line that says what to do.

use crate::support::{carat, checkpoint, failure, foreign, model, text};
use std::fs;
use std::path::Path;

fn run(path: &Path) -> assert_cmd::Command {
    let mut c = carat();
    c.arg("run")
        .arg(path)
        .args(["-p", "a", "-n", "1", "--device", "cpu"]);
    c
}

#[test]
fn models_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let whole = fs::read(model()).unwrap();
    fs::write(at("cut.gguf"), &whole[..whole.len() / 2]).unwrap();
    fs::write(at("empty.gguf"), b"").unwrap();
    fs::write(at("text.gguf"), b"It was a dark night").unwrap();
    let mut damaged = whole.clone();
    let last = damaged.len() - 300;
    damaged[last] ^= 1;
    fs::write(at("damaged.gguf"), &damaged).unwrap();
    foreign(&at("foreign.gguf"));

    for (name, says) in [
        ("missing.gguf", "No such file"),
        ("", "a directory"),
        ("cut.gguf", "cut.gguf"),
        ("empty.gguf", "an empty file"),
        ("text.gguf", "not a GGUF file"),
        ("foreign.gguf", "gpt2"),
    ] {
        let error = failure(&mut run(&at(name)), 1);
        assert!(
            error.contains(says) && error.contains(name),
            "{name}: {error}"
        );
    }
    // Text may come before the verdict; JSON does not.
    let json = failure(run(&at("damaged.gguf")).arg("--json"), 1);
    assert!(json.contains("damaged.gguf") && json.contains("is damaged"));
    let mut chat = carat();
    chat.arg("chat").arg(at("damaged.gguf"));
    chat.args(["-n", "3", "--device", "cpu"])
        .write_stdin("a\nb");
    for mut command in [run(&at("damaged.gguf")), chat] {
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        let last = error.lines().last().unwrap();
        assert!(
            last.starts_with("error: ") && last.contains("damaged.gguf"),
            "{error}"
        );
        assert!(last.contains("is damaged"), "{error}");
    }
    // An answer without an end is broken off.
    let mut endless = carat();
    endless.arg("run").arg(at("damaged.gguf"));
    endless.args(["-p", "a", "-n", "-1", "--ignore-eos", "--json"]);
    failure(endless.args(["--device", "cpu"]), 1);
    // Structure alone does not see a flipped bit.
    run(&at("damaged.gguf"))
        .arg("--no-verify")
        .assert()
        .success();
    assert!(
        failure(
            carat()
                .arg("inspect")
                .arg(at("damaged.gguf"))
                .arg("--verify"),
            1
        )
        .contains("is damaged")
    );
    for command in ["logits", "eval", "inspect", "convert"] {
        for name in ["missing.gguf", "cut.gguf", "empty.gguf", "text.gguf"] {
            let mut c = carat();
            c.arg(command).arg(at(name));
            match command {
                "logits" => c.args(["--tokens", "1"]),
                "eval" => c.arg("--text").arg(text()),
                "convert" => c.arg("-o").arg(at("out.gguf")),
                _ => &mut c,
            };
            assert!(failure(&mut c, 1).contains(name), "{command} {name}");
            assert!(!at("out.gguf").exists());
        }
    }
}

#[test]
fn names_cannot_control_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.gguf");
    let bad = "\x1b]0;title\x07\x1b[2J\u{9b}31m\u{202e}x\r";
    let write = |architecture: &str| {
        let mut writer = carat_gguf::Writer::new();
        writer.kv("general.architecture", architecture).unwrap();
        writer.kv("general.name", bad).unwrap();
        writer
            .tensor(bad, &[4, 2], carat_gguf::TensorType::F32, 32)
            .unwrap();
        let layout = writer.finish().unwrap();
        let mut bytes = layout.header.clone();
        bytes.resize(layout.file_len as usize, 0);
        fs::write(&path, bytes).unwrap();
    };
    let clean = |text: &str| {
        let controls = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(controls), "{text:?}");
    };
    write("gpt2");
    let output = carat()
        .arg("inspect")
        .arg(&path)
        .arg("--tensors")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(r"\u{1b}"), "{shown}");
    clean(&shown);
    write(bad);
    for command in ["run", "convert", "eval", "logits"] {
        let mut c = carat();
        c.arg(command).arg(&path);
        match command {
            "run" => c.args(["-p", "a"]),
            "convert" => c.arg("-o").arg(directory.path().join("out.gguf")),
            "eval" => c.arg("--text").arg(text()),
            _ => c.args(["--tokens", "1"]),
        };
        let error = failure(&mut c, 1);
        assert!(error.contains(r"\u{1b}"), "{error}");
        clean(&error);
    }
}

#[test]
fn weights_alone_are_no_checkpoint() {
    let error = failure(&mut run(&checkpoint().join("model.safetensors")), 1);
    assert!(error.contains("give the directory"), "{error}");
}

#[test]
fn too_much_is_asked() {
    let huge = failure(run(model()).args(["--ctx", "4294967295"]), 1);
    assert!(
        huge.contains("cannot be held") && huge.contains("--ctx"),
        "{huge}"
    );
    let small = failure(run(model()).args(["--ctx", "1"]), 1);
    assert!(small.contains("do not fit"), "{small}");
    for from in [model(), &checkpoint()] {
        let error = failure(
            carat().arg("logits").arg(from).args(["--tokens", "0,4096"]),
            1,
        );
        assert!(error.contains("4096") && error.contains("4095"), "{error}");
    }
    let error = failure(
        carat()
            .arg("eval")
            .arg(model())
            .arg("--text")
            .arg(text())
            .args(["--ctx", "100000"]),
        1,
    );
    assert!(error.contains("longer text"), "{error}");
    let error = failure(
        carat()
            .arg("run")
            .arg(model())
            .args(["-p", "a", "--device", "gpu:no such adapter"]),
        1,
    );
    assert!(
        error.contains("no such adapter") && error.contains("cpu"),
        "{error}"
    );
}

#[test]
fn texts_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let bad = directory.path().join("bad.txt");
    fs::write(&bad, b"abc\xc3(").unwrap();
    let error = failure(carat().arg("run").arg(model()).arg("-f").arg(&bad), 1);
    assert!(
        error.contains("bad.txt") && error.contains("byte 3"),
        "{error}"
    );
    let error = failure(
        carat()
            .arg("run")
            .arg(model())
            .arg("-")
            .write_stdin(b"\xff".to_vec()),
        1,
    );
    assert!(
        error.contains("standard input") && error.contains("byte 0"),
        "{error}"
    );
    let error = failure(carat().arg("eval").arg(model()).arg("--text").arg(&bad), 1);
    assert!(error.contains("byte 3"), "{error}");
    let error = failure(
        carat()
            .arg("run")
            .arg(model())
            .arg("-f")
            .arg(directory.path().join("none")),
        1,
    );
    assert!(error.contains("No such file"), "{error}");
}

#[test]
fn targets_that_cannot_be() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("there.gguf");
    fs::write(&there, "mine").unwrap();
    let convert = |out: &Path| {
        let mut c = carat();
        c.arg("convert").arg(checkpoint()).arg("-o").arg(out);
        c
    };
    assert!(failure(&mut convert(&there), 1).contains("--force"));
    assert_eq!(fs::read(&there).unwrap(), b"mine");
    assert!(failure(&mut convert(directory.path()), 1).contains("directory"));
    assert!(failure(&mut convert(&directory.path().join("none/x.gguf")), 1).contains("none"));
    let out = directory.path().join("x.gguf");
    let json = directory.path().join("there.json");
    fs::write(&json, "mine").unwrap();
    assert!(failure(convert(&out).arg("--report").arg(&json), 1).contains("--force"));
    assert!(failure(convert(&out).arg("--report").arg(&there), 1).contains("not a directory"));
    let none = directory.path().join("none/report");
    assert!(failure(convert(&out).arg("--report").arg(&none), 1).contains("none"));
    assert!(failure(convert(&out).arg("--report").arg(&out), 2).contains("same file"));
    let error = failure(carat().arg("convert").arg(model()).arg("-o").arg(&out), 1);
    assert!(error.contains("already a Carat file"), "{error}");
    let error = failure(
        carat()
            .arg("logits")
            .arg(model())
            .args(["--tokens", "1", "-o"])
            .arg(directory.path()),
        1,
    );
    assert!(error.contains("not a regular file"), "{error}");
    assert!(!out.exists());
}

#[test]
fn the_systems_words_are_followed_by_what_to_try() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.gguf");
    for command in ["run", "inspect", "bench"] {
        let mut args = vec![command, missing.to_str().unwrap()];
        if command == "run" {
            args.extend(["-p", "x"]);
        }
        let error = String::from_utf8(carat().args(args).output().unwrap().stderr).unwrap();
        assert!(error.contains("is the path right?"), "{command}: {error}");
    }
}

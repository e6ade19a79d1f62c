//! `carat chat` without a terminal: lines in, answers out, notes on stderr.

use crate::support::{carat, checkpoint, failure, json, model, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

fn chat(model: &Path, flags: &[&str], lines: &[&str]) -> assert_cmd::Command {
    let mut c = carat();
    c.arg("chat")
        .arg(model)
        .args(["--device", "cpu"])
        .args(flags);
    c.write_stdin(lines.join("\n"));
    c
}

fn talk(model: &Path, flags: &[&str], lines: &[&str]) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = chat(model, flags, lines).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{stderr}");
    (String::from_utf8(stdout).unwrap(), stderr)
}

fn saved(path: &Path) -> Vec<(String, String)> {
    let root: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let text = |m: &Value, k: &str| m[k].as_str().unwrap().to_owned();
    let messages = root["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|m| (text(m, "role"), text(m, "content")))
        .collect()
}

const SHORT: [&str; 4] = ["-n", "12", "--temp", "0.9"];

/// What the cache holds of earlier answers changes none: a chat that begins with the loaded conversation
/// computes it anew.
#[test]
fn answers_do_not_depend_on_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let save = |name: &str| format!("/save {}", at(name).display());
    let (first, _) = talk(
        model(),
        &["-n", "12", "--temp", "0", "--system", "Be brief."],
        &[
            "Who came in?",
            &save("one.json"),
            "And then?",
            "Why?",
            &save("three.json"),
        ],
    );
    let load = format!("/load {}", at("one.json").display());
    let (second, _) = talk(
        model(),
        &["-n", "12", "--temp", "0"],
        &[&load, "And then?", "Why?", &save("again.json")],
    );
    assert_eq!(saved(&at("three.json")), saved(&at("again.json")));
    assert!(first.ends_with(&second), "{first:?} {second:?}");
    let roles: Vec<String> = saved(&at("three.json")).into_iter().map(|m| m.0).collect();
    let turn = ["user", "assistant"];
    assert_eq!(roles, [&["system"][..], &turn, &turn, &turn].concat());

    // The file is what `carat template` reads.
    let prompt = carat()
        .arg("template")
        .arg(model())
        .arg("--messages")
        .arg(at("one.json"))
        .output()
        .unwrap();
    let prompt = String::from_utf8(prompt.stdout).unwrap();
    assert!(prompt.starts_with(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho came in?<|im_end|>"
    ));
}

#[test]
fn commands() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("talk.json");
    let save = format!("/save {}", file.display());
    let lines = [
        "Who came in?",
        "/regen",
        "And then?",
        "/undo",
        "/system Speak up.",
        "/system",
        &save,
        &save,
        "/help",
        "/quit",
        "never",
    ];
    let (_, notes) = talk(model(), &SHORT, &lines);
    for note in [
        "[taken back: And then?]",
        "holds from the next answer",
        "Speak up.",
        "messages saved",
        "/regen ",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
    let found = saved(&file);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], ("system".into(), "Speak up.".into()));
    assert_eq!(found[1], ("user".into(), "Who came in?".into()));
    // A second answer has a seed of its own, and the same one in every run.
    let (one, _) = talk(model(), &SHORT, &["Who came in?", "/regen"]);
    let (two, _) = talk(model(), &SHORT, &["Who came in?", "/regen"]);
    assert_eq!(one, two);
    let (alone, _) = talk(model(), &SHORT, &["Who came in?"]);
    let again = one.strip_prefix(&alone).unwrap();
    assert_ne!(again, alone);

    // A line that goes on, and one that begins with a slash.
    let save = format!("/save {}", directory.path().join("b.json").display());
    talk(model(), &SHORT, &["one\\", "two", "//etc", &save]);
    let found = saved(&directory.path().join("b.json"));
    assert_eq!(
        (found[0].1.as_str(), found[2].1.as_str()),
        ("one\ntwo", "/etc")
    );
}

#[test]
fn a_full_context_is_seen() {
    let long = "It was a dark night and the rain fell on the roof of the house. ".repeat(4);
    let lines = [&*long; 6];
    let (_, notes) = talk(
        model(),
        &["--ctx", "256", "-n", "40", "--temp", "0"],
        &lines,
    );
    assert!(
        notes.contains("the context of 256 positions is full") && notes.contains("oldest message"),
        "{notes}"
    );
    let error = failure(
        &mut chat(model(), &["--ctx", "256"], &[&long.repeat(10)]),
        1,
    );
    assert!(
        error.contains("256 positions") && error.contains("--ctx"),
        "{error}"
    );
    // An answer that reaches the end of the context.
    let (_, notes) = talk(
        model(),
        &[
            "--ctx",
            "40",
            "--temp",
            "0",
            "--logit-bias",
            "3=-inf",
            "--logit-bias",
            "1=-inf",
        ],
        &["Go on."],
    );
    assert!(notes.contains("the answer ends here"), "{notes}");
}

/// A copy of the bundled checkpoint without a chat template, converted.
fn plain(directory: &Path) -> std::path::PathBuf {
    let source = directory.join("plain");
    fs::create_dir(&source).unwrap();
    for entry in fs::read_dir(checkpoint()).unwrap().flatten() {
        fs::copy(entry.path(), source.join(entry.file_name())).unwrap();
    }
    let settings = source.join("tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&settings).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("chat_template");
    fs::write(&settings, config.to_string()).unwrap();
    let file = directory.join("plain.gguf");
    carat()
        .arg("convert")
        .arg(&source)
        .arg("-o")
        .arg(&file)
        .args(["--method", "none"])
        .assert()
        .success();
    file
}

#[test]
fn a_model_without_a_template_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let plain = plain(directory.path());
    let (answer, notes) = talk(&plain, &["-n", "12", "--temp", "0"], &["It was a dark"]);
    assert!(
        notes.contains("no chat template") && notes.contains("--template"),
        "{notes}"
    );
    let run = carat()
        .arg("run")
        .arg(&plain)
        .args([
            "-p",
            "It was a dark",
            "-n",
            "12",
            "--temp",
            "0",
            "--device",
            "cpu",
        ])
        .output()
        .unwrap();
    assert_eq!(answer, String::from_utf8(run.stdout).unwrap());
    let template = directory.path().join("own.jinja");
    fs::write(&template, "{{ messages[-1].content }}").unwrap();
    let flags = [
        "-n",
        "12",
        "--temp",
        "0",
        "--template",
        template.to_str().unwrap(),
    ];
    let (own, notes) = talk(&plain, &flags, &["It was a dark"]);
    assert!(!notes.contains("no chat template"), "{notes}");
    assert_eq!(own, answer);
}

#[test]
fn faults_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let bad = directory.path().join("bad.json");
    fs::write(&bad, r#"[{"role": "tool", "content": "x"}]"#).unwrap();
    let template = directory.path().join("strict.jinja");
    fs::write(&template, "{{ raise_exception('no system message') }}").unwrap();
    for (flags, line, says) in [
        (&[][..], "/load missing.json", "missing.json"),
        (&[], &format!("/load {}", bad.display()), "'tool'"),
        (
            &[],
            &format!("/save {}", text().display()),
            "exists already",
        ),
        (&[], "/save /nowhere/talk.json", "/nowhere"),
        (&[], "/frobnicate", "/help lists them"),
        (
            &["--template", template.to_str().unwrap()],
            "Hi",
            "no system message",
        ),
    ] {
        let error = failure(&mut chat(model(), flags, &[line]), 1);
        assert!(error.contains(says), "{line}: {error}");
    }
    let mut c = carat();
    c.arg("chat")
        .arg(model())
        .args(["--device", "cpu"])
        .write_stdin(b"a\xff".to_vec());
    assert!(failure(&mut c, 1).contains("byte 1"));
}

/// Ctrl-C ends the answer, not the program.
#[cfg(unix)]
#[test]
fn an_interrupt_stops_the_answer() {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("talk.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_carat"))
        .arg("chat")
        .arg(model())
        .args(["--device", "cpu", "--ctx", "50000", "--temp", "0"])
        .args(["--logit-bias", "3=-inf", "--logit-bias", "1=-inf"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Go on.\n").unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 20]).unwrap();
    let drain = std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    // The program goes on: it saves what there is.
    let more = format!("/save {}\n/quit\n", file.display());
    stdin.write_all(more.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{notes}");
    assert!(notes.contains("[stopped]"), "{notes}");
    assert!(!saved(&file)[1].1.is_empty());
    drain.join().unwrap().unwrap();
}

/// `carat run --messages`: the prompt is the template's, a user's text spells no control token, and what cannot be
/// answered is refused.
#[test]
fn run_answers_a_conversation() {
    let run = |messages: &str| {
        let mut c = carat();
        c.arg("run").arg(model());
        c.args(["--messages", "-", "--json", "-n", "4", "--device", "cpu"])
            .write_stdin(messages);
        c
    };
    let talk = r#"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                   {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Who are you?"}]}"#;
    let report = json(&mut run(talk));
    let prompt = carat()
        .arg("template")
        .arg(model())
        .args(["--messages", "-"])
        .write_stdin(talk)
        .output()
        .unwrap();
    let tokens = json(
        carat()
            .arg("tokenize")
            .arg(model())
            .args(["--text", "-", "--special", "--bos", "--json"])
            .write_stdin(prompt.stdout),
    );
    assert_eq!(report["prompt_ids"], tokens["ids"]);
    let spelt = json(&mut run(r#"[{"role": "user", "content": "<|im_end|>"}]"#));
    let ids = spelt["prompt_ids"].as_array().unwrap();
    assert_eq!(ids.iter().filter(|id| **id == 3).count(), 1, "{ids:?}");
    for (messages, wrong) in [
        (
            r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]"#,
            "nothing to answer",
        ),
        ("[]", "nothing to answer"),
        ("{}", "messages"),
        ("no", "standard input"),
    ] {
        let stderr = failure(&mut run(messages), 1);
        assert!(stderr.contains(wrong), "{messages}: {stderr}");
    }
}

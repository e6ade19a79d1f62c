//! What users of llama.cpp and Ollama type, and what a terminal's newcomer expects.

use crate::support::{carat, json, model};
use serde_json::Value;

fn run(flags: &[&str]) -> assert_cmd::Command {
    let mut c = carat();
    c.arg("run")
        .arg(model())
        .args(["--device", "cpu"])
        .args(flags);
    c
}

fn ids(v: &Value) -> usize {
    v["ids"].as_array().unwrap().len()
}

#[test]
fn a_prompt_stands_behind_the_model() {
    let short = ["-n", "4", "--json"];
    let with = |flags: &[&str]| json(run(&short).args(flags));
    let a = with(&["The old house"]);
    let b = with(&["-p", "The old house"]);
    assert_eq!((&a["prompt_ids"], &a["ids"]), (&b["prompt_ids"], &b["ids"]));
    let c = json(run(&short).arg("-").write_stdin("The old house"));
    assert_eq!((&a["prompt_ids"], &a["ids"]), (&c["prompt_ids"], &c["ids"]));
}

#[test]
fn of_an_option_given_twice_the_last_counts() {
    let v = json(&mut run(&[
        "a",
        "-n",
        "9",
        "--json",
        "-n",
        "2",
        "--temp",
        "1",
        "--temperature",
        "0",
    ]));
    assert_eq!(ids(&v), 2);
    let same = json(&mut run(&[
        "a",
        "--n-predict",
        "2",
        "--json",
        "--temp",
        "0",
        "--seed",
        "4",
    ]));
    assert_eq!(v["ids"], same["ids"]);
}

#[test]
fn layers_on_a_gpu_are_noted_and_nothing_else() {
    for flags in [
        &["-ngl", "99"][..],
        &["--n-gpu-layers", "0"],
        &["--n_gpu_layers=all"],
    ] {
        let output = run(&["a", "-n", "1", "--json"])
            .args(flags)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.starts_with("note: -ngl") && stderr.contains("--device"),
            "{stderr}"
        );
    }
}

#[test]
fn a_random_seed_is_shown_and_can_be_used_again() {
    let random = [
        "The old house",
        "-n",
        "24",
        "--temp",
        "1.5",
        "--top-p",
        "1",
        "--seed",
        "-1",
    ];
    let [a, b] = [(); 2].map(|()| json(run(&random).arg("--json")));
    assert_ne!(a["seed"], b["seed"]);
    assert_ne!(a["ids"], b["ids"]);
    let seed = a["seed"].as_u64().unwrap().to_string();
    let again = json(run(&random).args(["--seed", &seed, "--json"]));
    assert_eq!((&again["ids"], &again["seed"]), (&a["ids"], &a["seed"]));
    let text = run(&random).output().unwrap();
    let notes = String::from_utf8(text.stderr).unwrap();
    let shown = notes.split("seed ").nth(1).unwrap().trim();
    let seed: String = shown.chars().take_while(char::is_ascii_digit).collect();
    let again = run(&random).args(["--seed", &seed]).output().unwrap();
    assert_eq!(again.stdout, text.stdout);
}

#[test]
fn shells_complete() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = carat().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        for word in ["convert", "temperature", "ctx-size", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let bash = carat().args(["completions", "bash"]).output().unwrap();
    let Ok(mut shell) = std::process::Command::new("bash")
        .args(["-n", "/dev/stdin"])
        .stdin(std::process::Stdio::piped())
        .spawn()
    else {
        eprintln!("no bash here: its script is not read by it");
        return;
    };
    use std::io::Write;
    shell.stdin.take().unwrap().write_all(&bash.stdout).unwrap();
    assert!(shell.wait().unwrap().success());
}

#[test]
fn commands_have_manual_pages() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    carat().arg("man").arg(&pages).assert().success();
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("carat.1").contains("carat\\-convert(1)"));
    assert!(page("carat-run.1").contains("\\-\\-temp"));
    assert!(page("carat-cache-list.1").contains("Example"));
    // A file is in the way.
    crate::support::failure(carat().arg("man").arg(pages.join("carat.1")), 1);
}

/// Without a folder for a compositor's socket, as in a container.
#[test]
fn no_display_is_missed() {
    let output = carat()
        .args(["run"])
        .arg(model())
        .args(["a", "-n", "1", "--json", "--device", "gpu:no such adapter"])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("no such adapter"), "{stderr}");
}

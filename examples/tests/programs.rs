//! Every program runs on the bundled model.
#![allow(clippy::unwrap_used)]

use carat_examples::{Bundled, bundled};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

fn model() -> &'static std::path::Path {
    static MODEL: OnceLock<Bundled> = OnceLock::new();
    MODEL.get_or_init(|| bundled().unwrap()).as_ref()
}

/// What a program prints for arguments behind the model, and lines on standard input.
fn run(program: &str, args: &[&str], lines: &str) -> String {
    let mut command = Command::new(program);
    command.arg(model()).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    let Output { status, stdout, .. } = child.wait_with_output().unwrap();
    assert!(status.success(), "{program}: {status}");
    String::from_utf8(stdout).unwrap()
}

#[test]
fn generate_goes_on_with_a_text() {
    let of = |tokens| run(env!("CARGO_BIN_EXE_generate"), &["Once upon", tokens], "");
    let text = of("12");
    assert!(text.starts_with("Once upon") && text.len() > "Once upon\n".len());
    assert_eq!(text, of("12"));
}

#[test]
fn chat_answers_each_line() {
    let lines = "Hello!\n/regen\n/undo\nWhat is the sky?\n";
    let text = run(env!("CARGO_BIN_EXE_chat"), &["Be brief."], lines);
    assert!(text.contains("[taken back: Hello!]"), "{text}");
    assert!(text.lines().count() >= 4, "{text}");
}

#[test]
fn batch_gives_what_each_prompt_gets_alone() {
    let of = |prompts: &[&str]| run(env!("CARGO_BIN_EXE_batch"), prompts, "");
    let (a, b) = ("Once upon a time", "The sky is");
    assert_eq!(of(&[a, b]), of(&[a]) + &of(&[b]));
}

#[test]
fn embed_finds_the_same_line_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.txt");
    std::fs::write(
        &file,
        "The cat sleeps.\nIt rains.\n\nTwo and two are four.\n",
    )
    .unwrap();
    let args = [file.to_str().unwrap(), "It rains."];
    let text = run(env!("CARGO_BIN_EXE_embed"), &args, "");
    assert!(text.starts_with("1.000  It rains.\n"), "{text}");
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn structured_answers_fit_their_schema() {
    let text = run(env!("CARGO_BIN_EXE_structured"), &[], "");
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(
        found["answer"].is_string() && found["certain"].is_boolean(),
        "{text}"
    );
    let schema = r#"{"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2}"#;
    let text = run(
        env!("CARGO_BIN_EXE_structured"),
        &["Two numbers?", schema],
        "",
    );
    let found: Vec<u8> = serde_json::from_str(&text).unwrap();
    assert_eq!(found.len(), 2);
}

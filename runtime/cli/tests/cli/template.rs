//! `carat template`: prompts of templates wherever they are found, and what goes wrong.

use crate::support::{carat, checkpoint, failure, json, model};
use std::fs;
use std::path::Path;

const CHAT: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}\n{% endfor %}\
                    {% if add_generation_prompt %}<|assistant|>{% endif %}{% if tools %}{{ tools | tojson }}{% endif %}";

fn template(source: &Path, messages: &str) -> assert_cmd::Command {
    let mut c = carat();
    c.arg("template")
        .arg(source)
        .args(["--messages", "-"])
        .write_stdin(messages);
    c
}

fn prompt(source: &Path, messages: &str) -> String {
    let output = template(source, messages).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn prompts_of_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chat.jinja");
    fs::write(&file, CHAT).unwrap();
    let hello = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    assert_eq!(prompt(&file, hello), "<|user|>Hi\n<|assistant|>");
    let list = r#"[{"role": "user", "content": "Hi"}]"#;
    assert_eq!(prompt(&file, list), "<|user|>Hi\n<|assistant|>");
    let all = r#"{"messages": [{"role": "user", "content": "é"}], "tools": [{"b": 1, "a": 2}],
                 "add_generation_prompt": false, "eos_token": "</s>", "bos_token": "<s>"}"#;
    assert_eq!(prompt(&file, all), "<|user|>é</s>\n[{\"b\": 1, \"a\": 2}]");
    fs::write(
        &file,
        "{{ strftime_now('%Y') }} {{ extra }} {{ bos_token }}",
    )
    .unwrap();
    let date = r#"{"messages": [], "date": "26 Jul 2024", "extra": true, "bos_token": "<s>"}"#;
    assert_eq!(prompt(&file, date), "26 Jul 2024 True <s>");
    let report = json(template(&file, date).arg("--json"));
    assert_eq!(report["prompt"], "26 Jul 2024 True <s>");
    let year = prompt(&file, r#"{"messages": []}"#);
    assert!(year[..4].parse::<u32>().unwrap() >= 2024, "{year}");
}

/// The template of a directory, in each of its places, and of the Carat file that is made of it.
#[test]
fn prompts_of_models() {
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(checkpoint()).unwrap().flatten() {
        fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    let settings = directory.path().join("tokenizer_config.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&settings).unwrap()).unwrap();
    let own = directory.path().join("chat_template.jinja");
    let hello = r#"[{"role": "user", "content": "Hi"}]"#;

    config["chat_template"] = "{{ messages[0].content }} in a field".into();
    fs::write(&settings, config.to_string()).unwrap();
    assert_eq!(prompt(directory.path(), hello), "Hi in a field");
    config["chat_template"] = serde_json::json!([
        {"name": "tool_use", "template": "other"},
        {"name": "default", "template": "{{ messages[0].content }} in a list{{ eos_token }}"},
    ]);
    fs::write(&settings, config.to_string()).unwrap();
    let eos = config["eos_token"].as_str().unwrap();
    assert_eq!(
        prompt(directory.path(), hello),
        format!("Hi in a list{eos}")
    );
    let carat_file = directory.path().join("out.gguf");
    carat()
        .arg("convert")
        .arg(directory.path())
        .arg("-o")
        .arg(&carat_file)
        .args(["--method", "none"])
        .assert()
        .success();
    assert_eq!(prompt(&carat_file, hello), format!("Hi in a list{eos}"));
    fs::write(&own, CHAT).unwrap();
    assert!(prompt(directory.path(), hello).starts_with("<|user|>Hi"));

    // The bundled model has one too.
    assert!(prompt(model(), hello).contains("<|im_start|>user\nHi"));
    config.as_object_mut().unwrap().remove("chat_template");
    fs::write(&settings, config.to_string()).unwrap();
    fs::remove_file(&own).unwrap();
    let error = failure(&mut template(directory.path(), hello), 1);
    assert!(
        error.contains("no chat template") && error.contains(".jinja"),
        "{error}"
    );
}

/// Every real template of the oracles, through the program.
#[test]
fn prompts_of_real_templates() {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles/chat-templates");
    if !directory.exists() {
        eprintln!(
            "ABSENT: {}, the check against it is skipped",
            directory.display()
        );
        return;
    }
    let cases = fs::read_to_string(directory.join("expected.json")).unwrap();
    // The order of keys is part of a prompt: serde_json's own values lose it.
    let cases: carat::template::Value = serde_json::from_str(&cases).unwrap();
    for case in cases.items().unwrap() {
        let field = |name: &str| case.get(name).and_then(|v| v.as_str());
        let input = serde_json::to_string(case.get("input").unwrap()).unwrap();
        let all = format!(
            r#"{{"bos_token": "<s>", "eos_token": "</s>", "date": "26 Jul 2024", {}"#,
            input.strip_prefix('{').unwrap()
        );
        let file = directory.join(field("template").unwrap());
        let output = template(&file, &all).output().unwrap();
        if let Some(expected) = field("output") {
            let found = String::from_utf8(output.stdout).unwrap();
            assert_eq!(found, expected, "{}", file.display());
        } else if !output.status.success() {
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(
                error.starts_with("error: ") && error.contains(".jinja"),
                "{error}"
            );
        }
    }
}

#[test]
fn faults_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chat.jinja");
    let hello = r#"[{"role": "user", "content": "Hi"}]"#;
    let fault = |source: &str, messages: &str| {
        fs::write(&file, source).unwrap();
        failure(&mut template(&file, messages), 1)
    };
    for (source, says) in [
        ("a\n{% if %}", "line 2"),
        ("a\n\n{{ messages.x.y }}", "line 3"),
        (
            "{{ raise_exception('no tools') }}",
            "no tools; change the messages",
        ),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "loops without end",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "call themselves",
        ),
        (
            "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "steps",
        ),
    ] {
        let error = fault(source, hello);
        assert!(
            error.contains(says) && error.contains("chat.jinja"),
            "{source}: {error}"
        );
    }
    for (messages, says) in [
        ("", "not JSON"),
        ("{\"messages\":\n[}", "line 2"),
        ("7", "neither an object nor a list"),
        ("{}", "no 'messages'"),
        ("{\"messages\": 1}", "no list"),
        ("[1]", "message 1 is no object"),
        ("[{}]", "no 'role'"),
        ("{\"messages\": [], \"tools\": 1}", "'tools' is no list"),
        (
            "{\"messages\": [], \"add_generation_prompt\": 1}",
            "expected true or false",
        ),
        ("{\"messages\": [], \"date\": 1}", "expected a text"),
    ] {
        let error = fault(CHAT, messages);
        assert!(
            error.contains(says) && error.contains("standard input"),
            "{messages}: {error}"
        );
    }
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert!(fault(CHAT, &deep).contains("not JSON"));
    let missing = failure(
        carat()
            .arg("template")
            .arg(&file)
            .args(["--messages", "missing.json"]),
        1,
    );
    assert!(missing.contains("missing.json"), "{missing}");
    let none = failure(&mut template(directory.path(), hello), 1);
    assert!(none.contains("no chat template"), "{none}");
    failure(carat().arg("template").arg(&file), 2);
}

//! `carat template`: prompts of templates wherever they are found, and what goes wrong.

use crate::support::{carat, checkpoint, failure, json, model};
use std::fs;
use std::path::{Path, PathBuf};

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

/// A copy of the bundled checkpoint with another chat template.
fn with_template(directory: &Path, template: serde_json::Value) -> PathBuf {
    let source = directory.join("source");
    fs::create_dir(&source).unwrap();
    for entry in fs::read_dir(checkpoint()).unwrap().flatten() {
        fs::copy(entry.path(), source.join(entry.file_name())).unwrap();
    }
    let settings = source.join("tokenizer_config.json");
    let text = fs::read_to_string(&settings).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["chat_template"] = template;
    // No token, whatever config.json says.
    config["bos_token"] = serde_json::Value::Null;
    fs::write(&settings, config.to_string()).unwrap();
    source
}

fn converted(source: &Path) -> PathBuf {
    let file = source.with_extension("gguf");
    carat()
        .arg("convert")
        .arg(source)
        .arg("-o")
        .arg(&file)
        .args(["--method", "none", "--card-tokens", "0"])
        .assert()
        .success();
    file
}

/// Prints all that a conversation may carry.
const ALL: &str = "{{ bos_token }}{{ tools|tojson }}{{ depth }}{{ strftime_now('%Y') }}\
    {% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{{ m.name }}{{ m.tool_calls|default([])|tojson }}\
    {{ m.thought }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// What `template` prints, `run` sends.
#[test]
fn run_sends_what_template_prints() {
    let directory = tempfile::tempdir().unwrap();
    let file = converted(&with_template(directory.path(), ALL.into()));
    let run = |talk: &str| {
        let mut c = carat();
        c.arg("run").arg(&file).args(["--messages", "-", "--json"]);
        c.args(["-n", "1", "--device", "cpu"]);
        c.write_stdin(talk);
        c
    };
    for talk in [
        r#"[{"role": "user", "content": "Hi"}]"#,
        r#"{"messages": [{"role": "user", "content": "Hi", "name": "n"}], "date": "noon", "tools": [{"b": 1, "a": [null]}],
            "depth": false}"#,
        r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": null,
            "thought": "so", "tool_calls": [{"name": "f", "arguments": {}}]}, {"role": "tool", "content": "é"}],
            "bos_token": "<|begin_of_text|>"}"#,
        r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well"}],
            "add_generation_prompt": false}"#,
    ] {
        let shown = prompt(&file, talk);
        let mut tokenize = carat();
        tokenize.arg("tokenize").arg(&file);
        tokenize.args(["--text", "-", "--special", "--bos", "--json"]);
        let tokens = json(tokenize.write_stdin(shown.clone()));
        assert_eq!(json(&mut run(talk))["prompt_ids"], tokens["ids"], "{shown}");
        assert_eq!(shown, prompt(&file, &format!("\u{feff}{talk}")));
        assert!(!shown.starts_with("<|begin_of_text|>") || talk.contains("begin_of_text"));
    }
    let unread = r#"{"messages": [{"role": "user", "content": "Hi"}], "dept": 1}"#;
    for mut command in [run(unread), template(&file, unread)] {
        let error = failure(&mut command, 1);
        assert!(error.contains("does not read 'dept'"), "{error}");
    }
    // A chat goes on with all of a file, and keeps it.
    let (talk, again) = (
        directory.path().join("a.json"),
        directory.path().join("b.json"),
    );
    let text = r#"{"messages": [{"role": "user", "content": ["Hi"]}, {"role": "assistant", "content": null},
        {"role": "tool", "content": "x"}, {"role": "assistant", "content": "Well"}], "tools": [1], "depth": 7}"#;
    fs::write(&talk, text).unwrap();
    let lines = format!(
        "/load {}\nGo on.\n/save {}",
        talk.display(),
        again.display()
    );
    let mut chat = carat();
    chat.arg("chat")
        .arg(&file)
        .args(["--device", "cpu", "-n", "2"]);
    chat.write_stdin(lines).assert().success();
    let kept: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&again).unwrap()).unwrap();
    let before: serde_json::Value = serde_json::from_str(text).unwrap();
    let messages = kept["messages"].as_array().unwrap();
    assert_eq!(messages[..4], before["messages"].as_array().unwrap()[..]);
    assert_eq!(
        (messages.len(), &kept["tools"], &kept["depth"]),
        (6, &before["tools"], &before["depth"])
    );
}

#[test]
fn templates_have_names() {
    let directory = tempfile::tempdir().unwrap();
    let list = serde_json::json!([
        {"name": "rag", "template": "R{{ bos_token }}"},
        {"name": "tool_use", "template": "T{{ tools|length }}"},
    ]);
    let source = with_template(directory.path(), list);
    let file = converted(&source);
    for model in [&source, &file] {
        assert_eq!(prompt(model, r#"{"messages": [], "tools": [1]}"#), "T1");
        assert_eq!(
            prompt(model, r#"{"messages": [], "chat_template": "rag"}"#),
            "R"
        );
        let error = failure(&mut template(model, "[]"), 1);
        assert!(error.contains("rag, tool_use"), "{error}");
    }
    let more = source.join("additional_chat_templates");
    fs::create_dir(&more).unwrap();
    fs::write(more.join("tool_use.jinja"), "U").unwrap();
    fs::write(
        source.join("chat_template.jinja"),
        "\u{feff}{% if true %}\r\nA\r\n{% endif %}\r\nB\r\n",
    )
    .unwrap();
    assert_eq!(prompt(&source, "[]"), "A\nB");
    assert_eq!(prompt(&source, r#"{"messages": [], "tools": []}"#), "U");
}

/// A mark of the byte order is no part of a text.
#[test]
fn marks_are_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let run = |flags: &[&str], file: &Path| {
        let mut c = carat();
        c.arg("run")
            .arg(model())
            .args(["--json", "-n", "4", "--temp", "0", "--device", "cpu"]);
        json(c.args(flags).arg(file))
    };
    let text = "It was a dark";
    let (with, without) = (at("a", &format!("\u{feff}{text}")), at("b", text));
    assert_eq!(run(&["-f"], &with)["ids"], run(&["-f"], &without)["ids"]);
    let schema = at("s.json", "\u{feff}{\"enum\": [1, 2]}");
    let report = run(&["-p", "x", "--json-schema"], &schema);
    assert_eq!(report["complete"], true);
    let source = with_template(directory.path(), "{{ messages }}".into());
    for name in [
        "config.json",
        "tokenizer_config.json",
        "generation_config.json",
        "tokenizer.json",
    ] {
        let path = source.join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("\u{feff}{text}")).unwrap();
    }
    converted(&source);
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
    let cases: carat_text::template::Value = serde_json::from_str(&cases).unwrap();
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
    // As in transformers no fault, but not silent.
    fs::write(&file, "{{ messages[0].content }}").unwrap();
    let unread = r#"[{"role": "user", "content": "Hi", "name": "x"}]"#;
    let output = template(&file, unread).output().unwrap();
    assert_eq!(output.stdout, b"Hi");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("does not read 'name' of message 1"), "{told}");
    let refuses = "{{ raise_exception('no tools') }}";
    let wide = "{\"messages\": [], \"n\": 99999999999999999999}";
    for (source, messages) in [(refuses, hello), (CHAT, ""), (CHAT, wide)] {
        fs::write(&file, source).unwrap();
        let output = template(&file, messages).arg("--json").output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["error"]["code"], "template", "{told}");
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
        (
            "{\"messages\": [], \"depth\": 99999999999999999999}",
            "more than 64 bits",
        ),
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

//! Conversations of an API, made such as templates read them; and what templates write of calls, read again.
#![allow(clippy::unwrap_used, clippy::panic)] // A failure here is a failed test.

mod answers;

use answers::{options, parsed};
use carat_text::reply::{Options, Syntax};
use carat_text::template::{ChatTemplate, Clock, Conversation, Fit, Value};

fn talk(json: &str) -> Conversation {
    Conversation::new(serde_json::from_str(json).unwrap()).unwrap()
}

fn json(talk: &Conversation) -> serde_json::Value {
    serde_json::to_value(talk.to_value()).unwrap()
}

/// The messages that a template gets.
fn fitted(source: &str, messages: &str) -> serde_json::Value {
    let talk = Fit::of_source(source).unwrap().apply(&talk(messages));
    json(&talk)["messages"].clone()
}

fn expect(source: &str, messages: &str, expected: &str) {
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    assert_eq!(fitted(source, messages), expected, "{source}");
}

const TEXTS: &str = "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}";
const CALLS: &str = "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% for c in m.tool_calls %}\
    {{ c.function.name }}{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}{% endfor %}{% endfor %}";
const CALLS_OF_TEXTS: &str = "{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% for c in m.tool_calls %}\
    {{ c.function.name + c.function.arguments }}{% endfor %}{% endfor %}";

#[test]
fn content() {
    let parts = r#"[{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "b"}]}]"#;
    let joined = r#"[{"role": "user", "content": "a\nb"},
                     {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "b"}]}]"#;
    expect(TEXTS, parts, joined);
    // A list that is printed as Python has it is not taken.
    expect(
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        parts,
        joined,
    );
    let takes = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}\
        {% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}{% endfor %}";
    expect(takes, parts, parts);
    expect(
        TEXTS,
        r#"[{"role": "assistant", "content": null, "tool_calls": []}, {"role": "assistant", "tool_calls": null}]"#,
        r#"[{"role": "assistant", "content": ""}, {"role": "assistant", "content": ""}]"#,
    );
}

#[test]
fn roles() {
    let messages =
        r#"[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]"#;
    expect(
        TEXTS,
        messages,
        r#"[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]"#,
    );
    let knows = "{% for m in messages %}{% if m.role == 'developer' %}!{% endif %}{{ m.content }}{% endfor %}";
    expect(knows, messages, messages);
    let without = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}{% endfor %}";
    expect(
        without,
        messages,
        r#"[{"role": "user", "content": "Be brief.\n\nHi"}]"#,
    );
    expect(
        without,
        r#"[{"role": "system", "content": "Be brief."}]"#,
        r#"[{"role": "user", "content": "Be brief."}]"#,
    );
}

#[test]
fn calls_beside_content() {
    let message = |content: &str| {
        format!(
            r#"[{{"role": "assistant", "content": {content}, "tool_calls": [{{"function": {{"name": "f", "arguments": {{}}}}}}]}}]"#
        )
    };
    expect(CALLS, &message("null"), &message("\"\""));
    let only = CALLS
        .replace("{% for c", "{% if m.content is none %}{% for c")
        .replace(
            "{% endfor %}{% endfor %}{% endfor %}",
            "{% endfor %}{% endfor %}{% endif %}{% endfor %}",
        );
    let only = only.replace("'>' + m.content", "'>' ~ m.content");
    expect(&only, &message("null"), &message("null"));
    expect(&only, &message("\"\""), &message("null"));
    expect(&only, &message("\"a\""), &message("\"a\""));
}

#[test]
fn calls_and_results() {
    let of = |arguments: &str| {
        format!(
            r#"[{{"role": "assistant", "content": "", "tool_calls": [{{"id": "1", "type": "function",
            "function": {{"name": "f", "arguments": {arguments}}}}}]}}]"#
        )
    };
    let (text, object) = (
        of(r#""{\"b\": [1, 2.5, null], \"a\": {}}""#),
        of(r#"{"b": [1, 2.5, null], "a": {}}"#),
    );
    expect(CALLS, &text, &object);
    expect(CALLS, &object, &object);
    expect(CALLS, &of("\"\""), &of("{}"));
    expect(CALLS, &of("\"no\""), &of("\"no\""));
    expect(TEXTS, &text, &object);
    expect(CALLS_OF_TEXTS, &text, &text);
    expect(CALLS_OF_TEXTS, &object, &text);
    // Results know the names of their calls.
    let results = r#"[{"role": "assistant", "content": "", "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"}, {"role": "tool", "tool_call_id": "2", "name": "g", "content": "y"}]"#;
    let found = fitted(CALLS, results);
    assert_eq!(
        found[0]["tool_calls"][0]["function"]["arguments"],
        serde_json::json!({})
    );
    let named = |at: usize| {
        (
            found[at]["name"].as_str(),
            found[at]["tool_call_id"].as_str(),
        )
    };
    assert_eq!(named(1), (Some("f"), Some("1")));
    assert_eq!(named(2), (Some("g"), Some("2")));
    // Or stand within the message with the calls.
    let within =
        format!("{CALLS}{{% for m in messages %}}{{{{ m.tool_responses }}}}{{% endfor %}}");
    let results = results.replace(
        "\"y\"}",
        "\"{\\\"z\\\": 1}\"}, {\"role\": \"assistant\", \"content\": \"So.\"}",
    );
    let found = fitted(&within, &results);
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(
        found[0]["tool_responses"],
        serde_json::json!([{"name": "f", "response": "x"}, {"name": "g", "response": {"z": 1}}])
    );
    assert_eq!(found[0]["content"], "So.");
}

#[test]
fn names_of_reasoning_and_tools() {
    let source =
        "{{ xml_tools }}{% for m in messages %}{{ m.content }}{{ m.thinking }}{% endfor %}";
    let talk = talk(
        r#"{"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}], "tools": [{"type": "function"}]}"#,
    );
    let found = json(&Fit::of_source(source).unwrap().apply(&talk));
    assert_eq!(found["messages"][0]["thinking"], "b");
    assert_eq!(found["xml_tools"], found["tools"]);
    let found = json(&Fit::of_source(TEXTS).unwrap().apply(&talk));
    assert_eq!(found["messages"][0]["reasoning_content"], "b");
    assert!(found.get("xml_tools").is_none());
    assert!(Fit::of_source("{{ '").is_err());
}

/// What a template writes for an answer with a call is read again as that call.
#[test]
fn templates_write_what_is_read() {
    let dir = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/oracles/chat-templates");
    if !dir.exists() {
        eprintln!(
            "ABSENT: {}, the check of its templates is skipped",
            dir.display()
        );
        return;
    }
    let tools: Value = serde_json::from_str(answers::TOOLS).unwrap();
    let user = r#"{"role": "user", "content": "Weather?"}"#;
    let call = r#"{"role": "assistant", "content": null, "tool_calls": [{"id": "abcdefghi", "type": "function",
        "function": {"name": "weather", "arguments": "{\"city\": \"New York\", \"days\": 2}"}}]}"#;
    let (mut read, mut left) = (Vec::new(), Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "jinja"))
    {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let source = std::fs::read_to_string(file).unwrap();
        let syntax = Syntax::of_template(&source);
        let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")]
            .map(|(n, t)| (n.to_owned(), t.to_owned()));
        let template = ChatTemplate::of_source(source, tokens.into());
        let prompt = |messages: String, ask: bool| {
            let mut talk = talk(&format!("[{messages}]"));
            talk.tools = Some(tools.clone());
            talk.add_generation_prompt = Some(ask);
            let talk = template.fitted(&talk).unwrap();
            template.render(&talk, Clock::Unix(0), &str::to_owned)
        };
        let (before, after) = (
            prompt(user.into(), true),
            prompt(format!("{user}, {call}"), false),
        );
        let (before, after) = match (before, after) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(e), _) | (_, Err(e)) => {
                eprintln!("{name}: {e}");
                left.push(name);
                continue;
            }
        };
        // The prompt may begin reasoning that an answer of old has not.
        let same = before
            .bytes()
            .zip(after.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let same = (0..=same).rev().find(|at| after.is_char_boundary(*at));
        let shared = &after[..same.unwrap()];
        // Two markers may begin with the same characters.
        let open = shared.rfind(['<', '[']);
        let open = open.filter(|at| !shared[*at..].contains(['>', ']']));
        let same = open.unwrap_or(shared.len());
        let found = parsed(
            &syntax,
            &Options {
                reasoning_opened: false,
                ..options()
            },
            &after[same..],
        );
        match found.contains("0:weather‹{\"city\": \"New York\", \"days\": 2}›.") {
            true => read.push(name),
            false => {
                eprintln!("{name}: {:?}\n  {found:?}", &after[same..]);
                left.push(name);
            }
        }
    }
    eprintln!("read: {read:?}\nleft: {left:?}");
    assert_eq!((read.len(), left.len()), (31, 11), "{left:?}");
}

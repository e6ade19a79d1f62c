//! Conversations become prompts.

use super::*;

fn talk(json: &str) -> Result<Conversation, ChatError> {
    Conversation::new(serde_json::from_str(json).unwrap())
}

fn prompt(template: &ChatTemplate, json: &str) -> Result<String, ChatError> {
    template.render(&talk(json)?, Clock::Unix(0), &str::to_owned)
}

fn one(source: &str) -> ChatTemplate {
    ChatTemplate::of_source(source.into(), vec![("eos_token".into(), "</s>".into())])
}

#[test]
fn without_a_template_a_text_goes_on() {
    let messages = [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Bye"),
    ];
    let plain = Conversation::of_texts(messages).plain().unwrap();
    assert_eq!(plain, "Be brief.\n\nHiHello\nBye");
    for (json, what) in [
        (r#"{"messages": [], "tools": []}"#, "'tools'"),
        (r#"{"messages": [], "date": "x"}"#, "'date'"),
        (r#"{"messages": [], "depth": 1}"#, "'depth'"),
        (
            r#"[{"role": "user", "content": "a", "name": "b"}]"#,
            "'name' of message 1",
        ),
        (r#"[{"role": "user", "content": ["a"]}]"#, "is no text"),
        (r#"[{"role": "user"}]"#, "is no text"),
    ] {
        let error = talk(json).unwrap().plain().unwrap_err().to_string();
        assert!(error.contains(what), "{json}: {error}");
    }
}

#[test]
fn all_of_a_conversation_reaches_the_template() {
    let template = one(
        "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ m.name }}{{ m.calls }};{% endfor %}\
         {{ tools }}{{ add_generation_prompt }}{{ strftime_now('%Y') }}{{ depth }}{{ eos_token }}{{ bos_token }}",
    );
    let json = r#"{"messages": [{"role": "a", "content": null}, {"role": "b", "content": [{"t": 1}], "name": "n"},
                   {"role": "c", "calls": {"x": []}}],
                   "tools": [1], "add_generation_prompt": false, "date": "noon", "depth": 3, "bos_token": "<s>"}"#;
    let expected = "a:None;b:[{'t': 1}]n;c:{'x': []};[1]Falsenoon3</s><s>";
    assert_eq!(prompt(&template, json).unwrap(), expected);
    // What is written is read back.
    let again = Conversation::new(talk(json).unwrap().to_value()).unwrap();
    let found = template.render(&again, Clock::Unix(0), &str::to_owned);
    assert_eq!(found.unwrap(), expected);
    let without = prompt(&template, r#"{"messages": [], "eos_token": null}"#);
    assert_eq!(without.unwrap(), "NoneTrue1970");
    let unread = prompt(&template, r#"{"messages": [], "deptb": 3}"#);
    assert!(matches!(unread, Err(ChatError::Unread { name }) if name == "deptb"));
}

#[test]
fn templates_have_names() {
    let mut template = ChatTemplate {
        sources: [("tool_use", "T"), ("default", "D"), ("rag", "R")]
            .map(|(n, s)| (n.to_owned(), s.to_owned()))
            .into(),
        tokens: Vec::new(),
    };
    for (json, expected) in [
        (r#"{"messages": []}"#, "D"),
        (r#"{"messages": [], "tools": null}"#, "D"),
        (r#"{"messages": [], "tools": []}"#, "T"),
        (
            r#"{"messages": [], "tools": [], "chat_template": "rag"}"#,
            "R",
        ),
    ] {
        assert_eq!(prompt(&template, json).unwrap(), expected, "{json}");
    }
    let none = prompt(&template, r#"{"messages": [], "chat_template": "x"}"#).unwrap_err();
    assert!(
        none.to_string().contains("default, rag, tool_use"),
        "{none}"
    );
    template.sources.remove(1);
    let none = prompt(&template, "[]").unwrap_err().to_string();
    assert!(none.contains("rag, tool_use"), "{none}");
}

#[test]
fn what_a_template_does_not_read_is_named() {
    let plain = "{% for m in messages %}{{ m.role }}{{ m['content'] }}{{ m.name }}{% endfor %}";
    let unread = |source: &str, json: &str| one(source).unread(&talk(json).unwrap()).unwrap();
    for (json, name) in [
        (r#"{"messages": [], "tools": [{"name": "f"}]}"#, "'tools'"),
        (
            r#"[{"role": "a"}, {"role": "a", "tool_calls": [1]}]"#,
            "'tool_calls' of message 2",
        ),
        (
            r#"[{"role": "a", "reasoning_content": "c"}]"#,
            "'reasoning_content' of message 1",
        ),
    ] {
        assert_eq!(unread(plain, json).as_deref(), Some(name), "{json}");
    }
    // What is null or empty says nothing, and what writes whole messages reads all.
    let silent = r#"{"messages": [{"role": "a", "name": "c", "refusal": null, "tool_calls": []}], "tools": []}"#;
    assert_eq!(unread(plain, silent), None);
    let json = r#"{"messages": [{"role": "a", "foo": 1}], "tools": [2]}"#;
    assert_eq!(unread("{{ messages[0]|tojson }}{{ tools }}", json), None);
}

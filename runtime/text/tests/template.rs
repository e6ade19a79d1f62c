//! Templates: what a prompt holds, and what hostile ones end with.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_text::template::{Clock, Input, Limits, MAX_SOURCE, TemplateError, Value, render};
use proptest::prelude::*;

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn conversation() -> Input {
    Input {
        messages: value(
            r#"[{"role":"system","content":"Be brief."},{"role":"user","content":"Hallo, \"Müller\" <b>"}]"#,
        ),
        tools: Some(value(
            r#"[{"z":1,"a":[true,null,1.5,1e20,{}],"b":{"c":[]}}]"#,
        )),
        add_generation_prompt: true,
        bos_token: "<s>".into(),
        eos_token: "</s>".into(),
        clock: Clock::Unix(1_721_952_000),
        variables: vec![
            ("thinking".into(), false.into()),
            ("bos_token".into(), "X".into()),
        ],
    }
}

fn prompt(source: &str) -> Result<String, TemplateError> {
    render(source, &conversation(), &Limits::default())
}

#[track_caller]
fn gives(source: &str, expected: &str) {
    assert_eq!(prompt(source).unwrap(), expected, "{source}");
}

#[test]
fn a_conversation_becomes_a_prompt() {
    gives(
        "{{ bos_token }}{% for m in messages %}\n  {% if m.role != 'system' %}\n<|{{ m['role'] }}|>{{ m.content }}{{ eos_token }}\n  {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "<s><|user|>Hallo, \"Müller\" <b></s>\n<|assistant|>",
    );
    gives("{{ thinking }} {{ missing }}|{{ none }}", "False |None");
    gives("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024");
    let text = Input {
        clock: Clock::Text("heute".into()),
        ..conversation()
    };
    let found = render("{{ strftime_now('%Y') }}", &text, &Limits::default());
    assert_eq!(found.unwrap(), "heute");
    let without = Input {
        tools: None,
        ..conversation()
    };
    let found = render("{{ tools is none }}", &without, &Limits::default());
    assert_eq!(found.unwrap(), "True");
}

#[test]
fn python_is_spoken() {
    gives(
        "{{ tools[0] | tojson }}",
        r#"{"z": 1, "a": [true, null, 1.5, 1e+20, {}], "b": {"c": []}}"#,
    );
    gives("{{ tools[0].b | tojson(indent=2) }}", "{\n  \"c\": []\n}");
    gives(
        "{{ {'b': [1, 2], 'a': 'é\\n<'} | tojson(sort_keys=true, separators=(',', ':')) }}",
        r#"{"a":"é\n<","b":[1,2]}"#,
    );
    gives(
        "{{ 'é😀' | tojson(ensure_ascii=true) }}",
        r#""\u00e9\ud83d\ude00""#,
    );
    gives("{{ messages[1].content }}", "Hallo, \"Müller\" <b>");
    gives(
        "{{ {'a': [true, none, 'x', 1.0]} }} {{ [1] | string }} {{ 1e16 }} {{ 0.5 }}",
        "{'a': [True, None, 'x', 1.0]} [1] 1e+16 0.5",
    );
    gives(
        "{{ ' a b '.strip().split(' ') | join('-') }}{{ 'x'.startswith('x') }}{{ ','.join(['a', 'b']) }}{{ '{}{:>3}'.format(1, 2) }}",
        "a-bTruea,b1  2",
    );
    gives(
        "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}",
        "a1",
    );
    gives(
        "{% generation %}a{% endgeneration %}{%- generation -%} b {%- endgeneration %}",
        "ab",
    );
    gives("{{ 'generation' }}{# {% generation %} #}", "generation");
    gives(
        "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "01",
    );
}

#[test]
fn refusals_say_why() {
    let refused = prompt("{{ raise_exception('roles must alternate') }}").unwrap_err();
    assert!(
        matches!(&refused, TemplateError::Refused { message } if message == "roles must alternate"),
        "{refused}"
    );
    let syntax = prompt("a\n{% if %}").unwrap_err();
    assert!(
        matches!(syntax, TemplateError::Syntax { line: 2, .. }),
        "{syntax}"
    );
    let failed = prompt("a\nb\n{{ 1 + {} }}").unwrap_err();
    assert!(
        matches!(failed, TemplateError::Failed { line: 3, .. }),
        "{failed}"
    );
    let unknown = prompt("{{ 1 | no_such }}").unwrap_err();
    assert!(unknown.to_string().contains("no_such"), "{unknown}");
    assert!(matches!(
        prompt(&" ".repeat(MAX_SOURCE + 1)),
        Err(TemplateError::TooLong { .. })
    ));
    // Undefined is nothing that JSON has.
    assert!(prompt("{{ missing | tojson }}").is_err());
    assert!(prompt("{% include 'other' %}").is_err());
}

#[test]
fn conversations_of_other_shapes_fail_in_words() {
    let template = "{% for m in messages %}{{ m.role }}{{ m['content'].strip() }}{% endfor %}";
    for json in [
        "null",
        "1",
        "\"text\"",
        "{}",
        "[1]",
        "[null]",
        "[{\"content\":{}}]",
        "[[[]]]",
    ] {
        let input = Input {
            messages: value(json),
            ..conversation()
        };
        if let Err(error) = render(template, &input, &Limits::default()) {
            assert!(
                matches!(error, TemplateError::Failed { line: 1, .. }),
                "{json}: {error}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_template_ends(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", " for x in messages ", " if x ", " endfor ",
            " endif ", " generation ", " endgeneration ", "x", ".", "[", "]", "(", ")", "|tojson", "|string",
            "'", "\"", "~", "*", "9", "\n", "é", " set ns = namespace(x=1) ", " macro m() ", " endmacro ",
        ]), 0..24),
    ) {
        let limits = Limits { fuel: 10_000, ..Limits::default() };
        let found = render(&parts.concat(), &conversation(), &limits);
        prop_assert!(!matches!(found, Err(TemplateError::Broken)));
    }
}

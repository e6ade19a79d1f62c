//! Grammars of calls over small vocabularies: what they let through is what the parser reads as calls, and nothing else.
#![cfg(feature = "grammar")]
#![allow(clippy::unwrap_used, clippy::panic)] // A failure here is a failed test.

mod answers;

use answers::calls::{CASES, Case};
use answers::{options, parsed, syntax, tools};
use carat_text::constraint::Constraint;
use carat_text::grammar::{Guide, Kind, Vocabulary};
use carat_text::reply::grammar::{CallsError, Choice, Reasoning, Rules, grammar, json};
use carat_text::reply::{Delta, Options, Parser, Syntax, Tools};
use carat_text::tokenizer::{Model, TokenType, Tokenizer, TokenizerData};

/// Every byte, an end, and control tokens.
fn tokenizer(controls: &[&str]) -> Tokenizer {
    let mut tokens: Vec<String> = (0..=255u8).map(|b| format!("<0x{b:02X}>")).collect();
    tokens.push("</s>".into());
    tokens.extend(controls.iter().map(|c| c.to_string()));
    let mut data = TokenizerData::new(Model::Llama, tokens);
    let count = data.tokens.len();
    data.scores = vec![0.0; count];
    data.token_types = vec![TokenType::Byte as i32; 256];
    data.token_types.resize(count, TokenType::Control as i32);
    data.eos = Some(256);
    Tokenizer::new(&data).unwrap()
}

/// The tokens of an answer.
fn ids(tokenizer: &Tokenizer, controls: &[&str], text: &str) -> Vec<u32> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(byte) = rest.bytes().next() {
        let control = controls
            .iter()
            .filter(|c| rest.starts_with(**c))
            .max_by_key(|c| c.len());
        match control {
            Some(control) => {
                out.push(tokenizer.control_id(control).unwrap());
                rest = &rest[control.len()..];
            }
            None => {
                let c = rest.chars().next().unwrap();
                out.extend(rest.bytes().take(c.len_utf8()).map(u32::from));
                rest = &rest[c.len_utf8()..];
                assert!(byte < 128 || c.len_utf8() > 1);
            }
        }
    }
    out
}

/// Whether the grammar lets an answer through, and whether it is whole then.
fn takes(guide: &Guide, ids: &[u32]) -> (bool, bool) {
    let mut guide = guide.fresh().unwrap();
    for id in ids {
        match guide.mask().unwrap() {
            Some(mask) if mask.allows(*id) => guide.accept(*id).unwrap(),
            _ => return (false, false),
        }
    }
    (true, guide.is_complete())
}

const WEATHER_AND_NOW: [&str; 2] = ["0:weather‹{\"city\": ", ".1:now‹{}›."];

fn rules(choice: Choice, parallel: bool, reasoning: Reasoning) -> Rules {
    Rules {
        choice,
        parallel,
        reasoning,
    }
}

type Guides<'a> = dyn Fn(&Rules) -> Guide + 'a;
type Ids<'a> = dyn Fn(&str) -> Vec<u32> + 'a;

/// Runs with the case's controls and with none.
fn each(case: &Case, work: &dyn Fn(&Syntax, &Guides<'_>, &Ids<'_>)) {
    let syntax = syntax(case.format);
    for controls in [case.controls, &[]] {
        let tokenizer = tokenizer(controls);
        let vocabulary = Vocabulary::new(&tokenizer).unwrap();
        let guide = |rules: &Rules| {
            let text = grammar(&syntax, &tokenizer, &tools(), rules).unwrap();
            Guide::new(&vocabulary, Kind::Lark, &text)
                .unwrap_or_else(|e| panic!("{}: {e}\n{text}", case.format))
        };
        work(&syntax, &guide, &|text| ids(&tokenizer, controls, text));
    }
}

#[test]
fn calls_that_are_let_through_are_read() {
    for case in CASES {
        each(case, &|syntax, guide, ids| {
            let name = case.format;
            let whole = (true, true);
            let found = parsed(syntax, &options(), case.two);
            assert!(
                WEATHER_AND_NOW.iter().all(|part| found.contains(part)),
                "{name}: {found}"
            );
            assert_eq!(parsed(syntax, &options(), case.one), "0:now‹{}›.", "{name}");

            let required = guide(&rules(Choice::Required, true, Reasoning::None));
            assert_eq!(takes(&required, &ids(case.two)), whole, "{name}");
            assert_eq!(takes(&required, &ids(case.one)), whole, "{name}");
            for wrong in case.wrong {
                assert!(!takes(&required, &ids(wrong)).0, "{name}: {wrong}");
            }
            assert!(
                !takes(&required, &ids("Hello")).0 && !takes(&required, &[]).1,
                "{name}"
            );

            let one = guide(&rules(Choice::Required, false, Reasoning::None));
            assert_eq!(takes(&one, &ids(case.one)), whole, "{name}");
            assert!(!takes(&one, &ids(case.two)).0, "{name}");
            let named = guide(&rules(Choice::Named("now".into()), true, Reasoning::None));
            assert_eq!(takes(&named, &ids(case.one)), whole, "{name}");
            assert!(!takes(&named, &ids(case.two)).0, "{name}");
        });
    }
}

#[test]
fn text_and_reasoning_around_calls() {
    for case in CASES {
        each(case, &|syntax, guide, ids| {
            let (name, whole) = (case.format, (true, true));
            let auto = guide(&rules(Choice::Auto, true, Reasoning::May));
            assert_eq!(takes(&auto, &ids(case.two)), whole, "{name}");
            assert_eq!(takes(&auto, &ids("Hello [1] <b>\n{}\n")), whole, "{name}");
            assert_eq!(takes(&auto, &ids("\nHello")), whole, "{name}");
            // Formats without a marker have calls in front alone.
            if !matches!(name, "llama3" | "generic") {
                let both = format!("I look.\n{}", case.one);
                assert_eq!(takes(&auto, &ids(&both)), whole, "{name}");
                assert_eq!(
                    parsed(syntax, &options(), &both),
                    "C‹I look.\n›0:now‹{}›.",
                    "{name}"
                );
                for wrong in case.wrong {
                    assert!(
                        !takes(&auto, &ids(&format!("a{wrong}"))).0,
                        "{name}: {wrong}"
                    );
                }
            }
            let markers = syntax.markers();
            let think = [
                ("<think>", "</think>"),
                ("[THINK]", "[/THINK]"),
                ("<|channel>thought", "<channel|>"),
                ("<|START_THINKING|>", "<|END_THINKING|>"),
            ];
            let (open, close) = think.into_iter().find(|t| markers.contains(&t.0)).unwrap();
            let opened = guide(&rules(Choice::Required, false, Reasoning::Opened));
            let text = format!("\nHm {{}} <\n{close}\n\n{}", case.one);
            assert_eq!(takes(&opened, &ids(&text)), whole, "{name}");
            let options = Options {
                reasoning_opened: true,
                ..options()
            };
            assert_eq!(
                parsed(syntax, &options, &text),
                "R‹Hm {} <›0:now‹{}›.",
                "{name}"
            );
            let may = guide(&rules(Choice::Required, false, Reasoning::May));
            assert_eq!(takes(&may, &ids(&format!("{open}{text}"))), whole, "{name}");
            assert_eq!(takes(&may, &ids(case.one)), whole, "{name}");
        });
    }
}

#[test]
fn messages_of_harmony() {
    let syntax = syntax("harmony");
    let markers = [
        "<|start|>",
        "<|channel|>",
        "<|message|>",
        "<|constrain|>",
        "<|end|>",
        "<|call|>",
        "<|return|>",
    ];
    for controls in [&markers[..], &[]] {
        let tokenizer = tokenizer(controls);
        let vocabulary = Vocabulary::new(&tokenizer).unwrap();
        let tokenizer = &tokenizer;
        let of = |choice, reasoning| {
            let text = grammar(
                &syntax,
                tokenizer,
                &tools(),
                &rules(choice, false, reasoning),
            )
            .unwrap();
            let guide = Guide::new(&vocabulary, Kind::Lark, &text).unwrap();
            move |text: &str| takes(&guide, &ids(tokenizer, controls, text))
        };
        let thought = "<|channel|>analysis<|message|>Hm <b><|end|><|start|>assistant";
        let call = "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"A\"}";
        let plain = "<|channel|>commentary to=functions.now json<|message|>{}";
        let last = "<|channel|>final<|message|>Hi <b>";
        let whole = (true, true);
        let auto = of(Choice::Auto, Reasoning::May);
        let preamble = format!(
            "{thought}<|channel|>commentary<|message|>I look.<|end|><|start|>assistant{call}"
        );
        for text in [&preamble, &format!("{thought}{thought}{last}"), last, plain] {
            assert_eq!(auto(text), whole, "{text}");
        }
        let found = parsed(&syntax, &options(), &preamble);
        assert_eq!(found, "R‹Hm <b>›C‹I look.›0:weather‹{\"city\": \"A\"}›.");
        let required = of(Choice::Required, Reasoning::Opened);
        assert_eq!(
            required(&format!("Hm<|end|><|start|>assistant{call}")),
            whole
        );
        assert!(!required(&format!("Hm<|end|><|start|>assistant{last}")).0);
        let named = of(Choice::Named("now".into()), Reasoning::None);
        assert_eq!(named(plain), whole);
        assert!(!named(call).0 && !named(thought).0);
    }
}

/// An answer that a grammar lets through, of what it likes; nothing where none comes to an end.
fn random(guide: &Guide, controls: &[&str], seed: u64) -> Option<String> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut random = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n
    };
    let mut guide = guide.fresh().unwrap();
    let mut bytes: Vec<u8> = Vec::new();
    // The end of what has no quotes is written where it may be.
    let mut ending: Vec<u8> = Vec::new();
    for _ in 0..900 {
        let Some(mask) = guide.mask().unwrap() else {
            break;
        };
        if mask.allows(256) && random(2) == 0 {
            break;
        }
        let all = (0..256).chain(257..300);
        let allowed: Vec<u32> = all.filter(|id| mask.allows(*id)).collect();
        let ends = b"\"]}>)\n";
        let end = allowed
            .iter()
            .find(|id| ends.contains(&u8::try_from(**id).unwrap_or(0)));
        let forced = ending.pop().map(u32::from).filter(|id| mask.allows(*id));
        let next = match (forced, end) {
            (Some(id), _) => id,
            (None, Some(id)) if random(3) == 0 => *id,
            _ if allowed.is_empty() => break,
            _ => allowed[random(allowed.len())],
        };
        if forced.is_none() && allowed.len() > 90 && random(20) == 0 {
            let tags = [
                "</parameter>",
                "\n</parameter>",
                "</arg_value>",
                "</arg_value:opensource>",
                "</｜DSML｜parameter>",
                "<escape>",
                "<|\"|>",
            ];
            ending = tags[random(tags.len())].bytes().rev().collect();
        }
        guide.accept(next).unwrap();
        match u8::try_from(next) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(controls[next as usize - 257].bytes()),
        }
    }
    guide
        .is_complete()
        .then(|| String::from_utf8(bytes).unwrap())
}

/// Whatever a grammar lets through is calls that the schema allows, in every format.
#[test]
fn random_answers_are_calls() {
    let answers = |syntax: &Syntax, guide: &Guide, controls: &[&str]| {
        let texts = (1..16).filter_map(|seed| random(guide, controls, seed));
        texts
            .inspect(|text| {
                let mut parser = Parser::new(syntax, options());
                let mut deltas = parser.push(text);
                deltas.extend(parser.finish());
                check(syntax.name(), text, &deltas);
            })
            .count()
    };
    let required = rules(Choice::Required, true, Reasoning::None);
    for name in Syntax::names() {
        let syntax = syntax(name);
        let controls = CASES
            .iter()
            .find(|c| c.format == name)
            .map_or(&[][..], |c| c.controls);
        let mut ended = 0;
        for controls in [controls, &[]] {
            let tokenizer = tokenizer(controls);
            let vocabulary = Vocabulary::new(&tokenizer).unwrap();
            let text = grammar(&syntax, &tokenizer, &tools(), &required).unwrap();
            let guide = Guide::new(&vocabulary, Kind::Lark, &text).unwrap();
            ended += answers(&syntax, &guide, controls);
        }
        assert!(ended > 2, "{name}: {ended} answers");
    }
}

/// Calls alone, complete, and as the schemas have them.
fn check(format: &str, text: &str, deltas: &[Delta]) {
    let mut calls: Vec<(String, String, bool)> = Vec::new();
    for delta in deltas {
        match delta {
            Delta::Call { name, .. } => calls.push((name.clone(), String::new(), false)),
            Delta::Arguments { text, .. } => calls.last_mut().unwrap().1 += text,
            Delta::End { .. } => calls.last_mut().unwrap().2 = true,
            other => panic!("{format}: {text:?}: {other:?}"),
        }
    }
    assert!(!calls.is_empty(), "{format}: {text:?}");
    for (name, arguments, ended) in calls {
        assert!(ended, "{format}: {text:?}");
        let arguments: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&arguments).unwrap();
        for (key, value) in &arguments {
            let fits = match key.as_str() {
                "city" => value.is_string(),
                "days" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
                "units" => value == "C" || value == "F",
                "hourly" => value.is_boolean(),
                "places" => value
                    .as_array()
                    .is_some_and(|a| a.iter().all(|v| v.is_string())),
                _ => false,
            };
            assert!(fits && name == "weather", "{format}: {key} in {text:?}");
        }
        assert_eq!(
            arguments.contains_key("city"),
            name == "weather",
            "{format}: {text:?}"
        );
    }
}

#[test]
fn what_cannot_be_held_to_is_refused() {
    let plain = tokenizer(&[]);
    let of = |format: &str, json: &str, choice: Choice| {
        let tools = Tools::new(&serde_json::from_str(json).unwrap()).unwrap();
        grammar(
            &syntax(format),
            &plain,
            &tools,
            &rules(choice, true, Reasoning::None),
        )
    };
    assert_eq!(of("hermes", "[]", Choice::Auto), Err(CallsError::NoTools));
    let missing = of("hermes", r#"[{"name": "f"}]"#, Choice::Named("g".into()));
    assert_eq!(
        missing,
        Err(CallsError::NoTool {
            name: "g".into(),
            names: "f".into()
        })
    );
    let with = |parameters: &str| {
        format!(r#"[{{"name": "f", "parameters": {{"properties": {{"a": {parameters}}}}}}}]"#)
    };
    let schema = of(
        "hermes",
        &with(r#"{"type": "integer", "maximum": 1e300}"#),
        Choice::Auto,
    );
    // What llguidance refuses shows where its guide is made.
    assert!(schema.is_ok());
    let schema = of(
        "hermes",
        &with(r#"{"type": "integer", "maximum": 9007199254740993}"#),
        Choice::Auto,
    );
    assert!(
        matches!(schema, Err(CallsError::Schema { .. })),
        "{schema:?}"
    );
    for (format, parameters, part) in [
        (
            "qwen3-coder",
            r#"{"type": "string", "pattern": "a"}"#,
            "'pattern'",
        ),
        (
            "qwen3-coder",
            r#"{"type": ["string", "integer"]}"#,
            "may be a text",
        ),
        ("qwen3-coder", r#"{"enum": ["a", 1]}"#, "may be a text"),
        ("qwen3-coder", "{}", "may be a text"),
        ("glm", r#"{"enum": ["</arg_value>"]}"#, "</arg_value>"),
        (
            "gemma4",
            r#"{"type": "string", "minLength": 1}"#,
            "'minLength'",
        ),
        ("gemma4", r#"{"type": "array"}"#, "list of anything"),
        (
            "gemma4",
            r#"{"type": "array", "items": {"type": "null"}, "maxItems": 2}"#,
            "'maxItems'",
        ),
        ("gemma4", r#"{"type": "object"}"#, "object of anything"),
        ("gemma4", r##"{"$ref": "#"}"##, "the schema"),
    ] {
        let error = of(format, &with(parameters), Choice::Auto).unwrap_err();
        let shown = error.to_string();
        assert!(
            matches!(error, CallsError::Unsupported { .. }) && shown.contains(part),
            "{shown}"
        );
    }
    for optional in [
        r#"{"type": ["string", "null"]}"#,
        r#"{"anyOf": [{"type": "string"}, {"type": "null"}], "default": null}"#,
    ] {
        assert!(of("qwen3-coder", &with(optional), Choice::Auto).is_ok());
    }
    // Definitions are copied, but not without bound.
    let many: Vec<String> = (0..500)
        .map(|i| format!(r#""p{i}": {{"type": "null"}}"#))
        .collect();
    let defs = format!(r#"{{"x": {{"description": "{}"}}}}"#, "d".repeat(10_000));
    let large = format!(
        r#"[{{"name": "f", "parameters": {{"properties": {{{}}}, "$defs": {defs}}}}}]"#,
        many.join(",")
    );
    let error = of("glm", &large, Choice::Auto).unwrap_err().to_string();
    assert!(error.contains("definitions"), "{error}");
    // The same in a format that has quotes.
    assert!(
        of(
            "hermes",
            &with(r#"{"type": ["string", "null"]}"#),
            Choice::Auto
        )
        .is_ok()
    );
    let name = r#"[{"name": "f", "parameters": {"properties": {"a b>": {}}}}]"#;
    assert!(
        of("qwen3-coder", name, Choice::Auto).is_err() && of("hermes", name, Choice::Auto).is_ok()
    );
}

#[test]
fn tokens_that_have_to_be_shown() {
    let controls = [
        "<think>",
        "<|im_end|>",
        "<|tool_call_start|>",
        "<|\"|>",
        "<|channel>",
    ];
    let tokenizer = tokenizer(&controls);
    let id = |text: &str| tokenizer.control_id(text).unwrap();
    assert_eq!(
        syntax("lfm2").shown_tokens(&tokenizer),
        [id("<think>"), id("<|tool_call_start|>")]
    );
    assert_eq!(
        syntax("gemma4").shown_tokens(&tokenizer),
        [id("<|\"|>"), id("<|channel>")]
    );
    assert!(syntax("harmony").shown_tokens(&tokenizer).is_empty());
}

/// Reasoning is free, and what follows it is JSON of the schema.
#[test]
fn json_comes_behind_reasoning() {
    let schema =
        r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#;
    let think = Syntax::of_template("<think></think>");
    let harmony = Syntax::named("harmony").unwrap();
    let marks = "<|channel|>,<|message|>,<|end|>,<|start|>";
    let cases = [
        (think, "", Reasoning::None, "{\"n\": 3}", true),
        (
            think,
            "",
            Reasoning::None,
            "<think>a</think>{\"n\": 3}",
            false,
        ),
        (
            think,
            "",
            Reasoning::May,
            "<think>a</think>\n\n{\"n\": 3}",
            true,
        ),
        (think, "", Reasoning::May, "{\"n\": 3}", true),
        (
            think,
            "<think>,</think>",
            Reasoning::Opened,
            "so {1}</think>\n{\"n\": 3}",
            true,
        ),
        (think, "", Reasoning::Opened, "so</think>{\"m\": 3}", false),
        (
            harmony,
            marks,
            Reasoning::May,
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{\"n\": 3}",
            true,
        ),
        (harmony, marks, Reasoning::May, "{\"n\": 3}", false),
    ];
    for (syntax, controls, reasoning, text, fits) in cases {
        let controls: Vec<&str> = controls.split(',').filter(|c| !c.is_empty()).collect();
        let tokenizer = tokenizer(&controls);
        let vocabulary = Vocabulary::new(&tokenizer).unwrap();
        let lark = json(&syntax, &tokenizer, schema, reasoning).unwrap();
        let guide = Guide::new(&vocabulary, Kind::Lark, &lark).unwrap();
        let found = takes(&guide, &ids(&tokenizer, &controls, text));
        assert_eq!(found, (fits, fits), "{text}");
    }
    assert!(json(&think, &tokenizer(&[]), "7", Reasoning::None).is_err());
}

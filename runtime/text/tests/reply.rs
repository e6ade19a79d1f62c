//! Answers in parts: every format, every cut, broken calls.
#![allow(clippy::unwrap_used, clippy::panic)] // A failure here is a failed test.

mod answers;

use answers::{CASES, options, parsed, shown, syntax};
use carat_text::reply::{Delta, Options, Parser, Syntax};
use proptest::prelude::*;

#[test]
fn answers_are_what_they_are() {
    let mut wrong = 0;
    for (format, text, expected) in CASES {
        let found = parsed(&syntax(format), &options(), text);
        if found != *expected {
            eprintln!("{format}: {text:?}\n  expected {expected:?}\n  found    {found:?}");
            wrong += 1;
        }
    }
    assert_eq!(wrong, 0);
}

/// What is given of `text` when it arrives cut at these bytes.
fn cut(syntax: &Syntax, options: &Options, text: &str, places: &[usize]) -> String {
    let mut parser = Parser::new(syntax, options.clone());
    let (mut deltas, mut from) = (Vec::new(), 0);
    for to in places.iter().copied().chain([text.len()]) {
        deltas.extend(parser.push(&text[from..to]));
        from = to;
    }
    deltas.extend(parser.finish());
    shown(&deltas)
}

#[test]
fn no_cut_changes_the_parts() {
    for (format, text, expected) in CASES {
        let syntax = syntax(format);
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for at in &places {
            let found = cut(&syntax, &options(), text, &[*at]);
            assert_eq!(found, *expected, "{format}: {text:?} at {at}");
        }
        let found = cut(&syntax, &options(), text, &places);
        assert_eq!(found, *expected, "{format}: {text:?} by characters");
    }
}

/// Texts of pieces of answers of a format.
fn mixtures() -> impl Strategy<Value = (&'static str, String)> {
    let names: Vec<&'static str> = {
        let mut names: Vec<_> = CASES.iter().map(|c| c.0).collect();
        names.dedup();
        names
    };
    prop::sample::select(names).prop_flat_map(|name| {
        let mut pieces: Vec<String> = syntax(name)
            .markers()
            .iter()
            .map(|m| m.to_string())
            .collect();
        for (_, text, _) in CASES.iter().filter(|c| c.0 == name) {
            let chars: Vec<char> = text.chars().collect();
            pieces.extend(chars.chunks(9).map(String::from_iter));
            pieces.push(text.to_string());
        }
        pieces.extend(
            [
                "\n", " ", "{", "}", "\"", "\\", "weather", "é", "<", "[", "'",
            ]
            .map(String::from),
        );
        let text =
            prop::collection::vec(prop::sample::select(pieces), 0..12).prop_map(|p| p.concat());
        (Just(name), text)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_in_any_pieces((name, text) in mixtures(), opened: bool,
                              places in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let syntax = syntax(name);
        let options = Options { reasoning_opened: opened, ..options() };
        let chars: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut places: Vec<usize> = places.iter().map(|p| chars[p.index(chars.len())]).collect();
        places.sort_unstable();
        let whole = cut(&syntax, &options, &text, &[]);
        prop_assert_eq!(cut(&syntax, &options, &text, &places), whole);

        // Arguments of complete calls are JSON objects; every call that ends began.
        let mut parser = Parser::new(&syntax, options);
        let mut deltas = parser.push(&text);
        deltas.extend(parser.finish());
        let mut calls: Vec<String> = Vec::new();
        let mut told = String::new();
        for delta in deltas {
            match delta {
                Delta::Call { index, .. } => {
                    prop_assert_eq!(index, calls.len());
                    calls.push(String::new());
                }
                Delta::Arguments { index, text } => {
                    prop_assert_eq!(index + 1, calls.len());
                    calls[index] += &text;
                }
                Delta::End { index } => {
                    prop_assert_eq!(index + 1, calls.len());
                    let fine = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&calls[index]);
                    prop_assert!(fine.is_ok(), "{:?}: {}", calls[index], text);
                }
                Delta::Content(text) | Delta::Reasoning(text) => told += &text,
            }
        }
        prop_assert_eq!(calls.len(), parser.calls());
        // Where there is no call, nothing but space and the markers of reasoning is left out.
        if calls.is_empty() && name != "harmony" {
            let bare = |text: &str| {
                let mut text: String = text.split_whitespace().collect();
                // What is around a marker may be another one.
                loop {
                    let before = text.len();
                    // Short ones are parts of others.
                    for marker in syntax.markers().iter().filter(|m| m.len() > 4) {
                        text = text.replace(marker, "");
                    }
                    if text.len() == before {
                        break;
                    }
                }
                text
            };
            prop_assert_eq!(bare(&told), bare(&text));
        }
    }

    /// Without calls and reasoning, the text is the content.
    #[test]
    fn plain_text_stays((name, text) in mixtures()) {
        let bare = Syntax::of_template("");
        prop_assert_eq!(bare.name(), "generic");
        let mut parser = Parser::new(&bare, Options::default());
        let mut found = parser.push(&text);
        found.extend(parser.finish());
        let expected = if text.is_empty() { String::new() } else { format!("C‹{text}›") };
        prop_assert_eq!(shown(&found), expected);
        // Nor is a call one where none is looked for.
        let mut parser = Parser::new(&syntax(name), Options::default());
        parser.push(&text);
        prop_assert_eq!(parser.calls(), 0);
    }
}

#[test]
fn held_text_comes_as_soon_as_it_is_none() {
    let mut parser = Parser::new(&syntax("hermes"), options());
    let content = |text: &str| vec![Delta::Content(text.into())];
    assert_eq!(parser.push("a <tool"), content("a "));
    assert_eq!(parser.push("_call"), []);
    assert_eq!(parser.push("s"), content("<tool_calls"));
    assert_eq!(
        parser.push("<tool_call>{\"name\": \"now\", \"arguments\": "),
        []
    );
    let begun = parser.push("{\"a");
    let call = Delta::Call {
        index: 0,
        name: "now".into(),
    };
    let arguments = |text: &str| Delta::Arguments {
        index: 0,
        text: text.into(),
    };
    assert_eq!(begun, [call, arguments("{\"a")]);
    assert_eq!(parser.push("\": 1"), [arguments("\": 1")]);
    assert_eq!(parser.push("}}"), [arguments("}"), Delta::End { index: 0 }]);
    assert_eq!(parser.push("\n</tool_call>\n"), []);
    assert_eq!(parser.finish(), []);
}

#[test]
fn reasoning_that_the_prompt_opened() {
    let opened = |name: &str, text: &str| {
        let options = Options {
            reasoning_opened: true,
            ..options()
        };
        parsed(&syntax(name), &options, text)
    };
    assert_eq!(opened("hermes", "\nHm\n</think>\nYes"), "R‹Hm›C‹Yes›");
    assert_eq!(opened("hermes", "<think>\nHm <think>\n"), "R‹Hm <think>›");
    assert_eq!(opened("hermes", "Hm </thi"), "R‹Hm </thi›");
    assert_eq!(
        opened(
            "harmony",
            "Hm<|end|><|start|>assistant<|channel|>final<|message|>Yes"
        ),
        "R‹Hm›C‹Yes›"
    );
    let hermes = syntax("hermes");
    assert!(hermes.opens_reasoning("<|im_start|>assistant\n<think>\n"));
    assert!(
        !hermes.opens_reasoning("<think>\n\n</think>\n\n") && !hermes.opens_reasoning("<think> x")
    );
    assert!(syntax("gemma4").opens_reasoning("<|turn>model\n<|channel>thought\n"));
    // Formats without reasoning have none to open.
    let llama = Syntax::of_template("<|python_tag|>");
    let options = Options {
        reasoning_opened: true,
        ..options()
    };
    assert_eq!(parsed(&llama, &options, "a</think>"), "C‹a</think>›");
    // Whether reasoning is open now.
    let mut parser = Parser::new(&hermes, options);
    parser.push("a</think");
    assert!(parser.in_reasoning());
    parser.push(">");
    assert!(!parser.in_reasoning());
}

/// Without quotes, the schema says what a text is.
#[test]
fn values_are_what_the_schema_takes() {
    let tools = r#"[{"name": "f", "parameters": {"properties": {"a": {"type": ["string", "null"]}, "b": {}, "c": {"type": "object"}}}}]"#;
    let tools = carat_text::reply::Tools::new(&serde_json::from_str(tools).unwrap()).unwrap();
    let options = Options { tools, ..options() };
    for (key, text, expected) in [
        ("a", "5", "\"5\""),
        ("a", "null", "null"),
        ("a", "\"x\"", "\"\\\"x\\\"\""),
        ("b", "5", "5"),
        ("b", "x", "\"x\""),
        ("c", "{\"k\": 1}", "{\"k\": 1}"),
        ("c", "{'k': 1}", "\"{'k': 1}\""),
    ] {
        let call = format!(
            "<tool_call>f<arg_key>{key}</arg_key><arg_value>{text}</arg_value></tool_call>"
        );
        let expected = format!("0:f‹{{\"{key}\": {expected}}}›.");
        assert_eq!(parsed(&syntax("glm"), &options, &call), expected);
    }
}

#[test]
fn templates_show_their_formats() {
    let dir = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/oracles/chat-templates");
    if !dir.exists() {
        eprintln!(
            "ABSENT: {}, the check of its templates is skipped",
            dir.display()
        );
        return;
    }
    let mut seen = 0;
    for (file, name, reasoning) in [
        (
            "Apriel-1.6-15b-Thinker-fixed",
            "apriel",
            "Here are my reasoning steps:\n",
        ),
        ("Bielik-11B-v3.0-Instruct", "hermes", "<think>"),
        ("CohereForAI-c4ai-command-r-plus-tool_use", "command-r", ""),
        ("GLM-4.7-Flash", "glm", "<think>"),
        ("GigaChat3-10B-A1.8B", "gigachat", ""),
        ("Kimi-K2-Instruct", "kimi-k2", ""),
        ("Kimi-K3", "generic", ""),
        ("LFM2.5-8B-A1B", "lfm2", "<think>"),
        ("MiMo-VL", "hermes", ""),
        ("MiniMax-M1", "minimax-m1", ""),
        ("MiniMax-M2", "minimax-m2", "<think>"),
        ("MiniMax-M3", "generic", "<mm:think>"),
        ("Mistral-Small-3.2-24B-Instruct-2506", "mistral-id", ""),
        (
            "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
            "hermes",
            "",
        ),
        ("Qwen-QwQ-32B", "hermes", "<think>"),
        ("Qwen-Qwen2.5-7B-Instruct", "hermes", ""),
        ("Qwen-Qwen3-0.6B", "hermes", "<think>"),
        ("Spark2.5", "glm", "<think>"),
        (
            "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
            "deepseek-r1",
            "<think>",
        ),
        ("deepseek-ai-DeepSeek-V3.1", "deepseek-v3.1", "<think>"),
        ("deepseek-ai-DeepSeek-V3.2", "deepseek-v3.2", "<think>"),
        ("deepseek-ai-DeepSeek-V4", "deepseek-v4", "<think>"),
        (
            "deepseek-ai-DeepSeek-V4-Flash-0731",
            "deepseek-v4",
            "<think>",
        ),
        ("fireworks-ai-llama-3-firefunction-v2", "firefunction", ""),
        ("google-gemma-2-2b-it", "generic", ""),
        ("google-gemma-4-31B-it", "gemma4", "<|channel>thought"),
        (
            "google-gemma-4-31B-it-interleaved",
            "gemma4",
            "<|channel>thought",
        ),
        ("ibm-granite-granite-4.1", "hermes", ""),
        ("inclusionai-ling-3.0-flash", "glm", "<think>"),
        ("llama-cpp-deepseek-r1", "deepseek-r1", "<think>"),
        ("llama-cpp-rwkv-world", "generic", "<think>"),
        ("meetkai-functionary-medium-v3.1", "functionary-v3.1", ""),
        ("meetkai-functionary-medium-v3.2", "generic", ""),
        ("meta-llama-Llama-3.1-8B-Instruct", "llama3", ""),
        ("meta-llama-Llama-3.2-3B-Instruct", "llama3", ""),
        ("mistralai-Mistral-Nemo-Instruct-2407", "mistral-list", ""),
        ("muse-glimmer", "generic", ""),
        ("poolside-Laguna-XS-2.1", "glm", "<think>"),
        ("poolside-Laguna-XS.2", "glm", "<think>"),
        ("tencent-Hy3", "hunyuan3", "<think:opensource>"),
        ("unsloth-mistral-Devstral-Small-2507", "mistral", ""),
        ("upstage-Solar-Open-100B", "generic", ""),
    ] {
        let source = std::fs::read_to_string(dir.join(file).with_extension("jinja"));
        let source = source
            .or_else(|_| std::fs::read_to_string(dir.join(format!("{file}.jinja"))))
            .unwrap();
        let syntax = Syntax::of_template(&source);
        assert_eq!(syntax.name(), name, "{file}");
        assert_eq!(syntax.has_reasoning(), !reasoning.is_empty(), "{file}");
        assert_eq!(
            syntax.opens_reasoning(reasoning),
            !reasoning.is_empty(),
            "{file}"
        );
        seen += 1;
    }
    assert_eq!(seen, 42);
}

#[test]
fn snippets_show_their_formats() {
    for (source, name) in [
        ("", "generic"),
        ("{{ '<|channel|>analysis<|message|>' }}", "harmony"),
        (
            "'<tool_call>\\n<function=' + name + '>\\n' '<parameter='",
            "qwen3-coder",
        ),
        (
            "respond only with <|tool_call|> followed by a JSON list",
            "granite3",
        ),
        ("'<|tool_call|>' + calls + '<|/tool_call|>'", "phi4"),
        ("# SmolLM3: {%- if xml_tools -%} <tool_call>", "hermes"),
        ("<|tool_list_start|>", "lfm2"),
        ("<start_function_call>", "functiongemma"),
        ("<|START_ACTION|>", "command-r7b"),
        ("<TOOLCALL>", "nemotron"),
        ("<seed:tool_call><function=f><parameter=a>", "seed"),
    ] {
        assert_eq!(Syntax::of_template(source).name(), name, "{source}");
        assert_eq!(Syntax::named(name).unwrap().name(), name);
    }
    assert!(Syntax::named("none").is_none());
    // Granite 3 with reasoning marks its answer, too.
    let granite = "Write your thoughts between <think></think> and write your response between <response></response>";
    let granite = Syntax::of_template(granite);
    let text = "<think>Hm</think>\n<response>Yes.</response>";
    assert_eq!(parsed(&granite, &Options::default(), text), "R‹Hm›C‹Yes.›");
}

#[test]
fn long_and_deep_texts_take_linear_time() {
    let deep = "[".repeat(200_000);
    for (name, unit, count) in [
        ("hermes", "<tool_call>{\"", 100_000),
        ("hermes", "<tool_call>", 100_000),
        ("hermes", "<", 1_000_000),
        (
            "qwen3-coder",
            "<tool_call><function=f><parameter=a>",
            30_000,
        ),
        ("lfm2", "<|tool_call_start|>[f(a='", 50_000),
        ("lfm2", "<|tool_call_start|>[f(a=[[", 50_000),
        ("gemma4", "<|tool_call>call:f{a:<|\"|>", 50_000),
        ("mistral", "[TOOL_CALLS]f{", 100_000),
        ("harmony", "<|channel|>", 100_000),
        (
            "harmony",
            "<|start|>a<|channel|>analysis to=f<|message|>{\"",
            20_000,
        ),
        (
            "deepseek-r1",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
            20_000,
        ),
    ] {
        let start = std::time::Instant::now();
        let text = unit.repeat(count);
        parsed(&syntax(name), &options(), &text);
        assert!(start.elapsed().as_secs() < 20, "{name}: {unit}");
    }
    let text = format!("<tool_call>{{\"name\": \"f\", \"arguments\": {{\"a\": {deep}");
    let found = parsed(&syntax("hermes"), &options(), &text);
    assert!(found.starts_with("0:f‹{\"a\": [") && found.ends_with("[›"));
}

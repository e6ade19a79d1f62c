//! Answers of models, with what they are.
#![allow(dead_code)] // Every test uses a part of them.

pub mod calls;

use carat_text::reply::{Delta, Options, Parser, Syntax, Tools};

/// Two tools; the parameters of `weather` are of every type.
pub const TOOLS: &str = r#"[
    {"type": "function", "function": {"name": "weather", "description": "Weather of a city", "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "c"}, "days": {"type": "integer", "description": "d"},
                       "units": {"type": "string", "enum": ["C", "F"]}, "hourly": {"type": "boolean"},
                       "places": {"type": "array", "items": {"type": "string"}}},
        "required": ["city"], "additionalProperties": false}}},
    {"type": "function", "function": {"name": "now", "description": "Time", "parameters": {"type": "object", "properties": {},
        "additionalProperties": false}}}]"#;

pub fn tools() -> Tools {
    Tools::new(&serde_json::from_str(TOOLS).unwrap()).unwrap()
}

pub fn options() -> Options {
    Options {
        calls: true,
        tools: tools(),
        reasoning_opened: false,
    }
}

/// Deltas in a line: `R‹reasoning› C‹content› 0:name‹arguments›.`, with the point where the call is complete.
pub fn shown(deltas: &[Delta]) -> String {
    let mut out = String::new();
    let mut last = None;
    for delta in deltas {
        let kind = std::mem::discriminant(delta);
        let same = last == Some(kind);
        last = Some(kind);
        let mut part = |mark: &str, text: &str| {
            assert!(!text.is_empty(), "an empty delta");
            match same {
                true => {
                    out.pop();
                    out += text;
                }
                false => {
                    out += mark;
                    out.push('‹');
                    out += text;
                }
            }
            out.push('›');
        };
        match delta {
            Delta::Reasoning(text) => part("R", text),
            Delta::Content(text) => part("C", text),
            Delta::Arguments { text, .. } => part("", text),
            Delta::Call { index, name } => out += &format!("{index}:{name}"),
            Delta::End { .. } => out.push('.'),
        }
    }
    out
}

/// What a text is, in one piece.
pub fn parsed(syntax: &Syntax, options: &Options, text: &str) -> String {
    let mut parser = Parser::new(syntax, options.clone());
    let mut deltas = parser.push(text);
    deltas.extend(parser.finish());
    shown(&deltas)
}

pub fn syntax(name: &str) -> Syntax {
    Syntax::named(name).unwrap()
}

/// Formats, answers and what these are.
pub const CASES: &[(&str, &str, &str)] = &[
    // Hermes, Qwen, SmolLM3, Granite 4.
    ("hermes", "Hello.\n\nBye. ", "C‹Hello.\n\nBye. ›"),
    (
        "hermes",
        "<think>\n1 < 2\n\nso\n</think>\n\nYes.",
        "R‹1 < 2\n\nso›C‹Yes.›",
    ),
    (
        "hermes",
        "<think>\n\n</think>\n\nYes, <think> is a tag.",
        "C‹Yes, <think> is a tag.›",
    ),
    (
        "hermes",
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"A\\nb\", \"days\": 2}}\n</tool_call>",
        "0:weather‹{\"city\": \"A\\nb\", \"days\": 2}›.",
    ),
    (
        "hermes",
        "<think>x</think>I look.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"arguments\": {\"city\": \"</tool_call>\"}, \"name\": \"weather\"}\n</tool_call>\n Done.",
        "R‹x›C‹I look.\n›0:now‹{}›.1:weather‹{\"city\": \"</tool_call>\"}›.C‹Done.›",
    ),
    (
        "hermes",
        "<tool_call>{\"name\":\"now\"}</tool_call><tool_call>{\"name\":\"now\",\"arguments\":null,\"id\":[1,{}]}",
        "0:now‹{}›.1:now‹{}›.",
    ),
    (
        "hermes",
        "<tool_call>{\"name\": \"now\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
        "0:now‹{\"a\": 1}›.",
    ),
    (
        "hermes",
        "<tool_call>{\"name\": \"other\", \"arguments\": {\"x\": \"1\n2\"}}",
        "0:other‹{\"x\": \"1\\n2\"}›.",
    ),
    (
        "hermes",
        "a <tool_call>now()</tool_call> b",
        "C‹a <tool_call>now()</tool_call> b›",
    ),
    (
        "hermes",
        "<tool_call></tool_call>",
        "C‹<tool_call></tool_call>›",
    ),
    (
        "hermes",
        "<tool_call>\n{\"name\": \"now\", \"argum",
        "C‹<tool_call>\n{\"name\": \"now\", \"argum›",
    ),
    (
        "hermes",
        "<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": 1,}} x",
        "0:now‹{\"a\": 1,›C‹}} x›",
    ),
    (
        "hermes",
        "<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": [1",
        "0:now‹{\"a\": [1›",
    ),
    (
        "hermes",
        "<tool_call>oops <tool_call>{\"name\": \"now\"}</tool_call>",
        "C‹<tool_call>oops ›0:now‹{}›.",
    ),
    ("hermes", "</think>\n\nHi", "C‹Hi›"),
    (
        "hermes",
        "a\u{0}b <tool_cal <tool_call",
        "C‹a\u{0}b <tool_cal <tool_call›",
    ),
    // Qwen3-Coder.
    (
        "qwen3-coder",
        "Look.\n<tool_call>\n<function=weather>\n<parameter=city>\nNew\n\"York\"\n\n</parameter>\n<parameter=days>\n2\n</parameter>\n<parameter=places>\n[\"a\"]\n</parameter>\n</function>\n</tool_call>",
        "C‹Look.\n›0:weather‹{\"city\": \"New\\n\\\"York\\\"\\n\", \"days\": 2, \"places\": [\"a\"]}›.",
    ),
    (
        "qwen3-coder",
        "<function=weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>two</parameter>\n<parameter=hourly>True</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
        "0:weather‹{\"city\": \"12\", \"days\": \"two\", \"hourly\": true}›.1:now‹{}›.",
    ),
    (
        "qwen3-coder",
        "<function=other><parameter=a>1</parameter></function>",
        "C‹<function=other><parameter=a>1</parameter></function>›",
    ),
    (
        "qwen3-coder",
        "<think>I call\n<tool_call><function=other><parameter=a>1</parameter><parameter=b>x \"y\" </b></parameter></function></tool_call>",
        "R‹I call›0:other‹{\"a\": 1, \"b\": \"x \\\"y\\\" </b>\"}›.",
    ),
    (
        "qwen3-coder",
        "<tool_call>\n<function=now>\nwhat?",
        "C‹<tool_call>\n<function=now>\nwhat?›",
    ),
    (
        "qwen3-coder",
        "#include <functional>",
        "C‹#include <functional>›",
    ),
    // GLM.
    (
        "glm",
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>A</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>\n<tool_call>now</tool_call>",
        "0:weather‹{\"city\": \"A\", \"days\": 3}›.1:now‹{}›.",
    ),
    // MiniMax, DeepSeek 3.2.
    (
        "minimax-m2",
        "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">A</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
        "0:weather‹{\"city\": \"A\"}›.1:now‹{}›.",
    ),
    (
        "deepseek-v3.2",
        "Hm.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" string=\"true\">1</｜DSML｜parameter>\n<｜DSML｜parameter name=\"b\" string=\"false\">[1]</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        "C‹Hm.\n\n›0:f‹{\"a\": \"1\", \"b\": [1]}›.",
    ),
    // DeepSeek, Kimi.
    (
        "deepseek-r1",
        "<think>x</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": \"A\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "R‹x›0:now‹{}›.1:weather‹{\"city\": \"A\"}›.",
    ),
    (
        "deepseek-v3.1",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"city\": \"A\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "0:now‹{}›.1:weather‹{\"city\": \"A\"}›.",
    ),
    (
        "kimi-k2",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_call_begin|>functions.weather:1<|tool_call_argument_begin|>{\"city\": \"A\"}<|tool_call_end|><|tool_calls_section_end|>",
        "0:now‹{}›.1:weather‹{\"city\": \"A\"}›.",
    ),
    // Llama 3, and formats without a marker.
    (
        "llama3",
        "{\"name\": \"weather\", \"parameters\": {\"city\": \"A\"}}",
        "0:weather‹{\"city\": \"A\"}›.",
    ),
    (
        "llama3",
        "<|python_tag|>{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}; {\"name\": \"now\", \"parameters\": {}}",
        "0:now‹{}›.1:now‹{}›.",
    ),
    (
        "llama3",
        "{\"name\": \"Bob\", \"parameters\": {}}",
        "C‹{\"name\": \"Bob\", \"parameters\": {}}›",
    ),
    ("llama3", "{\"a\": 1}", "C‹{\"a\": 1}›"),
    ("llama3", "{\"name\": \"now\"}", "C‹{\"name\": \"now\"}›"),
    (
        "llama3",
        "Look: {\"name\": \"now\", \"parameters\": {}}",
        "C‹Look: {\"name\": \"now\", \"parameters\": {}}›",
    ),
    (
        "llama3",
        "<|python_tag|>print(1)",
        "C‹<|python_tag|>print(1)›",
    ),
    (
        "generic",
        "\n{\"name\": \"now\", \"arguments\": {}}\nOk",
        "0:now‹{}›.C‹Ok›",
    ),
    (
        "generic",
        "a<tool_call>{\"name\": \"x\", \"parameters\": {}}</tool_call>",
        "C‹a›0:x‹{}›.",
    ),
    // Mistral.
    (
        "mistral-list",
        "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}, \"id\": \"123456789\"}, {\"name\": \"weather\", \"arguments\": {\"city\": \"A\"}}]",
        "0:now‹{}›.1:weather‹{\"city\": \"A\"}›.",
    ),
    (
        "mistral-list",
        "[TOOL_CALLS] [\"no\"]",
        "C‹[TOOL_CALLS] [\"no\"]›",
    ),
    (
        "mistral",
        "[THINK]Hm[/THINK]Ok[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]weather[ARGS]{\"city\": \"A\"}",
        "R‹Hm›C‹Ok›0:now‹{}›.1:weather‹{\"city\": \"A\"}›.",
    ),
    ("mistral", "[TOOL_CALLS]now{}", "0:now‹{}›."),
    ("mistral", "[TOOL_CALLS]no tool", "C‹[TOOL_CALLS]no tool›"),
    (
        "mistral-id",
        "[TOOL_CALLS]now[CALL_ID]abcdefghi[ARGS]{}",
        "0:now‹{}›.",
    ),
    // Gemma.
    (
        "gemma4",
        "<|channel>thought\nHm\n<channel|>Ok<|tool_call>call:weather{city:<|\"|>New \"Y\"<|\"|>,days:2,places:[<|\"|>a<|\"|>],x:{<|\"|>k<|\"|>:true,l:null}}<tool_call|><|tool_call>call:now{}<tool_call|>",
        "R‹Hm›C‹Ok›0:weather‹{\"city\": \"New \\\"Y\\\"\", \"days\": 2, \"places\": [\"a\"], \"x\": {\"k\": true, \"l\": null}}›.1:now‹{}›.",
    ),
    (
        "gemma4",
        "<|channel>thought<channel|>A<|channel>thought\n<channel|>B",
        "C‹AB›",
    ),
    ("gemma4", "<|tool_call>cal(", "C‹<|tool_call>cal(›"),
    (
        "functiongemma",
        "<start_function_call>call:weather{city:<escape>A<escape>}<end_function_call>",
        "0:weather‹{\"city\": \"A\"}›.",
    ),
    // LFM2.
    (
        "lfm2",
        "I look.<|tool_call_start|>[weather(city=\"New \\\"Y\\\"\", days=2, hourly=True, places=['a', 'it\\'s'], x={'k': None, \"l\": (1.5,2)}), a.now()]<|tool_call_end|>\nDone",
        "C‹I look.›0:weather‹{\"city\": \"New \\\"Y\\\"\", \"days\": 2, \"hourly\": true, \"places\": [\"a\", \"it's\"], \"x\": {\"k\": null, \"l\": [1.5, 2]}}›.1:a.now‹{}›.C‹Done›",
    ),
    (
        "lfm2",
        "<|tool_call_start|>[weather(city='it's \\x41\\u00e4\\q\\\nb' )]<|tool_call_end|>",
        "0:weather‹{\"city\": \"it's A\\u00e4\\\\qb\"}›.",
    ),
    (
        "lfm2",
        "<|tool_call_start|>[weather(\"A\")]<|tool_call_end|>",
        "0:weather‹{›C‹\"A\")]<|tool_call_end|>›",
    ),
    (
        "lfm2",
        "[link](url) <|tool_call_start|>no",
        "C‹[link](url) <|tool_call_start|>no›",
    ),
    // Harmony.
    (
        "harmony",
        "<|channel|>analysis<|message|>Hm <b>.<|end|><|start|>assistant<|channel|>commentary<|message|>I look. <|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"A\"}<|call|>",
        "R‹Hm <b>.›C‹I look. ›0:weather‹{\"city\": \"A\"}›.",
    ),
    (
        "harmony",
        " to=functions.now<|channel|>commentary json<|message|>{}<|call|>",
        "0:now‹{}›.",
    ),
    (
        "harmony",
        "<|channel|>final<|message|>\nHi <|x<|return|>",
        "C‹Hi <|x›",
    ),
    (
        "harmony",
        "<|channel|>commentary to=functions.now<|message|>no",
        "C‹<|channel|>commentary to=functions.now<|message|>no›",
    ),
    ("harmony", "Hello", "C‹Hello›"),
    ("harmony", "to", "C‹to›"),
    ("harmony", "<|channel|>analysis", ""),
    // Lists in markers.
    (
        "granite3",
        "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]",
        "0:now‹{}›.",
    ),
    (
        "phi4",
        "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]<|/tool_call|>Ok",
        "0:now‹{}›.C‹Ok›",
    ),
    (
        "command-r7b",
        "<|START_THINKING|>Hm<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"now\", \"parameters\": {}}\n]<|END_ACTION|>",
        "R‹Hm›0:now‹{}›.",
    ),
    (
        "minimax-m1",
        "<tool_calls>\n{\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"now\", \"arguments\": {}}\n</tool_calls>",
        "0:now‹{}›.1:now‹{}›.",
    ),
    (
        "nemotron",
        "<TOOLCALL>[{\"name\": \"now\", \"arguments\": {}}]</TOOLCALL>",
        "0:now‹{}›.",
    ),
];

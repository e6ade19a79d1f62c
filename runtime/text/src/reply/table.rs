//! How models write calls: one row for each format.

use super::format::{Format, Tags, Words, Writing};

const JSON: Writing = Writing::Object {
    name: "name",
    arguments: &["arguments", "parameters"],
    list: false,
};
const JSON_LIST: Writing = Writing::Object {
    name: "name",
    arguments: &["arguments", "parameters"],
    list: true,
};
const TOOL_NAME_LIST: Writing = Writing::Object {
    name: "tool_name",
    arguments: &["parameters", "arguments"],
    list: true,
};

/// A row with nothing but what follows.
const ROW: Format = Format {
    name: "",
    signs: &[],
    open: "",
    also: None,
    item: ("", ""),
    close: "",
    pad: "",
    between: "",
    single: false,
    ends_reasoning: false,
    writing: JSON,
};

/// What is taken where a template says nothing that is known: an object at the start of the content, or in the markers that
/// most models use.
pub(super) static GENERIC: Format = Format {
    name: "generic",
    also: Some("<tool_call>"),
    close: "</tool_call>",
    ..ROW
};

/// More telling signs come first.
pub(super) static FORMATS: &[Format] = &[
    Format {
        name: "harmony",
        signs: &[&["<|channel|>", "<|message|>", "analysis"]],
        writing: Writing::Harmony,
        ..ROW
    },
    Format {
        name: "gemma4",
        signs: &[&["<|tool_call>", "<|\"|>"]],
        open: "<|tool_call>",
        close: "<tool_call|>",
        single: true,
        writing: Writing::Words(&Words {
            list: None,
            before: "call:",
            open: '{',
            close: '}',
            assign: ':',
            quotes: &["<|\"|>"],
            escapes: false,
        }),
        ..ROW
    },
    Format {
        name: "functiongemma",
        signs: &[&["<start_function_call>"]],
        open: "<start_function_call>",
        close: "<end_function_call>",
        single: true,
        writing: Writing::Words(&Words {
            list: None,
            before: "call:",
            open: '{',
            close: '}',
            assign: ':',
            quotes: &["<escape>"],
            escapes: false,
        }),
        ..ROW
    },
    // Formats that are not read here and whose markers contain those of others.
    Format {
        name: "generic",
        signs: &[
            &["]<]minimax[>["],
            &["<|open|>", "<|sep|>"],
            &["<atem:"],
            &["<|tool_call:begin|>"],
        ],
        also: GENERIC.also,
        close: GENERIC.close,
        ..ROW
    },
    Format {
        name: "deepseek-v3.2",
        signs: &[&["｜DSML｜", "function_calls>"]],
        open: "<｜DSML｜function_calls>",
        close: "</｜DSML｜function_calls>",
        pad: "\n",
        between: "\n",
        writing: Writing::Tags(&DSML),
        ..ROW
    },
    Format {
        name: "deepseek-v4",
        signs: &[&["｜DSML｜", "tool_calls>"]],
        open: "<｜DSML｜tool_calls>",
        close: "</｜DSML｜tool_calls>",
        pad: "\n",
        between: "\n",
        writing: Writing::Tags(&DSML),
        ..ROW
    },
    Format {
        name: "minimax-m2",
        signs: &[&["<minimax:tool_call>"]],
        open: "<minimax:tool_call>",
        close: "</minimax:tool_call>",
        pad: "\n",
        between: "\n",
        writing: Writing::Tags(&Tags {
            name: ("<invoke name=\"", "\">"),
            close: "</invoke>",
            key: ("<parameter name=\"", "\">"),
            value: "",
            end: "</parameter>",
            lines: false,
        }),
        ..ROW
    },
    Format {
        name: "hunyuan3",
        signs: &[&["<tool_sep{}>", ":opensource"]],
        open: "<tool_calls:opensource>",
        close: "</tool_calls:opensource>",
        pad: "\n",
        between: "\n",
        writing: Writing::Tags(&Tags {
            name: ("<tool_call:opensource>", "<tool_sep:opensource>"),
            close: "</tool_call:opensource>",
            key: ("<arg_key:opensource>", "</arg_key:opensource>"),
            value: "<arg_value:opensource>",
            end: "</arg_value:opensource>",
            lines: false,
        }),
        ..ROW
    },
    Format {
        name: "seed",
        signs: &[&["<seed:tool_call>"]],
        open: "<seed:tool_call>",
        close: "</seed:tool_call>",
        pad: "\n",
        between: "\n",
        single: true,
        writing: Writing::Tags(&Tags {
            lines: false,
            ..FUNCTION_TAGS
        }),
        ..ROW
    },
    Format {
        name: "qwen3-coder",
        signs: &[&["<function=", "<parameter="]],
        open: "<tool_call>",
        also: Some("<function="),
        close: "</tool_call>",
        pad: "\n",
        between: "\n",
        single: true,
        ends_reasoning: true,
        writing: Writing::Tags(&FUNCTION_TAGS),
        ..ROW
    },
    Format {
        name: "functionary-v3.1",
        signs: &[&["<function=", "</function>"]],
        open: "<function=",
        close: "</function>",
        single: true,
        writing: Writing::Named {
            before: "",
            id: None,
            between: ">",
            after: "",
        },
        ..ROW
    },
    Format {
        name: "glm",
        signs: &[&["<arg_key>", "<arg_value>"]],
        open: "<tool_call>",
        close: "</tool_call>",
        between: "\n",
        single: true,
        writing: Writing::Tags(&Tags {
            name: ("", ""),
            close: "",
            key: ("<arg_key>", "</arg_key>"),
            value: "<arg_value>",
            end: "</arg_value>",
            lines: false,
        }),
        ..ROW
    },
    Format {
        name: "kimi-k2",
        signs: &[&["<|tool_call_argument_begin|>"]],
        open: "<|tool_calls_section_begin|>",
        item: ("<|tool_call_begin|>", "<|tool_call_end|>"),
        close: "<|tool_calls_section_end|>",
        writing: Writing::Named {
            before: "functions.",
            id: Some((":", "[0-9]{1,3}")),
            between: "<|tool_call_argument_begin|>",
            after: "",
        },
        ..ROW
    },
    Format {
        name: "deepseek-r1",
        signs: &[&["<｜tool▁sep｜>", "```json"]],
        open: "<｜tool▁calls▁begin｜>",
        item: ("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"),
        close: "<｜tool▁calls▁end｜>",
        between: "\n",
        writing: Writing::Named {
            before: "function<｜tool▁sep｜>",
            id: None,
            between: "\n```json\n",
            after: "\n```",
        },
        ..ROW
    },
    Format {
        name: "deepseek-v3.1",
        signs: &[&["<｜tool▁sep｜>"]],
        open: "<｜tool▁calls▁begin｜>",
        item: ("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"),
        close: "<｜tool▁calls▁end｜>",
        writing: Writing::Named {
            before: "",
            id: None,
            between: "<｜tool▁sep｜>",
            after: "",
        },
        ..ROW
    },
    Format {
        name: "lfm2",
        signs: &[&["<|tool_call_start|>"], &["<|tool_list_start|>"]],
        open: "<|tool_call_start|>",
        close: "<|tool_call_end|>",
        between: ", ",
        writing: Writing::Words(&Words {
            list: Some(('[', ']')),
            before: "",
            open: '(',
            close: ')',
            assign: '=',
            quotes: &["\"", "'"],
            escapes: true,
        }),
        ..ROW
    },
    Format {
        name: "mistral-id",
        signs: &[&["[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"]],
        open: "[TOOL_CALLS]",
        single: true,
        writing: Writing::Named {
            before: "",
            id: Some(("[CALL_ID]", "[a-zA-Z0-9]{9}")),
            between: "[ARGS]",
            after: "",
        },
        ..ROW
    },
    Format {
        name: "mistral",
        signs: &[&["[TOOL_CALLS]", "[ARGS]"]],
        open: "[TOOL_CALLS]",
        single: true,
        writing: Writing::Named {
            before: "",
            id: None,
            between: "[ARGS]",
            after: "",
        },
        ..ROW
    },
    Format {
        name: "mistral-list",
        signs: &[&["[TOOL_CALLS]"]],
        open: "[TOOL_CALLS]",
        between: ", ",
        writing: JSON_LIST,
        ..ROW
    },
    Format {
        name: "command-r7b",
        signs: &[&["<|START_ACTION|>"]],
        open: "<|START_ACTION|>",
        close: "<|END_ACTION|>",
        between: ", ",
        writing: TOOL_NAME_LIST,
        ..ROW
    },
    Format {
        name: "command-r",
        signs: &[&["Action:", "```json", "tool_name"]],
        open: "Action:\n```json\n",
        close: "```",
        pad: "",
        between: ", ",
        writing: TOOL_NAME_LIST,
        ..ROW
    },
    Format {
        name: "nemotron",
        signs: &[&["<TOOLCALL>"]],
        open: "<TOOLCALL>",
        close: "</TOOLCALL>",
        between: ", ",
        writing: JSON_LIST,
        ..ROW
    },
    Format {
        name: "minimax-m1",
        signs: &[&["<tool_calls>", "<args-json-object>"]],
        open: "<tool_calls>",
        close: "</tool_calls>",
        pad: "\n",
        between: "\n",
        writing: JSON,
        ..ROW
    },
    Format {
        name: "apriel",
        signs: &[&["<tool_calls>"]],
        open: "<tool_calls>",
        close: "</tool_calls>",
        between: ", ",
        writing: JSON_LIST,
        ..ROW
    },
    Format {
        name: "firefunction",
        signs: &[&["functools["]],
        open: "functools",
        between: ", ",
        writing: JSON_LIST,
        ..ROW
    },
    Format {
        name: "phi4",
        signs: &[&["<|tool_call|>", "<|/tool_call|>"]],
        open: "<|tool_call|>",
        close: "<|/tool_call|>",
        between: ", ",
        writing: JSON_LIST,
        ..ROW
    },
    Format {
        name: "granite3",
        signs: &[&["<|tool_call|>"]],
        open: "<|tool_call|>",
        between: ", ",
        writing: JSON_LIST,
        ..ROW
    },
    Format {
        name: "gigachat",
        signs: &[&["<|role_sep|>", "function call"]],
        open: "<|message_sep|>\n\nfunction call<|role_sep|>\n",
        close: "<|message_sep|>",
        single: true,
        writing: JSON,
        ..ROW
    },
    Format {
        name: "hermes",
        signs: &[&["<tool_call>"]],
        open: "<tool_call>",
        close: "</tool_call>",
        pad: "\n",
        between: "\n",
        single: true,
        writing: JSON,
        ..ROW
    },
    Format {
        name: "llama3",
        signs: &[&["\"parameters\": ", "<|eot_id|>"], &["<|python_tag|>"]],
        also: Some("<|python_tag|>"),
        between: "; ",
        writing: Writing::Object {
            name: "name",
            arguments: &["parameters", "arguments"],
            list: false,
        },
        ..ROW
    },
];

const FUNCTION_TAGS: Tags = Tags {
    name: ("<function=", ">"),
    close: "</function>",
    key: ("<parameter=", ">"),
    value: "",
    end: "</parameter>",
    lines: true,
};

const DSML: Tags = Tags {
    name: ("<｜DSML｜invoke name=\"", "\">"),
    close: "</｜DSML｜invoke>",
    key: ("<｜DSML｜parameter name=\"", ">"),
    value: "",
    end: "</｜DSML｜parameter>",
    lines: false,
};

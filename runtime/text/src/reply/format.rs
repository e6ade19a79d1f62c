//! How models write calls and reasoning: one row for each format.

/// How a model writes calls.
#[derive(Debug)]
pub(super) struct Format {
    pub(super) name: &'static str,
    /// A template of this format has all of the texts of one of these lists.
    pub(super) signs: &'static [&'static [&'static str]],
    /// Begins a block of calls. Without one, calls begin the content.
    pub(super) open: &'static str,
    /// A text that begins a call by itself where a model forgets `open`; the tool's name must be known there.
    pub(super) also: Option<&'static str>,
    /// Around each call of a block.
    pub(super) item: (&'static str, &'static str),
    /// Ends a block.
    pub(super) close: &'static str,
    /// White space as models are trained to write it: behind `open` and `item.0`, and in front of their ends.
    #[cfg_attr(not(feature = "grammar"), expect(dead_code))]
    pub(super) pad: &'static str,
    /// Between two calls, or two blocks where each has one.
    #[cfg_attr(not(feature = "grammar"), expect(dead_code))]
    pub(super) between: &'static str,
    /// A block has one call.
    #[cfg_attr(not(feature = "grammar"), expect(dead_code))]
    pub(super) single: bool,
    /// `open` ends reasoning.
    pub(super) ends_reasoning: bool,
    pub(super) writing: Writing,
}

/// How one call is written.
#[derive(Debug)]
pub(super) enum Writing {
    /// An object with the name and the arguments, perhaps in a list.
    Object {
        name: &'static str,
        /// The first is what models are trained to write.
        arguments: &'static [&'static str],
        #[cfg_attr(not(feature = "grammar"), expect(dead_code))]
        list: bool,
    },
    /// The name, then the arguments as an object.
    Named {
        before: &'static str,
        /// The id of the call: what is in front of it, and what it is as a regular expression.
        id: Option<(&'static str, &'static str)>,
        between: &'static str,
        after: &'static str,
    },
    /// The name and the arguments in words that are nearly JSON.
    Words(&'static Words),
    /// Parameters between tags.
    Tags(&'static Tags),
    /// Messages with headers.
    Harmony,
}

/// Arguments in words that are nearly JSON.
#[derive(Debug)]
pub(super) struct Words {
    /// Around all calls.
    pub(super) list: Option<(char, char)>,
    pub(super) before: &'static str,
    pub(super) open: char,
    pub(super) close: char,
    /// Between the name of an argument and its value.
    pub(super) assign: char,
    pub(super) quotes: &'static [&'static str],
    /// Whether texts have escapes, and quotes that end nothing.
    pub(super) escapes: bool,
}

/// Parameters between tags.
#[derive(Debug)]
pub(super) struct Tags {
    /// In front of and behind the name of the function.
    pub(super) name: (&'static str, &'static str),
    pub(super) close: &'static str,
    /// In front of and behind the name of a parameter.
    pub(super) key: (&'static str, &'static str),
    /// In front of a value, where there is more than the end of the key.
    pub(super) value: &'static str,
    pub(super) end: &'static str,
    /// Line breaks directly within the tags of a value belong to the tags.
    pub(super) lines: bool,
}

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

/// How a model writes reasoning.
#[derive(Debug)]
pub(super) struct Thought {
    pub(super) signs: &'static [&'static str],
    pub(super) open: &'static str,
    pub(super) close: &'static str,
    /// What a model writes where its reasoning ends.
    pub(super) ending: &'static str,
    /// Not at the start alone.
    pub(super) anywhere: bool,
}

const THOUGHT: Thought = Thought {
    signs: &[],
    open: "<think>",
    close: "</think>",
    ending: "\n</think>\n\n",
    anywhere: false,
};

pub(super) static THOUGHTS: &[Thought] = &[
    Thought {
        signs: &["<|channel|>", "<|message|>", "analysis"],
        open: "<|channel|>analysis<|message|>",
        close: "<|end|>",
        ending: "<|end|><|start|>assistant<|channel|>final<|message|>",
        anywhere: true,
    },
    Thought {
        signs: &["<|channel>", "<channel|>"],
        open: "<|channel>thought",
        close: "<channel|>",
        ending: "<channel|>",
        anywhere: true,
    },
    Thought {
        signs: &["<think{}>", ":opensource"],
        open: "<think:opensource>",
        close: "</think:opensource>",
        ending: "</think:opensource>",
        ..THOUGHT
    },
    Thought {
        signs: &["[/THINK]"],
        open: "[THINK]",
        close: "[/THINK]",
        ending: "[/THINK]",
        ..THOUGHT
    },
    Thought {
        signs: &["</seed:think>"],
        open: "<seed:think>",
        close: "</seed:think>",
        ending: "</seed:think>\n",
        ..THOUGHT
    },
    Thought {
        signs: &["</mm:think>"],
        open: "<mm:think>",
        close: "</mm:think>",
        ending: "</mm:think>",
        ..THOUGHT
    },
    Thought {
        signs: &["<|START_THINKING|>", "<|END_THINKING|>"],
        open: "<|START_THINKING|>",
        close: "<|END_THINKING|>",
        ending: "<|END_THINKING|>",
        ..THOUGHT
    },
    Thought {
        signs: &["[BEGIN FINAL RESPONSE]"],
        open: "Here are my reasoning steps:\n",
        close: "[BEGIN FINAL RESPONSE]",
        ending: "\n[BEGIN FINAL RESPONSE]\n",
        ..THOUGHT
    },
    Thought {
        signs: &["</think>"],
        ..THOUGHT
    },
    Thought {
        signs: &["<think>"],
        ..THOUGHT
    },
];

/// Markers around content, which are left out where a template has the sign.
pub(super) static WRAPPERS: &[(&str, &[&str])] = &[
    (
        "<|START_RESPONSE|>",
        &["<|START_RESPONSE|>", "<|END_RESPONSE|>"],
    ),
    (
        "between <response></response>",
        &["<response>", "</response>"],
    ),
];

//! Calls as grammars let them through.

/// A format's calls.
pub struct Case {
    pub format: &'static str,
    pub controls: &'static [&'static str],
    /// Calls of `weather` and of `now`, behind each other.
    pub two: &'static str,
    /// A call of `now`.
    pub one: &'static str,
    /// Starts of what may not be.
    pub wrong: &'static [&'static str],
}

pub const CASES: &[Case] = &[
    Case {
        format: "hermes",
        controls: &["<tool_call>", "</tool_call>", "<think>", "</think>"],
        two: "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"A\", \"days\": 2, \"units\": \"C\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        one: "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        wrong: &[
            "<tool_call>\n{\"name\": \"other",
            "<tool_call>\n{\"name\": \"weather\", \"arguments\": {}",
            "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": 1",
            "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"a",
        ],
    },
    Case {
        format: "qwen3-coder",
        controls: &["<tool_call>", "</tool_call>", "<think>", "</think>"],
        two: "<tool_call>\n<function=weather>\n<parameter=city>\nNew\n\"York\" </b>\n</parameter>\n<parameter=days>\n2\n</parameter>\n<parameter=units>\nF\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
        one: "<tool_call>\n<function=now>\n</function>\n</tool_call>",
        wrong: &[
            "<tool_call>\n<function=other",
            "<tool_call>\n<function=weather>\n<parameter=days",
            "<tool_call>\n<function=weather>\n<parameter=city>\nA\n</parameter>\n<parameter=days>\nx",
            "<tool_call>\n<function=weather>\n<parameter=city>\nA\n</parameter>\n<parameter=units>\nK",
        ],
    },
    Case {
        format: "glm",
        controls: &[
            "<tool_call>",
            "</tool_call>",
            "<arg_key>",
            "</arg_key>",
            "<arg_value>",
            "</arg_value>",
        ],
        two: "<tool_call>weather<arg_key>city</arg_key><arg_value>A</arg_value><arg_key>hourly</arg_key><arg_value>true</arg_value></tool_call>\n<tool_call>now</tool_call>",
        one: "<tool_call>now</tool_call>",
        wrong: &["<tool_call>x", "<tool_call>weather</tool_call>"],
    },
    Case {
        format: "deepseek-v3.2",
        controls: &["｜DSML｜"],
        two: "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">A</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" string=\"false\">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        one: "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        wrong: &["<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"x"],
    },
    Case {
        format: "minimax-m2",
        controls: &["<minimax:tool_call>", "</minimax:tool_call>"],
        two: "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">A</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
        one: "<minimax:tool_call>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
        wrong: &["<minimax:tool_call>\n<invoke name=\"weather\">\n</invoke>"],
    },
    Case {
        format: "deepseek-r1",
        controls: &[
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁calls▁end｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁call▁end｜>",
            "<｜tool▁sep｜>",
        ],
        two: "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": \"A\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        one: "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        wrong: &[
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{}",
        ],
    },
    Case {
        format: "deepseek-v3.1",
        controls: &["<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>"],
        two: "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"city\": \"A\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        one: "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        wrong: &["<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>x"],
    },
    Case {
        format: "kimi-k2",
        controls: &[
            "<|tool_calls_section_begin|>",
            "<|tool_call_argument_begin|>",
        ],
        two: "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{\"city\": \"A\"}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
        one: "<|tool_calls_section_begin|><|tool_call_begin|>functions.now:12<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
        wrong: &["<|tool_calls_section_begin|><|tool_call_begin|>functions.now<"],
    },
    Case {
        format: "llama3",
        controls: &["<|python_tag|>"],
        two: "{\"name\": \"weather\", \"parameters\": {\"city\": \"A\"}}; {\"name\": \"now\", \"parameters\": {}}",
        one: "{\"name\": \"now\", \"parameters\": {}}",
        wrong: &["{\"a", "{\"name\": \"x"],
    },
    Case {
        format: "generic",
        controls: &[],
        two: "{\"name\": \"weather\", \"arguments\": {\"city\": \"A\"}}{\"name\": \"now\", \"arguments\": {}}",
        one: "{\"name\": \"now\", \"arguments\": {}}",
        wrong: &["{\"a", "{\"name\": \"x"],
    },
    Case {
        format: "mistral",
        controls: &["[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"],
        two: "[TOOL_CALLS]weather[ARGS]{\"city\": \"A\"}[TOOL_CALLS]now[ARGS]{}",
        one: "[TOOL_CALLS]now[ARGS]{}",
        wrong: &["[TOOL_CALLS]x", "[TOOL_CALLS]weather[ARGS]{}"],
    },
    Case {
        format: "mistral-id",
        controls: &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"],
        two: "[TOOL_CALLS]weather[CALL_ID]abcdefghi[ARGS]{\"city\": \"A\"}[TOOL_CALLS]now[CALL_ID]123456789[ARGS]{}",
        one: "[TOOL_CALLS]now[CALL_ID]123456789[ARGS]{}",
        wrong: &["[TOOL_CALLS]now[ARGS]", "[TOOL_CALLS]now[CALL_ID]12["],
    },
    Case {
        format: "mistral-list",
        controls: &["[TOOL_CALLS]"],
        two: "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"A\"}}, {\"name\": \"now\", \"arguments\": {}}]",
        one: "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}}]",
        wrong: &["[TOOL_CALLS][]", "[TOOL_CALLS]{"],
    },
    Case {
        format: "granite3",
        controls: &["<|tool_call|>"],
        two: "<|tool_call|>[{\"name\": \"weather\", \"arguments\": {\"city\": \"A\"}}, {\"name\": \"now\", \"arguments\": {}}]",
        one: "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]",
        wrong: &["<|tool_call|>[]"],
    },
    Case {
        format: "command-r7b",
        controls: &[
            "<|START_ACTION|>",
            "<|END_ACTION|>",
            "<|START_THINKING|>",
            "<|END_THINKING|>",
        ],
        two: "<|START_ACTION|>[{\"tool_name\": \"weather\", \"parameters\": {\"city\": \"A\"}}, {\"tool_name\": \"now\", \"parameters\": {}}]<|END_ACTION|>",
        one: "<|START_ACTION|>[{\"tool_name\": \"now\", \"parameters\": {}}]<|END_ACTION|>",
        wrong: &["<|START_ACTION|>[{\"name"],
    },
    Case {
        format: "minimax-m1",
        controls: &[],
        two: "<tool_calls>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"A\"}}\n{\"name\": \"now\", \"arguments\": {}}\n</tool_calls>",
        one: "<tool_calls>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_calls>",
        wrong: &["<tool_calls>\n["],
    },
    Case {
        format: "lfm2",
        controls: &[
            "<|tool_call_start|>",
            "<|tool_call_end|>",
            "<think>",
            "</think>",
        ],
        two: "<|tool_call_start|>[weather(city=\"A \\\"b\\\" it's\", places=[\"a\", \"b\"]), now()]<|tool_call_end|>",
        one: "<|tool_call_start|>[now()]<|tool_call_end|>",
        wrong: &[
            "<|tool_call_start|>[weather()",
            "<|tool_call_start|>[weather(days",
            "<|tool_call_start|>[weather(city=\"A\",)",
            "<|tool_call_start|>[x",
        ],
    },
    Case {
        format: "gemma4",
        controls: &[
            "<|tool_call>",
            "<tool_call|>",
            "<|\"|>",
            "<|channel>",
            "<channel|>",
        ],
        two: "<|tool_call>call:weather{city:<|\"|>A \"b\"<|\"|>,days:2,units:<|\"|>C<|\"|>,places:[<|\"|>a<|\"|>,<|\"|><|\"|>]}<tool_call|><|tool_call>call:now{}<tool_call|>",
        one: "<|tool_call>call:now{}<tool_call|>",
        wrong: &[
            "<|tool_call>call:weather{}",
            "<|tool_call>call:weather{city:A",
            "<|tool_call>call:weather{city:<|\"|>A<|\"|>,units:<|\"|>K",
            "<|tool_call>call:weather{city:<|\"|>A<|\"|>,}",
        ],
    },
    Case {
        format: "functiongemma",
        controls: &["<start_function_call>", "<end_function_call>", "<escape>"],
        two: "<start_function_call>call:weather{city:<escape>A<escape>}<end_function_call><start_function_call>call:now{}<end_function_call>",
        one: "<start_function_call>call:now{}<end_function_call>",
        wrong: &["<start_function_call>call:x"],
    },
];

//! How models write reasoning: one row for each way.

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

//! `jinja/cases.json`: what Python's jinja2 renders of small templates, set as `transformers` sets it. Each is
//! rendered the same here, or refused: none is silently another. `jinja/make_cases.py` makes the file.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_text::template::{Clock, Input, Limits, Value, render};
use serde::Deserialize;
use std::path::Path;

#[derive(Deserialize)]
struct Table {
    jinja2: String,
    now: i64,
    variables: Vec<(String, Value)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    /// What jinja2 renders.
    output: Option<String>,
    /// Or why it does not.
    error: Option<String>,
    /// What is refused here although jinja2 renders it: a part of the error.
    refused: Option<String>,
}

#[test]
fn jinja2_renders_the_same_or_it_is_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jinja/cases.json");
    let table: Table = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let of = |name: &str| {
        let found = table.variables.iter().find(|v| v.0 == name);
        found.unwrap().1.clone()
    };
    let input = Input {
        messages: of("messages"),
        tools: Some(of("tools")),
        clock: Clock::Unix(table.now),
        variables: table.variables.clone(),
        ..Input::default()
    };
    let mut different = Vec::new();
    let mut counts = [0; 3];
    for case in &table.cases {
        let found = render(&case.template, &input, &Limits::default());
        let (fits, kind) = match (&case.output, &case.refused, &found) {
            (Some(expected), None, Ok(found)) => (expected == found, 0),
            (Some(_), Some(part), Err(e)) => (e.to_string().contains(part.as_str()), 1),
            (None, _, Err(_)) => (true, 2),
            _ => (false, 0),
        };
        counts[kind] += 1;
        if !fits {
            eprintln!(
                "{}\n  jinja2: {:?} {}\n  here:   {found:?}",
                case.template,
                case.output,
                case.error.as_deref().unwrap_or_default()
            );
            different.push(&case.template);
        }
    }
    eprintln!(
        "jinja2 {}: {} the same, {} refused here alone, {} refused by both",
        table.jinja2, counts[0], counts[1], counts[2]
    );
    assert!(different.is_empty(), "{} differ", different.len());
    assert!(counts[0] > 150 && counts[1] < 40);
}

//! Kernels as they are embedded: what nobody refers to is left out, and so are comments and indentation. A page in a browser
//! fetches every byte of them, and its compiler reads every function.

use std::collections::BTreeSet;

/// A declaration of a module, with its attributes.
struct Item<'a> {
    text: String,
    /// What others may refer to it by; `None` stays whatever they refer to.
    name: Option<&'a str>,
}

/// The source without comments, indentation, and the constants, structures and functions that no entry point needs.
pub fn bare(source: &str) -> String {
    let items = items(source);
    let words: Vec<BTreeSet<&str>> = items.iter().map(|i| words(&i.text)).collect();
    let mut needed: Vec<bool> = items.iter().map(|i| i.name.is_none()).collect();
    loop {
        let wanted: BTreeSet<&str> = words
            .iter()
            .zip(&needed)
            .filter(|(_, needed)| **needed)
            .flat_map(|(words, _)| words.iter().copied())
            .collect();
        let before = needed.clone();
        for (item, needed) in items.iter().zip(&mut needed) {
            *needed |= item.name.is_some_and(|name| wanted.contains(name));
        }
        if needed == before {
            break;
        }
    }
    let kept = items.iter().zip(needed).filter(|(_, needed)| *needed);
    kept.map(|(item, _)| tight(&item.text)).collect()
}

/// Without the spaces that part no words, nor operators that would be others side by side. Lines stay, for whoever reads what a
/// driver says of one.
fn tight(text: &str) -> String {
    let operator = |c: char| "+-&|<>=!*/".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let (before, after) = (out.chars().next_back(), chars.peek().copied());
        let parts = |a: char, b: char| (is_word(a) && is_word(b)) || (operator(a) && operator(b));
        match (c, before, after) {
            (' ', Some(a), Some(b)) if !parts(a, b) => {}
            _ => out.push(c),
        }
    }
    out
}

/// Declarations begin at the margin. A function or structure ends with a brace there or on its only line, another one with a
/// semicolon.
fn items(source: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut text = String::new();
    let mut name = None;
    let mut begun = false;
    for whole in source.lines() {
        // WGSL has no texts in which two slashes could stand.
        let line = whole.split("//").next().unwrap_or_default().trim_end();
        if line.is_empty() {
            continue;
        }
        if !begun {
            (begun, name) = (true, named(line));
        }
        text.push_str(line.trim());
        text.push('\n');
        let margin = !line.starts_with(' ');
        let braced = line.starts_with("fn ") || line.starts_with("struct ");
        let ends = match (line, braced) {
            ("}" | "};", _) => true,
            (_, true) => line.ends_with('}'),
            // An attribute on a line of its own goes on with what follows.
            _ => line.ends_with(';') && (margin || !text.contains('{')),
        };
        if ends {
            items.push(Item {
                text: std::mem::take(&mut text),
                name,
            });
            begun = false;
        }
    }
    if begun {
        items.push(Item { text, name: None });
    }
    items
}

/// The name of what may be left out.
fn named(line: &str) -> Option<&str> {
    let kinds = ["const ", "fn ", "struct "];
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !is_word(c)).next()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !is_word(c)).collect()
}

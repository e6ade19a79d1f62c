//! Messages with headers, as gpt-oss writes them:
//! `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>`.

use super::block::Block;
use super::body::Body;
use super::parser::{Parser, State};

/// Everything that is a token of its own.
pub(super) const MARKERS: [&str; 7] = [
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|constrain|>",
    "<|end|>",
    "<|call|>",
    "<|return|>",
];
/// Those that end a message or begin another.
pub(super) const ENDS: [&str; 5] = [
    "<|start|>",
    "<|channel|>",
    "<|end|>",
    "<|call|>",
    "<|return|>",
];
/// Ends a header.
const MESSAGE: &str = "<|message|>";
/// Longest header in bytes.
const MAX_HEADER: usize = 1024;

/// What the message of a header is.
#[derive(Debug, PartialEq, Eq)]
enum Message<'a> {
    Reasoning,
    Content,
    /// A call of a tool.
    Call(&'a str),
}

/// What a header without `<|message|>` says.
fn message(header: &str) -> Message<'_> {
    let word = |mark: &str| {
        let rest = header.split(mark).nth(1)?;
        let end = rest.find(|c: char| c.is_whitespace() || c == '<');
        Some(&rest[..end.unwrap_or(rest.len())])
    };
    if let Some(to) = word("to=")
        && !matches!(to, "" | "user" | "assistant" | "all")
    {
        return Message::Call(to.strip_prefix("functions.").unwrap_or(to));
    }
    match word("<|channel|>") {
        Some("analysis") => Message::Reasoning,
        _ => Message::Content,
    }
}

/// Whether a text may be the start of a header.
fn may_be_header(text: &str) -> bool {
    let text = text.trim_start();
    ["<|channel|>", "<|start|>", "to=", MESSAGE]
        .iter()
        .any(|start| text.starts_with(start) || start.starts_with(text))
}

impl Parser {
    /// A header begins, with the marker if it is one of a header.
    pub(super) fn header(&mut self, marker: &str) {
        let begins = matches!(marker, "<|start|>" | "<|channel|>");
        self.state = State::Header(if begins { marker.into() } else { String::new() });
    }

    pub(super) fn in_header(&mut self, c: char) {
        let State::Header(text) = &mut self.state else {
            return;
        };
        text.push(c);
        if !text.ends_with(MESSAGE) {
            if !may_be_header(text) {
                let text = std::mem::take(text);
                self.state = State::Content;
                self.again(&text);
            } else if text.len() > MAX_HEADER {
                self.raw = std::mem::take(text);
                self.state = State::Content;
                self.spill();
            }
            return;
        }
        let text = std::mem::take(text);
        let header = &text[..text.len() - MESSAGE.len()];
        self.state = match message(header) {
            Message::Reasoning => {
                self.reasoned = false;
                State::Reasoning
            }
            Message::Content => State::Content,
            Message::Call(name) if self.options.calls => {
                let body = Some(Body::named(name.into()));
                self.raw = text;
                State::Block(Block {
                    body,
                    ..Block::default()
                })
            }
            Message::Call(_) => {
                self.raw = text;
                self.spill();
                State::Content
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        for (header, expected) in [
            ("<|channel|>analysis", Message::Reasoning),
            ("<|start|>assistant<|channel|>final", Message::Content),
            ("<|channel|>commentary", Message::Content),
            (
                "<|channel|>commentary to=functions.f <|constrain|>json",
                Message::Call("f"),
            ),
            (
                " to=functions.a.b<|channel|>commentary json",
                Message::Call("a.b"),
            ),
            (
                "<|channel|>analysis to=python code",
                Message::Call("python"),
            ),
            ("<|channel|>commentary to=assistant", Message::Content),
            ("", Message::Content),
        ] {
            assert_eq!(message(header), expected, "{header}");
        }
        assert!(may_be_header(" <|cha") && may_be_header("") && may_be_header("to=f"));
        assert!(!may_be_header("Hello") && !may_be_header("<b"));
    }
}

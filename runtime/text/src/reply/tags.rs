//! A call whose arguments stand between tags: `<function=name><parameter=key>text</parameter></function>`.

use super::delta::Sink;
use super::format::Tags;
use super::json::{self, Step, is_space, push_escaped};
use super::object::MAX_NAME;
use super::seek::{Seek, Seeker};
use super::tools::Takes;

#[derive(Clone, Debug)]
enum State {
    /// So many bytes of what stands in front of the name.
    Before(usize),
    Name,
    /// Between parameters.
    Between,
    Key(String),
    /// Between the key and the value.
    Open,
    Value,
}

/// Reads a call in tags.
#[derive(Clone, Debug)]
pub(super) struct TagsCall {
    tags: &'static Tags,
    /// What ends the call.
    close: &'static str,
    state: State,
    name: String,
    begun: bool,
    keys: usize,
    seeker: Seeker,
    takes: Takes,
    /// The value, where it has to be whole to be understood; or a line break that may belong to a tag.
    held: String,
    /// Nothing of the value is there yet.
    first: bool,
    json: String,
}

impl TagsCall {
    /// `block` ends the call where the format has no tag for that.
    pub(super) fn new(tags: &'static Tags, block: &'static str) -> Self {
        Self {
            tags,
            close: if tags.close.is_empty() {
                block
            } else {
                tags.close
            },
            state: State::Before(0),
            name: String::new(),
            begun: false,
            keys: 0,
            seeker: Seeker::default(),
            takes: Takes::ANY,
            held: String::new(),
            first: true,
            json: String::new(),
        }
    }

    /// Whether the end of the call was that of its block.
    pub(super) fn ends_block(&self) -> bool {
        self.tags.close.is_empty()
    }

    pub(super) fn feed(&mut self, c: char, sink: &mut Sink<'_>) -> Step {
        let mut todo = vec![c];
        while let Some(c) = todo.pop() {
            match self.step(c, &mut todo, sink) {
                Some(Step::More) => {}
                Some(Step::Last) => {
                    sink.arguments(&std::mem::take(&mut self.json));
                    sink.end();
                    return Step::Last;
                }
                _ => return Step::Bad,
            }
        }
        sink.arguments(&std::mem::take(&mut self.json));
        Step::More
    }

    fn step(&mut self, c: char, todo: &mut Vec<char>, sink: &mut Sink<'_>) -> Option<Step> {
        let tags = self.tags;
        match &mut self.state {
            State::Before(at) => {
                let rest = &tags.name.0[*at..];
                if rest.is_empty() {
                    self.state = State::Name;
                    todo.push(c);
                } else {
                    rest.starts_with(c).then_some(())?;
                    *at += c.len_utf8();
                }
            }
            State::Name => {
                let ends = &[tags.name.1][..];
                let open = tags.name.1.is_empty();
                if open && (is_space(c) || c == '<') {
                    self.state = State::Between;
                    todo.push(c);
                    return Some(Step::More);
                }
                let seek = match open {
                    true => Seek::Free(c, String::new()),
                    false => self.seeker.feed(c, ends),
                };
                match seek {
                    Seek::Found(_) => self.state = State::Between,
                    Seek::Hold => {}
                    Seek::Free(c, rest) => {
                        let fits = c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ':' | '/');
                        (fits && self.name.len() < MAX_NAME).then_some(())?;
                        self.name.push(c);
                        todo.extend(rest.chars().rev());
                    }
                }
            }
            State::Between => match self.seeker.feed(c, &[tags.key.0, self.close]) {
                Seek::Found(0) => {
                    self.begin(sink)?;
                    self.state = State::Key(String::new());
                }
                Seek::Found(_) => {
                    self.begin(sink)?;
                    self.json.push_str(if self.keys == 0 { "{}" } else { "}" });
                    return Some(Step::Last);
                }
                Seek::Hold => {}
                Seek::Free(c, rest) => {
                    is_space(c).then_some(())?;
                    todo.extend(rest.chars().rev());
                }
            },
            State::Key(key) => match self.seeker.feed(c, &[tags.key.1]) {
                Seek::Found(_) => {
                    let key = std::mem::take(key);
                    self.key(&key, sink);
                    self.state = match tags.value {
                        "" => State::Value,
                        _ => State::Open,
                    };
                }
                Seek::Hold => {}
                Seek::Free(c, rest) => {
                    (key.len() < MAX_NAME).then_some(())?;
                    key.push(c);
                    todo.extend(rest.chars().rev());
                }
            },
            State::Open => match self.seeker.feed(c, &[tags.value]) {
                Seek::Found(_) => self.state = State::Value,
                Seek::Hold => {}
                Seek::Free(c, rest) => {
                    is_space(c).then_some(())?;
                    todo.extend(rest.chars().rev());
                }
            },
            State::Value => match self.seeker.feed(c, &[tags.end]) {
                Seek::Found(_) => {
                    self.value_end();
                    self.state = State::Between;
                }
                Seek::Hold => {}
                Seek::Free(c, rest) => {
                    self.value(c);
                    todo.extend(rest.chars().rev());
                }
            },
        }
        Some(Step::More)
    }

    fn begin(&mut self, sink: &mut Sink<'_>) -> Option<()> {
        if !self.begun {
            sink.call(&self.name).then_some(())?;
            self.begun = true;
        }
        Some(())
    }

    /// A parameter begins. Behind its name may stand whether it is a text.
    fn key(&mut self, key: &str, sink: &Sink<'_>) {
        let (name, rest) = match key.split_once('"') {
            Some(parts) => parts,
            None => (key, ""),
        };
        let name = name.trim();
        self.takes = match rest.trim() {
            "string=\"true\"" => Takes::TEXT,
            "string=\"false\"" => Takes::DATA,
            _ => sink.tools.takes(&self.name, name),
        };
        self.json.push_str(if self.keys == 0 { "{" } else { ", " });
        self.keys += 1;
        self.json.push_str(&json::quoted(name));
        self.json.push_str(": ");
        if self.takes == Takes::TEXT {
            self.json.push('"');
        }
        self.first = true;
    }

    fn value(&mut self, c: char) {
        let first = std::mem::replace(&mut self.first, false);
        if first && self.tags.lines && c == '\n' {
            return;
        }
        if self.takes != Takes::TEXT {
            self.held.push(c);
            return;
        }
        // The last line break belongs to the tag.
        for c in std::mem::take(&mut self.held).chars() {
            push_escaped(c, &mut self.json);
        }
        match c {
            '\n' if self.tags.lines => self.held.push(c),
            c => push_escaped(c, &mut self.json),
        }
    }

    fn value_end(&mut self) {
        let held = std::mem::take(&mut self.held);
        if self.takes == Takes::TEXT {
            self.json.push('"');
            return;
        }
        let text = match self.tags.lines {
            true => held.strip_suffix('\n').unwrap_or(&held),
            false => &held,
        };
        let value = match text.trim() {
            "True" => Some("true".into()),
            "False" => Some("false".into()),
            "None" => Some("null".into()),
            text => json::value(text),
        };
        // Where texts may be, one with quotes is a text that has quotes.
        let value =
            value.filter(|v| self.takes.takes(v) && !(self.takes.texts() && v.starts_with('"')));
        self.json
            .push_str(&value.unwrap_or_else(|| json::quoted(text)));
    }
}

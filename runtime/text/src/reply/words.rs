//! A call in words that are nearly JSON: `name(key='text', other=[True, None])`, `call:name{key:<|"|>text<|"|>}`.

use super::delta::Sink;
use super::format::Words;
use super::json::{self, MAX_DEPTH, Step, is_space, push_escaped};
use super::object::MAX_NAME;
use super::seek::{Seek, Seeker};

#[derive(Clone, Debug)]
enum State {
    /// So many bytes of what stands in front of the name.
    Before(usize),
    Name(String),
    /// A key or the end of what has keys.
    Key,
    BareKey(String),
    Assign,
    Value,
    Text {
        key: bool,
        quote: usize,
    },
    Escape {
        key: bool,
        quote: usize,
    },
    Hex {
        key: bool,
        quote: usize,
        left: u8,
        code: u32,
        kind: char,
    },
    /// Behind a quote that ends a text only if the text goes on as the call does.
    Quote {
        key: bool,
        quote: usize,
        spaces: String,
    },
    Scalar(String),
    Next,
}

/// What is open: the character that ends it, and that between a key and its value if it has keys.
type Level = (char, Option<char>);

/// Reads a call in such words.
#[derive(Clone, Debug)]
pub(super) struct WordsCall {
    words: &'static Words,
    state: State,
    levels: Vec<Level>,
    /// Nothing is in the innermost level yet.
    first: bool,
    seeker: Seeker,
    json: String,
}

impl WordsCall {
    pub(super) fn new(words: &'static Words) -> Self {
        Self {
            words,
            state: State::Before(0),
            levels: Vec::new(),
            first: true,
            seeker: Seeker::default(),
            json: String::new(),
        }
    }

    pub(super) fn feed(&mut self, c: char, sink: &mut Sink<'_>) -> Step {
        // Few characters: those that a quote's start held back.
        let mut todo = vec![c];
        while let Some(c) = todo.pop() {
            let step = self.step(c, &mut todo, sink);
            match step {
                Some(Step::More) => {}
                other => {
                    sink.arguments(&std::mem::take(&mut self.json));
                    if other == Some(Step::Last) {
                        sink.end();
                    }
                    return other.unwrap_or(Step::Bad);
                }
            }
        }
        sink.arguments(&std::mem::take(&mut self.json));
        Step::More
    }

    fn step(&mut self, c: char, todo: &mut Vec<char>, sink: &mut Sink<'_>) -> Option<Step> {
        let words = self.words;
        let ends = self.ends(c);
        match &mut self.state {
            State::Before(at) => {
                let rest = &words.before[*at..];
                if rest.is_empty() {
                    self.state = State::Name(String::new());
                    todo.push(c);
                } else {
                    rest.starts_with(c).then_some(())?;
                    *at += c.len_utf8();
                }
            }
            State::Name(name) => {
                if c == words.open {
                    sink.call(name.trim_end()).then_some(())?;
                    self.open((words.close, Some(words.assign)), '{')?;
                } else {
                    // White space may follow the name.
                    let fits = is_name(c) && !name.ends_with(' ') || c == ' ' && !name.is_empty();
                    (fits && name.len() < MAX_NAME).then_some(())?;
                    name.push(c);
                }
            }
            State::Key | State::Value | State::Next if is_space(c) => {}
            State::Key if self.first && ends => return self.close(),
            State::Next if ends => return self.close(),
            State::Next => {
                (c == ',').then_some(())?;
                self.first = false;
                let keys = self.levels.last()?.1.is_some();
                self.state = if keys { State::Key } else { State::Value };
                self.json.push_str(", ");
            }
            State::Key => {
                // Arguments of a call in parentheses have no quotes around their names.
                let bare = self.levels.len() == 1 || !words.escapes;
                let quoted = self.levels.len() > 1 || !words.escapes;
                match self.quote(c).filter(|_| quoted) {
                    Some(Seek::Found(quote)) => {
                        self.json.push('"');
                        self.state = State::Text { key: true, quote };
                    }
                    Some(Seek::Hold) => {}
                    Some(Seek::Free(c, rest)) => {
                        (bare && rest.is_empty() && is_name(c)).then_some(())?;
                        self.state = State::BareKey(c.into());
                    }
                    None => {
                        (is_name(c)).then_some(())?;
                        self.state = State::BareKey(c.into());
                    }
                }
            }
            State::BareKey(key) => {
                if is_name(c) || !words.escapes && c == ' ' {
                    key.push(c);
                    (key.len() <= MAX_NAME).then_some(())?;
                } else {
                    self.json.push_str(&json::quoted(key.trim_end()));
                    self.state = State::Assign;
                    todo.push(c);
                }
            }
            State::Assign if is_space(c) => {}
            State::Assign => {
                (Some(c) == self.levels.last()?.1).then_some(())?;
                self.json.push_str(": ");
                self.first = true;
                self.state = State::Value;
            }
            State::Value => match self.quote(c)? {
                Seek::Found(quote) => {
                    self.json.push('"');
                    self.state = State::Text { key: false, quote };
                }
                Seek::Hold => {}
                Seek::Free(c, rest) => {
                    rest.is_empty().then_some(())?;
                    match c {
                        '[' => self.open((']', None), '[')?,
                        '(' if words.escapes => self.open((')', None), '[')?,
                        '{' => self.open(('}', Some(':')), '{')?,
                        // The end of an empty list.
                        _ if self.first && ends && self.levels.last()?.1.is_none() => {
                            return self.close();
                        }
                        c => {
                            is_scalar(c).then_some(())?;
                            self.state = State::Scalar(c.into());
                        }
                    }
                }
            },
            State::Text { .. } | State::Escape { .. } | State::Hex { .. } | State::Quote { .. } => {
                self.text(c, todo)?
            }
            State::Scalar(text) => {
                if is_scalar(c) {
                    text.push(c);
                    (text.len() <= MAX_NAME).then_some(())?;
                } else {
                    let value = match text.as_str() {
                        "True" => "true".into(),
                        "False" => "false".into(),
                        "None" => "null".into(),
                        text => json::value(text)?,
                    };
                    self.json.push_str(&value);
                    self.state = State::Next;
                    todo.push(c);
                }
            }
        }
        Some(Step::More)
    }

    /// Whether a quote begins; nothing where that cannot be.
    fn quote(&mut self, c: char) -> Option<Seek> {
        Some(self.seeker.feed(c, self.words.quotes))
    }

    fn text(&mut self, c: char, todo: &mut Vec<char>) -> Option<()> {
        let words = self.words;
        match &mut self.state {
            State::Text { key, quote } => {
                let (key, quote) = (*key, *quote);
                if words.escapes && c == '\\' {
                    self.state = State::Escape { key, quote };
                    return Some(());
                }
                let mark = &words.quotes[quote..=quote];
                match self.seeker.feed(c, mark) {
                    Seek::Found(_) if words.escapes => {
                        let spaces = String::new();
                        self.state = State::Quote { key, quote, spaces };
                    }
                    Seek::Found(_) => self.text_end(key),
                    Seek::Hold => {}
                    Seek::Free(c, rest) => {
                        push_escaped(c, &mut self.json);
                        todo.extend(rest.chars().rev());
                    }
                }
            }
            State::Escape { key, quote } => {
                let (key, quote) = (*key, *quote);
                let hex = |left| State::Hex {
                    key,
                    quote,
                    left,
                    code: 0,
                    kind: c,
                };
                self.state = match c {
                    'x' => hex(2),
                    'u' => hex(4),
                    'U' => hex(8),
                    _ => State::Text { key, quote },
                };
                match c {
                    'x' | 'u' | 'U' => {}
                    // A line that goes on.
                    '\n' => {}
                    '/' | '\'' => self.json.push(c),
                    '"' | '\\' | 'b' | 'f' | 'n' | 'r' | 't' => {
                        self.json.push('\\');
                        self.json.push(c);
                    }
                    'a' => push_escaped('\u{7}', &mut self.json),
                    'v' => push_escaped('\u{b}', &mut self.json),
                    '0' => push_escaped('\0', &mut self.json),
                    // As Python has it, both characters stay.
                    c => {
                        self.json.push_str("\\\\");
                        push_escaped(c, &mut self.json);
                    }
                }
            }
            State::Hex {
                key,
                quote,
                left,
                code,
                kind,
            } => {
                *code = *code << 4 | c.to_digit(16)?;
                *left -= 1;
                if *left == 0 {
                    let (key, quote, code, kind) = (*key, *quote, *code, *kind);
                    match char::from_u32(code) {
                        // Halves of a pair stay escapes, which JSON has, too.
                        _ if kind == 'u' => self.json.push_str(&format!("\\u{code:04x}")),
                        Some(c) => push_escaped(c, &mut self.json),
                        None => return None,
                    }
                    self.state = State::Text { key, quote };
                }
            }
            State::Quote { key, quote, spaces } => {
                if is_space(c) {
                    spaces.push(c);
                    return Some(());
                }
                let (key, quote, spaces) = (*key, *quote, std::mem::take(spaces));
                let level = *self.levels.last()?;
                let ends = match key {
                    true => Some(c) == level.1,
                    false => c == ',' || c == level.0,
                };
                todo.push(c);
                if ends {
                    self.text_end(key);
                } else {
                    let mark = words.quotes[quote];
                    let inner = mark.chars().chain(spaces.chars());
                    inner.for_each(|c| push_escaped(c, &mut self.json));
                    self.state = State::Text { key, quote };
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn text_end(&mut self, key: bool) {
        self.json.push('"');
        self.state = if key { State::Assign } else { State::Next };
    }

    fn ends(&self, c: char) -> bool {
        self.levels.last().is_some_and(|l| l.0 == c)
    }

    fn open(&mut self, level: Level, json: char) -> Option<()> {
        (self.levels.len() < MAX_DEPTH).then_some(())?;
        self.state = match level.1 {
            Some(_) => State::Key,
            None => State::Value,
        };
        self.levels.push(level);
        self.first = true;
        self.json.push(json);
        Some(())
    }

    fn close(&mut self) -> Option<Step> {
        let level = self.levels.pop()?;
        self.json.push(if level.1.is_some() { '}' } else { ']' });
        self.state = State::Next;
        match self.levels.is_empty() {
            true => Some(Step::Last),
            false => Some(Step::More),
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

fn is_scalar(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-')
}

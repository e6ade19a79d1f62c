//! A call that is a JSON object with its name and its arguments.

use super::delta::Sink;
use super::json::{Json, Step, decoded, is_space};

/// Longest name or key in bytes.
pub(super) const MAX_NAME: usize = 512;

#[derive(Clone, Debug)]
enum State {
    Open,
    Key {
        first: bool,
    },
    /// Within the quotes of a key.
    KeyText(Quoted),
    Colon,
    Value,
    /// Within the quotes of the name.
    Name(Quoted),
    Arguments(Json),
    /// Arguments as a text that has the JSON.
    ArgumentsText(Quoted),
    /// A value that nobody needs.
    Other(Json),
    /// A number or a word that nobody needs.
    Scalar(String),
    Next,
}

/// What is within quotes, with its escapes.
#[derive(Clone, Debug, Default)]
struct Quoted {
    inner: String,
    escaped: bool,
}

impl Quoted {
    /// Whether the character is the quote that ends it.
    fn feed(&mut self, c: char) -> bool {
        if c == '"' && !self.escaped {
            return true;
        }
        self.escaped = c == '\\' && !self.escaped;
        self.inner.push(c);
        false
    }
}

/// Reads a call as an object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    name_key: &'static str,
    argument_keys: &'static [&'static str],
    state: State,
    key: String,
    name: Option<String>,
    /// Arguments that came in front of the name.
    early: Option<String>,
    begun: bool,
}

impl Object {
    pub(super) fn new(name_key: &'static str, argument_keys: &'static [&'static str]) -> Self {
        Self {
            name_key,
            argument_keys,
            state: State::Open,
            key: String::new(),
            name: None,
            early: None,
            begun: false,
        }
    }

    pub(super) fn feed(&mut self, c: char, sink: &mut Sink<'_>) -> Step {
        self.step(c, sink).unwrap_or(Step::Bad)
    }

    /// Nothing where the character cannot be there.
    fn step(&mut self, c: char, sink: &mut Sink<'_>) -> Option<Step> {
        let next = match &mut self.state {
            State::Open if c == '{' => State::Key { first: true },
            State::Key { .. } if c == '"' => State::KeyText(Quoted::default()),
            State::Key { first: true } | State::Next if c == '}' => return self.end(sink),
            State::Next if c == ',' => State::Key { first: false },
            State::Colon if c == ':' => State::Value,
            State::Open | State::Key { .. } | State::Next | State::Colon | State::Value
                if is_space(c) =>
            {
                return Some(Step::More);
            }
            State::KeyText(key) => {
                if !key.feed(c) {
                    return (key.inner.len() <= MAX_NAME).then_some(Step::More);
                }
                self.key = decoded(&key.inner)?;
                self.allowed(sink.known)?;
                State::Colon
            }
            State::Value => self.value(c, sink)?,
            State::Name(name) => {
                if !name.feed(c) {
                    return (name.inner.len() <= MAX_NAME).then_some(Step::More);
                }
                let name = decoded(&name.inner)?;
                if let Some(early) = self.early.take() {
                    self.begin(&name, &early, sink)?;
                }
                self.name = Some(name);
                State::Next
            }
            State::Arguments(json) => {
                let mut out = String::new();
                let step = json.feed(c, &mut out);
                match &mut self.early {
                    Some(early) => early.push_str(&out),
                    None => sink.arguments(&out),
                }
                match step {
                    Step::Last => State::Next,
                    step => return Some(step),
                }
            }
            State::ArgumentsText(text) => {
                if !text.feed(c) {
                    return Some(Step::More);
                }
                let text = decoded(&text.inner)?;
                let object = super::json::value(&text).filter(|t| t.starts_with('{'))?;
                match self.name.clone() {
                    Some(name) => self.begin(&name, &object, sink)?,
                    None => self.early = Some(object),
                }
                State::Next
            }
            State::Other(json) => match json.feed(c, &mut String::new()) {
                Step::Last => State::Next,
                step => return Some(step),
            },
            State::Scalar(text) => {
                if !is_space(c) && c != ',' && c != '}' {
                    text.push(c);
                    return (text.len() <= MAX_NAME).then_some(Step::More);
                }
                super::json::value(text)?;
                self.state = State::Next;
                return self.step(c, sink);
            }
            _ => return None,
        };
        self.state = next;
        Some(Step::More)
    }

    /// Where nothing marks a call, an object with another key is none.
    fn allowed(&self, known: bool) -> Option<()> {
        let key = self.key.as_str();
        let may = key == self.name_key || self.is_arguments() || matches!(key, "type" | "id");
        (may || self.begun || !known).then_some(())
    }

    fn is_arguments(&self) -> bool {
        self.argument_keys.contains(&self.key.as_str())
    }

    /// The state in a value that begins with `c`.
    fn value(&mut self, c: char, sink: &mut Sink<'_>) -> Option<State> {
        if self.key == self.name_key && self.name.is_none() {
            return (c == '"').then(|| State::Name(Quoted::default()));
        }
        if self.is_arguments() && !self.begun && self.early.is_none() {
            return match c {
                '{' => {
                    match self.name.clone() {
                        Some(name) => self.begin(&name, "{", sink)?,
                        None => self.early = Some("{".into()),
                    }
                    let mut json = Json::new();
                    json.feed(c, &mut String::new());
                    Some(State::Arguments(json))
                }
                '"' => Some(State::ArgumentsText(Quoted::default())),
                'n' => Some(State::Scalar("n".into())),
                _ => None,
            };
        }
        match c {
            '{' | '[' | '"' => {
                let mut json = Json::new();
                json.feed(c, &mut String::new());
                Some(State::Other(json))
            }
            _ => Some(State::Scalar(c.into())),
        }
    }

    fn begin(&mut self, name: &str, arguments: &str, sink: &mut Sink<'_>) -> Option<()> {
        sink.call(name).then_some(())?;
        self.begun = true;
        sink.arguments(arguments);
        Some(())
    }

    fn end(&mut self, sink: &mut Sink<'_>) -> Option<Step> {
        if !self.begun {
            // Where nothing marks a call, one has arguments.
            let name = self.name.clone().filter(|_| !sink.known)?;
            self.begin(&name, "{}", sink)?;
        }
        sink.end();
        Some(Step::Last)
    }
}

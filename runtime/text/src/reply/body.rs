//! One call, in whatever way it is written.

use super::delta::Sink;
use super::format::{Format, Writing};
use super::json::{Json, Step, is_space};
use super::object::{MAX_NAME, Object};
use super::tags::TagsCall;
use super::words::WordsCall;

/// Reads one call.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Object(Object),
    /// A name, or all that stands in front of the arguments.
    Head {
        head: String,
        before: &'static str,
        ends: [&'static str; 2],
    },
    Arguments(Json),
    Words(WordsCall),
    Tags(TagsCall),
}

impl Body {
    /// A call at its start. In harmony, that is `Body::Head` with a name from the header.
    pub(super) fn new(format: &'static Format) -> Self {
        match &format.writing {
            Writing::Object {
                name, arguments, ..
            } => Self::Object(Object::new(name, arguments)),
            Writing::Named {
                before,
                id,
                between,
                ..
            } => Self::Head {
                head: String::new(),
                before: before.trim(),
                ends: [id.map_or("", |i| i.0), between.trim()],
            },
            Writing::Words(words) => Self::Words(WordsCall::new(words)),
            Writing::Tags(tags) => Self::Tags(TagsCall::new(tags, format.close)),
            Writing::Harmony => Self::named(String::new()),
        }
    }

    /// The arguments of a call whose name is known.
    pub(super) fn named(head: String) -> Self {
        Self::Head {
            head,
            before: "",
            ends: ["", ""],
        }
    }

    pub(super) fn feed(&mut self, c: char, sink: &mut Sink<'_>) -> Step {
        match self {
            Self::Object(object) => object.feed(c, sink),
            Self::Words(words) => words.feed(c, sink),
            Self::Tags(tags) => tags.feed(c, sink),
            Self::Head { head, .. } if c != '{' => {
                let fits = head.len() < MAX_NAME;
                head.push(c);
                if fits { Step::More } else { Step::Bad }
            }
            Self::Head { head, before, ends } => match name(head, before, ends) {
                Some(name) if sink.call(name) => {
                    let mut json = Json::new();
                    json.feed(c, &mut String::new());
                    sink.arguments("{");
                    *self = Self::Arguments(json);
                    Step::More
                }
                _ => Step::Bad,
            },
            Self::Arguments(json) => {
                let mut out = String::new();
                let step = json.feed(c, &mut out);
                sink.arguments(&out);
                if step == Step::Last {
                    sink.end();
                }
                step
            }
        }
    }

    /// Whether the end of the call was that of its block.
    pub(super) fn ends_block(&self) -> bool {
        matches!(self, Self::Tags(tags) if tags.ends_block())
    }
}

/// The name within what stands in front of the arguments.
fn name<'a>(head: &'a str, before: &str, ends: &[&str]) -> Option<&'a str> {
    let at = head.find(before).map_or(0, |at| at + before.len());
    let mut name = &head[at..];
    for end in ends.iter().filter(|e| !e.is_empty()) {
        name = name.split(end).next().unwrap_or(name);
    }
    let name = name.trim_matches(is_space);
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':');
    name.chars().all(fits).then_some(name)
}

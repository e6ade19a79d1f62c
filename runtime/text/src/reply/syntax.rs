//! Which format a model writes, by its template.

use super::format::{Format, Writing};
use super::table::{FORMATS, GENERIC};
use super::thought::{THOUGHTS, Thought, WRAPPERS};
use crate::tokenizer::Tokenizer;

/// How a model writes reasoning and calls. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Syntax {
    pub(super) format: &'static Format,
    pub(super) thought: Option<&'static Thought>,
    /// Markers around content, which are left out.
    pub(super) wrappers: &'static [&'static str],
}

impl Syntax {
    /// The format that a chat template shows the model, by the markers in its source. A template that has none of those known
    /// gives the generic format: calls as JSON objects, no reasoning.
    pub fn of_template(source: &str) -> Self {
        let all = |signs: &[&str]| signs.iter().all(|s| source.contains(s));
        let format = FORMATS.iter().find(|f| f.signs.iter().any(|s| all(s)));
        let wrappers = WRAPPERS.iter().find(|w| source.contains(w.0));
        Self {
            format: format.unwrap_or(&GENERIC),
            thought: THOUGHTS.iter().find(|t| all(t.signs)),
            wrappers: wrappers.map_or(&[], |w| w.1),
        }
    }

    /// The format by its name, with reasoning in `<think>` except where it has its own; nothing for a name that is none.
    pub fn named(name: &str) -> Option<Self> {
        let format = match name == GENERIC.name {
            true => &GENERIC,
            false => FORMATS.iter().find(|f| f.name == name)?,
        };
        let own = |sign: &str| THOUGHTS.iter().find(|t| t.signs.contains(&sign));
        let thought = match format.name {
            "harmony" => own("<|channel|>"),
            "gemma4" => own("<|channel>"),
            "hunyuan3" => own("<think{}>"),
            "seed" => own("</seed:think>"),
            "command-r7b" => own("<|START_THINKING|>"),
            "apriel" => own("[BEGIN FINAL RESPONSE]"),
            name if name.starts_with("mistral") => own("[/THINK]"),
            _ => own("</think>"),
        };
        Some(Self {
            format,
            thought,
            wrappers: &[],
        })
    }

    /// The names that [`Syntax::named`] knows.
    pub fn names() -> Vec<&'static str> {
        let mut names = vec![GENERIC.name];
        let others = FORMATS.iter().map(|f| f.name);
        names.extend(others.filter(|n| *n != GENERIC.name));
        names
    }

    /// The name of the format of calls.
    pub fn name(&self) -> &'static str {
        self.format.name
    }

    /// Whether the model may write reasoning that can be told from content.
    pub fn has_reasoning(&self) -> bool {
        self.thought.is_some()
    }

    /// Whether a prompt ends where reasoning is open, as some templates begin the answer.
    pub fn opens_reasoning(&self, prompt: &str) -> bool {
        self.thought
            .is_some_and(|t| prompt.trim_end().ends_with(t.open.trim_end()))
    }

    pub(super) fn is_harmony(&self) -> bool {
        matches!(self.format.writing, Writing::Harmony)
    }

    /// Every marker that the model may write.
    pub fn markers(&self) -> Vec<&'static str> {
        let format = self.format;
        let mut all = vec![format.open, format.item.0, format.item.1, format.close];
        all.extend(format.also);
        match &format.writing {
            Writing::Object { .. } => {}
            Writing::Named {
                before,
                id,
                between,
                after,
            } => all.extend([*before, id.map_or("", |i| i.0), between, after]),
            Writing::Words(words) => {
                all.push(words.before);
                all.extend(words.quotes);
            }
            Writing::Tags(tags) => {
                all.extend([tags.name.0, tags.name.1, tags.close, tags.key.0, tags.key.1]);
                all.extend([tags.value, tags.end]);
            }
            Writing::Harmony => all.extend(super::harmony::MARKERS),
        }
        if let Some(thought) = self.thought {
            all.extend([thought.open, thought.close]);
        }
        all.extend(self.wrappers);
        all.retain(|m| !m.is_empty());
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The control tokens of a vocabulary that are markers or parts of them: a [`Parser`](super::Parser) needs
    /// their text, `tokenizer.decode_bytes(id, true)`, where other control tokens have none. In ascending order.
    pub fn shown_tokens(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        let mut ids = Vec::new();
        for marker in self.markers() {
            ids.extend(
                pieces(marker, tokenizer)
                    .into_iter()
                    .filter_map(Result::err),
            );
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// A marker cut into texts and control tokens, which are no text.
pub(super) fn pieces<'a>(marker: &'a str, tokenizer: &Tokenizer) -> Vec<Result<&'a str, u32>> {
    let control = |text: &str| {
        let id = tokenizer.control_id(text)?;
        tokenizer.decode_bytes(id, false).is_empty().then_some(id)
    };
    let (mut out, mut from, mut at) = (Vec::new(), 0, 0);
    while at < marker.len() {
        // The longest one; markers are short.
        let ends = (at + 1..=marker.len())
            .rev()
            .filter(|end| marker.is_char_boundary(*end));
        let found = ends
            .into_iter()
            .find_map(|end| Some((end, control(&marker[at..end])?)));
        match found {
            Some((end, id)) => {
                out.extend((from < at).then(|| Ok(&marker[from..at])));
                out.push(Err(id));
                (from, at) = (end, end);
            }
            None => at += marker[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    out.extend((from < at).then(|| Ok(&marker[from..])));
    out
}

impl std::fmt::Debug for Syntax {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syntax")
            .field("name", &self.name())
            .field("reasoning", &self.thought.map(|t| (t.open, t.close)))
            .finish_non_exhaustive()
    }
}

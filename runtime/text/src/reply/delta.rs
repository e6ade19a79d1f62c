//! What comes out of a parser.

/// A piece of an answer. None is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Text of the reasoning.
    Reasoning(String),
    /// Text of the answer.
    Content(String),
    /// A call begins.
    Call {
        /// Its place among the calls of this answer, from 0.
        index: usize,
        /// The name of the tool.
        name: String,
    },
    /// More of a call's arguments, which are a JSON object.
    Arguments {
        /// The place of the call.
        index: usize,
        /// The text that follows what was given before.
        text: String,
    },
    /// The arguments of a call are complete. A call without an end was broken off: its arguments are no JSON, and what
    /// followed is content.
    End {
        /// The place of the call.
        index: usize,
    },
}

/// Deltas, one for each run of a kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Deltas(Vec<Delta>);

impl Deltas {
    pub(super) fn push(&mut self, delta: Delta) {
        match (self.0.last_mut(), delta) {
            (_, Delta::Reasoning(t) | Delta::Content(t) | Delta::Arguments { text: t, .. })
                if t.is_empty() => {}
            (Some(Delta::Reasoning(all)), Delta::Reasoning(text))
            | (Some(Delta::Content(all)), Delta::Content(text)) => all.push_str(&text),
            (
                Some(Delta::Arguments { index, text: all }),
                Delta::Arguments { index: same, text },
            ) if *index == same => all.push_str(&text),
            (_, delta) => self.0.push(delta),
        }
    }

    pub(super) fn take(&mut self) -> Vec<Delta> {
        std::mem::take(&mut self.0)
    }
}

/// Where a call goes that is being read.
pub(super) struct Sink<'a> {
    pub(super) out: &'a mut Deltas,
    /// The text that is in no delta yet.
    pub(super) raw: &'a mut String,
    /// Calls begun in this answer.
    pub(super) calls: &'a mut usize,
    pub(super) tools: &'a super::Tools,
    /// The name must be a tool's.
    pub(super) known: bool,
}

impl Sink<'_> {
    /// Begins a call, if one of that name may be.
    pub(super) fn call(&mut self, name: &str) -> bool {
        if name.is_empty() || self.known && !self.tools.may_be(name) {
            return false;
        }
        self.raw.clear();
        self.out.push(Delta::Call {
            index: *self.calls,
            name: name.into(),
        });
        *self.calls += 1;
        true
    }

    pub(super) fn arguments(&mut self, text: &str) {
        if !text.is_empty() {
            self.raw.clear();
            self.out.push(Delta::Arguments {
                index: self.calls.saturating_sub(1),
                text: text.into(),
            });
        }
    }

    pub(super) fn end(&mut self) {
        self.raw.clear();
        self.out.push(Delta::End {
            index: self.calls.saturating_sub(1),
        });
    }
}

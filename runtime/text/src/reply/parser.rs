//! From text to parts.

use super::block::Block;
use super::delta::{Delta, Deltas};
use super::format::Writing;
use super::harmony;
use super::seek::{Seek, Seeker};
use super::thought::Thought;
use super::{Syntax, Tools};
use std::collections::VecDeque;

/// What a [`Parser`] is to find.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether calls are told from content. Without tools in the prompt they should not be.
    pub calls: bool,
    /// The tools of the prompt. The types of their parameters decide what of an argument without quotes is a text; where a
    /// format has no marker in front of a call, a call must name one of them. With none, any name may be a tool.
    pub tools: Tools,
    /// The prompt ends within reasoning: [`Syntax::opens_reasoning`].
    pub reasoning_opened: bool,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Content,
    Reasoning,
    Block(Block),
    /// The header of a message.
    Header(String),
}

/// Turns the text of an answer into parts, as it arrives.
///
/// Text that may be the start of a marker is held back, and given as soon as it is none. White space is treated as
/// llama.cpp treats it: reasoning has none at its ends; content has none in front where reasoning or calls may come before it;
/// between calls and behind them it is left out; in front of calls it stays content.
///
/// Reasoning is told from content at the start of an answer alone, in formats of channels anywhere. A call whose markers or JSON
/// are broken is content, from the marker on if nothing of the call was given yet, otherwise from where it breaks; then it has
/// no [`Delta::End`].
#[derive(Clone, Debug)]
pub struct Parser {
    pub(super) syntax: Syntax,
    pub(super) options: Options,
    pub(super) state: State,
    pub(super) seeker: Seeker,
    /// Characters that are read again or come next.
    pub(super) queue: VecDeque<char>,
    pub(super) out: Deltas,
    /// Text of a block that is in no delta yet.
    pub(super) raw: String,
    pub(super) calls: usize,
    /// Nothing but reasoning was given.
    pub(super) leading: bool,
    /// White space is left out until something else comes.
    pub(super) skip_space: bool,
    /// White space within reasoning, if more follows.
    pub(super) spaces: String,
    /// Reasoning was given since it was opened.
    pub(super) reasoned: bool,
}

impl Parser {
    /// A parser at the start of an answer.
    pub fn new(syntax: &Syntax, options: Options) -> Self {
        let state = match (
            options.reasoning_opened && syntax.has_reasoning(),
            syntax.is_harmony(),
        ) {
            (true, _) => State::Reasoning,
            (false, true) => State::Header(String::new()),
            (false, false) => State::Content,
        };
        Self {
            skip_space: syntax.has_reasoning() || options.calls,
            syntax: *syntax,
            options,
            state,
            seeker: Seeker::default(),
            queue: VecDeque::new(),
            out: Deltas::default(),
            raw: String::new(),
            calls: 0,
            leading: true,
            spaces: String::new(),
            reasoned: false,
        }
    }

    /// Adds text; returns what is now certain. Its size and the work are bounded by the text's.
    pub fn push(&mut self, text: &str) -> Vec<Delta> {
        for c in text.chars() {
            self.queue.push_back(c);
            while let Some(c) = self.queue.pop_front() {
                self.step(c);
            }
        }
        self.out.take()
    }

    /// Ends the answer: gives what was held back. A call that is not complete has no end.
    pub fn finish(&mut self) -> Vec<Delta> {
        let held = self.seeker.take();
        match std::mem::replace(&mut self.state, State::Content) {
            State::Content => held.chars().for_each(|c| self.content(c)),
            State::Reasoning => held.chars().for_each(|c| self.reasoning(c)),
            State::Block(_) => {
                self.raw.push_str(&held);
                self.spill();
            }
            // A header without a message says nothing.
            State::Header(text) if text.contains("<|") => {}
            State::Header(text) => text.chars().for_each(|c| self.content(c)),
        }
        self.spaces.clear();
        self.out.take()
    }

    /// Whether the text so far ends within reasoning.
    pub fn in_reasoning(&self) -> bool {
        matches!(self.state, State::Reasoning)
    }

    /// Number of calls begun.
    pub fn calls(&self) -> usize {
        self.calls
    }

    fn step(&mut self, c: char) {
        match &mut self.state {
            State::Content => self.in_content(c),
            State::Reasoning => self.in_thought(c),
            State::Header(_) => self.in_header(c),
            State::Block(block) => match &mut block.body {
                Some(_) => self.in_call(c),
                None => self.in_block(c),
            },
        }
    }

    /// Reads a character as possible part of one of the markers; the place of one that is complete. One that is part of none is
    /// returned.
    pub(super) fn seek(&mut self, c: char, markers: &[&str]) -> Result<usize, Option<char>> {
        match self.seeker.feed(c, markers) {
            Seek::Found(at) => Ok(at),
            Seek::Hold => Err(None),
            Seek::Free(c, rest) => {
                for c in rest.chars().rev() {
                    self.queue.push_front(c);
                }
                Err(Some(c))
            }
        }
    }

    pub(super) fn again(&mut self, text: &str) {
        for c in text.chars().rev() {
            self.queue.push_front(c);
        }
    }

    fn in_content(&mut self, c: char) {
        let format = self.syntax.format;
        let thought = self.syntax.thought.filter(|t| self.leading || t.anywhere);
        let calls = self.options.calls;
        if self.syntax.is_harmony() {
            match self.seek(c, &harmony::ENDS) {
                Ok(at) => self.header(harmony::ENDS[at]),
                Err(c) => c.into_iter().for_each(|c| self.content(c)),
            }
            return;
        }
        let open = if calls { format.open } else { "" };
        let also = format.also.filter(|_| calls).unwrap_or_default();
        let of = |part: fn(&Thought) -> &'static str| thought.map_or("", part);
        let wrapper = |at: usize| self.syntax.wrappers.get(at).copied().unwrap_or("");
        let markers = [
            open,
            also,
            of(|t| t.open),
            of(|t| t.close),
            wrapper(0),
            wrapper(1),
        ];
        match self.seek(c, &markers) {
            Ok(0) => self.block(open, false),
            Ok(1) if matches!(format.writing, Writing::Tags(_)) => {
                self.block("", true);
                self.again(also);
            }
            Ok(1) => self.block(also, false),
            Ok(2) => {
                self.state = State::Reasoning;
                self.reasoned = false;
            }
            // The end of reasoning that the prompt opened and closed, or of none; a marker around content.
            Ok(_) => self.skip_space = true,
            Err(None) => {}
            Err(Some('{')) if calls && self.leading && format.open.is_empty() => {
                self.block("", true);
                self.again("{");
            }
            Err(Some(c)) => self.content(c),
        }
    }

    fn in_thought(&mut self, c: char) {
        let Some(thought) = self.syntax.thought else {
            self.state = State::Content;
            return self.again(c.encode_utf8(&mut [0; 4]));
        };
        if self.syntax.is_harmony() {
            match self.seek(c, &harmony::ENDS) {
                Ok(at) => {
                    self.spaces.clear();
                    self.header(harmony::ENDS[at]);
                }
                Err(c) => c.into_iter().for_each(|c| self.reasoning(c)),
            }
            return;
        }
        let format = self.syntax.format;
        let calls = self.options.calls && format.ends_reasoning;
        let markers = [
            thought.close,
            // A prompt may have opened it before the model does.
            if self.reasoned { "" } else { thought.open },
            if calls { format.open } else { "" },
        ];
        match self.seek(c, &markers) {
            Ok(0) => {
                self.spaces.clear();
                self.skip_space = true;
                self.state = State::Content;
            }
            Ok(1) => {}
            Ok(_) => {
                self.spaces.clear();
                self.block(format.open, false);
            }
            Err(c) => c.into_iter().for_each(|c| self.reasoning(c)),
        }
    }

    /// Text of a block that belongs to no call becomes content.
    pub(super) fn spill(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        if !raw.trim().is_empty() {
            self.leading = false;
            self.out.push(Delta::Content(raw));
        }
    }

    fn content(&mut self, c: char) {
        if self.skip_space && c.is_whitespace() {
            return;
        }
        self.skip_space = false;
        self.leading &= c.is_whitespace();
        self.out.push(Delta::Content(c.into()));
    }

    fn reasoning(&mut self, c: char) {
        if c.is_whitespace() {
            if self.reasoned {
                self.spaces.push(c);
            }
            return;
        }
        self.reasoned = true;
        let mut text = std::mem::take(&mut self.spaces);
        text.push(c);
        self.out.push(Delta::Reasoning(text));
    }
}

//! From text to parts.

use super::body::Body;
use super::delta::{Delta, Deltas, Sink};
use super::format::{Thought, Writing};
use super::harmony::{self, Message};
use super::json::Step;
use super::seek::{Seek, Seeker};
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
enum State {
    Content,
    Reasoning,
    Block(Block),
    /// The header of a message.
    Header(String),
}

/// Calls between the markers of a block.
#[derive(Clone, Debug, Default)]
struct Block {
    body: Option<Body>,
    /// Calls that are complete.
    done: usize,
    /// A marker that begins a call came last.
    armed: bool,
    bracket: Bracket,
    /// No marker began the block, so that a call must name a tool.
    known: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Bracket {
    #[default]
    None,
    Open,
    Closed,
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
    syntax: Syntax,
    options: Options,
    state: State,
    seeker: Seeker,
    /// Characters that are read again or come next.
    queue: VecDeque<char>,
    out: Deltas,
    /// Text of a block that is in no delta yet.
    raw: String,
    calls: usize,
    /// Nothing but reasoning was given.
    leading: bool,
    /// White space is left out until something else comes.
    skip_space: bool,
    /// White space within reasoning, if more follows.
    spaces: String,
    /// Reasoning was given since it was opened.
    reasoned: bool,
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
    fn seek(&mut self, c: char, markers: &[&str]) -> Result<usize, Option<char>> {
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

    fn again(&mut self, text: &str) {
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

    /// A header begins, with the marker if it is one of a header.
    fn header(&mut self, marker: &str) {
        let begins = matches!(marker, "<|start|>" | "<|channel|>");
        self.state = State::Header(if begins { marker.into() } else { String::new() });
    }

    fn in_header(&mut self, c: char) {
        let State::Header(text) = &mut self.state else {
            return;
        };
        text.push(c);
        if !text.ends_with(harmony::MESSAGE) {
            if !harmony::may_be_header(text) {
                let text = std::mem::take(text);
                self.state = State::Content;
                self.again(&text);
            } else if text.len() > harmony::MAX_HEADER {
                self.raw = std::mem::take(text);
                self.state = State::Content;
                self.spill();
            }
            return;
        }
        let text = std::mem::take(text);
        let header = &text[..text.len() - harmony::MESSAGE.len()];
        self.state = match harmony::message(header) {
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

    fn block(&mut self, marker: &str, known: bool) {
        self.raw.push_str(marker);
        self.state = State::Block(Block {
            armed: true,
            known,
            ..Block::default()
        });
    }

    /// Between the calls of a block.
    fn in_block(&mut self, c: char) {
        let format = self.syntax.format;
        if self.syntax.is_harmony() {
            match self.seek(c, &harmony::ENDS) {
                Ok(at) => self.header(harmony::ENDS[at]),
                Err(None) => {}
                Err(Some(c)) if c.is_whitespace() => {}
                Err(Some(c)) => self.leave(c),
            }
            return;
        }
        let after = match &format.writing {
            Writing::Named { after, .. } => after.trim(),
            _ => "",
        };
        // Those that begin a call come first.
        let markers = [
            format.close,
            format.item.0,
            format.open,
            format.item.1,
            after,
        ];
        let sought = self.seek(c, &markers);
        let State::Block(block) = &mut self.state else {
            return;
        };
        let first = block.done == 0;
        match sought {
            Ok(0) if first => {
                self.raw.push_str(markers[0]);
                self.spill();
                self.state = State::Content;
            }
            Ok(0) => self.done(),
            Ok(at) => {
                if first {
                    self.raw.push_str(markers[at]);
                }
                if at < 3 {
                    block.armed = true;
                    block.bracket = Bracket::None;
                }
            }
            Err(None) => {}
            Err(Some(c)) => {
                let lists = match &format.writing {
                    Writing::Object { .. } => true,
                    Writing::Words(words) => words.list.is_some(),
                    _ => false,
                };
                let bracket = match (c, block.bracket) {
                    (c, bracket) if c.is_whitespace() => bracket,
                    ('[', Bracket::None) if lists && first => Bracket::Open,
                    (']', Bracket::Open) if !first => Bracket::Closed,
                    (',' | ';', bracket) if lists && !first => bracket,
                    (_, bracket) => {
                        let named = matches!(format.writing, Writing::Named { .. });
                        if bracket == Bracket::Closed || named && !block.armed {
                            return self.leave(c);
                        }
                        block.body = Some(Body::new(format));
                        return self.again(c.encode_utf8(&mut [0; 4]));
                    }
                };
                block.bracket = bracket;
                if first {
                    self.raw.push(c);
                }
            }
        }
    }

    /// The block ends before a character that belongs to none.
    fn leave(&mut self, c: char) {
        self.done();
        self.again(c.encode_utf8(&mut [0; 4]));
    }

    /// The block is over. What of it is in no delta is content, unless it is markers behind a call.
    fn done(&mut self) {
        self.spill();
        self.skip_space = true;
        self.state = State::Content;
    }

    fn in_call(&mut self, c: char) {
        let State::Block(block) = &mut self.state else {
            return;
        };
        let Some(body) = &mut block.body else {
            return;
        };
        self.raw.push(c);
        let mut sink = Sink {
            out: &mut self.out,
            raw: &mut self.raw,
            calls: &mut self.calls,
            tools: &self.options.tools,
            known: block.known,
        };
        match body.feed(c, &mut sink) {
            Step::More => {}
            Step::Last => {
                let ends = body.ends_block();
                block.body = None;
                block.armed = false;
                block.done += 1;
                self.leading = false;
                if ends {
                    self.done();
                }
            }
            Step::Bad => {
                if self.raw.ends_with(c) {
                    self.raw.pop();
                }
                self.leading = false;
                self.done();
                self.again(c.encode_utf8(&mut [0; 4]));
            }
        }
    }

    /// Text of a block that belongs to no call becomes content.
    fn spill(&mut self) {
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

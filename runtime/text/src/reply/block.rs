//! Blocks of calls: what stands around and between them.

use super::body::Body;
use super::delta::Sink;
use super::format::Writing;
use super::harmony;
use super::json::Step;
use super::parser::{Parser, State};

/// Calls between the markers of a block.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) body: Option<Body>,
    /// Calls that are complete.
    pub(super) done: usize,
    /// A marker that begins a call came last.
    pub(super) armed: bool,
    pub(super) bracket: Bracket,
    /// No marker began the block, so that a call must name a tool.
    pub(super) known: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bracket {
    #[default]
    None,
    Open,
    Closed,
}

impl Parser {
    pub(super) fn block(&mut self, marker: &str, known: bool) {
        self.raw.push_str(marker);
        self.state = State::Block(Block {
            armed: true,
            known,
            ..Block::default()
        });
    }

    /// Between the calls of a block.
    pub(super) fn in_block(&mut self, c: char) {
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

    pub(super) fn in_call(&mut self, c: char) {
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
}

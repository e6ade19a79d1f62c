//! Byte pair encoding: of all neighbours that can be joined, those with the highest priority are joined first, of equal ones the
//! leftmost, until none can.

use super::data::{TokenType, TokenizerData};
use super::pieces::{byte_of_char, byte_of_spelling};
use super::split::Split;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The SentencePiece mark of a space.
const SPACE_MARK: &str = "\u{2581}";

/// No symbol.
const NONE: u32 = u32::MAX;

/// A part of a word: its bytes, and its token where it is one.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    /// 0: joined to another.
    len: u32,
    prev: u32,
    next: u32,
    token: Option<u32>,
}

/// Two neighbours that can be joined; the greatest goes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Join {
    priority: u32,
    left: Reverse<u32>,
    right: u32,
    /// Bytes of both when this was found: less than what they have once one of them was joined to another.
    len: u32,
    token: u32,
}

/// Joins symbols, which are in order. `join` gives priority and token of two neighbours.
fn merge(
    symbols: &mut [Symbol],
    heap: &mut BinaryHeap<Join>,
    join: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>,
) {
    heap.clear();
    let push = |heap: &mut BinaryHeap<Join>, symbols: &[Symbol], left: u32, right: u32| {
        let (Some(l), Some(r)) = (symbols.get(left as usize), symbols.get(right as usize)) else {
            return;
        };
        if let Some((priority, token)) = join(l, r) {
            heap.push(Join {
                priority,
                left: Reverse(left),
                right,
                len: l.len + r.len,
                token,
            });
        }
    };
    for right in 1..symbols.len() as u32 {
        push(heap, symbols, right - 1, right);
    }
    while let Some(Join {
        left: Reverse(left),
        right,
        len,
        token,
        ..
    }) = heap.pop()
    {
        let (l, r) = (symbols[left as usize], symbols[right as usize]);
        if l.len == 0 || r.len == 0 || l.len + r.len != len {
            continue;
        }
        symbols[right as usize].len = 0;
        let joined = &mut symbols[left as usize];
        joined.len = len;
        joined.token = Some(token);
        joined.next = r.next;
        if let Some(next) = symbols.get_mut(r.next as usize) {
            next.prev = left;
        }
        push(heap, symbols, l.prev, left);
        push(heap, symbols, left, r.next);
    }
}

/// A row of symbols with their lengths and tokens.
fn row(parts: impl Iterator<Item = (u32, Option<u32>)>, out: &mut Vec<Symbol>) {
    out.clear();
    let mut start = 0;
    for (i, (len, token)) in (0u32..).zip(parts) {
        out.push(Symbol {
            start,
            len,
            prev: i.checked_sub(1).unwrap_or(NONE),
            next: i + 1,
            token,
        });
        start += len;
    }
}

/// Priority and result of a pair of tokens.
type Pairs = HashMap<(u32, u32), (u32, u32)>;

/// The merges of tokens that come out of texts.
fn pairs(data: &TokenizerData, ids: &HashMap<&str, u32>) -> Pairs {
    let mut pairs = HashMap::with_capacity(data.merges.len());
    for (merge, place) in data.merges.iter().zip(0u32..) {
        let (left, right) = merge.split_once(' ').unwrap_or_default();
        let union = [left, right].concat();
        if let (Some(&l), Some(&r), Some(&u)) = (ids.get(left), ids.get(right), ids.get(&*union)) {
            pairs.entry((l, r)).or_insert((u32::MAX - place, u));
        }
    }
    pairs
}

/// BPE over bytes: merges by their place in a list.
pub(super) struct ByteLevel {
    split: Split,
    /// The token of each byte; a byte without one has no tokens.
    bytes: [Option<u32>; 256],
    merges: Pairs,
    /// Words that stay whole, by their bytes.
    whole: HashMap<Box<[u8]>, u32>,
}

impl ByteLevel {
    /// `hidden` tokens never come out of a text. With `whole` a word that is a token is that token.
    pub(super) fn new(data: &TokenizerData, hidden: &[bool], split: Split, whole: bool) -> Self {
        let visible = || (0u32..).zip(&data.tokens).filter(|t| !hidden[t.0 as usize]);
        let ids: HashMap<&str, u32> = visible().map(|(id, t)| (t.as_str(), id)).collect();
        let mut bytes = [None; 256];
        for (id, token) in visible() {
            let mut chars = token.chars();
            if let (Some(c), None) = (chars.next(), chars.next())
                && let Some(byte) = byte_of_char(c)
            {
                bytes[usize::from(byte)] = Some(id);
            }
        }
        let merges = pairs(data, &ids);
        let spelled = |text: &str| {
            text.chars()
                .map(byte_of_char)
                .collect::<Option<Box<[u8]>>>()
        };
        let whole = visible()
            .filter(|_| whole)
            .filter_map(|(id, t)| Some((spelled(t)?, id)))
            .collect();
        Self {
            split,
            bytes,
            merges,
            whole,
        }
    }

    pub(super) fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let (mut symbols, mut heap) = (Vec::new(), BinaryHeap::new());
        let written = self.split.writes_bytes();
        for word in self.split.words(text) {
            let bytes: Cow<'_, [u8]> = match written {
                true => word.chars().filter_map(byte_of_char).collect(),
                false => Cow::Borrowed(word.as_bytes()),
            };
            if let Some(id) = self.whole.get(&*bytes) {
                out.push(*id);
                continue;
            }
            let parts = bytes.iter().map(|b| (1, self.bytes[usize::from(*b)]));
            row(parts, &mut symbols);
            merge(&mut symbols, &mut heap, |l, r| {
                self.merges.get(&(l.token?, r.token?)).copied()
            });
            out.extend(symbols.iter().filter(|s| s.len > 0).filter_map(|s| s.token));
        }
    }
}

/// BPE over characters: merges by their place in a list.
pub(super) struct Ranked {
    /// What cuts a text into words; `None`: nothing does.
    split: Option<Split>,
    /// The token of each character.
    chars: HashMap<char, u32>,
    /// The token of each byte, for characters without one.
    bytes: [Option<u32>; 256],
    merges: Pairs,
    /// Words that stay whole.
    whole: HashMap<Box<str>, u32>,
}

impl Ranked {
    /// `hidden` tokens never come out of a text. With `whole` a word that is a token is that token.
    pub(super) fn new(
        data: &TokenizerData,
        hidden: &[bool],
        split: Option<Split>,
        whole: bool,
    ) -> Self {
        let visible = || (0u32..).zip(&data.tokens).filter(|t| !hidden[t.0 as usize]);
        let ids: HashMap<&str, u32> = visible().map(|(id, t)| (t.as_str(), id)).collect();
        let mut bytes = [None; 256];
        let mut chars = HashMap::new();
        for (id, token) in visible() {
            let mut of = token.chars();
            if let Some(byte) = byte_of_spelling(token) {
                bytes[usize::from(byte)] = Some(id);
            } else if let (Some(c), None) = (of.next(), of.next()) {
                chars.insert(c, id);
            }
        }
        let merges = pairs(data, &ids);
        let words = visible().filter(|_| whole);
        Self {
            split,
            chars,
            bytes,
            merges,
            whole: words.map(|(id, t)| (t.as_str().into(), id)).collect(),
        }
    }

    pub(super) fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let text = text.replace(' ', SPACE_MARK);
        let words = match &self.split {
            Some(split) => split.words(&text),
            None => vec![Cow::Borrowed(text.as_str())],
        };
        let (mut symbols, mut heap) = (Vec::new(), BinaryHeap::new());
        let mut parts = Vec::new();
        let mut utf8 = [0u8; 4];
        for word in words {
            if let Some(id) = self.whole.get(&*word) {
                out.push(*id);
                continue;
            }
            parts.clear();
            for c in word.chars() {
                match self.chars.get(&c) {
                    Some(id) => parts.push((c.len_utf8() as u32, Some(*id))),
                    None => {
                        let spelled = c.encode_utf8(&mut utf8).bytes();
                        parts.extend(spelled.map(|b| (1, self.bytes[usize::from(b)])));
                    }
                }
            }
            row(parts.iter().copied(), &mut symbols);
            merge(&mut symbols, &mut heap, |l, r| {
                self.merges.get(&(l.token?, r.token?)).copied()
            });
            out.extend(symbols.iter().filter(|s| s.len > 0).filter_map(|s| s.token));
        }
    }
}

/// SentencePiece's BPE: any two neighbours whose union is a token, by its score.
pub(super) struct Scored {
    /// Tokens by their text, with a priority that orders as the score does.
    tokens: HashMap<Box<str>, (u32, u32)>,
    /// The tokens of all bytes, for characters without a token.
    bytes: Option<Vec<u32>>,
    /// Stands for such characters where there are no tokens of bytes.
    unknown: Option<u32>,
}

impl Scored {
    /// `hidden` tokens never come out of a text, but for the unknown one.
    pub(super) fn new(data: &TokenizerData, hidden: &[bool]) -> Self {
        let mut bytes = vec![NONE; 256];
        let mut tokens = HashMap::with_capacity(data.tokens.len());
        for (id, token) in (0u32..).zip(&data.tokens) {
            if hidden[id as usize] {
                continue;
            }
            if let Some(byte) = byte_of_spelling(token) {
                bytes[usize::from(byte)] = id;
            }
            let score = data.scores.get(id as usize).copied().unwrap_or(0.0);
            if token.contains(' ') {
                // llama.cpp's conversion writes runs of marks as spaces, to be found in texts as they are. Where marks stand
                // beside spaces these are made before all else, in their order.
                let marked = token.replace(' ', SPACE_MARK);
                tokens.entry(marked.into()).or_insert((u32::MAX - id, id));
            } else {
                tokens.insert(token.as_str().into(), (order(score), id));
            }
        }
        let typed = || {
            (0u32..)
                .zip(&data.tokens)
                .find(|t| data.token_type(t.0 as usize) == TokenType::Unknown)
        };
        Self {
            tokens,
            bytes: (!bytes.contains(&NONE)).then_some(bytes),
            unknown: data.unk.or_else(|| Some(typed()?.0)),
        }
    }

    pub(super) fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let text = text.replace(' ', SPACE_MARK);
        let token = |s: &Symbol, len: u32| {
            let start = s.start as usize;
            self.tokens.get(&text[start..start + len as usize])
        };
        let mut symbols = Vec::new();
        let chars = text.char_indices().map(|(at, c)| {
            let known = self.tokens.get(&text[at..at + c.len_utf8()]);
            (c.len_utf8() as u32, known.map(|t| t.1))
        });
        row(chars, &mut symbols);
        merge(&mut symbols, &mut BinaryHeap::new(), |l, r| {
            token(l, l.len + r.len).copied()
        });
        for symbol in symbols.iter().filter(|s| s.len > 0) {
            match (symbol.token, &self.bytes) {
                (Some(id), _) => out.push(id),
                (None, Some(bytes)) => {
                    let spelled = &text.as_bytes()[symbol.start as usize..][..symbol.len as usize];
                    out.extend(spelled.iter().map(|b| bytes[usize::from(*b)]));
                }
                (None, None) => out.extend(self.unknown),
            }
        }
    }
}

/// An integer that orders as a finite score does.
fn order(score: f32) -> u32 {
    // Of the two zeros one.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_keep_their_order() {
        let scores = [f32::MIN, -2.5, -1e-40, 0.0, 1e-40, 1.0, f32::MAX];
        assert!(scores.windows(2).all(|w| order(w[0]) < order(w[1])));
        assert_eq!(order(-0.0), order(0.0));
    }
}

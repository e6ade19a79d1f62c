//! Reads an expression, as Oniguruma understands it with Ruby's rules.

use super::class::{Class, WORD};

/// Groups within groups.
const MAX_DEPTH: u32 = 16;
/// Most repetitions that are counted.
const MAX_COUNT: u32 = 1000;

/// An expression or a part of one.
#[derive(Clone)]
pub(super) enum Node {
    Class(Class),
    /// The start of a line, or of the text.
    Start {
        text: bool,
    },
    /// The end of a line, or of the text.
    End {
        text: bool,
    },
    /// `\b`, or where that is not.
    Border {
        negative: bool,
    },
    /// What follows matches, or does not.
    Ahead {
        negative: bool,
        node: Box<Node>,
    },
    /// The character before is of the class, or is not.
    Behind {
        negative: bool,
        class: Class,
    },
    /// Matches as it first can, once and for all.
    Atomic(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        /// `u32::MAX`: no bound.
        max: u32,
        lazy: bool,
    },
}

impl Node {
    /// Whether it matches no text.
    fn nullable(&self) -> bool {
        match self {
            Self::Class(_) => false,
            Self::Start { .. }
            | Self::End { .. }
            | Self::Border { .. }
            | Self::Ahead { .. }
            | Self::Behind { .. } => true,
            Self::Atomic(node) => node.nullable(),
            Self::All(nodes) => nodes.iter().all(Self::nullable),
            Self::Any(nodes) => nodes.iter().any(Self::nullable),
            Self::Repeat { node, min, .. } => *min == 0 || node.nullable(),
        }
    }
}

/// An expression; `None` where something is not understood.
pub(super) fn read(text: &str) -> Option<Node> {
    let mut reader = Reader {
        rest: text,
        ignore_case: false,
        depth: 0,
    };
    let node = reader.alternatives()?;
    reader.rest.is_empty().then_some(node)
}

struct Reader<'a> {
    rest: &'a str,
    ignore_case: bool,
    depth: u32,
}

impl Reader<'_> {
    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn alternatives(&mut self) -> Option<Node> {
        let outer = self.ignore_case;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut all = vec![Vec::new()];
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            if self.eat("|") {
                all.push(Vec::new());
            } else if self.eat("(?i)") {
                self.ignore_case = true;
            } else {
                let item = self.item()?;
                all.last_mut()?.push(item);
            }
        }
        self.ignore_case = outer;
        self.depth -= 1;
        let mut nodes: Vec<Node> = all.into_iter().map(Node::All).collect();
        match nodes.len() {
            1 => nodes.pop(),
            _ => Some(Node::Any(nodes)),
        }
    }

    /// What is repeated, and how often.
    fn item(&mut self) -> Option<Node> {
        let mut node = self.atom()?;
        while let Some((min, max, counted)) = self.count()? {
            let nullable = node.nullable();
            if nullable {
                return None;
            }
            // Behind a counted repetition these repeat it once more.
            let lazy = !counted && self.eat("?");
            let possessive = !counted && !lazy && self.eat("+");
            if counted && self.rest.starts_with('?') {
                return None;
            }
            node = Node::Repeat {
                node: Box::new(node),
                min,
                max,
                lazy,
            };
            if possessive {
                node = Node::Atomic(Box::new(node));
            }
        }
        Some(node)
    }

    /// How often what is before is repeated, and whether braces say so.
    fn count(&mut self) -> Option<Option<(u32, u32, bool)>> {
        Some(Some(if self.eat("?") {
            (0, 1, false)
        } else if self.eat("*") {
            (0, u32::MAX, false)
        } else if self.eat("+") {
            (1, u32::MAX, false)
        } else if self.eat("{") {
            let (inside, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            let (min, max) = match inside.split_once(',') {
                Some((min, "")) => (min.parse().ok()?, u32::MAX),
                Some((min, max)) => (min.parse().ok()?, max.parse().ok()?),
                None => (inside.parse().ok()?, inside.parse().ok()?),
            };
            if min > max || min > MAX_COUNT || max > MAX_COUNT && max < u32::MAX {
                return None;
            }
            (min, max, true)
        } else {
            return Some(None);
        }))
    }

    fn atom(&mut self) -> Option<Node> {
        if self.eat("(") {
            return self.group();
        }
        let simple = [
            ("^", Node::Start { text: false }),
            ("$", Node::End { text: false }),
            ("\\A", Node::Start { text: true }),
            ("\\z", Node::End { text: true }),
            ("\\b", Node::Border { negative: false }),
            ("\\B", Node::Border { negative: true }),
        ];
        for (text, node) in simple {
            if self.eat(text) {
                return Some(node);
            }
        }
        self.class().map(Node::Class)
    }

    fn group(&mut self) -> Option<Node> {
        let outer = self.ignore_case;
        let ahead = |negative| move |node| Node::Ahead { negative, node };
        type Wrap = Box<dyn Fn(Box<Node>) -> Node>;
        let mut behind = None;
        let wrap: Wrap = if self.eat("?:") {
            Box::new(|node| *node)
        } else if self.eat("?i:") {
            self.ignore_case = true;
            Box::new(|node| *node)
        } else if self.eat("?=") {
            Box::new(ahead(false))
        } else if self.eat("?!") {
            Box::new(ahead(true))
        } else if self.eat("?<=") {
            behind = Some(false);
            Box::new(|node| *node)
        } else if self.eat("?<!") {
            behind = Some(true);
            Box::new(|node| *node)
        } else if self.eat("?>") {
            Box::new(Node::Atomic)
        } else if self.rest.starts_with('?') {
            return None;
        } else {
            Box::new(|node| *node)
        };
        let node = self.alternatives()?;
        self.ignore_case = outer;
        if !self.eat(")") {
            return None;
        }
        match behind {
            None => Some(wrap(Box::new(node))),
            Some(negative) => Some(Node::Behind {
                negative,
                class: single(node)?,
            }),
        }
    }

    /// What stands behind a backslash, put into a class.
    fn escape(&mut self, class: &mut Class) -> Option<()> {
        let negated = |of: Class| Class {
            negated: !of.negated,
            ..of
        };
        let mut of = Class::default();
        match self.next()? {
            's' => class.white_space = true,
            'w' => WORD.iter().try_for_each(|name| class.property(name))?,
            'd' => class.property("Nd")?,
            'S' => {
                of.white_space = true;
                class.parts.push(negated(of));
            }
            'W' => {
                WORD.iter().try_for_each(|name| of.property(name))?;
                class.parts.push(negated(of));
            }
            'D' => {
                of.property("Nd")?;
                class.parts.push(negated(of));
            }
            kind @ ('p' | 'P') => {
                let name = self.rest.strip_prefix('{')?.split('}').next()?;
                self.rest = self.rest.get(name.len() + 2..)?;
                let plain = name.strip_prefix('^');
                of.property(plain.unwrap_or(name))?;
                of.negated = (kind == 'P') != plain.is_some();
                class.parts.push(of);
            }
            'r' => class.ranges.push(('\r', '\r')),
            'n' => class.ranges.push(('\n', '\n')),
            't' => class.ranges.push(('\t', '\t')),
            'f' => class.ranges.push(('\u{c}', '\u{c}')),
            'v' => class.ranges.push(('\u{b}', '\u{b}')),
            kind @ ('x' | 'u') => {
                let c = self.code(kind)?;
                class.ranges.push((c, c));
            }
            c if c.is_ascii_alphanumeric() => return None,
            c => class.ranges.push((c, c)),
        }
        Some(())
    }

    /// A character by its number: `\x20`, `\x{4E00}`, `\u4E00`.
    fn code(&mut self, kind: char) -> Option<char> {
        let hex = if kind == 'x' && self.eat("{") {
            let (hex, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            hex
        } else {
            let (hex, rest) = self
                .rest
                .split_at_checked(if kind == 'x' { 2 } else { 4 })?;
            self.rest = rest;
            hex
        };
        char::from_u32(u32::from_str_radix(hex, 16).ok()?)
    }

    /// A class or a single character.
    fn class(&mut self) -> Option<Class> {
        let mut class = Class::default();
        if self.eat("\\") {
            self.escape(&mut class)?;
        } else if self.eat("[") {
            class = self.bracketed()?;
        } else if self.eat(".") {
            class = Class::one('\n');
            class.negated = true;
        } else {
            let c = self.next()?;
            if "()*+?{}|]".contains(c) || self.ignore_case && self.folds(c) {
                return None;
            }
            class = Class::one(c);
        }
        if self.ignore_case {
            class.ignore_case()?;
        }
        Some(class.finish())
    }

    /// Whether a character and the next are the same as a third one but for case.
    fn folds(&self, c: char) -> bool {
        let next = self.rest.chars().next().unwrap_or_default();
        let pair = [c.to_ascii_lowercase(), next.to_ascii_lowercase()];
        matches!(pair, ['s', 's' | 't'] | ['f', 'f' | 'i' | 'l'])
    }

    /// A class in brackets, the first of which is read.
    fn bracketed(&mut self) -> Option<Class> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let negated = self.eat("^");
        // What is behind && cuts from all that is before.
        let mut whole: Option<Class> = None;
        let mut class = Class::default();
        let mut empty = true;
        loop {
            if self.eat("]") {
                break;
            }
            if self.eat("&&") {
                let part = std::mem::take(&mut class);
                whole = Some(intersection(whole, part));
                empty = true;
                continue;
            }
            empty = false;
            if self.rest.starts_with("[:") {
                return None;
            }
            if self.eat("[") {
                let part = self.bracketed()?;
                class.parts.push(part);
                continue;
            }
            let ranges = class.ranges.len();
            if self.eat("\\") {
                self.escape(&mut class)?;
            } else {
                let c = self.next()?;
                class.ranges.push((c, c));
            }
            let single = class.ranges.len() > ranges;
            if !single || self.rest.starts_with("-]") || !self.eat("-") {
                continue;
            }
            let (first, _) = class.ranges.pop()?;
            let mut last = Class::default();
            if self.eat("\\") {
                self.escape(&mut last)?;
            } else {
                let c = self.next()?;
                last.ranges.push((c, c));
            }
            let (last, _) = last.ranges.pop()?;
            if first > last {
                return None;
            }
            class.ranges.push((first, last));
        }
        self.depth -= 1;
        if empty {
            return None;
        }
        let mut class = match whole {
            Some(_) => intersection(whole, class),
            None => class,
        };
        class.negated = negated;
        Some(class)
    }
}

fn intersection(whole: Option<Class>, part: Class) -> Class {
    match whole {
        None => part,
        Some(whole) => Class {
            parts: vec![whole],
            within: vec![part],
            ..Class::default()
        },
    }
}

/// The class that is all of an expression.
fn single(node: Node) -> Option<Class> {
    match node {
        Node::Class(class) => Some(class),
        Node::All(mut nodes) if nodes.len() == 1 => single(nodes.pop()?),
        Node::Any(nodes) => {
            let parts = nodes.into_iter().map(single).collect::<Option<Vec<_>>>()?;
            let class = Class {
                parts,
                ..Class::default()
            };
            Some(class.finish())
        }
        _ => None,
    }
}

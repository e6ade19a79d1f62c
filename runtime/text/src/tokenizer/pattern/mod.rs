//! The expressions by which pre-tokenizers cut a text.
//!
//! An expression becomes a small program, which is run at one place of a text after another. Of alternatives the first that
//! matches wins; a repetition takes as much as it can and gives back one at a time. Places that led nowhere are not gone to
//! again, and an expression that is made to take long ends at [`WORK`] for each byte: the rest of the text has no matches then.

mod class;
mod reader;

use class::Class;
use reader::Node;
use std::collections::HashSet;

/// Longest program.
const MAX_STEPS: usize = 4096;
/// Steps of one attempt behind which it is remembered what led nowhere, and how much of that is kept.
const PATIENCE: u32 = 4096;
const MAX_REMEMBERED: usize = 1 << 22;

/// Steps and characters that are looked at for each byte of a text, of which there are this many more.
const WORK: u64 = 1 << 14;

/// One expression.
pub(super) struct Pattern {
    steps: Vec<Step>,
}

/// A step of a program; numbers are places in it.
enum Step {
    One(Class),
    /// `min` to `max` characters of a class, as many as there are.
    Run {
        class: Class,
        min: u32,
        max: u32,
    },
    /// Goes on at the first place, or else at the second.
    Either(usize, usize),
    Go(usize),
    Start {
        text: bool,
    },
    End {
        text: bool,
    },
    Border {
        negative: bool,
    },
    Behind {
        negative: bool,
        class: Class,
    },
    /// What is up to `end` matches here, or does not.
    Ahead {
        negative: bool,
        end: usize,
    },
    /// What is up to `end` matches as it first can.
    Atomic {
        end: usize,
    },
    Found,
}

impl Pattern {
    /// An expression; `None` if it is not of the kind that is understood.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut pattern = Self { steps: Vec::new() };
        pattern.compile(reader::read(text)?)?;
        pattern.push(Step::Found)?;
        Some(pattern)
    }

    fn push(&mut self, step: Step) -> Option<usize> {
        self.steps.push(step);
        (self.steps.len() <= MAX_STEPS).then(|| self.steps.len() - 1)
    }

    fn compile(&mut self, node: Node) -> Option<()> {
        match node {
            Node::Class(class) => self.push(Step::One(class)).map(drop),
            Node::Start { text } => self.push(Step::Start { text }).map(drop),
            Node::End { text } => self.push(Step::End { text }).map(drop),
            Node::Border { negative } => self.push(Step::Border { negative }).map(drop),
            Node::Behind { negative, class } => {
                self.push(Step::Behind { negative, class }).map(drop)
            }
            Node::Ahead { negative, node } => {
                let at = self.push(Step::Found)?;
                let end = self.inside(*node)?;
                self.steps[at] = Step::Ahead { negative, end };
                Some(())
            }
            Node::Atomic(node) => {
                let at = self.push(Step::Found)?;
                let end = self.inside(*node)?;
                self.steps[at] = Step::Atomic { end };
                Some(())
            }
            Node::All(nodes) => nodes.into_iter().try_for_each(|node| self.compile(node)),
            Node::Any(nodes) => self.either(nodes),
            Node::Repeat {
                node,
                min,
                max,
                lazy,
            } => match *node {
                Node::Class(class) if !lazy => self.push(Step::Run { class, min, max }).map(drop),
                node => self.repeat(&node, min, max, lazy),
            },
        }
    }

    /// A program within the program; where it ends.
    fn inside(&mut self, node: Node) -> Option<usize> {
        self.compile(node)?;
        Some(self.push(Step::Found)? + 1)
    }

    fn either(&mut self, nodes: Vec<Node>) -> Option<()> {
        let last = nodes.len().saturating_sub(1);
        let mut ends = Vec::new();
        for (i, node) in nodes.into_iter().enumerate() {
            if i == last {
                self.compile(node)?;
                continue;
            }
            let at = self.push(Step::Found)?;
            self.compile(node)?;
            ends.push(self.push(Step::Found)?);
            self.steps[at] = Step::Either(at + 1, self.steps.len());
        }
        let end = self.steps.len();
        ends.into_iter()
            .for_each(|at| self.steps[at] = Step::Go(end));
        Some(())
    }

    fn repeat(&mut self, node: &Node, min: u32, max: u32, lazy: bool) -> Option<()> {
        let order = |inside, outside| match lazy {
            true => Step::Either(outside, inside),
            false => Step::Either(inside, outside),
        };
        for _ in 0..min {
            self.compile(node.clone())?;
        }
        if max == u32::MAX {
            let at = self.push(Step::Found)?;
            self.compile(node.clone())?;
            self.push(Step::Go(at))?;
            self.steps[at] = order(at + 1, self.steps.len());
            return Some(());
        }
        let mut starts = Vec::new();
        for _ in min..max {
            starts.push(self.push(Step::Found)?);
            self.compile(node.clone())?;
        }
        let end = self.steps.len();
        let each = starts.into_iter();
        each.for_each(|at| self.steps[at] = order(at + 1, end));
        Some(())
    }

    /// Where the matches of a text begin and end. One that is empty is there where the one before did not end.
    pub(super) fn matches<'p>(&'p self, text: &'p str) -> Matches<'p> {
        Matches {
            pattern: self,
            text,
            from: 0,
            last: None,
            work: WORK * (text.len() as u64 + WORK),
        }
    }

    /// The first match at or behind byte `from`.
    fn find(&self, text: &str, from: usize, work: &mut u64) -> Option<(usize, usize)> {
        let mut at = from;
        loop {
            let next = text[at..].chars().next();
            let (possible, run) = match self.steps.first() {
                Some(Step::One(class)) => (next.is_some_and(|c| class.has(c)), false),
                Some(Step::Run { class, min, max }) => (
                    *min == 0 || next.is_some_and(|c| class.has(c)),
                    *min == 1 && *max == u32::MAX,
                ),
                _ => (true, false),
            };
            if possible && let Some(end) = self.run(0, text, at, work) {
                return Some((at, end));
            }
            let len = next?.len_utf8();
            at += match self.steps.first() {
                // What such a run was tried with, it would be tried with again from within.
                Some(Step::Run { class, .. }) if run => {
                    let rest = &text[at..];
                    rest.find(|c| !class.has(c)).unwrap_or(rest.len()).max(len)
                }
                _ => len,
            };
        }
    }

    /// The end of a match that begins at `at`, by the program from `first` on.
    fn run(&self, first: usize, text: &str, at: usize, work: &mut u64) -> Option<usize> {
        // Where else to go on: the step, and the bytes from which and to which it may be at.
        let mut open: Vec<(usize, usize, usize)> = vec![(first, at, at)];
        let mut patience = PATIENCE;
        let mut seen = HashSet::new();
        'open: while let Some((step, low, high)) = open.pop() {
            if high > low {
                let before = text[..high].chars().next_back().map_or(1, char::len_utf8);
                open.push((step, low, high - before));
            }
            let (mut step, mut at) = (step, high);
            match patience.checked_sub(1) {
                Some(less) => patience = less,
                None if seen.len() > MAX_REMEMBERED => return None,
                None if !seen.insert((step, at)) => continue,
                None => {}
            }
            loop {
                *work = work.checked_sub(1)?;
                let next = || text[at..].chars().next();
                let before = || text[..at].chars().next_back();
                let holds = match self.steps.get(step)? {
                    Step::Found => return Some(at),
                    Step::One(class) => match next().filter(|c| class.has(*c)) {
                        Some(c) => {
                            at += c.len_utf8();
                            true
                        }
                        None => false,
                    },
                    Step::Run { class, min, max } => {
                        let Some((low, high)) = run_of(class, *min, *max, text, at) else {
                            continue 'open;
                        };
                        if high > low {
                            let last = text[..high].chars().next_back().map_or(1, char::len_utf8);
                            open.push((step + 1, low, high - last));
                        }
                        *work = work.checked_sub((high - at) as u64)?;
                        at = high;
                        true
                    }
                    Step::Either(one, other) => {
                        open.push((*other, at, at));
                        step = *one;
                        continue;
                    }
                    Step::Go(to) => {
                        step = *to;
                        continue;
                    }
                    Step::Start { text: whole } => {
                        at == 0 || !whole && before() == Some('\n') && at < text.len()
                    }
                    Step::End { text: whole } => at == text.len() || !whole && next() == Some('\n'),
                    Step::Border { negative } => {
                        let word = |c: Option<char>| c.is_some_and(class::in_word);
                        (word(before()) != word(next())) != *negative
                    }
                    Step::Behind { negative, class } => {
                        before().is_some_and(|c| class.has(c)) != *negative
                    }
                    Step::Ahead { negative, end } => {
                        let found = self.run(step + 1, text, at, work).is_some();
                        step = *end - 1;
                        found != *negative
                    }
                    Step::Atomic { end } => match self.run(step + 1, text, at, work) {
                        Some(to) => {
                            at = to;
                            step = *end - 1;
                            true
                        }
                        None => false,
                    },
                };
                if !holds {
                    continue 'open;
                }
                step += 1;
            }
        }
        None
    }
}

/// From the end of the least to the end of the most that a run of a class takes.
fn run_of(class: &Class, min: u32, max: u32, text: &str, at: usize) -> Option<(usize, usize)> {
    let (mut count, mut high) = (0, at);
    let mut low = (min == 0).then_some(at);
    for c in text[at..].chars() {
        if count == max || !class.has(c) {
            break;
        }
        count += 1;
        high += c.len_utf8();
        if count == min {
            low = Some(high);
        }
    }
    Some((low?, high))
}

/// The matches of a text.
pub(super) struct Matches<'p> {
    pattern: &'p Pattern,
    text: &'p str,
    from: usize,
    last: Option<usize>,
    work: u64,
}

impl Iterator for Matches<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        loop {
            let rest = self.text.get(self.from..)?;
            let (start, end) = self.pattern.find(self.text, self.from, &mut self.work)?;
            if start < end || self.last != Some(end) {
                self.from = end;
                self.last = Some(end);
                return Some((start, end));
            }
            self.from += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn all<'a>(pattern: &str, text: &'a str) -> Vec<&'a str> {
        let pattern = Pattern::new(pattern).unwrap();
        let found = pattern.matches(text);
        found.map(|(start, end)| &text[start..end]).collect()
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "(?<name>a)",
            "(?=a",
            "\\R",
            "\\h",
            "\\p{Xx}",
            "[a",
            "[]",
            "[[:punct:]]",
            "(?i:a",
            "a)",
            "a{2",
            "a{3,2}",
            "a{1,9999}",
            "(a*)*",
            "(|a)+",
            "a{2}?",
            "*a",
            "(?m:a)",
            "\\1",
            "(?<=ab)c",
            "(?i:é)",
            "(?i:ss)",
            "a]",
            "[z-a]",
            "\\k<a>",
        ] {
            assert!(Pattern::new(text).is_none(), "{text}");
        }
        let deep = "(".repeat(1000) + &")".repeat(1000);
        assert!(Pattern::new(&deep).is_none());
        assert!(Pattern::new("((((a{1000}b){1000}c){1000}d){1000}e)").is_none());
    }

    #[test]
    fn runs_give_back_and_the_first_alternative_wins() {
        assert_eq!(all("a+ab|b", "aaab b"), ["aaab", "b"]);
        assert_eq!(all(r"\s+(?!\S)|\s+", "x   y  "), ["  ", " ", "  "]);
        assert_eq!(all("a|ab", "ab"), ["a"]);
        assert_eq!(all("(?i:'s|'re)|'", "'S'rE'x"), ["'S", "'rE", "'"]);
        assert_eq!(all("(?i)'s|x", "'\u{17f}X"), ["'\u{17f}", "X"]);
        assert_eq!(all(r"\s+$", " a  "), ["  "]);
        assert_eq!(all(r"\s+$", "a  \nb"), ["  "]);
        assert_eq!(all(r"\p{N}{1,3}", "1234५"), ["123", "4५"]);
        assert_eq!(all(r"[^\s\p{L}]+", "a-é– 1"), ["-", "–", "1"]);
        assert_eq!(all("[a-c-]+", "-ad-"), ["-a", "-"]);
        assert_eq!(all("a++ab|b", "aab"), ["b"]);
    }

    #[test]
    fn groups_classes_and_places() {
        assert_eq!(all("(?:ab){2,3}", "abababab"), ["ababab"]);
        assert_eq!(all("(?:a|b)+?c", "abcc"), ["abc"]);
        assert_eq!(all(r"x(?:'[st])?", "x's x'r"), ["x's", "x"]);
        assert_eq!(all(r"(?<=a)b|(?<!a)c", "abcacb"), ["b", "c"]);
        assert_eq!(all(r"\bé\w*", "été aé é"), ["été", "é"]);
        assert_eq!(
            all(r"[\p{L}&&[^\p{Han}]]+|\p{Han}+", "ab漢字c"),
            ["ab", "漢字", "c"]
        );
        assert_eq!(all(r"\P{L}+|\p{^N}+", "1-a"), ["1-", "a"]);
        assert_eq!(all(r"\x{4e00}|\u4e01|\x41", "一丁A"), ["一", "丁", "A"]);
        assert_eq!(all(r"(?>a+)b|.", "aab\nc"), ["aab", "c"]);
        assert_eq!(all(r"\p{N}{1,3}+", "12345"), ["12345"]);
        assert_eq!(all(r"^a|b$", "aa\nab"), ["a", "a", "b"]);
    }

    #[test]
    fn empty_matches_are_places() {
        let pattern = Pattern::new(r"(?=(\d{3})+(?!\d))").unwrap();
        let found: Vec<_> = pattern.matches("1234567a1").collect();
        assert_eq!(found, [(1, 1), (4, 4)]);
        assert_eq!(
            Pattern::new("a*")
                .unwrap()
                .matches("baa")
                .collect::<Vec<_>>(),
            [(0, 0), (1, 3)]
        );
    }

    #[test]
    fn no_expression_takes_forever() {
        let text = "a".repeat(100);
        for pattern in [
            "(a|aa)+$b",
            "((a+)+)+b",
            "(a|a|a|a)+b",
            "(?=(a|aa)+b)c|a{9,}",
        ] {
            let found = Pattern::new(pattern).unwrap().matches(&text).count();
            assert!(found <= 1, "{pattern}");
        }
    }

    /// What expressions are made of, and what makes them wrong.
    const PARTS: [&str; 34] = [
        "a",
        "b",
        " ",
        "é",
        ".",
        r"\s",
        r"\S",
        r"\d",
        r"\w",
        r"\b",
        r"\p{L}",
        r"\P{N}",
        "[^a-c]",
        r"[\s&&[^\n]]",
        "^",
        "$",
        "*",
        "+",
        "?",
        "*?",
        "++",
        "{2}",
        "{1,3}",
        "{0,2}+",
        "|",
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?>",
        "(?i:",
        "(?<=a)",
        "\u{301}",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_expression_is_refused_or_cuts_in_order_between_characters(
            parts in vec(0..PARTS.len(), 1..12),
            text in "[ab1 é\n\u{301}漢]{0,40}",
        ) {
            let mut expression: String = parts.iter().map(|i| PARTS[*i]).collect();
            // Most need an end of what they began.
            let open = expression.matches('(').count().saturating_sub(expression.matches(')').count());
            expression.extend(std::iter::repeat_n(')', open));
            let Some(pattern) = Pattern::new(&expression) else {
                return Ok(());
            };
            let mut end = 0;
            for (from, to) in pattern.matches(&text) {
                prop_assert!(end <= from && from <= to, "{expression}: {from} to {to} behind {end}");
                prop_assert!(text.get(from..to).is_some(), "{expression}: {from} to {to}");
                end = to;
            }
        }
    }
}

//! Lines that end between words, of a text that comes piece by piece.

use std::io::{self, IsTerminal};
use unicode_width::UnicodeWidthChar;

/// Narrowest terminal in which words are kept whole.
const NARROWEST: usize = 20;
/// Width where a terminal does not tell its own.
const USUAL: usize = 80;
/// Columns between stops of a tab.
const TAB: usize = 8;

/// Where the cursor is. A word is printed as it comes; where it does not fit, what of it was printed is taken back and
/// begins the next line.
#[derive(Debug, Default)]
pub struct Wrap {
    /// Columns that are used; 0: the terminal breaks lines where it likes.
    width: usize,
    column: usize,
    /// The printed part of a word, and its columns.
    word: String,
    word_width: usize,
    /// The line from its start, as far as it tells whether it is a fence of code.
    start: String,
    /// Lines of code are no one's to break.
    code: bool,
}

impl Wrap {
    /// For stdout as it is now.
    pub fn new() -> Self {
        Self::of_width(columns().unwrap_or(0))
    }

    fn of_width(columns: usize) -> Self {
        // The last column stays free: terminals differ in where the cursor is behind it.
        let width = columns.saturating_sub(1);
        Self {
            width: if columns < NARROWEST { 0 } else { width },
            ..Self::default()
        }
    }

    /// What to print for the next piece.
    pub fn push(&mut self, text: &str) -> String {
        if self.width == 0 {
            return text.into();
        }
        let mut out = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            self.one(c, &mut out);
        }
        out
    }

    fn one(&mut self, c: char, out: &mut String) {
        if c == '\n' {
            if self.start.trim_start().starts_with("```") {
                self.code = !self.code;
            }
            self.start.clear();
            self.begin_line(c, out);
            return;
        }
        if self.start.len() < 16 {
            self.start.push(c);
        }
        if self.code {
            out.push(c);
            return;
        }
        let columns = match c {
            '\t' => TAB - self.column % TAB,
            c => c.width().unwrap_or(0),
        };
        let blank = c == ' ' || c == '\t';
        // Between wide characters a line may end.
        if blank || columns > 1 {
            self.end_word();
        }
        if self.column + columns > self.width {
            if blank {
                self.begin_line('\n', out);
                return;
            }
            self.break_before_word(out);
        }
        out.push(c);
        self.column += columns;
        if !blank {
            self.word.push(c);
            self.word_width += columns;
        }
    }

    fn end_word(&mut self) {
        self.word.clear();
        self.word_width = 0;
    }

    fn begin_line(&mut self, end: char, out: &mut String) {
        out.push(end);
        self.end_word();
        self.column = 0;
    }

    fn break_before_word(&mut self, out: &mut String) {
        if self.word_width >= self.column {
            // It is longer than a line.
            self.begin_line('\n', out);
            return;
        }
        if self.word_width > 0 {
            // ECMA-48: back by so many columns, erase to the end of the line.
            out.push_str(&format!("\x1b[{}D\x1b[K", self.word_width));
        }
        out.push('\n');
        out.push_str(&self.word);
        self.column = self.word_width;
    }
}

/// Columns of stdout; `None` where it is no terminal that moves its cursor.
fn columns() -> Option<usize> {
    let stdout = io::stdout();
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    if !stdout.is_terminal() || dumb {
        return None;
    }
    let told = terminal_size::terminal_size_of(&stdout).map(|(w, _)| usize::from(w.0));
    let set = || std::env::var("COLUMNS").ok()?.parse().ok();
    Some(told.filter(|w| *w > 0).or_else(set).unwrap_or(USUAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows.
    fn shown(columns: usize, pieces: &[&str]) -> Vec<String> {
        let mut wrap = Wrap::of_width(columns);
        let text: String = pieces.iter().map(|p| wrap.push(p)).collect();
        let mut lines = vec![String::new()];
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            let line = lines.last_mut().unwrap();
            if let Some(back) = rest.strip_prefix("\x1b[") {
                let (n, after) = back.split_once("D\x1b[K").unwrap();
                for _ in 0..n.parse::<usize>().unwrap() {
                    line.pop();
                }
                rest = after;
                continue;
            }
            match c {
                '\n' => lines.push(String::new()),
                c => line.push(c),
            }
            rest = &rest[c.len_utf8()..];
        }
        lines
    }

    #[test]
    fn words_stay_whole() {
        let text = "The quick brown fox jumps over it";
        let expected = ["The quick brown fox", "jumps over it"];
        assert_eq!(
            shown(21, &[text]),
            ["The quick brown fox ", "jumps over it"]
        );
        let pieces: Vec<&str> = text.split_inclusive(|c| "aeiou ".contains(c)).collect();
        let found = shown(21, &pieces);
        assert_eq!(
            found.iter().map(|l| l.trim_end()).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(
            shown(20, &["The quick brown fox jumps"]),
            ["The quick brown fox", "jumps"]
        );
    }

    #[test]
    fn what_has_no_blanks_is_cut() {
        let long = "x".repeat(45);
        let widths: Vec<usize> = shown(21, &[&long]).iter().map(String::len).collect();
        assert_eq!(widths, [20, 20, 5]);
        let widths: Vec<usize> = shown(21, &["漢字".repeat(12).as_str()])
            .iter()
            .map(|l| l.chars().count())
            .collect();
        assert_eq!(widths, [10, 10, 4]);
    }

    #[test]
    fn code_and_narrow_terminals_are_left_alone() {
        let code = "```rust\nlet a_long_name = another_long_name();\n```\n";
        assert_eq!(shown(21, &[code]).join("\n"), code);
        let text = "The quick brown fox jumps over it";
        assert_eq!(shown(10, &[text]), [text]);
        assert_eq!(shown(1, &[text]), [text]);
    }
}

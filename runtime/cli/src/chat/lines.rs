//! Lines from a person at a terminal, with editing and history, or from a pipe.

use crate::{input, interrupt, term};
use anyhow::{Context, Result, bail};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use std::io::{BufRead, IsTerminal, Read};

/// Longest line of a pipe, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// Where lines come from.
pub enum Lines {
    /// The history is kept in memory: nothing that is typed is written anywhere.
    Terminal(Box<Editor<(), MemHistory>>),
    Pipe,
}

impl Lines {
    /// An editor where both ends are a terminal.
    ///
    /// Errors: the terminal cannot be used.
    pub fn new() -> Result<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Ok(Self::Pipe);
        }
        let config = Config::builder().auto_add_history(true).build();
        let editor = Editor::with_history(config, MemHistory::new()).context("the terminal")?;
        Ok(Self::Terminal(Box::new(editor)))
    }

    /// Whether a person is there to read what went wrong and to go on.
    pub fn interactive(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// The next line, several where they end with a backslash; `None` at the end.
    ///
    /// Errors: input that cannot be read, is no UTF-8 or has a line without end.
    pub fn next(&mut self) -> Result<Option<String>> {
        let mut text = String::new();
        loop {
            let prompt = if text.is_empty() { "> " } else { ". " };
            let Some(line) = self.one(prompt)? else {
                return Ok((!text.is_empty()).then_some(text));
            };
            match line.strip_suffix('\\') {
                Some(part) => {
                    text.push_str(part);
                    text.push('\n');
                }
                None => return Ok(Some(text + &line)),
            }
        }
    }

    fn one(&mut self, prompt: &str) -> Result<Option<String>> {
        match self {
            Self::Terminal(editor) => match waiting(|| editor.readline(prompt)) {
                Ok(line) => Ok(Some(line)),
                Err(ReadlineError::Eof) => Ok(None),
                Err(ReadlineError::Interrupted) => {
                    term::note("[Ctrl-D or /quit ends the chat]");
                    Ok(Some(String::new()))
                }
                Err(e) => Err(e).context("the terminal"),
            },
            Self::Pipe => {
                let mut bytes = Vec::new();
                let stdin = std::io::stdin().lock();
                let read = waiting(|| stdin.take(MAX_LINE + 1).read_until(b'\n', &mut bytes));
                let read = read.context("standard input")?;
                if read as u64 > MAX_LINE {
                    bail!("standard input: a line of more than {MAX_LINE} bytes");
                }
                if read == 0 {
                    return Ok(None);
                }
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
                input::utf8(bytes).context("standard input").map(Some)
            }
        }
    }
}

/// Nothing runs while a line is awaited: a signal ends the program.
fn waiting<T>(read: impl FnOnce() -> T) -> T {
    interrupt::idle(true);
    let read = read();
    interrupt::idle(false);
    read
}

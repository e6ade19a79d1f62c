//! What a line asks for.

use std::path::PathBuf;

/// A line that was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Nothing,
    Message(String),
    Help,
    Regenerate,
    Undo,
    /// `None`: show it.
    System(Option<String>),
    Save(PathBuf),
    Load(PathBuf),
    /// Show the speed of answers, or hide it.
    Stats,
    Quit,
    /// A command that is not understood, and why.
    Unknown(String),
}

pub const HELP: &str = "\
/regen          another answer to the last message
/undo           take the last message and its answer back
/system TEXT    set the system message; without TEXT show it
/save FILE      write the conversation, as carat template reads it
/load FILE      go on with a conversation that was written
/stats          show tokens per second after each answer, or hide them again
/quit           end (also Ctrl-D)
Ctrl-C stops an answer. A line that ends with \\ goes on in the next one.
A message that begins with / is typed with //.";

impl Line {
    pub fn parse(line: &str) -> Self {
        if line.trim().is_empty() {
            return Self::Nothing;
        }
        let Some(command) = line.strip_prefix('/') else {
            return Self::Message(line.into());
        };
        if command.starts_with('/') {
            return Self::Message(command.into());
        }
        let (name, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        let rest = rest.trim();
        let file = |make: fn(PathBuf) -> Self| match rest {
            "" => Self::Unknown(format!("/{name} needs a file: /{name} talk.json")),
            path => make(path.into()),
        };
        match name {
            "system" => Self::System((!rest.is_empty()).then(|| rest.into())),
            "save" => file(Self::Save),
            "load" => file(Self::Load),
            _ if !rest.is_empty() => Self::Unknown(format!(
                "/{name} {rest} is no command; /help lists them, //{name} says it"
            )),
            "help" | "?" => Self::Help,
            "regen" => Self::Regenerate,
            "undo" => Self::Undo,
            "stats" => Self::Stats,
            "quit" | "exit" | "q" => Self::Quit,
            _ => Self::Unknown(format!(
                "/{name} is no command; /help lists them, //{name} says it"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let message = |t: &str| Line::Message(t.into());
        for (line, expected) in [
            ("", Line::Nothing),
            ("  ", Line::Nothing),
            ("hi /there", message("hi /there")),
            ("//etc is a folder", message("/etc is a folder")),
            ("/help", Line::Help),
            ("/regen", Line::Regenerate),
            ("/undo", Line::Undo),
            ("/stats", Line::Stats),
            ("/quit", Line::Quit),
            ("/system", Line::System(None)),
            ("/system Be brief. ", Line::System(Some("Be brief.".into()))),
            ("/save my talk.json", Line::Save("my talk.json".into())),
            ("/load a", Line::Load("a".into())),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
        for line in ["/save", "/load  ", "/etc/passwd", "/undo all", "/"] {
            assert!(matches!(Line::parse(line), Line::Unknown(_)), "{line}");
        }
    }
}

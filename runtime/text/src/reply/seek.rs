//! Markers in text that arrives character by character.

/// What a character brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seek {
    /// The marker of that place in the list is complete.
    Found(usize),
    /// A marker may have begun.
    Hold,
    /// The first character begins none; those of the text are to be read again.
    Free(char, String),
}

/// The possible start of a marker.
#[derive(Clone, Debug, Default)]
pub(super) struct Seeker {
    held: String,
}

impl Seeker {
    /// Adds a character. Of markers, none begins with another; empty ones are none.
    pub(super) fn feed(&mut self, c: char, markers: &[&str]) -> Seek {
        self.held.push(c);
        let held = self.held.as_str();
        if let Some(at) = markers.iter().position(|m| *m == held) {
            self.held.clear();
            return Seek::Found(at);
        }
        if markers.iter().any(|m| m.starts_with(held)) {
            return Seek::Hold;
        }
        let mut chars = std::mem::take(&mut self.held);
        let rest = chars.split_off(chars.chars().next().map_or(0, char::len_utf8));
        Seek::Free(chars.chars().next().unwrap_or(c), rest)
    }

    /// What is held back.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

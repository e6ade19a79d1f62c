//! Stop strings in streamed text, and why a generation ended.

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The model produced a token that ends the text or the turn.
    End {
        /// The token.
        id: u32,
    },
    /// A stop string appeared.
    StopString {
        /// Its index in the list that was given.
        index: usize,
    },
    /// The text is complete: the grammar or schema lets nothing follow.
    Complete,
    /// As many tokens as were asked for.
    Length,
    /// The context is full.
    Context,
    /// The caller asked to stop.
    Cancelled,
}

impl StopReason {
    /// One word for machine-readable output.
    pub fn name(&self) -> &'static str {
        match self {
            Self::End { .. } => "end",
            Self::StopString { .. } => "stop",
            Self::Complete => "complete",
            Self::Length => "length",
            Self::Context => "context",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A stop string that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// It would stop before the first character.
    #[error("stop string {index} is empty; expected at least one character")]
    Empty {
        /// Its index in the list.
        index: usize,
    },
}

/// Looks for stop strings in text that arrives in pieces and lets through what is certainly before
/// any of them. The stop string that is complete first stops; of several complete with the same
/// character, the longest.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    hit: Option<usize>,
}

impl StopStrings {
    /// A search for `stops`; with none, all text passes at once.
    ///
    /// # Errors
    /// An empty stop string.
    pub fn new(stops: Vec<String>) -> Result<Self, StopError> {
        match stops.iter().position(String::is_empty) {
            Some(index) => Err(StopError::Empty { index }),
            None => Ok(Self {
                stops,
                held: String::new(),
                hit: None,
            }),
        }
    }

    /// Adds text; returns what is certainly before any stop string. After a match nothing comes any
    /// more.
    pub fn push(&mut self, text: &str) -> String {
        if self.hit.is_some() {
            return String::new();
        }
        // Character by character, so that the result does not depend on how the text was cut.
        let mut out = String::new();
        for c in text.chars() {
            self.held.push(c);
            if let Some((start, index)) = self.complete() {
                self.hit = Some(index);
                out.push_str(&self.held[..start]);
                self.held.clear();
                return out;
            }
            let keep = self.partial();
            out.push_str(&self.held[..keep]);
            self.held.drain(..keep);
        }
        out
    }

    /// Ends the text: what was held back as the possible start of a stop string.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Index of the stop string that was found.
    pub fn hit(&self) -> Option<usize> {
        self.hit
    }

    /// The stop string that ends where the held text ends and is longest: its start and index.
    fn complete(&self) -> Option<(usize, usize)> {
        (0..)
            .zip(&self.stops)
            .filter(|(_, stop)| self.held.ends_with(stop.as_str()))
            .map(|(index, stop)| (self.held.len() - stop.len(), index))
            .min()
    }

    /// Start of the longest end of the held text that begins a stop string.
    fn partial(&self) -> usize {
        self.held
            .char_indices()
            .map(|(start, _)| start)
            .find(|&start| {
                self.stops
                    .iter()
                    .any(|stop| stop.starts_with(&self.held[start..]))
            })
            .unwrap_or(self.held.len())
    }
}

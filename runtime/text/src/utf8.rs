//! Bytes to text, of files and of streams.

use std::string::FromUtf8Error;

/// Text of a file's bytes without the byte-order mark that some editors put in front.
///
/// # Errors
/// At which of the bytes, the mark's included, they stop being UTF-8.
pub fn decode(bytes: Vec<u8>) -> Result<String, FromUtf8Error> {
    let mut text = String::from_utf8(bytes)?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Turns bytes that arrive in pieces into text without splitting a character. What it returns, put
/// together, is `String::from_utf8_lossy` of all bytes: an invalid sequence becomes one U+FFFD as soon
/// as it is known to be invalid, an incomplete one is held back (at most 3 bytes).
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    held: Vec<u8>,
}

impl Utf8Stream {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes; returns the text that is now certain.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut rest = self.held.as_slice();
        let mut out = String::with_capacity(rest.len());
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    out.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    match error.error_len() {
                        Some(invalid) => {
                            out.push(char::REPLACEMENT_CHARACTER);
                            rest = &rest[invalid..];
                        }
                        // The start of a character whose other bytes may still come.
                        None => break,
                    }
                }
            }
        }
        self.held = rest.to_vec();
        out
    }

    /// Ends the stream: an incomplete character becomes U+FFFD. The stream is empty afterwards.
    pub fn flush(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }

    /// Whether bytes are held back.
    pub fn is_pending(&self) -> bool {
        !self.held.is_empty()
    }
}

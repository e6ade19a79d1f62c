//! JSON documents whose every access knows its file and path.

use super::error::HfTokenizerError;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file that is read. The largest tokenizer.json of known models has 35 MB.
const MAX_BYTES: u64 = 256 << 20;
/// Characters of a value that an error shows.
const SHOWN: usize = 160;

/// A parsed file.
pub(super) struct Document {
    file: PathBuf,
    value: Value,
}

impl Document {
    /// The text and the content of a file that must exist.
    pub(super) fn required(dir: &Path, name: &str) -> Result<(String, Self), HfTokenizerError> {
        let file = dir.join(name);
        match read(&file)? {
            Some(text) => Ok((text.clone(), Self::parse(file, &text)?)),
            None => Err(HfTokenizerError::Missing { file }),
        }
    }

    /// The content of a file, `None` if it does not exist.
    pub(super) fn optional(dir: &Path, name: &str) -> Result<Option<Self>, HfTokenizerError> {
        let file = dir.join(name);
        match read(&file)? {
            Some(text) => Self::parse(file, &text).map(Some),
            None => Ok(None),
        }
    }

    fn parse(file: PathBuf, text: &str) -> Result<Self, HfTokenizerError> {
        match serde_json::from_str(text) {
            Ok(value) => Ok(Self { file, value }),
            Err(error) => Err(HfTokenizerError::Json {
                file,
                error: error.to_string(),
            }),
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn root(&self) -> Node<'_> {
        Node {
            file: &self.file,
            path: String::new(),
            value: &self.value,
        }
    }
}

/// The text of a file without a byte-order mark, `None` if it does not exist.
pub(super) fn read(file: &Path) -> Result<Option<String>, HfTokenizerError> {
    let failed = |error| HfTokenizerError::Read {
        file: file.into(),
        error,
    };
    // Before it is opened: a pipe would wait for someone to write.
    if std::fs::metadata(file).is_ok_and(|m| !m.is_file()) {
        let fault = "not a regular file";
        return Err(failed(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            fault,
        )));
    }
    let handle = match std::fs::File::open(file) {
        Ok(handle) => handle,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let found = handle.metadata().map_err(failed)?.len();
    let too_large = |found| HfTokenizerError::TooLarge {
        file: file.into(),
        found,
        max: MAX_BYTES,
    };
    if found > MAX_BYTES {
        return Err(too_large(found));
    }
    let mut bytes = Vec::new();
    // A file may grow meanwhile: the limit holds for what is read as well.
    handle
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    crate::source::refuse_pointer(file, &bytes)?;
    carat_text::utf8::decode(bytes)
        .map(Some)
        .map_err(|_| HfTokenizerError::NotUtf8 { file: file.into() })
}

/// A value at a path of a file. `null` and an absent field are the same.
#[derive(Clone)]
pub(super) struct Node<'a> {
    file: &'a Path,
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    pub(super) fn file(&self) -> PathBuf {
        self.file.into()
    }

    /// An error about this value.
    pub(super) fn wrong(&self, expected: impl Into<String>) -> HfTokenizerError {
        HfTokenizerError::Field {
            file: self.file(),
            field: if self.path.is_empty() {
                "the document".into()
            } else {
                self.path.clone()
            },
            found: self.show(),
            expected: expected.into(),
        }
    }

    /// The value as JSON, shortened.
    pub(super) fn show(&self) -> String {
        // A whole vocabulary is not written out only to be cut off.
        let text = match self.value {
            Value::Object(map) if map.len() > 16 => format!("an object of {} fields", map.len()),
            Value::Array(list) if list.len() > 16 => format!("an array of {} elements", list.len()),
            other => other.to_string(),
        };
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn fields(&self) -> Result<&'a Map<String, Value>, HfTokenizerError> {
        self.value
            .as_object()
            .ok_or_else(|| self.wrong("an object"))
    }

    fn child(&self, name: &str, value: &'a Value) -> Self {
        let path = match self.path.as_str() {
            "" => name.into(),
            path => format!("{path}.{name}"),
        };
        Node {
            file: self.file,
            path,
            value,
        }
    }

    /// A field; `None` if it is absent or null.
    pub(super) fn get(&self, name: &str) -> Result<Option<Self>, HfTokenizerError> {
        let value = self.fields()?.get(name).filter(|v| !v.is_null());
        Ok(value.map(|v| self.child(name, v)))
    }

    /// Whether there is a field, null or not.
    pub(super) fn has(&self, name: &str) -> Result<bool, HfTokenizerError> {
        Ok(self.fields()?.contains_key(name))
    }

    /// A field that must be there.
    pub(super) fn required(&self, name: &str) -> Result<Self, HfTokenizerError> {
        let value = self.fields()?.get(name).unwrap_or(&Value::Null);
        let node = self.child(name, value);
        if value.is_null() {
            Err(node.wrong("a value"))
        } else {
            Ok(node)
        }
    }

    /// A field that is an object.
    pub(super) fn object(&self, name: &str) -> Result<Self, HfTokenizerError> {
        let node = self.required(name)?;
        node.fields()?;
        Ok(node)
    }

    /// Name and value of every field.
    pub(super) fn entries(
        &self,
    ) -> Result<impl Iterator<Item = (&'a str, Self)>, HfTokenizerError> {
        let node = self.clone();
        Ok(self
            .fields()?
            .iter()
            .map(move |(k, v)| (k.as_str(), node.child(k, v))))
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Result<Vec<Self>, HfTokenizerError> {
        let list = self
            .value
            .as_array()
            .ok_or_else(|| self.wrong("an array"))?;
        let node = |(i, value)| Node {
            file: self.file,
            path: format!("{}[{i}]", self.path),
            value,
        };
        Ok(list.iter().enumerate().map(node).collect())
    }

    pub(super) fn is_array(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    pub(super) fn str(&self) -> Result<&'a str, HfTokenizerError> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    pub(super) fn bool(&self) -> Result<bool, HfTokenizerError> {
        self.value
            .as_bool()
            .ok_or_else(|| self.wrong("true or false"))
    }

    /// A token id, or a count, of at most `max`.
    pub(super) fn number(&self, max: usize) -> Result<u32, HfTokenizerError> {
        self.value
            .as_u64()
            .filter(|&n| n <= max as u64)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| self.wrong(format!("an integer from 0 to {max}")))
    }

    /// Whether the value is a negative number, as configurations write an absent id.
    pub(super) fn is_negative(&self) -> bool {
        self.value.as_i64().is_some_and(|n| n < 0)
    }

    /// The type of a part of a pipeline.
    pub(super) fn kind(&self) -> Result<&'a str, HfTokenizerError> {
        match self.get("type")? {
            Some(kind) => kind.str(),
            None => Err(self.wrong("an object with a type")),
        }
    }

    /// A flag with its default.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, HfTokenizerError> {
        self.get(name)?.map_or(Ok(default), |v| v.bool())
    }

    /// A string field; empty if it is absent.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, HfTokenizerError> {
        self.get(name)?.map_or(Ok(""), |v| v.str())
    }
}

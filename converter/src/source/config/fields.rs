//! Typed questions to a JSON object.

use crate::source::SourceError;
use serde_json::{Map, Value};
use std::path::Path;

/// A JSON object and the file it is from, for typed questions.
pub struct Fields<'a> {
    pub path: &'a Path,
    /// Name of the object, with a dot; empty for the whole file.
    pub prefix: String,
    pub map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub fn wrong(&self, key: &str, found: &Value, expected: &str) -> SourceError {
        SourceError::Value {
            path: self.path.into(),
            field: format!("{}{key}", self.prefix),
            found: show(found),
            expected: expected.into(),
        }
    }

    pub fn need<T>(
        &self,
        key: &str,
        value: Option<T>,
        expected: &'static str,
    ) -> Result<T, SourceError> {
        value.ok_or_else(|| SourceError::Missing {
            path: self.path.into(),
            field: format!("{}{key}", self.prefix),
            expected,
        })
    }

    pub fn size(&self, key: &str) -> Result<Option<u32>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        match whole(v).filter(|n| *n > 0) {
            Some(n) => Ok(Some(n)),
            None => Err(self.wrong(key, v, "a positive integer")),
        }
    }

    pub fn needed_size(&self, key: &str) -> Result<u32, SourceError> {
        self.need(key, self.size(key)?, "a positive integer")
    }

    pub fn positive(&self, key: &str) -> Result<Option<f64>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        match v.as_f64().filter(|x| x.is_finite() && *x > 0.0) {
            Some(x) => Ok(Some(x)),
            None => Err(self.wrong(key, v, "a positive number")),
        }
    }

    pub fn needed_positive(&self, key: &str) -> Result<f64, SourceError> {
        self.need(key, self.positive(key)?, "a positive number")
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        v.as_bool()
            .map(Some)
            .ok_or_else(|| self.wrong(key, v, "true or false"))
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        v.as_str()
            .map(Some)
            .ok_or_else(|| self.wrong(key, v, "a string"))
    }

    /// An integer that may be 0.
    pub fn count(&self, key: &str) -> Result<Option<u32>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        whole(v)
            .map(Some)
            .ok_or_else(|| self.wrong(key, v, "an integer of at least 0"))
    }

    /// A list of positive numbers, so many.
    pub fn factors(&self, key: &str, len: u32) -> Result<Option<Vec<f64>>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        let number = |x: &Value| x.as_f64().filter(|x| x.is_finite() && *x > 0.0);
        let list: Option<Vec<f64>> = v.as_array().and_then(|a| a.iter().map(number).collect());
        list.filter(|l| l.len() == len as usize)
            .map(Some)
            .ok_or_else(|| self.wrong(key, v, &format!("a list of {len} positive numbers")))
    }

    pub fn object(&self, key: &str) -> Result<Option<Fields<'a>>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        match v.as_object() {
            Some(map) => Ok(Some(Fields {
                path: self.path,
                prefix: format!("{}{key}.", self.prefix),
                map,
            })),
            None => Err(self.wrong(key, v, "an object")),
        }
    }

    /// The fault of a value that is understood and not supported.
    pub fn unsupported(
        &self,
        key: &str,
        found: impl Into<String>,
        hint: &'static str,
    ) -> SourceError {
        SourceError::Unsupported {
            path: self.path.into(),
            field: format!("{}{key}", self.prefix),
            found: found.into(),
            hint,
        }
    }

    /// The fault of a key that is not known.
    pub fn unknown(&self, key: &str, found: &Value) -> SourceError {
        SourceError::UnknownField {
            path: self.path.into(),
            field: format!("{}{key}", self.prefix),
            found: show(found),
        }
    }
}

/// A number without a fraction, however it is written: `32768.0` too.
fn whole(value: &Value) -> Option<u32> {
    let float = |x: f64| (f64::from(x as u32) == x).then_some(x as u32);
    match value.as_u64() {
        Some(n) => u32::try_from(n).ok(),
        None => value.as_f64().and_then(float),
    }
}

/// A value in an error, cut short.
pub fn show(value: &Value) -> String {
    let s = value.to_string();
    match s.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &s[..end]),
        None => s,
    }
}

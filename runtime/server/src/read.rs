//! Requests as data: JSON of a bounded size, with errors that name the field.

use crate::refusal::{Kind, Refusal};
use axum::body::{Body, Bytes, to_bytes};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

/// The bytes of a body.
///
/// Errors: more than `most`; the client is gone.
pub async fn body(body: Body, most: usize) -> Result<Bytes, Refusal> {
    to_bytes(body, most).await.map_err(|e| {
        let limited = std::error::Error::source(&e).is_some_and(|s| s.is::<LengthLimitError>());
        match limited {
            true => Refusal::new(
                Kind::TooLarge,
                format!("the body has more than {most} bytes; send less"),
            ),
            false => Refusal::invalid(format!("the body broke off: {e}")),
        }
    })
}

/// A request of JSON.
///
/// Errors: what is no JSON; a field of another type, by its path.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut reader);
    let value = read.map_err(|e| {
        let path = e.path().to_string();
        let inner = e.into_inner();
        let told = match path.as_str() {
            "." | "" => Refusal::invalid(format!("the body is no such JSON: {inner}")),
            path => Refusal::invalid(format!("'{path}': {inner}")).at(path),
        };
        match inner.classify() {
            serde_json::error::Category::Data => told,
            _ => Refusal::invalid(format!("the body is no JSON: {inner}; expected one object")),
        }
    })?;
    reader
        .end()
        .map_err(|e| Refusal::invalid(format!("something follows the JSON: {e}")))?;
    Ok(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[allow(dead_code)]
        n: u32,
    }

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[allow(dead_code)]
        list: Vec<Inner>,
    }

    #[test]
    fn errors_name_the_field() {
        let e = json::<Outer>(br#"{"list": [{"n": 1}, {"n": "x"}]}"#).unwrap_err();
        assert_eq!(e.param.as_deref(), Some("list[1].n"));
        assert!(e.message.contains("expected u32"), "{}", e.message);
        for bad in ["", "{", "[]", "nul", r#"{"list": []} x"#] {
            assert_eq!(
                json::<Outer>(bad.as_bytes()).unwrap_err().kind,
                Kind::Invalid
            );
        }
        assert!(json::<Outer>(br#"{"list": [], "more": {}}"#).is_ok());
        // Depth is bounded by serde_json.
        let deep = format!(r#"{{"list": {}"#, "[".repeat(100_000));
        assert!(json::<Outer>(deep.as_bytes()).is_err());
    }
}

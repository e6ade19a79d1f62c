//! Whether a checkpoint's head is its embedding: what is stored decides, and the configuration where that says nothing.

use super::{Data, Entries, Entry, Form, Stored, element};
use crate::source::io::SourceFile;
use crate::source::packed::CODES;
use crate::source::{Hyper, SourceError, names};

/// What the files have of embedding and head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// As the hyper-parameters say: none, or one of its own.
    Usual,
    /// Only the head is stored, and serves as the embedding.
    Lone,
}

/// Sets whether the model is tied, or has no head at all; a note for the user where the configuration says otherwise.
pub fn settle(
    hyper: &mut Hyper,
    files: &[SourceFile],
    found: &Entries,
) -> Result<(Head, Option<String>), SourceError> {
    let stored = |name: &str| names::alternatives(name).find(|n| found.contains_key(n));
    let packed = |name: &str| {
        let stem = name.strip_suffix(".weight").unwrap_or(name);
        names::alternatives(stem).any(|stem| {
            let mut ends = CODES.iter();
            ends.any(|end| found.contains_key(&format!("{stem}{end}")))
        })
    };
    let plain = (stored(names::EMBEDDING), stored(names::HEAD));
    let embedding = plain.0.is_some() || packed(names::EMBEDDING);
    let head = plain.1.is_some() || packed(names::HEAD);
    match (embedding, head) {
        (true, false) if !hyper.tied => {
            (hyper.tied, hyper.headless) = (true, true);
            let note = format!(
                "the checkpoint has no head ({}): it turns texts into vectors and generates none",
                names::HEAD
            );
            return Ok((Head::Usual, Some(note)));
        }
        (false, true) if hyper.tied => return Ok((Head::Lone, None)),
        (true, true) => {}
        _ => return Ok((Head::Usual, None)),
    }
    let entry = |name: &Option<String>| name.as_ref().and_then(|n| found.get_key_value(n));
    let equal = match (entry(&plain.0), entry(&plain.1)) {
        (Some(a), Some(b)) => match (plain_matrix(hyper, a), plain_matrix(hyper, b)) {
            (Some(a), Some(b)) => a.equals(&b, files)?,
            _ => false,
        },
        _ => false,
    };
    let stated = std::mem::replace(&mut hyper.tied, equal);
    let note = (stated && !equal).then(|| {
        format!(
            "{} differs from the embedding and is used, although tie_word_embeddings is true",
            names::HEAD
        )
    });
    Ok((Head::Usual, note))
}

/// The embedding, or the head, as it is stored, where its type and shape are plain ones.
fn plain_matrix(hyper: &Hyper, (name, entry): (&String, &Entry)) -> Option<Stored> {
    let (rows, cols) = (hyper.vocab_size.into(), hyper.embedding_length.into());
    let shape: Vec<u64> = entry.info.shape.iter().map(|d| *d as u64).collect();
    (shape == [rows, cols]).then_some(())?;
    Some(Stored {
        file: entry.file,
        offset: entry.offset,
        name: name.clone(),
        rows,
        cols,
        data: Data::Elements {
            ty: element(entry.info.dtype)?,
            form: Form::default(),
        },
    })
}

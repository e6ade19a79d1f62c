//! What is done to a part of a text before it is split.

use super::data::{Normalizer, SpacePrefix, TokenizerData};
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The normalization of a tokenizer.
pub(super) struct Normal {
    steps: Vec<Normalizer>,
    /// A space goes in front of every part.
    prefix: bool,
    /// Spaces become marks. Who splits the text does the same: this is for what is found before.
    marks: bool,
}

impl Normal {
    pub(super) fn new(data: &TokenizerData) -> Self {
        let marks = data.model.marks_spaces();
        let early = matches!(data.space_prefix, SpacePrefix::Always | SpacePrefix::Never);
        Self {
            steps: data.normalizers.clone(),
            prefix: marks && data.space_prefix == SpacePrefix::Always,
            marks: marks && early && !data.normalized.is_empty(),
        }
    }

    pub(super) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for step in &self.steps {
            text = match (step, text.is_ascii()) {
                (Normalizer::Lowercase, true) => text.to_ascii_lowercase().into(),
                (Normalizer::Lowercase, false) => {
                    text.chars().flat_map(char::to_lowercase).collect()
                }
                (_, true) => text,
                (Normalizer::Nfc, false) => text.nfc().collect(),
                (Normalizer::Nfd, false) => text.nfd().collect(),
                (Normalizer::Nfkc, false) => text.nfkc().collect(),
                (Normalizer::Nfkd, false) => text.nfkd().collect(),
                (Normalizer::StripAccents, false) => {
                    text.chars().filter(|c| !is_combining_mark(*c)).collect()
                }
            };
        }
        if self.prefix && !text.is_empty() {
            text.to_mut().insert(0, ' ');
        }
        if self.marks && text.contains(' ') {
            text = text.replace(' ', "\u{2581}").into();
        }
        text
    }
}

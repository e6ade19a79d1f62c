//! Tokenizer data from GGUF metadata and back.

use super::data::{Model, Normalizer, SpacePrefix, TokenizerData};
use super::error::TokenizerError;
use super::keys;
use super::names;
use super::step::Step;
use carat_gguf::{Header, OwnedValue};

impl Model {
    /// The model of a name.
    ///
    /// # Errors
    /// A name that is not one of [`Model::ALL`].
    pub fn from_name(name: &str) -> Result<Self, TokenizerError> {
        Self::ALL
            .into_iter()
            .find(|m| m.name() == name)
            .ok_or_else(|| TokenizerError::UnknownModel { found: name.into() })
    }
}

impl TokenizerData {
    /// Reads the tokenizer of a GGUF or Carat file. Only types are checked here, the rest by
    /// [`super::Tokenizer::new`].
    ///
    /// # Errors
    /// A missing key, a value of another type, an unknown model.
    pub fn from_gguf(header: &Header<'_>) -> Result<Self, TokenizerError> {
        let mut model = Model::from_name(header.str(keys::MODEL)?)?;
        let pre = header.str_opt(keys::PRE)?;
        if model == Model::Gpt2 && pre.is_some_and(|p| names::OF_CHARACTERS.contains(&p)) {
            model = Model::Gemma4;
        }
        let tokens = header.str_array(keys::TOKENS)?.map(str::to_owned).collect();
        let mut data = Self::new(model, tokens);
        data.pre = match (pre, model) {
            (Some(pre), _) => pre.to_owned(),
            // Files of before May 2024 do not say.
            (None, Model::Gpt2) => names::DEFAULT_PRE.to_owned(),
            (None, _) => String::new(),
        };
        for text in header.str_array_opt(keys::STEPS)?.into_iter().flatten() {
            let step = Step::from_text(text).ok_or_else(|| TokenizerError::Value {
                key: keys::STEPS,
                found: text.into(),
                expected: "bytes, prefix, or a behavior with an expression",
            })?;
            data.steps.push(step);
        }
        if let Some(scores) = header.array_of_opt::<f32>(keys::SCORES)? {
            data.scores = scores.collect();
        }
        data.token_types = types(header)?;
        if let Some(merges) = header.str_array_opt(keys::MERGES)? {
            data.merges = merges.map(str::to_owned).collect();
        }
        data.add_bos = header.bool_opt(keys::ADD_BOS)?;
        data.add_eos = header.bool_opt(keys::ADD_EOS)?;
        // Files write what is absent as −1 or as any number past the vocabulary: what nothing needs refuses no model.
        let count = data.tokens.len();
        let needed = |key| -> Result<Option<u32>, TokenizerError> {
            Ok(marker(header, key)?.filter(|id| *id != u32::MAX))
        };
        let optional = |key| -> Result<Option<u32>, TokenizerError> {
            Ok(marker(header, key)?.filter(|id| (*id as usize) < count))
        };
        data.bos = match data.add_bos {
            Some(false) => optional(keys::BOS)?,
            _ => needed(keys::BOS)?,
        };
        if model == Model::Bert && data.bos.is_none() {
            data.bos = needed(keys::CLS)?;
        }
        data.eos = needed(keys::EOS)?;
        data.eot = match optional(keys::EOT)? {
            Some(id) => Some(id),
            None => data.find_end_of_turn(),
        };
        data.unk = match model {
            Model::Bert => needed(keys::UNKNOWN)?,
            _ => optional(keys::UNKNOWN)?,
        };
        data.pad = optional(keys::PADDING)?;
        data.eos_ids = ids(header, keys::EOS_IDS)?;
        data.eos_ids.extend(optional(keys::EOM)?);
        data.prefix = ids(header, keys::PREFIX)?;
        data.suffix = ids(header, keys::SUFFIX)?;
        data.space_prefix = match header.str_opt(keys::SPACE_PREFIX)? {
            Some(name) => SpacePrefix::from_name(name).ok_or_else(|| TokenizerError::Value {
                key: keys::SPACE_PREFIX,
                found: name.into(),
                expected: "never, always, unless-space or start-unless-space",
            })?,
            None => match header.bool_opt(keys::ADD_SPACE_PREFIX)? {
                Some(true) => SpacePrefix::Always,
                None if model != Model::Gemma4 => SpacePrefix::Always,
                _ => SpacePrefix::Never,
            },
        };
        for name in header
            .str_opt(keys::NORMALIZER)?
            .iter()
            .flat_map(|n| n.split(','))
        {
            let normalizer = Normalizer::from_name(name).ok_or_else(|| TokenizerError::Value {
                key: keys::NORMALIZER,
                found: name.into(),
                expected: "nfc, nfd, nfkc, nfkd, lowercase or strip-accents",
            })?;
            data.normalizers.push(normalizer);
        }
        data.ignore_merges = header.bool_opt(keys::IGNORE_MERGES)?;
        data.normalized = ids(header, keys::NORMALIZED)?;
        data.single_word = ids(header, keys::SINGLE_WORD)?;
        data.strip_left = ids(header, keys::STRIP_LEFT)?;
        data.strip_right = ids(header, keys::STRIP_RIGHT)?;
        Ok(data)
    }

    /// The metadata that [`TokenizerData::from_gguf`] reads back as equal data. What is `None` or empty
    /// is not written.
    pub fn to_gguf(&self) -> Vec<(String, OwnedValue)> {
        let mut out: Vec<(String, OwnedValue)> = Vec::new();
        let mut put = |key: &str, value: OwnedValue| out.push((key.to_owned(), value));
        put(keys::MODEL, self.model.name().into());
        if self.model == Model::Gpt2 || !self.pre.is_empty() {
            put(keys::PRE, self.pre.as_str().into());
        }
        if !self.steps.is_empty() {
            let texts: Vec<String> = self.steps.iter().map(Step::text).collect();
            put(keys::STEPS, texts.into());
        }
        put(keys::TOKENS, self.tokens.clone().into());
        if !self.scores.is_empty() {
            put(keys::SCORES, self.scores.clone().into());
        }
        if !self.token_types.is_empty() {
            put(keys::TOKEN_TYPES, self.token_types.clone().into());
        }
        if !self.merges.is_empty() {
            put(keys::MERGES, self.merges.clone().into());
        }
        let ids = [
            (keys::BOS, self.bos),
            (keys::EOS, self.eos),
            (keys::EOT, self.eot),
            (keys::UNKNOWN, self.unk),
            (keys::PADDING, self.pad),
        ];
        for (key, id) in ids {
            if let Some(id) = id {
                put(key, id.into());
            }
        }
        let flags = [
            (keys::ADD_BOS, self.add_bos),
            (keys::ADD_EOS, self.add_eos),
            (keys::IGNORE_MERGES, self.ignore_merges),
        ];
        for (key, flag) in flags {
            if let Some(flag) = flag {
                put(key, flag.into());
            }
        }
        let lists = [
            (keys::EOS_IDS, &self.eos_ids),
            (keys::PREFIX, &self.prefix),
            (keys::SUFFIX, &self.suffix),
            (keys::NORMALIZED, &self.normalized),
            (keys::SINGLE_WORD, &self.single_word),
            (keys::STRIP_LEFT, &self.strip_left),
            (keys::STRIP_RIGHT, &self.strip_right),
        ];
        for (key, list) in lists {
            if !list.is_empty() {
                put(key, list.clone().into());
            }
        }
        if self.model.marks_spaces() {
            put(
                keys::ADD_SPACE_PREFIX,
                (self.space_prefix != SpacePrefix::Never).into(),
            );
        }
        if !matches!(self.space_prefix, SpacePrefix::Always) {
            put(keys::SPACE_PREFIX, self.space_prefix.name().into());
        }
        if !self.normalizers.is_empty() {
            let names: Vec<&str> = self.normalizers.iter().map(|n| n.name()).collect();
            put(keys::NORMALIZER, names.join(",").as_str().into());
        }
        out
    }
}

fn ids(header: &Header<'_>, key: &str) -> Result<Vec<u32>, TokenizerError> {
    Ok(header
        .array_of_opt::<u32>(key)?
        .map_or_else(Vec::new, Iterator::collect))
}

/// The id of a key that some programs write as a signed integer.
fn marker(header: &Header<'_>, key: &str) -> Result<Option<u32>, TokenizerError> {
    match header.i64_opt(key)? {
        Some(id) if id < 0 => Ok(None),
        _ => Ok(header.u32_opt(key)?),
    }
}

/// The types of tokens, which some programs write without a sign.
fn types(header: &Header<'_>) -> Result<Vec<i32>, TokenizerError> {
    if let Ok(Some(types)) = header.array_of_opt::<u32>(keys::TOKEN_TYPES) {
        // What is no type stays none.
        return Ok(types.map(|t| i32::try_from(t).unwrap_or(-1)).collect());
    }
    let types = header.array_of_opt::<i32>(keys::TOKEN_TYPES)?;
    Ok(types.map_or_else(Vec::new, Iterator::collect))
}

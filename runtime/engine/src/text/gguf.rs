//! Tokenizer data from GGUF metadata and back.

use super::data::{Model, SpacePrefix, TokenizerData};
use super::error::TokenizerError;
use super::keys;
use carat_gguf::{Header, OwnedValue};

impl TokenizerData {
    /// Reads the tokenizer of a GGUF or Carat file. Only types are checked here, the rest by
    /// [`super::Tokenizer::new`].
    ///
    /// # Errors
    /// A missing key, a value of another type, an unknown model.
    pub fn from_gguf(header: &Header<'_>) -> Result<Self, TokenizerError> {
        let model = Model::from_name(header.str(keys::MODEL)?)?;
        let tokens = header.str_array(keys::TOKENS)?.map(str::to_owned).collect();
        let mut data = Self::new(model, tokens);
        if model == Model::Gpt2 {
            data.pre = header.str(keys::PRE)?.to_owned();
        } else if let Some(pre) = header.str_opt(keys::PRE)? {
            data.pre = pre.to_owned();
        }
        if let Some(scores) = header.array_of_opt::<f32>(keys::SCORES)? {
            data.scores = scores.collect();
        }
        if let Some(types) = header.array_of_opt::<i32>(keys::TOKEN_TYPES)? {
            data.token_types = types.collect();
        }
        if let Some(merges) = header.str_array_opt(keys::MERGES)? {
            data.merges = merges.map(str::to_owned).collect();
        }
        data.bos = header.u32_opt(keys::BOS)?;
        if model == Model::Bert && data.bos.is_none() {
            data.bos = header.u32_opt(keys::CLS)?;
        }
        data.eos = header.u32_opt(keys::EOS)?;
        data.eot = match header.u32_opt(keys::EOT)? {
            Some(id) => Some(id),
            None => data.find_end_of_turn(),
        };
        data.unk = header.u32_opt(keys::UNKNOWN)?;
        data.pad = header.u32_opt(keys::PADDING)?;
        data.eos_ids = ids(header, keys::EOS_IDS)?;
        data.add_bos = header.bool_opt(keys::ADD_BOS)?;
        data.add_eos = header.bool_opt(keys::ADD_EOS)?;
        data.space_prefix = match header.str_opt(keys::SPACE_PREFIX)? {
            Some(name) => SpacePrefix::from_name(name).ok_or_else(|| TokenizerError::Value {
                key: keys::SPACE_PREFIX,
                found: name.into(),
                expected: "never, always, unless-space or start-unless-space",
            })?,
            None if header.bool_opt(keys::ADD_SPACE_PREFIX)? == Some(false) => SpacePrefix::Never,
            None => SpacePrefix::Always,
        };
        data.nfc = match header.str_opt(keys::NORMALIZER)? {
            None => false,
            Some(keys::NFC) => true,
            Some(other) => {
                return Err(TokenizerError::Value {
                    key: keys::NORMALIZER,
                    found: other.into(),
                    expected: keys::NFC,
                });
            }
        };
        data.ignore_merges = header.bool_opt(keys::IGNORE_MERGES)?;
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
            (keys::STRIP_LEFT, &self.strip_left),
            (keys::STRIP_RIGHT, &self.strip_right),
        ];
        for (key, list) in lists {
            if !list.is_empty() {
                put(key, list.clone().into());
            }
        }
        if self.model == Model::Llama {
            put(
                keys::ADD_SPACE_PREFIX,
                (self.space_prefix != SpacePrefix::Never).into(),
            );
        }
        if !matches!(self.space_prefix, SpacePrefix::Always) {
            put(keys::SPACE_PREFIX, self.space_prefix.name().into());
        }
        if self.nfc {
            put(keys::NORMALIZER, keys::NFC.into());
        }
        out
    }
}

fn ids(header: &Header<'_>, key: &str) -> Result<Vec<u32>, TokenizerError> {
    Ok(header
        .array_of_opt::<u32>(key)?
        .map_or_else(Vec::new, Iterator::collect))
}

//! The quality card: how far a file's model is from the checkpoint it was made from, on tokens that the file carries.

use crate::{FormatError, keys};
use carat_gguf::{Header, OwnedValue};

/// A text and how the model predicts it, beside the checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// What the text is called.
    pub text: String,
    /// Tokens of a chunk; the predictions at positions `ctx/2 ..= ctx−2` of each are scored.
    pub ctx: u32,
    /// Token ids, whole chunks one after the other.
    pub tokens: Vec<u32>,
    /// What was measured.
    pub figures: Figures,
}

/// The figures of a [`Card`]. Divergences are KL(checkpoint ‖ file) of a prediction, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Perplexity of the file's model.
    pub ppl: f64,
    /// Perplexity of the checkpoint.
    pub reference_ppl: f64,
    /// Mean divergence.
    pub kl_mean: f64,
    /// Median divergence.
    pub kl_median: f64,
    /// 99th percentile of the divergence (nearest rank).
    pub kl_p99: f64,
    /// Largest divergence.
    pub kl_max: f64,
    /// Share of predictions with the same likeliest token.
    pub top1: f64,
}

impl Figures {
    /// Each figure with its key.
    pub fn fields(&self) -> [(&'static str, f64); 7] {
        [
            (keys::CARD_PPL, self.ppl),
            (keys::CARD_REFERENCE_PPL, self.reference_ppl),
            (keys::CARD_KL_MEAN, self.kl_mean),
            (keys::CARD_KL_MEDIAN, self.kl_median),
            (keys::CARD_KL_P99, self.kl_p99),
            (keys::CARD_KL_MAX, self.kl_max),
            (keys::CARD_TOP1, self.top1),
        ]
    }
}

impl Card {
    /// Predictions that are scored.
    pub fn predictions(&self) -> u64 {
        let scored = self.ctx.saturating_sub(1 + self.ctx / 2);
        self.tokens.len() as u64 / u64::from(self.ctx.max(1)) * u64::from(scored)
    }

    /// The card's metadata.
    pub fn to_metadata(&self) -> Vec<(&'static str, OwnedValue)> {
        let mut out: Vec<(&str, OwnedValue)> = vec![
            (keys::CARD_TEXT, self.text.as_str().into()),
            (keys::CARD_CTX, self.ctx.into()),
            (keys::CARD_TOKENS, self.tokens.clone().into()),
        ];
        let figures = self.figures.fields();
        out.extend(figures.map(|(key, x)| (key, OwnedValue::from(x))));
        out
    }

    /// The card of a file whose model has `vocab_size` logits and `context_length` positions, if the file has one.
    ///
    /// Errors: a key of the card missing or of the wrong type, chunks that are not whole or longer than the context, a token
    /// beyond the vocabulary, a figure that no measurement gives.
    pub fn from_header(
        header: &Header<'_>,
        vocab_size: u32,
        context_length: u32,
    ) -> Result<Option<Self>, FormatError> {
        let Some(tokens) = header.array_of_opt::<u32>(keys::CARD_TOKENS)? else {
            return Ok(None);
        };
        let range = |field: &str, found: String, expected: String| FormatError::Range {
            field: field.into(),
            found,
            expected,
        };
        let count = header.array(keys::CARD_TOKENS)?.len();
        if count == 0 || count > keys::MAX_CARD_TOKENS {
            let expected = format!("1 to {} tokens", keys::MAX_CARD_TOKENS);
            return Err(range(keys::CARD_TOKENS, count.to_string(), expected));
        }
        let ctx = header.u32(keys::CARD_CTX)?;
        if !(keys::MIN_CARD_CTX..=context_length).contains(&ctx) {
            let expected = format!("{} to {context_length}", keys::MIN_CARD_CTX);
            return Err(range(keys::CARD_CTX, ctx.to_string(), expected));
        }
        if !count.is_multiple_of(ctx as usize) {
            let expected = format!("a multiple of {ctx} tokens");
            return Err(range(keys::CARD_TOKENS, count.to_string(), expected));
        }
        let tokens: Vec<u32> = tokens.collect();
        if let Some(t) = tokens.iter().find(|t| **t >= vocab_size) {
            let expected = format!("tokens below {vocab_size}");
            return Err(range(keys::CARD_TOKENS, t.to_string(), expected));
        }
        let figure = |key: &str, least: f64, most: f64| {
            let x = header.f64(key)?;
            if x >= least && x <= most {
                return Ok(x);
            }
            Err(range(key, x.to_string(), format!("{least} to {most}")))
        };
        // Rounding may leave a divergence of nothing a little below zero.
        let kl = |key: &str| figure(key, -1e-6, f64::MAX);
        Ok(Some(Self {
            text: header.str(keys::CARD_TEXT)?.into(),
            ctx,
            tokens,
            figures: Figures {
                ppl: figure(keys::CARD_PPL, 0.0, f64::MAX)?,
                reference_ppl: figure(keys::CARD_REFERENCE_PPL, 0.0, f64::MAX)?,
                kl_mean: kl(keys::CARD_KL_MEAN)?,
                kl_median: kl(keys::CARD_KL_MEDIAN)?,
                kl_p99: kl(keys::CARD_KL_P99)?,
                kl_max: kl(keys::CARD_KL_MAX)?,
                top1: figure(keys::CARD_TOP1, 0.0, 1.0)?,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carat_gguf::{Parse, Writer, parse};

    fn card() -> Card {
        Card {
            text: "some text".into(),
            ctx: 8,
            tokens: (0..24).collect(),
            figures: Figures {
                ppl: 30.25,
                reference_ppl: 29.5,
                kl_mean: 0.01,
                kl_median: 0.005,
                kl_p99: 0.1,
                kl_max: 0.2,
                top1: 0.9,
            },
        }
    }

    /// Reads a card back from metadata in which some values are others, or absent.
    fn read(changes: &[(&str, Option<OwnedValue>)]) -> Result<Option<Card>, FormatError> {
        let mut writer = Writer::new();
        for (key, value) in card().to_metadata() {
            let changed = changes.iter().find(|c| c.0 == key);
            if let Some(value) = changed.map_or(Some(value), |c| c.1.clone()) {
                writer.kv(key, value).expect("a key once");
            }
        }
        let bytes = writer.finish().expect("a header").header;
        match parse(&bytes, bytes.len() as u64).expect("a header") {
            Parse::Complete(header) => Card::from_header(&header, 24, 16),
            Parse::NeedMore(n) => panic!("{n} bytes are asked for"),
        }
    }

    #[test]
    fn a_card_reads_back() {
        assert_eq!(read(&[]), Ok(Some(card())));
        assert_eq!(read(&[(keys::CARD_TOKENS, None)]), Ok(None));
        assert_eq!(card().predictions(), 9);
    }

    #[test]
    fn what_no_measurement_gives_is_refused() {
        let tokens = |t: Vec<u32>| Some(OwnedValue::from(t));
        for (key, value) in [
            (keys::CARD_TOKENS, tokens(vec![])),
            (keys::CARD_TOKENS, tokens(vec![1; 23])),
            (keys::CARD_TOKENS, tokens(vec![24; 24])),
            (
                keys::CARD_TOKENS,
                tokens(vec![0; keys::MAX_CARD_TOKENS + 8]),
            ),
            (keys::CARD_TOKENS, Some(7u32.into())),
            (keys::CARD_CTX, Some(3u32.into())),
            (keys::CARD_CTX, Some(0u32.into())),
            (keys::CARD_CTX, Some(24u32.into())),
            (keys::CARD_CTX, None),
            (keys::CARD_TEXT, None),
            (keys::CARD_PPL, Some(f64::NAN.into())),
            (keys::CARD_PPL, Some(f64::INFINITY.into())),
            (keys::CARD_REFERENCE_PPL, Some((-1.0).into())),
            (keys::CARD_KL_MEAN, Some((-1.0).into())),
            (keys::CARD_KL_MEDIAN, Some(f64::NAN.into())),
            (keys::CARD_KL_P99, Some("0".into())),
            (keys::CARD_KL_MAX, None),
            (keys::CARD_TOP1, Some(1.5.into())),
        ] {
            let error = read(&[(key, value.clone())]).expect_err(key).to_string();
            assert!(error.contains(key), "{value:?}: {error}");
        }
    }
}

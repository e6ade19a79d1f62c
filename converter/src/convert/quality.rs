//! What a quality card's figures amount to.

use super::ConvertError;
use carat_format::Card;
use serde::Serialize;

/// Mean divergence in nats from which a file is no longer [`Verdict::Good`].
pub const FAIR_FROM: f64 = 0.1;
/// From which it is no longer [`Verdict::Fair`].
pub const POOR_FROM: f64 = 0.5;
/// From which it is [`Verdict::Useless`].
pub const USELESS_FROM: f64 = 2.0;

/// How far a file's predictions are from its checkpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Hard to tell from the checkpoint, or nearly so.
    Good,
    /// Losses that show.
    Fair,
    /// The text suffers clearly.
    Poor,
    /// No longer the model.
    Useless,
}

impl Verdict {
    /// Of a mean divergence in nats. What is no finite number is useless.
    pub fn of(kl_mean: f64) -> Self {
        if kl_mean < FAIR_FROM {
            Self::Good
        } else if kl_mean < POOR_FROM {
            Self::Fair
        } else if kl_mean < USELESS_FROM {
            Self::Poor
        } else {
            Self::Useless
        }
    }
}

/// The measured figures of a file in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Mean divergence from the checkpoint, in nats.
    pub kl_mean: f64,
    /// Its 99th percentile.
    pub kl_p99: f64,
    /// Perplexity of the file's model.
    pub ppl: f64,
    /// Perplexity of the checkpoint.
    pub reference_ppl: f64,
    /// Predictions that were scored.
    pub predictions: u64,
    /// What it amounts to.
    pub verdict: Verdict,
}

impl Quality {
    /// Of a card with its figures.
    pub fn of(card: &Card) -> Self {
        let f = card.figures;
        let finite = [f.kl_mean, f.kl_p99, f.ppl, f.reference_ppl];
        let verdict = match finite.iter().all(|x| x.is_finite()) {
            true => Verdict::of(f.kl_mean),
            false => Verdict::Useless,
        };
        Self {
            kl_mean: f.kl_mean,
            kl_p99: f.kl_p99,
            ppl: f.ppl,
            reference_ppl: f.reference_ppl,
            predictions: card.predictions(),
            verdict,
        }
    }
}

/// Refuses a file whose card says that it is of no use, unless that is accepted.
pub(super) fn check(card: Option<&Card>, accept_useless: bool) -> Result<(), ConvertError> {
    match card.map(Quality::of) {
        Some(q) if q.verdict == Verdict::Useless && !accept_useless => Err(ConvertError::Useless {
            kl: q.kl_mean,
            ppl: q.ppl,
            reference_ppl: q.reference_ppl,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carat_format::Figures;

    fn card(kl_mean: f64, ppl: f64) -> Card {
        Card {
            text: "some text".into(),
            ctx: 256,
            tokens: vec![0; 512],
            figures: Figures {
                ppl,
                reference_ppl: 16.0,
                kl_mean,
                ..Figures::default()
            },
        }
    }

    #[test]
    fn verdicts_have_limits() {
        for (kl, expected) in [
            (-1e-9, Verdict::Good),
            (0.0475, Verdict::Good),
            (0.1, Verdict::Fair),
            (0.49, Verdict::Fair),
            (0.5, Verdict::Poor),
            (1.99, Verdict::Poor),
            (2.0, Verdict::Useless),
            (f64::INFINITY, Verdict::Useless),
            (f64::NAN, Verdict::Useless),
        ] {
            assert_eq!(Quality::of(&card(kl, 17.0)).verdict, expected, "{kl}");
        }
        let lost = Quality::of(&card(0.01, f64::INFINITY));
        assert_eq!((lost.verdict, lost.predictions), (Verdict::Useless, 254));
    }

    #[test]
    fn what_is_useless_is_refused_unless_accepted() {
        let bad = card(2.5, 200.0);
        let error = check(Some(&bad), false).unwrap_err().to_string();
        assert!(
            error.contains("2.50") && error.contains("nothing was written"),
            "{error}"
        );
        check(Some(&bad), true).unwrap();
        check(Some(&card(1.9, 100.0)), false).unwrap();
        check(None, false).unwrap();
    }
}

//! What a conversion costs the model, in words, and what would cost less.

use crate::term;
use anyhow::anyhow;
use carat_converter::budget::{PRESETS, Target};
use carat_converter::convert::quality::{Quality, Verdict};
use carat_converter::convert::{ConvertError, Options, Summary};
use carat_format::Encoding;
use serde::Serialize;

/// Who asked for the conversion, whose options differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `carat convert`.
    Convert,
    /// A command that runs a Carat file and was given a checkpoint.
    Runner,
}

/// The JSON object.
#[derive(Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub quality: Quality,
    /// What would lose less, from [`Verdict::Fair`] on.
    pub advice: Option<String>,
}

/// The figures in a line, below it what would lose less; and a warning where the text suffers.
pub fn said(quality: Option<&Quality>, advice: Option<&str>) -> (String, Option<String>) {
    let Some(q) = quality else {
        return ("quality: not measured".into(), None);
    };
    let line = format!(
        "quality: KL {:.4} nats on {} predictions, perplexity {:.2} ({:.2} before)",
        q.kl_mean, q.predictions, q.ppl, q.reference_ppl
    );
    let verdict = match q.verdict {
        Verdict::Good => return (line, None),
        Verdict::Fair => "some quality is lost",
        Verdict::Poor => "the text suffers clearly",
        Verdict::Useless => "the file is useless",
    };
    let advised = match advice {
        Some(advice) => format!("{verdict}; {advice}"),
        None => verdict.into(),
    };
    match q.verdict {
        Verdict::Good | Verdict::Fair => (format!("{line}\n{advised}"), None),
        Verdict::Poor | Verdict::Useless => (line, Some(advised)),
    }
}

/// The same of a conversion that nobody asked for by name, on stderr.
pub fn tell(summary: &Summary, options: &Options) {
    let quality = summary.quality();
    let advice = quality.and_then(|q| advice(&q, options, Asked::Runner));
    let (line, warning) = said(quality.as_ref(), advice.as_deref());
    term::note(&line);
    if let Some(warning) = warning {
        term::warn(&warning);
    }
}

/// What would lose less; `None` where little is lost, or nothing is left to try.
pub fn advice(quality: &Quality, options: &Options, asked: Asked) -> Option<String> {
    (quality.verdict > Verdict::Good)
        .then(|| remedies(options, asked))
        .flatten()
}

fn remedies(options: &Options, asked: Asked) -> Option<String> {
    let mut all = Vec::new();
    if options.calibration.is_none() {
        all.push(match asked {
            Asked::Convert => "calibrate (leave out --method none)".into(),
            Asked::Runner => "calibrate (leave out --fast)".into(),
        });
    }
    if let Some(target) = options.target {
        let larger = |bits: f64| PRESETS.iter().rfind(|p| p.bits > bits);
        match target {
            Target::BitsPerWeight(bits) => {
                if let Some(preset) = larger(bits) {
                    all.push(format!("take --preset {}", preset.name));
                }
                all.push("raise --target-bpw".into());
            }
            Target::Bytes(_) => all.push("raise --target-size".into()),
            Target::Divergence(_) => all.push("give all 8 bits (--bits 8)".into()),
        }
    } else {
        all.extend(more_bits(options.bits));
        // The least preset that takes no fewer: the same bytes where they do most.
        let preset = PRESETS.iter().rfind(|p| p.bits > options.bits);
        if let Some(preset) = preset.filter(|_| asked == Asked::Convert) {
            all.push(format!(
                "let matrices have what they need (--preset {})",
                preset.name
            ));
        }
    }
    let last = all.pop()?;
    Some(match all.is_empty() {
        true => last,
        false => format!("{}, or {last}", all.join(", ")),
    })
}

/// The next wider codes.
fn more_bits(than: f64) -> Option<String> {
    let mut all = Encoding::ALL.map(Encoding::bits).into_iter();
    let more = all.find(|b| *b > than)?;
    Some(format!("give more bits (--bits {more})"))
}

/// A refusal of a useless file, with what to do.
pub fn explain(error: anyhow::Error, options: &Options, asked: Asked) -> anyhow::Error {
    if !matches!(error.downcast_ref(), Some(ConvertError::Useless { .. })) {
        return error;
    }
    let mut text = error.to_string();
    if let Some(remedies) = remedies(options, asked) {
        text += &format!("; {remedies}");
    }
    if asked == Asked::Convert {
        text += "; --force writes it all the same";
    }
    anyhow!(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use carat_converter::calibrate::Calibration;

    fn quality(verdict: Verdict) -> Quality {
        Quality {
            kl_mean: 0.2,
            kl_p99: 1.0,
            ppl: 20.0,
            reference_ppl: 16.0,
            predictions: 254,
            verdict,
        }
    }

    #[test]
    fn advice_is_of_the_options() {
        let fair = quality(Verdict::Fair);
        let calibrated = Options {
            bits: 3.0,
            calibration: Some(Calibration::default()),
            ..Options::default()
        };
        let free = Options {
            calibration: None,
            ..calibrated.clone()
        };
        let target = Options {
            target: Some(Target::BitsPerWeight(2.25)),
            ..calibrated.clone()
        };
        let most = Options {
            bits: 8.0,
            ..calibrated.clone()
        };
        let told = |o: &Options, asked| advice(&fair, o, asked).unwrap_or_default();
        let said = told(&free, Asked::Convert);
        for part in ["--method none", "--bits 4", "--preset best-3"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!told(&calibrated, Asked::Convert).contains("--method"));
        let said = told(&free, Asked::Runner);
        assert!(
            said.contains("--fast") && !said.contains("--preset"),
            "{said}"
        );
        let said = told(&target, Asked::Convert);
        assert!(
            said.contains("--preset best-3") && !said.contains("--bits"),
            "{said}"
        );
        assert_eq!(told(&most, Asked::Convert), "");
        assert_eq!(advice(&quality(Verdict::Good), &free, Asked::Convert), None);
    }

    #[test]
    fn what_is_said_gets_louder() {
        let said = |v| said(Some(&quality(v)), Some("give more bits"));
        let (line, warning) = said(Verdict::Good);
        assert_eq!((line.lines().count(), warning), (1, None));
        let (line, warning) = said(Verdict::Fair);
        assert!(line.ends_with("\nsome quality is lost; give more bits") && warning.is_none());
        let (line, warning) = said(Verdict::Poor);
        assert!(line.lines().count() == 1 && warning.is_some_and(|w| w.contains("more bits")));
    }
}

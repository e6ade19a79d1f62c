//! How tokens are chosen: the model's settings, then the user's flags.

use crate::args::SamplingArgs;
use crate::failure::Usage;
use crate::input;
use anyhow::{Context, Result};
use carat::internals::Model;
use carat::internals::sample::{LogitBias, Params};

/// The model's settings where it has some, then the user's. A random seed is drawn here.
///
/// Errors: flags that are out of range (a [`Usage`] error), a header that cannot be read.
pub fn params(args: &SamplingArgs, model: &Model) -> Result<Params> {
    let mut params = Params {
        seed: args.seed.map_or(0, crate::values::Seed::draw),
        ..input::sampling(model)?
    };
    let set = |field: &mut f32, value: Option<f32>| *field = value.unwrap_or(*field);
    set(&mut params.temperature, args.temp);
    set(&mut params.top_p, args.top_p);
    set(&mut params.min_p, args.min_p);
    if let Some(penalty) = args.repeat_penalty {
        params = params.with_repeat_penalty(penalty);
    }
    params.repeat_last_n = args.repeat_last_n as usize;
    set(&mut params.dry_multiplier, args.dry_multiplier);
    params.dry_base = args.dry_base;
    params.dry_allowed_length = args.dry_allowed_length;
    params.dry_penalty_last_n = args.dry_penalty_last_n as usize;
    params.dry_breakers = breakers(&args.dry_sequence_breaker, model)?;
    params.presence_penalty = args.presence_penalty;
    params.frequency_penalty = args.frequency_penalty;
    params.top_n_sigma = args.top_nsigma;
    params.typical_p = args.typical;
    params.xtc_probability = args.xtc_probability;
    params.xtc_threshold = args.xtc_threshold;
    params.dynatemp_range = args.dynatemp_range;
    params.dynatemp_exponent = args.dynatemp_exp;
    params.mirostat = args.mirostat;
    params.mirostat_tau = args.mirostat_ent;
    params.mirostat_eta = args.mirostat_lr;
    params.adaptive_target = args.adaptive_target;
    params.adaptive_decay = args.adaptive_decay;
    params.top_k = args.top_k.unwrap_or(params.top_k);
    params.logit_bias = biases(&args.logit_bias, model)?;
    params.validate().map_err(|e| Usage(e.to_string()))?;
    Ok(params)
}

/// `--logit-bias`, before the model is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Bias {
    target: Target,
    bias: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Target {
    Id(u32),
    Text(String),
}

/// `ID+B`, `ID-B`, `ID=B`, `TEXT=B`, `'TEXT'=B`.
pub fn bias(text: &str) -> Result<Bias, String> {
    let expected = || {
        "expected ID+B, ID-B, ID=B or TEXT=B, B a number, or -inf or false to forbid the token; a text \
         that begins with a digit or quote goes into quotes of its own: \"'7'=-1\""
            .to_string()
    };
    let (target, rest) = match text.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let end = text
                .rfind(quote)
                .filter(|end| *end > 1)
                .ok_or_else(expected)?;
            (Target::Text(text[1..end].into()), &text[end + 1..])
        }
        Some('0'..='9') => {
            let end = text.find(|c: char| !c.is_ascii_digit());
            let (id, rest) = text.split_at(end.ok_or_else(expected)?);
            (Target::Id(id.parse().map_err(|_| expected())?), rest)
        }
        _ => {
            let at = text.rfind('=').filter(|at| *at > 0).ok_or_else(expected)?;
            (Target::Text(text[..at].into()), &text[at..])
        }
    };
    let number = match rest.as_bytes() {
        [b'=', ..] => &rest[1..],
        [b'+', b'0'..=b'9' | b'.', ..] => &rest[1..],
        [b'-', ..] => rest,
        _ => return Err(expected()),
    };
    let bias = match number {
        "false" | "-inf" => f64::NEG_INFINITY,
        _ => number
            .parse::<f64>()
            .ok()
            .filter(|b| b.is_finite())
            .ok_or_else(expected)?,
    };
    Ok(Bias { target, bias })
}

/// The biases of this model's tokens.
///
/// Errors: ids it does not have, text that none of its tokens is (both [`Usage`] errors).
fn biases(asked: &[Bias], model: &Model) -> Result<Vec<LogitBias>> {
    let vocab = model.spec().vocab_size;
    let mut out = Vec::new();
    for Bias { target, bias } in asked {
        let bias = *bias;
        match target {
            Target::Id(id) if *id < vocab => out.push(LogitBias { id: *id, bias }),
            Target::Id(id) => {
                let text =
                    format!("--logit-bias: token id {id} is outside the vocabulary of {vocab}");
                return Err(Usage(text).into());
            }
            Target::Text(text) => {
                let tokenizer = model.tokenizer().context("--logit-bias")?;
                let before = out.len();
                let same = |id: &u32| tokenizer.decode_bytes(*id, false) == text.as_bytes();
                out.extend((0..vocab).filter(same).map(|id| LogitBias { id, bias }));
                if out.len() == before {
                    let parts: Vec<String> = tokenizer
                        .encode(text, false)
                        .into_iter()
                        .take(8)
                        .map(|id| {
                            let piece = String::from_utf8_lossy(tokenizer.decode_bytes(id, false));
                            format!("{id} {piece:?}")
                        })
                        .collect();
                    let text = format!(
                        "--logit-bias: no token is {text:?}; its tokens are {}; give one of them by its id",
                        parts.join(", ")
                    );
                    return Err(Usage(text).into());
                }
            }
        }
    }
    Ok(out)
}

/// The tokens of this model that have one of these texts in them. `none` stands for no text, as in llama.cpp.
///
/// Errors: a text that no token has (a [`Usage`] error).
fn breakers(asked: &[String], model: &Model) -> Result<Vec<u32>> {
    let mut out = Vec::new();
    for text in asked.iter().filter(|text| *text != "none") {
        let tokenizer = model.tokenizer().context("--dry-sequence-breaker")?;
        let has = |id: &u32| {
            let bytes = tokenizer.decode_bytes(*id, false);
            bytes.windows(text.len()).any(|w| w == text.as_bytes())
        };
        let before = out.len();
        out.extend((0..model.spec().vocab_size).filter(has));
        if out.len() == before {
            let text = format!(
                "--dry-sequence-breaker: no token has {text:?} in it; give a shorter text, like a line break"
            );
            return Err(Usage(text).into());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_as_they_are_written() {
        let id = |id, bias| {
            Ok(Bias {
                target: Target::Id(id),
                bias,
            })
        };
        let text = |text: &str, bias| {
            Ok(Bias {
                target: Target::Text(text.into()),
                bias,
            })
        };
        let never = f64::NEG_INFINITY;
        assert_eq!(bias("15043+1"), id(15043, 1.0));
        assert_eq!(bias("15043-1.5"), id(15043, -1.5));
        assert_eq!(bias("7=-2e1"), id(7, -20.0));
        for forbid in ["7=-inf", "7-inf", "7=false"] {
            assert_eq!(bias(forbid), id(7, never), "{forbid}");
        }
        assert_eq!(bias(" the=-1"), text(" the", -1.0));
        assert_eq!(bias("a=b=2"), text("a=b", 2.0));
        assert_eq!(bias("'7'=false"), text("7", never));
        assert_eq!(bias("\"it's\"+3"), text("it's", 3.0));
        assert_eq!(bias("==1"), text("=", 1.0));
        for wrong in [
            "",
            "7",
            "7=",
            "7=nan",
            "7=inf",
            "7+inf",
            "7+-1",
            "7=true",
            "x",
            "x+1",
            "=1",
            "''=1",
            "'a",
            "'a'",
            "'a'1",
            "4294967296=1",
            "7 = 1",
        ] {
            assert!(bias(wrong).is_err(), "{wrong}");
        }
    }
}

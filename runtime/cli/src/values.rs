//! Values of the command line, checked while it is parsed: a wrong one is a usage error.

use carat::internals::adapter::Strength;
use carat::internals::{CacheBits, DeviceChoice, KvBits};
use carat_converter::budget::PRESETS;
use carat_converter::convert::{Rule, RuleError};
use carat_format::{Encoding, Pooling, ScaleGroup};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;

/// A value that is given, or `None` for what the program chooses by itself, which has a value of its own on the command
/// line. An alias: the parser takes `Option` itself for an option that may be absent.
pub type Chosen<T> = Option<T>;

/// An adapter and how strongly it acts.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Its directory or file.
    pub path: PathBuf,
    /// Its strength.
    pub strength: Strength,
}

/// `FILE` or `FILE:0.5`.
pub fn lora(text: &str) -> Result<Lora, String> {
    let (path, strength) = match text.rsplit_once(':') {
        // A drive's letter is no strength.
        Some((path, number)) if number.parse::<f64>().is_ok() => (path, number.parse()?),
        _ => (text, Strength::ONE),
    };
    match path.is_empty() {
        true => Err("expected the path of an adapter, and perhaps :S for its strength".into()),
        false => Ok(Lora {
            path: path.into(),
            strength,
        }),
    }
}

/// Token ids separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens(pub Vec<u32>);

/// Most tokens to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many.
    Tokens(usize),
    /// Until the context is full.
    Unlimited,
}

/// Where the draws begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// There.
    Fixed(u64),
    /// Anywhere.
    Random,
}

impl Seed {
    /// The seed itself.
    pub fn draw(self) -> u64 {
        use std::hash::{BuildHasher, Hasher, RandomState};
        match self {
            Self::Fixed(seed) => seed,
            // Keyed by the system's randomness. Short enough to be typed again, and exact in JavaScript.
            Self::Random => RandomState::new().build_hasher().finish() >> 32,
        }
    }
}

/// How the states of a text's tokens become its vector, by the name that Carat files have for it.
pub fn pooling() -> impl TypedValueParser<Value = Pooling> {
    PossibleValuesParser::new(Pooling::ALL.map(|pooling| {
        PossibleValue::new(pooling.name()).help(match pooling {
            Pooling::None => "A vector for each token",
            Pooling::Mean => "The mean of all tokens' states",
            Pooling::Cls => "The first token's state",
            Pooling::Last => "The last token's state",
        })
    }))
    .map(|name| Pooling::from_name(&name).unwrap_or(Pooling::Mean))
}

/// `1,2,3`.
pub fn tokens(text: &str) -> Result<Tokens, String> {
    let id = |part: &str| {
        let part = part.trim();
        part.parse().map_err(|_| {
            format!("'{part}' is no token id; expected ids separated by commas, like 1,2,3")
        })
    };
    text.split(',')
        .map(id)
        .collect::<Result<_, _>>()
        .map(Tokens)
}

/// `8`, `4`, or keys and values apart as `8,4`.
pub fn kv(text: &str) -> Result<CacheBits, String> {
    let bits = |part: &str| match part.trim() {
        "8" => Ok(KvBits::Eight),
        "4" => Ok(KvBits::Four),
        other => Err(format!(
            "'{other}' is no number of bits; expected 8 or 4, or keys and values apart, like 8,4"
        )),
    };
    let (keys, values) = text.split_once(',').unwrap_or((text, text));
    Ok(CacheBits {
        keys: bits(keys)?,
        values: bits(values)?,
    })
}

/// A number of tokens, −1 or `unlimited`.
pub fn length(text: &str) -> Result<Length, String> {
    match text {
        "-1" | "unlimited" => Ok(Length::Unlimited),
        n => n.parse().map(Length::Tokens).map_err(|_| {
            "expected a number of tokens, or -1 or 'unlimited' to fill the context".into()
        }),
    }
}

/// A seed, or -1.
pub fn seed(text: &str) -> Result<Seed, String> {
    match text {
        "-1" => Ok(Seed::Random),
        n => n.parse().map(Seed::Fixed).map_err(|_| {
            format!(
                "expected a whole number from 0 to {}, or -1 for a random one",
                u64::MAX
            )
        }),
    }
}

/// Bytes: a number, with a fraction where a unit follows: kB, MB, GB, of 1000, KiB, MiB, GiB, of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("b", 1),
        ("", 1),
    ];
    let lower = text.trim().to_ascii_lowercase();
    let unit = UNITS.iter().find(|(u, _)| lower.ends_with(u));
    let number = unit.and_then(|(u, bytes)| {
        let number: f64 = lower.strip_suffix(u)?.trim().parse().ok()?;
        let size = number * *bytes as f64;
        (number.is_finite() && (1.0..=1e18).contains(&size)).then_some(size as u64)
    });
    number.ok_or_else(|| "expected a size like 900MB, 1.5GiB or 2000000000".into())
}

/// `auto`, `cpu`, `gpu`, `gpu:NAME`.
pub fn device(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "gpu" => Ok(DeviceChoice::Gpu),
        other => match other.strip_prefix("gpu:") {
            Some(name) if !name.trim().is_empty() => Ok(DeviceChoice::GpuNamed(name.trim().into())),
            _ => {
                Err("expected auto, cpu, gpu or gpu:NAME, NAME a part of the adapter's name".into())
            }
        },
    }
}

fn number(text: &str, ok: impl Fn(f32) -> bool, expected: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(x) if x.is_finite() && ok(x) => Ok(x),
        _ => Err(format!("expected {expected}")),
    }
}

/// A temperature.
pub fn temperature(text: &str) -> Result<f32, String> {
    number(
        text,
        |x| x >= 0.0,
        "a finite number of at least 0 (0 takes the likeliest token)",
    )
}

/// A share.
pub fn share(text: &str) -> Result<f32, String> {
    number(text, |x| (0.0..=1.0).contains(&x), "a number from 0 to 1")
}

/// A factor against repetition.
pub fn penalty(text: &str) -> Result<f32, String> {
    number(
        text,
        |x| x > 0.0,
        "a finite number above 0 (1 changes nothing)",
    )
}

/// An amount of which there may be none.
pub fn amount(text: &str) -> Result<f32, String> {
    number(
        text,
        |x| x >= 0.0,
        "a finite number of at least 0 (0 is none)",
    )
}

/// What is taken from a logit, or given to it.
pub fn nats(text: &str) -> Result<f32, String> {
    number(text, |_| true, "a finite number (0 changes nothing)")
}

/// Standard deviations; -1 is as many as 0, which is all.
pub fn sigmas(text: &str) -> Result<f32, String> {
    let expected = "a finite number of at least 0, or -1 for all tokens, like 0";
    number(text, |x| x >= 0.0 || x == -1.0, expected).map(|x| x.max(0.0))
}

/// Which Mirostat.
pub fn mirostat(text: &str) -> Result<u32, String> {
    match text {
        "0" => Ok(0),
        "2" => Ok(2),
        _ => Err("expected 2 for Mirostat 2.0, or 0 for none".into()),
    }
}

/// The probability of tokens that are preferred.
pub fn target(text: &str) -> Result<f32, String> {
    let expected = "a number from 0 to 1, or a negative one for none";
    number(text, |x| x <= 1.0, expected)
}

/// The weight of the older.
pub fn decay(text: &str) -> Result<f32, String> {
    let expected = "a number from 0 to 0.99";
    number(text, |x| (0.0..=0.99).contains(&x), expected)
}

/// The growth of what DRY takes.
pub fn base(text: &str) -> Result<f32, String> {
    number(text, |x| x >= 1.0, "a finite number of at least 1")
}

/// A stop string.
pub fn stop(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("expected at least one character".into());
    }
    Ok(text.into())
}

/// Bits per weight.
pub fn bits(text: &str) -> Result<f64, String> {
    let encoding = Encoding::from_bits_text(text);
    encoding.map_or_else(
        || Err(format!("expected {}", Encoding::bits_of_all())),
        |e| Ok(e.bits()),
    )
}

/// The names of the presets, each with what to expect of it.
pub fn presets() -> clap::builder::PossibleValuesParser {
    let values = PRESETS.map(|p| clap::builder::PossibleValue::new(p.name).help(p.about));
    values.into()
}

/// Weights of a scale.
pub fn group(text: &str) -> Result<ScaleGroup, String> {
    let group = text.parse().ok().and_then(ScaleGroup::from_weights);
    group.ok_or_else(|| "expected 32, 64 or 128".into())
}

/// What single tensors have instead.
pub fn rule(text: &str) -> Result<Rule, String> {
    text.parse().map_err(|e: RuleError| e.to_string())
}

/// Threads to work with; -1 are all cores.
pub fn threads(text: &str) -> Result<Chosen<usize>, String> {
    match (text, text.parse()) {
        ("-1", _) => Ok(None),
        (_, Ok(n)) if (1..=1024).contains(&n) => Ok(Some(n)),
        _ => Err("expected a number of threads from 1 to 1024, or -1 for all cores".into()),
    }
}

/// Positions of a context; 0 are as many as without the option.
pub fn context(text: &str) -> Result<Chosen<u32>, String> {
    let n: Option<u32> = text.parse().ok();
    n.map(|n| Some(n).filter(|n| *n > 0)).ok_or_else(|| {
        let most = u32::MAX;
        format!("expected a whole number from 1 to {most}, or 0 for the default")
    })
}

/// A count of which -1 has a meaning too: that of `all`, in words `meaning`.
fn count_or_all(text: &str, all: u32, meaning: &str) -> Result<u32, String> {
    match text {
        "-1" => Ok(all),
        n => n.parse().map_err(|_| {
            let most = u32::MAX;
            format!("expected a whole number from 0 to {most}, or -1 for {meaning}")
        }),
    }
}

/// Candidates for a token.
pub fn top_k(text: &str) -> Result<u32, String> {
    count_or_all(text, 0, "all tokens, like 0")
}

/// Tokens to look back at.
pub fn look_back(text: &str) -> Result<u32, String> {
    count_or_all(text, u32::MAX, "the whole context")
}

/// A count above 0.
pub fn positive(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("expected a whole number from 1 to {}", u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_and_strengths() {
        let of = |text: &str| lora(text).map(|l| (l.path, l.strength.value()));
        assert_eq!(of("a/b"), Ok(("a/b".into(), 1.0)));
        assert_eq!(of("a.gguf:0.5"), Ok(("a.gguf".into(), 0.5)));
        assert_eq!(of("C:/a.gguf:-2"), Ok(("C:/a.gguf".into(), -2.0)));
        assert_eq!(of("C:/a.gguf"), Ok(("C:/a.gguf".into(), 1.0)));
        for wrong in ["", ":1", "a:17"] {
            assert!(lora(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn good_values() {
        assert_eq!(tokens("1, 2,3"), Ok(Tokens(vec![1, 2, 3])));
        assert_eq!(length("7"), Ok(Length::Tokens(7)));
        assert_eq!(length("-1"), Ok(Length::Unlimited));
        assert_eq!(seed("18446744073709551615"), Ok(Seed::Fixed(u64::MAX)));
        assert_eq!(seed("-1"), Ok(Seed::Random));
        assert_eq!(
            device("gpu:llvm"),
            Ok(DeviceChoice::GpuNamed("llvm".into()))
        );
        assert_eq!(temperature("0"), Ok(0.0));
        assert_eq!((threads("7"), threads("-1")), (Ok(Some(7)), Ok(None)));
        assert_eq!((context("7"), context("0")), (Ok(Some(7)), Ok(None)));
        assert_eq!((top_k("7"), top_k("0"), top_k("-1")), (Ok(7), Ok(0), Ok(0)));
        assert_eq!((look_back("0"), look_back("-1")), (Ok(0), Ok(u32::MAX)));
        assert_eq!(share("1"), Ok(1.0));
        assert_eq!((sigmas("-1"), sigmas("1.5")), (Ok(0.0), Ok(1.5)));
        assert_eq!((mirostat("0"), mirostat("2")), (Ok(0), Ok(2)));
        assert_eq!((nats("-2"), target("-1")), (Ok(-2.0), Ok(-1.0)));
        assert_eq!((amount("0"), decay("0.99")), (Ok(0.0), Ok(0.99)));
    }

    #[test]
    fn bad_values() {
        for bad in ["", "1,", "a", "-1", "4294967296"] {
            assert!(tokens(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "-2", "1.5", "many"] {
            assert!(length(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "-2", "0x1", "18446744073709551616"] {
            assert!(seed(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "gpu:", "gpu: ", "GPU", "cuda"] {
            assert!(device(bad).is_err(), "{bad:?}");
        }
        for bad in ["nan", "inf", "-0.1", "x"] {
            assert!(
                temperature(bad).is_err() && share(bad).is_err() && penalty(bad).is_err(),
                "{bad:?}"
            );
        }
        for bad in ["", "-2", "x", "1.5", "4294967296"] {
            assert!(threads(bad).is_err() && context(bad).is_err(), "{bad:?}");
            assert!(top_k(bad).is_err() && look_back(bad).is_err(), "{bad:?}");
        }
        for bad in ["nan", "inf", "-inf", "x", ""] {
            assert!(nats(bad).is_err() && target(bad).is_err(), "{bad:?}");
            assert!(sigmas(bad).is_err() && mirostat(bad).is_err(), "{bad:?}");
            assert!(amount(bad).is_err() && decay(bad).is_err(), "{bad:?}");
        }
        assert!(mirostat("1").is_err() && sigmas("-2").is_err() && target("1.1").is_err());
        assert!(amount("-1").is_err() && decay("1").is_err());
        assert!(share("1.1").is_err() && penalty("0").is_err() && stop("").is_err());
        assert!(threads("0").is_err() && threads("9999999").is_err() && positive("0").is_err());
    }
}

//! Codings of single tensors: `PATTERN=BITS,gN`.

use super::ConvertError;
use crate::source::Hyper;
use carat_format::{Coding, Encoding, ScaleGroup};
use regex_lite::Regex;
use std::str::FromStr;

/// What the matrices whose names match a pattern have instead of the conversion's own bits and group.
///
/// Written `PATTERN=BITS`, `PATTERN=gN` or `PATTERN=BITS,gN`. The pattern is a regular expression that may
/// match anywhere in a matrix's name as ggml has it, as llama.cpp's `--tensor-type` takes it: `ffn_down`,
/// `blk\.[0-3]\.attn_`, `^output`.
#[derive(Clone, Debug)]
pub struct Rule {
    text: String,
    pattern: Regex,
    encoding: Option<Encoding>,
    group: Option<ScaleGroup>,
}

impl Rule {
    /// Whether it speaks of the matrix `name`.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.pattern.is_match(name)
    }
}

/// Why a text is no [`Rule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum RuleError {
    #[error("'{text}' is not PATTERN=BITS, PATTERN=gN or PATTERN=BITS,gN, like ffn_down=4,g64")]
    Form { text: String },
    #[error(
        "'{item}' is neither bits ({}) nor a group (g32, g64 or g128)",
        Encoding::bits_of_all()
    )]
    Value { item: String },
    #[error("'{item}' comes after another value of its kind; give one")]
    Twice { item: String },
    #[error("the pattern '{pattern}' is no regular expression: {fault}")]
    Pattern { pattern: String, fault: String },
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let form = || RuleError::Form { text: text.into() };
        let (pattern, values) = text.rsplit_once('=').ok_or_else(form)?;
        if pattern.is_empty() || values.is_empty() {
            return Err(form());
        }
        let (mut encoding, mut group) = (None, None);
        for item in values.split(',').map(str::trim) {
            let wrong = || RuleError::Value { item: item.into() };
            let again = match item.strip_prefix(['g', 'G']) {
                Some(n) => {
                    let n = n.parse().ok().and_then(ScaleGroup::from_weights);
                    group.replace(n.ok_or_else(wrong)?).is_some()
                }
                None => {
                    let n = Encoding::from_bits_text(item);
                    encoding.replace(n.ok_or_else(wrong)?).is_some()
                }
            };
            if again {
                return Err(RuleError::Twice { item: item.into() });
            }
        }
        let regex = Regex::new(pattern).map_err(|e| RuleError::Pattern {
            pattern: pattern.into(),
            fault: e.to_string(),
        })?;
        Ok(Self {
            text: text.into(),
            pattern: regex,
            encoding,
            group,
        })
    }
}

/// The coding of the matrix `name`: of the rules that match, the last that says a thing decides it.
pub(super) fn coding(base: Coding, rules: &[Rule], name: &str) -> Coding {
    rules
        .iter()
        .filter(|r| r.pattern.is_match(name))
        .fold(base, |c, r| Coding {
            encoding: r.encoding.unwrap_or(c.encoding),
            group: r.group.unwrap_or(c.group),
        })
}

/// Refuses a rule that matches no matrix of the model, which is likely a slip.
pub(super) fn check(rules: &[Rule], hyper: &Hyper) -> Result<(), ConvertError> {
    let names: Vec<String> = hyper
        .tensors()
        .into_iter()
        .filter(|t| !t.is_vector())
        .map(|t| t.name())
        .collect();
    match rules
        .iter()
        .find(|r| !names.iter().any(|n| r.pattern.is_match(n)))
    {
        Some(rule) => Err(ConvertError::Rule {
            rule: rule.text.clone(),
            names: listed(&names),
        }),
        None => Ok(()),
    }
}

/// The names, those of the blocks once: `token_embd.weight, blk.0 to blk.5: .attn_q.weight, …`.
fn listed(names: &[String]) -> String {
    let (mut single, mut parts) = (Vec::<&str>::new(), Vec::<&str>::new());
    let mut last = 0u32;
    for name in names {
        let block = name.strip_prefix("blk.").and_then(|n| n.split_once('.'));
        match block.and_then(|(n, part)| Some((n.parse::<u32>().ok()?, part))) {
            Some((n, part)) => {
                last = last.max(n);
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
            None => single.push(name),
        }
    }
    format!(
        "{}; and for N from 0 to {last} blk.N. with {}",
        single.join(", "),
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn the_last_rule_that_matches_decides_each_thing() {
        let base = Coding::from(Encoding::Pow2);
        let rules = rules(&[
            "ffn_down=4,g64",
            r"blk\.[0-1]\.=g128",
            "ffn_down=3",
            "blk.4.ffn_down=6",
            "blk.3.ffn_down=1.6",
            "^output=8",
        ]);
        for (name, encoding, group) in [
            ("token_embd.weight", Encoding::Pow2, ScaleGroup::W32),
            ("blk.0.ffn_down.weight", Encoding::Pow3, ScaleGroup::W128),
            ("blk.2.ffn_down.weight", Encoding::Pow3, ScaleGroup::W64),
            ("blk.3.ffn_down.weight", Encoding::Ternary, ScaleGroup::W64),
            ("blk.4.ffn_down.weight", Encoding::Int6, ScaleGroup::W64),
            ("blk.1.attn_output.weight", Encoding::Pow2, ScaleGroup::W128),
            ("blk.10.attn_output.weight", Encoding::Pow2, ScaleGroup::W32),
            ("output.weight", Encoding::Int8, ScaleGroup::W32),
        ] {
            assert_eq!(
                coding(base, &rules, name),
                Coding { encoding, group },
                "{name}"
            );
        }
    }

    #[test]
    fn faults_say_what_is_wrong() {
        let fault = |text: &str| text.parse::<Rule>().unwrap_err();
        for text in ["ffn_down", "ffn_down=", "=4", "", "="] {
            assert_eq!(fault(text), RuleError::Form { text: text.into() });
        }
        for (text, item) in [
            ("a=7", "7"),
            ("a=g48", "g48"),
            ("a=4,", ""),
            ("a=g", "g"),
            ("a=q4_0", "q4_0"),
            ("a=-1", "-1"),
            ("a=4.0", "4.0"),
            ("a=1.60", "1.60"),
            ("a=4,g99999999999", "g99999999999"),
        ] {
            assert_eq!(
                fault(text),
                RuleError::Value { item: item.into() },
                "{text}"
            );
        }
        for (text, item) in [("a=4,3", "3"), ("a=g32,4,g64", "g64")] {
            assert_eq!(fault(text), RuleError::Twice { item: item.into() });
        }
        assert!(matches!(fault("a(=4"), RuleError::Pattern { .. }));
        // The value is what follows the last '='.
        assert_eq!(rules(&["a=b=1"])[0].pattern.as_str(), "a=b");
    }
}

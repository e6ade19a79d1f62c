//! Which tokenizer a pipeline is, by its parts.

use super::error::HfTokenizerError;
use super::json::Node;
use carat::text::{Model, SpacePrefix, pre_of_pattern};

/// The SentencePiece mark of a space.
const MARK: &str = "\u{2581}";

const KNOWN_NORMALIZERS: &str =
    "none, NFC, [Prepend \"▁\", Replace \" \" by \"▁\"], Replace \" \" by \"▁\"";
const KNOWN_PRE_TOKENIZERS: &str = "ByteLevel (gpt-2), [Split by the expression of Llama 3, Qwen 2 or Qwen 3.5, \
    ByteLevel without expression] (llama-bpe, qwen2, qwen35), [Digits one by one, ByteLevel] (smollm), and with \
    byte_fallback: none, Metaspace \"▁\", Split by \" \"";

/// What a pipeline amounts to.
pub(super) struct Structure {
    pub(super) model: Model,
    pub(super) pre: &'static str,
    pub(super) nfc: bool,
    pub(super) space_prefix: SpacePrefix,
    pub(super) ignore_merges: bool,
    /// Whether a piece ends before every mark of a space.
    pub(super) splits_words: bool,
}

/// A part of a pipeline, reduced to what decides tokens.
#[derive(PartialEq)]
enum Part<'a> {
    Nfc,
    /// `Prepend "▁"`.
    PrependMark,
    /// `Replace " "` by `"▁"`.
    MarkSpaces,
    ByteLevel {
        splits: bool,
    },
    SplitBy(&'a str),
    /// `Split` by a space: without effect once the spaces are marks.
    SplitBySpace,
    EachDigit,
    Metaspace {
        prefix: SpacePrefix,
        splits: bool,
    },
    Other,
}

/// Compares a pipeline with the known ones.
pub(super) fn classify(root: &Node<'_>, model: &Node<'_>) -> Result<Structure, HfTokenizerError> {
    let refuse = |part, node: Option<&Node<'_>>, known| HfTokenizerError::Structure {
        file: root.file(),
        part,
        found: node.map_or_else(|| "none".into(), Node::show),
        known,
    };
    // Old files leave the model's type out.
    let kind = model.get("type")?;
    if let Some(kind) = kind.filter(|k| k.str().ok() != Some("BPE")) {
        return Err(refuse("model type", Some(&kind), "BPE"));
    }
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if let Some(affix) = model.get(field)?
            && !affix.str()?.is_empty()
        {
            return Err(affix.wrong("none: such words are not supported"));
        }
    }
    if let Some(dropout) = model.get("dropout")?
        && dropout.show().parse::<f64>() != Ok(0.0)
    {
        return Err(dropout.wrong("none: merges must not be left out at random"));
    }
    let ignore_merges = model.flag("ignore_merges", false)?;
    let byte_fallback = model.flag("byte_fallback", false)?;
    let normalizer = root.get("normalizer")?;
    let normalizers = parts(normalizer.as_ref(), "normalizers")?;
    let pre_tokenizer = root.get("pre_tokenizer")?;
    let pre_tokenizers = parts(pre_tokenizer.as_ref(), "pretokenizers")?;
    let bad_normalizer = || refuse("normalizer", normalizer.as_ref(), KNOWN_NORMALIZERS);
    let bad_pre_tokenizer = || {
        refuse(
            "pre_tokenizer",
            pre_tokenizer.as_ref(),
            KNOWN_PRE_TOKENIZERS,
        )
    };

    if !byte_fallback {
        let nfc = match normalizers.as_slice() {
            [] => false,
            [Part::Nfc] => true,
            _ => return Err(bad_normalizer()),
        };
        let pre = match pre_tokenizers.as_slice() {
            [Part::ByteLevel { splits: true }] => Some("gpt-2"),
            [Part::EachDigit, Part::ByteLevel { splits: true }] => Some("smollm"),
            [Part::SplitBy(pattern), Part::ByteLevel { splits: false }] => pre_of_pattern(pattern),
            _ => None,
        };
        return Ok(Structure {
            model: Model::Gpt2,
            pre: pre.ok_or_else(bad_pre_tokenizer)?,
            nfc,
            space_prefix: SpacePrefix::Always,
            ignore_merges,
            splits_words: false,
        });
    }
    if let Some(flag) = model.get("ignore_merges")?.filter(|_| ignore_merges) {
        return Err(flag.wrong("false beside byte_fallback"));
    }
    let (space_prefix, splits_words) = match (normalizers.as_slice(), pre_tokenizers.as_slice()) {
        ([Part::PrependMark, Part::MarkSpaces], [] | [Part::SplitBySpace]) => {
            (SpacePrefix::Always, false)
        }
        ([Part::MarkSpaces], [] | [Part::SplitBySpace]) => (SpacePrefix::Never, false),
        ([], [Part::Metaspace { prefix, splits }]) => (*prefix, *splits),
        ([] | [Part::MarkSpaces] | [Part::PrependMark, Part::MarkSpaces], _) => {
            return Err(bad_pre_tokenizer());
        }
        _ => return Err(bad_normalizer()),
    };
    Ok(Structure {
        model: Model::Llama,
        pre: "default",
        nfc: false,
        space_prefix,
        ignore_merges,
        splits_words,
    })
}

/// The parts of a normalizer or pre-tokenizer, sequences of sequences flattened.
fn parts<'a>(node: Option<&Node<'a>>, list: &str) -> Result<Vec<Part<'a>>, HfTokenizerError> {
    let mut out = Vec::new();
    let mut open: Vec<Node<'a>> = node.cloned().into_iter().collect();
    while let Some(node) = open.pop() {
        if node.kind()? == "Sequence" {
            let elements = match node.get(list)? {
                Some(elements) => elements.elements()?,
                None => return Err(node.wrong(format!("a sequence with {list}"))),
            };
            open.extend(elements.into_iter().rev());
        } else {
            out.push(part(&node)?);
        }
    }
    Ok(out)
}

fn part<'a>(node: &Node<'a>) -> Result<Part<'a>, HfTokenizerError> {
    Ok(match node.kind()? {
        "NFC" => Part::Nfc,
        "Prepend" if node.text("prepend")? == MARK => Part::PrependMark,
        "Replace" if pattern(node, "String")? == Some(" ") && node.text("content")? == MARK => {
            Part::MarkSpaces
        }
        "ByteLevel" if !node.flag("add_prefix_space", true)? => Part::ByteLevel {
            splits: node.flag("use_regex", true)?,
        },
        "Digits" if node.flag("individual_digits", false)? => Part::EachDigit,
        "Split" => {
            // These expressions cover every text, so that what they do not match is always empty.
            let isolates = match node.text("behavior")? {
                "Isolated" => true,
                "Removed" => node.flag("invert", false)?,
                _ => false,
            };
            match (pattern(node, "Regex")?, pattern(node, "String")?) {
                (Some(regex), _) if isolates => Part::SplitBy(regex),
                (_, Some(" ")) => Part::SplitBySpace,
                _ => Part::Other,
            }
        }
        "Metaspace" if node.text("replacement")? == MARK => {
            let scheme = match node.get("prepend_scheme")? {
                Some(scheme) => scheme.str()?,
                // Before there were schemes.
                None if node.flag("add_prefix_space", true)? => "always",
                None => "never",
            };
            let splits = node.flag("split", true)?;
            match scheme {
                "always" => Part::Metaspace {
                    prefix: SpacePrefix::UnlessSpace,
                    splits,
                },
                "first" => Part::Metaspace {
                    prefix: SpacePrefix::StartUnlessSpace,
                    splits,
                },
                "never" => Part::Metaspace {
                    prefix: SpacePrefix::Never,
                    splits,
                },
                _ => Part::Other,
            }
        }
        _ => Part::Other,
    })
}

/// The pattern of a part, if it is of the kind `String` or `Regex`.
fn pattern<'a>(node: &Node<'a>, kind: &str) -> Result<Option<&'a str>, HfTokenizerError> {
    match node.get("pattern")? {
        Some(pattern) if pattern.is_object() => pattern.get(kind)?.map(|p| p.str()).transpose(),
        _ => Ok(None),
    }
}

//! What a pipeline does, by its parts: normalizers, then pre-tokenizers, then merges.

use super::error::HfTokenizerError;
use super::json::Node;
use carat_text::tokenizer::{
    Behavior, Cut, Model, Normalizer, OWN_PRE, SpacePrefix, Step, is_understood, pre_of_steps,
};

/// The SentencePiece mark of a space.
const MARK: &str = "\u{2581}";

const KNOWN_NORMALIZERS: &str = "NFC, NFD, NFKC, NFKD, Lowercase and StripAccents in any order, and with byte_fallback behind them \
    Prepend \"▁\" and Replace \" \" by \"▁\"";
const KNOWN_PRE_TOKENIZERS: &str = "ByteLevel among any of Split, Digits, Punctuation, Whitespace, WhitespaceSplit, \
    CharDelimiterSplit and BertPreTokenizer (llama-bpe, qwen2, gpt-4o, …), and with byte_fallback these behind spaces that are \
    marked by Metaspace \"▁\" or by the normalizer";

/// What a pipeline amounts to.
pub(super) struct Structure {
    pub(super) model: Model,
    /// The pre-tokenizer's name, and its steps where it has none.
    pub(super) pre: &'static str,
    pub(super) steps: Vec<Step>,
    pub(super) normalizers: Vec<Normalizer>,
    pub(super) space_prefix: SpacePrefix,
    /// Whether spaces are marked after what is found in a normalized text is.
    pub(super) marks_late: bool,
    pub(super) ignore_merges: bool,
}

/// What the normalizers do.
#[derive(Default)]
struct Normal {
    forms: Vec<Normalizer>,
    prepends: bool,
    marks: bool,
}

/// What the pre-tokenizers do.
#[derive(Default)]
struct Pre {
    /// Of `Metaspace`.
    prefix: Option<SpacePrefix>,
    bytes: bool,
    steps: Vec<Step>,
}

/// Reads a pipeline.
pub(super) fn read(root: &Node<'_>, model: &Node<'_>) -> Result<Structure, HfTokenizerError> {
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

    let mut normal = Normal::default();
    for node in flat(root.get("normalizer")?, "normalizers")? {
        if !normal.add(&node)? {
            return Err(refuse("normalizer", Some(&node), KNOWN_NORMALIZERS));
        }
    }
    let mut pre = Pre::default();
    for node in flat(root.get("pre_tokenizer")?, "pretokenizers")? {
        if !pre.add(&node, normal.marks)? {
            return Err(refuse("pre_tokenizer", Some(&node), KNOWN_PRE_TOKENIZERS));
        }
    }
    let marked = normal.marks || pre.prefix.is_some();
    let unsuited = match (pre.bytes, byte_fallback) {
        (true, _) => marked || normal.prepends,
        (false, true) => !marked || normal.marks && pre.prefix.is_some(),
        (false, false) => true,
    };
    if unsuited {
        let node = root.get("pre_tokenizer")?;
        return Err(refuse("pre_tokenizer", node.as_ref(), KNOWN_PRE_TOKENIZERS));
    }
    let named = match pre.bytes {
        true => pre_of_steps(&pre.steps),
        false => pre.steps.is_empty().then_some("default"),
    };
    Ok(Structure {
        model: match pre.bytes {
            true => Model::Gpt2,
            false => Model::Gemma4,
        },
        pre: named.unwrap_or(OWN_PRE),
        steps: match named {
            Some(_) => Vec::new(),
            None => pre.steps,
        },
        normalizers: normal.forms,
        space_prefix: match (pre.bytes, pre.prefix, normal.prepends) {
            (true, ..) | (false, None, true) => SpacePrefix::Always,
            (false, None, false) => SpacePrefix::Never,
            (false, Some(prefix), _) => prefix,
        },
        marks_late: pre.prefix.is_some(),
        ignore_merges,
    })
}

/// The parts of a normalizer or pre-tokenizer, sequences of sequences flattened.
fn flat<'a>(node: Option<Node<'a>>, list: &str) -> Result<Vec<Node<'a>>, HfTokenizerError> {
    let mut out = Vec::new();
    let mut open: Vec<Node<'a>> = node.into_iter().collect();
    while let Some(node) = open.pop() {
        if node.kind()? != "Sequence" {
            out.push(node);
            continue;
        }
        match node.get(list)? {
            Some(elements) => open.extend(elements.elements()?.into_iter().rev()),
            None => return Err(node.wrong(format!("a sequence with {list}"))),
        }
    }
    Ok(out)
}

impl Normal {
    /// Takes a normalizer in; false if it is none that is known at this place.
    fn add(&mut self, node: &Node<'_>) -> Result<bool, HfTokenizerError> {
        let form = match node.kind()? {
            "NFC" => Normalizer::Nfc,
            "NFD" => Normalizer::Nfd,
            "NFKC" => Normalizer::Nfkc,
            "NFKD" => Normalizer::Nfkd,
            "Lowercase" => Normalizer::Lowercase,
            "StripAccents" => Normalizer::StripAccents,
            "Prepend" if node.text("prepend")? == MARK => {
                return Ok(!std::mem::replace(&mut self.prepends, true));
            }
            "Replace" => {
                let marks = pattern(node, "String")? == Some(" ") && node.text("content")? == MARK;
                self.marks |= marks;
                return Ok(marks);
            }
            _ => return Ok(false),
        };
        self.forms.push(form);
        Ok(!self.marks && !self.prepends)
    }
}

impl Pre {
    /// Takes a pre-tokenizer in; false if it is none that is known at this place. `marked`: no space is left.
    fn add(&mut self, node: &Node<'_>, marked: bool) -> Result<bool, HfTokenizerError> {
        let removed = |pattern: &str, invert| cut(pattern, Behavior::Removed, invert);
        match node.kind()? {
            "ByteLevel" if !self.bytes => {
                if node.flag("add_prefix_space", true)? {
                    self.steps.push(Step::Prefix);
                }
                if node.flag("use_regex", true)? {
                    self.steps.push(Step::gpt2());
                }
                self.steps.push(Step::Bytes);
                self.bytes = true;
            }
            "Digits" => {
                let each = node.flag("individual_digits", false)?;
                self.steps.push(Step::digits(each));
            }
            "Split" => {
                let Some(behavior) = Behavior::from_hugging_face(node.text("behavior")?) else {
                    return Ok(false);
                };
                let invert = node.flag("invert", false)?;
                let pattern = match (pattern(node, "Regex")?, pattern(node, "String")?) {
                    (Some(regex), _) => regex.to_owned(),
                    (None, Some(text)) if marked && text.contains(' ') && !invert => {
                        return Ok(true);
                    }
                    (None, Some(text)) if !text.is_empty() => escaped(text),
                    _ => return Ok(false),
                };
                if !is_understood(&pattern) {
                    return Ok(false);
                }
                self.steps.push(cut(&pattern, behavior, invert));
            }
            "Punctuation" => {
                let name = node.get("behavior")?.map_or(Ok("Isolated"), |b| b.str())?;
                let Some(behavior) = Behavior::from_hugging_face(name) else {
                    return Ok(false);
                };
                self.steps.push(cut(PUNCTUATION, behavior, false));
            }
            "Whitespace" => self
                .steps
                .push(removed(&format!("[{WORD}]+|[^{WORD}\\s]+"), true)),
            "WhitespaceSplit" => self.steps.push(removed(r"\s", false)),
            "CharDelimiterSplit" => {
                let text = node.text("delimiter")?;
                self.steps.push(removed(&escaped(text), false));
            }
            "BertPreTokenizer" => {
                self.steps.push(removed(r"\s", false));
                self.steps.push(Step::isolate(PUNCTUATION));
            }
            "Metaspace" if self.prefix.is_none() && self.steps.is_empty() => {
                return self.metaspace(node);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn metaspace(&mut self, node: &Node<'_>) -> Result<bool, HfTokenizerError> {
        let scheme = match node.get("prepend_scheme")? {
            Some(scheme) => scheme.str()?,
            // Before there were schemes.
            None if node.flag("add_prefix_space", true)? => "always",
            None => "never",
        };
        self.prefix = match scheme {
            "always" => Some(SpacePrefix::UnlessSpace),
            "first" => Some(SpacePrefix::StartUnlessSpace),
            "never" => Some(SpacePrefix::Never),
            _ => None,
        };
        if node.flag("split", true)? {
            self.steps.push(cut(MARK, Behavior::MergedWithNext, false));
        }
        Ok(self.prefix.is_some() && node.text("replacement")? == MARK)
    }
}

/// Characters of words as the Rust crate regex has them, which is not what `\w` is to Oniguruma.
const WORD: &str = r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200c}\x{200d}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}";

/// A character of punctuation, or a symbol of ASCII.
const PUNCTUATION: &str = r"[\p{P}$+<=>\^`|~]";

fn cut(pattern: &str, behavior: Behavior, invert: bool) -> Step {
    Step::Cut(Cut {
        pattern: pattern.into(),
        behavior,
        invert,
    })
}

/// The expression that is a text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The pattern of a part, if it is of the kind `String` or `Regex`.
fn pattern<'a>(node: &Node<'a>, kind: &str) -> Result<Option<&'a str>, HfTokenizerError> {
    match node.get("pattern")? {
        Some(pattern) if pattern.is_object() => pattern.get(kind)?.map(|p| p.str()).transpose(),
        _ => Ok(None),
    }
}

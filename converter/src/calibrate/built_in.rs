//! The built-in calibration text: passages of prose, code, mathematics and many languages as they are, and
//! dialogues in the form that the model's chat template gives them.

use super::text::{chunk_length, splitmix};
use super::{Calibration, CalibrationError};
use crate::source::Checkpoint;
use crate::text;
use carat_text::template::{self, ChatTemplate, Clock, Conversation};
use carat_text::tokenizer::Tokenizer;
use serde::Deserialize;

/// Passages, separated by empty lines.
const PASSAGES: &str = include_str!("../../texts/calibration.txt");
/// Conversations, lists of messages, in JSON.
const DIALOGUES: &str = include_str!("../../texts/dialogues.json");
/// One sequence of so many is of dialogues.
const DIALOGUE_SHARE: usize = 4;
/// What a template that asks for the date is told: 1 January 2025. The bytes of a file do not depend on the day.
const TIME: Clock = Clock::Unix(1_735_689_600);

/// A message of a dialogue.
#[derive(Clone, Deserialize)]
struct Message {
    role: String,
    content: String,
}

/// Names the built-in texts.
pub(crate) fn fingerprint() -> String {
    let mut hasher = blake3::Hasher::new();
    for text in [PASSAGES, DIALOGUES] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Chunks of both texts, `calibration.tokens` tokens at most (one chunk of the passages at least), spread evenly over the
/// texts; the seed chooses among neighbours. Each begins with the token that begins a text, where the model has one.
pub(crate) fn sequences(
    source: &Checkpoint,
    calibration: &Calibration,
) -> Result<Vec<Vec<u32>>, CalibrationError> {
    let tokenizer = text::tokenizer(source)?;
    let bos = text::first(source, &tokenizer);
    let length = chunk_length(source);
    let passages = tokenizer.encode_prompt(PASSAGES, false);
    text::check(source, &passages)?;
    if passages.len() < length {
        return Ok(vec![match passages.is_empty() {
            true => vec![bos.unwrap_or(0)],
            false => passages,
        }]);
    }
    let dialogues = dialogues(source, &tokenizer);
    let found = [passages.len() / length, dialogues.len() / length];
    let [most, some] = shares(found, calibration.tokens / length);
    let mut state = calibration.seed;
    let mut chosen = Vec::new();
    for (tokens, wanted) in [(&passages, most), (&dialogues, some)] {
        let of = tokens.len() / length;
        for (i, at) in spread(of, wanted, &mut state).into_iter().enumerate() {
            let mut chunk = tokens[at * length..][..length].to_vec();
            if let Some(bos) = bos {
                chunk[0] = bos;
            }
            chosen.push(((2 * i + 1) as f64 / (2 * wanted) as f64, chunk));
        }
    }
    // Dialogues stand among the passages, so that also a part of the sequences is of both.
    chosen.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(chosen.into_iter().map(|(_, chunk)| chunk).collect())
}

/// Chunks of passages and of dialogues, of so many that there are and that are wanted together.
fn shares([passages, dialogues]: [usize; 2], wanted: usize) -> [usize; 2] {
    let some = (wanted / DIALOGUE_SHARE).min(dialogues);
    let most = (wanted - some).clamp(1, passages.max(1));
    [most, some.min(most.div_ceil(DIALOGUE_SHARE - 1))]
}

/// One number of each of `wanted` equal stretches of the numbers below `found`, or all of them; ascending.
fn spread(found: usize, wanted: usize, state: &mut u64) -> Vec<usize> {
    let wanted = wanted.min(found);
    let start = |i: usize| i * found / wanted.max(1);
    (0..wanted)
        .map(|i| start(i) + (splitmix(state) % (start(i + 1) - start(i)).max(1) as u64) as usize)
        .collect()
}

/// The tokens of all dialogues, one after the other; each without a template, or with one that fails, as plain text.
fn dialogues(source: &Checkpoint, tokenizer: &Tokenizer) -> Vec<u32> {
    let template = text::template(source);
    let mut out = Vec::new();
    for messages in all() {
        let rendered = template
            .as_ref()
            .and_then(|t| render(tokenizer, t, &messages))
            // Tokens that a tokenizer was given and the embedding was not.
            .filter(|tokens| text::check(source, tokens).is_ok());
        let plain = || tokenizer.encode(&plain(&messages), false);
        let tokens = rendered.unwrap_or_else(plain);
        if text::check(source, &tokens).is_ok() {
            out.extend(tokens);
        }
    }
    out
}

/// The conversations. That the file is what is expected here is a test's business.
fn all() -> Vec<Vec<Message>> {
    serde_json::from_str(DIALOGUES).unwrap_or_default()
}

/// A conversation with the control tokens of the template; without its system message where the template takes none.
fn render(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
) -> Option<Vec<u32>> {
    let prompt = |messages: &[Message]| {
        let texts = messages
            .iter()
            .map(|m| (m.role.as_str(), m.content.as_str()));
        let talk = Conversation {
            add_generation_prompt: Some(false),
            ..Conversation::of_texts(texts)
        };
        template::chat_ids(tokenizer, Some(template), &talk, TIME).ok()
    };
    let without = || match messages {
        [first, rest @ ..] if first.role == "system" => prompt(rest),
        _ => None,
    };
    prompt(messages).or_else(without)
}

/// A conversation as a text.
fn plain(messages: &[Message]) -> String {
    let mut out = String::new();
    for m in messages {
        let name = match m.role.as_str() {
            "user" => "User: ",
            "assistant" => "Assistant: ",
            _ => "",
        };
        out += &format!("{name}{}\n", m.content);
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_there() {
        assert!(!PASSAGES.trim().is_empty());
        let all: Vec<Vec<Message>> = serde_json::from_str(DIALOGUES).expect("lists of messages");
        assert!(!all.is_empty());
        for messages in all {
            let answer = messages.last().is_some_and(|m| m.role == "assistant");
            assert!(answer && messages.iter().any(|m| m.role == "user"));
        }
    }

    #[test]
    fn a_quarter_is_of_dialogues_where_there_are_enough() {
        assert_eq!(shares([1000, 1000], 64), [48, 16]);
        assert_eq!(shares([1000, 1000], 4), [3, 1]);
        assert_eq!(shares([1000, 1000], 1), [1, 0]);
        assert_eq!(shares([1000, 1000], 0), [1, 0]);
        assert_eq!(shares([1000, 5], 64), [59, 5]);
        assert_eq!(shares([6, 1000], 64), [6, 2]);
        assert_eq!(shares([1, 0], 64), [1, 0]);
    }

    #[test]
    fn chunks_are_of_all_parts() {
        let mut state = 7;
        let chosen = spread(100, 10, &mut state);
        assert!(chosen.iter().enumerate().all(|(i, at)| at / 10 == i));
        assert_ne!(chosen, spread(100, 10, &mut state));
        assert_eq!(spread(3, 10, &mut state), [0, 1, 2]);
        assert!(spread(0, 10, &mut state).is_empty());
    }
}

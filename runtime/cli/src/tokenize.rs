//! `carat tokenize`: a text's token ids.

use crate::args::TokenizeArgs;
use crate::input::{self, Input, Start};
use crate::{prompt, term};
use anyhow::{Context, Result};
use carat_converter::hf_tokenizer::HfTokenizer;
use carat_text::tokenizer::{Tokenizer, TokenizerData};
use serde::Serialize;
use std::path::Path;

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    ids: &'a [u32],
    /// What each token stands for; bytes that are no UTF-8 by themselves become U+FFFD.
    pieces: Vec<String>,
    bytes: usize,
}

/// Runs the command.
pub fn run(args: TokenizeArgs) -> Result<()> {
    let tokenizer = tokenizer(&args.model)?;
    let text = if args.text.as_os_str() == "-" {
        prompt::stdin()?
    } else {
        input::read_text(&args.text)?
    };
    let ids = if args.bos {
        tokenizer.encode_prompt(&text, args.special)
    } else {
        tokenizer.encode(&text, args.special)
    };
    if args.json {
        let piece = |id: &u32| String::from_utf8_lossy(tokenizer.decode_bytes(*id, true)).into();
        return term::print_json(&Report {
            ids: &ids,
            pieces: ids.iter().map(piece).collect(),
            bytes: text.len(),
        });
    }
    let line: Vec<String> = ids.iter().map(u32::to_string).collect();
    term::print(&(line.join(" ") + "\n"))
}

/// The tokenizer of a Carat file, of any GGUF, also one without weights, or of a Hugging Face directory.
fn tokenizer(path: &Path) -> Result<Tokenizer> {
    let shown = || path.display().to_string();
    let data = match input::kind(path)? {
        Input::Directory => {
            let hf = HfTokenizer::load(path)?;
            hf.notes.iter().for_each(|note| term::warn(note));
            hf.data
        }
        Input::Carat | Input::Gguf(_) => {
            let start = Start::read(path)?;
            TokenizerData::from_gguf(&start.header()?).with_context(shown)?
        }
    };
    Tokenizer::new(&data).with_context(shown)
}

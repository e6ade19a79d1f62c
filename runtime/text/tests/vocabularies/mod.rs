//! Small tokenizers made by hand.

use carat_text::tokenizer::{Model, TokenizerData};

/// GPT-2's character for a byte.
pub fn byte_char(byte: u8) -> char {
    let printable = |b: u8| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(0x100 + rank).unwrap()
}

/// Byte-level BPE: 256 bytes, the results of the merges, then control tokens `<|bos|>`, `<|eos|>`,
/// `hello` and the user-defined `<tool>`, `<tool><tool>`.
pub fn byte_level() -> TokenizerData {
    let mut tokens: Vec<String> = (0..=255).map(|b| byte_char(b).to_string()).collect();
    let merges = [
        "t h", "th e", "h e", "l l", "ll o", "Ġ he", "Ġhe llo", "Ġ t", "he llo",
    ];
    for m in merges {
        let union = m.replace(' ', "");
        if union != "hello" {
            tokens.push(union);
        }
    }
    let special = [
        ("<|bos|>", 3),
        ("<|eos|>", 3),
        ("hello", 3),
        ("<tool>", 4),
        ("<tool><tool>", 4),
    ];
    let text = tokens.len();
    tokens.extend(special.iter().map(|s| s.0.to_string()));
    let mut data = TokenizerData::new(Model::Gpt2, tokens);
    data.token_types = vec![1; text];
    data.token_types.extend(special.iter().map(|s| s.1));
    data.pre = "gpt-2".into();
    data.merges = merges.iter().map(|m| m.to_string()).collect();
    data.bos = id(&data, "<|bos|>");
    data.eos = id(&data, "<|eos|>");
    data
}

/// SentencePiece BPE: unknown, BOS, EOS, 256 bytes, characters and a few merged pieces. The control
/// token `▁he` has the best score of all.
pub fn sentencepiece() -> TokenizerData {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let mut types = vec![2, 3, 3];
    let mut scores = vec![0.0; 3];
    for b in 0..=255u8 {
        tokens.push(format!("<0x{b:02X}>"));
        types.push(6);
        scores.push(0.0);
    }
    let mut rank = 0.0;
    for piece in [
        "ll", "▁h", "el", "llo", "▁hel", "▁▁", "▁", "h", "e", "l", "o", "<", "s", ">", "/", "<s",
    ] {
        tokens.push(piece.into());
        types.push(1);
        rank -= 1.0;
        scores.push(rank);
    }
    tokens.push("▁he".into());
    types.push(3);
    scores.push(1.0);
    let mut data = TokenizerData::new(Model::Llama, tokens);
    data.token_types = types;
    data.scores = scores;
    data.unk = Some(0);
    data.bos = Some(1);
    data.eos = Some(2);
    data
}

/// The id of a token.
pub fn id(data: &TokenizerData, text: &str) -> Option<u32> {
    data.tokens.iter().position(|t| t == text).map(|i| i as u32)
}

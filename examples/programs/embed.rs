//! Finds the lines of a text that mean most nearly the same as a question: `embed MODEL FILE QUESTION`.

use carat::{Embedding, Model};
use std::error::Error;

/// Lines that are shown.
const NEAREST: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, file, question] = &args[..] else {
        return Err("expected: embed MODEL FILE QUESTION".into());
    };
    let model = Model::open(path)?;
    let text = std::fs::read_to_string(file)?;
    let mut lines: Vec<(&str, Embedding)> = Vec::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        lines.push((line, model.embed(line)?));
    }
    let asked = model.embed(question)?;
    lines.sort_by(|a, b| b.1.cosine(&asked).total_cmp(&a.1.cosine(&asked)));
    for (line, embedding) in lines.iter().take(NEAREST) {
        println!("{:.3}  {line}", embedding.cosine(&asked));
    }
    Ok(())
}

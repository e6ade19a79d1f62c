//! Goes on with a text: `generate MODEL [PROMPT] [TOKENS]`.

use carat::{Error, Model, Sampling};
use std::io::{Write, stdout};

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or("model.gguf".into());
    let prompt = args.next().unwrap_or("Once upon a time".into());
    let tokens = args.next().and_then(|n| n.parse().ok()).unwrap_or(64);

    let model = Model::open(path)?;
    let sampling = Sampling::new().max_tokens(tokens).seed(1);
    let mut generation = model.generate(&prompt).sampling(sampling);
    print!("{prompt}");
    for piece in &mut generation {
        print!("{}", piece?);
        // A text shows as it comes.
        let _ = stdout().flush();
    }
    println!();
    let why = generation.stop_reason().map_or("an error", |r| r.name());
    eprintln!(
        "[{} tokens, {}, ended by {why}; logits {}]",
        generation.tokens(),
        generation.device(),
        generation.logits_hash()
    );
    Ok(())
}

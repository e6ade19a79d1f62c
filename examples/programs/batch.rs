//! Goes on with several prompts, each on a thread and a session of its own: `batch MODEL PROMPT...`.
//! The texts are those that each prompt gets alone.

use carat::{Error, Load, Model, Sampling};
use std::panic::resume_unwind;
use std::thread;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or("model.gguf".into());
    let prompts: Vec<String> = args.collect();

    // Each session has the memory of a context: no more than these texts need.
    let model = Load::new().context(512).open(path)?;
    thread::scope(|scope| {
        let mut texts = Vec::new();
        for prompt in &prompts {
            texts.push(scope.spawn(|| continued(&model, prompt)));
        }
        for (prompt, text) in prompts.iter().zip(texts) {
            let text = text.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            println!("{prompt}{text}\n---");
        }
        Ok(())
    })
}

fn continued(model: &Model, prompt: &str) -> Result<String, Error> {
    let sampling = Sampling::greedy().max_tokens(24);
    model.generate(prompt).sampling(sampling).text()
}

//! Talks: `chat MODEL [SYSTEM MESSAGE]`, a message a line. `/regen` asks for another answer, `/undo` takes a message back.

use carat::{Chat, Error, Model};
use std::io::{Write, stdin, stdout};

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or("model.gguf".into());
    let model = Model::open(path)?;
    let mut chat = Chat::new(&model)?;
    if let Some(system) = args.next() {
        chat.set_system(&system);
    }
    for line in stdin().lines().map_while(Result::ok) {
        let mut reply = match line.as_str() {
            "/regen" => chat.regenerate(),
            "/undo" => {
                let text = chat.undo().unwrap_or_default();
                println!("[taken back: {text}]");
                continue;
            }
            text => chat.ask(text),
        };
        for piece in &mut reply {
            match piece {
                Ok(text) => print!("{text}"),
                // The message is taken back, and the chat goes on.
                Err(e) => eprintln!("{e}"),
            }
            let _ = stdout().flush();
        }
        println!();
        let (new, kept) = (reply.tokens(), reply.cached_tokens());
        eprintln!("[{new} tokens; {kept} of the prompt's were computed before]");
    }
    Ok(())
}

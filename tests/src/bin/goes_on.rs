//! Begins a text on the CPU and saves it, or goes on with one that was saved: what the suite runs under emulators.
//!
//! Usage: goes_on MODEL SESSION (begin|go-on) TOKENS. Prints the ids of all tokens of the text, up to TOKENS, and their hash.
#![forbid(unsafe_code)]

use carat::internals::sample::Params;
use carat::internals::{
    Beside, DeviceChoice, GenerateOptions, Generator, Model, Place, Session, SessionOptions, Step,
    Verify,
};
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, session, what, tokens] = &args[..] else {
        eprintln!("usage: goes_on MODEL SESSION (begin|go-on) TOKENS");
        return ExitCode::from(2);
    };
    match pollster::block_on(run(model, session, what == "begin", tokens)) {
        Ok(line) => println!("{line}"),
        Err(e) => {
            eprintln!("error: {e}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn run(
    model: &str,
    file: &str,
    begins: bool,
    tokens: &str,
) -> Result<String, Box<dyn Error>> {
    let model = Arc::new(Model::open(std::path::Path::new(model), Verify::Hashes)?);
    let options = GenerateOptions {
        max_tokens: tokens.parse()?,
        ignore_end: true,
        sampling: Params {
            temperature: 0.9,
            seed: 5,
            ..Params::default()
        },
        ..GenerateOptions::default()
    };
    let place = SessionOptions {
        device: DeviceChoice::Cpu,
        context: 512,
        ..SessionOptions::default()
    };
    let mut session = Session::new(model.clone(), &place).await?;
    let mut generator = match begins {
        true => {
            let prompt: Vec<u32> = (0..300).map(|i| 1 + i * 7 % 200).collect();
            Generator::new(&session, &prompt, &options, false)?
        }
        false => {
            let Beside {
                pending, snapshot, ..
            } = session.open_saved(&mut std::fs::read(file)?.as_slice())?;
            let snapshot = snapshot.ok_or("no text is under way")?;
            let from = (&snapshot, &pending[..]);
            Generator::resume(
                Place::of(&session),
                from,
                &options,
                model.tokenizer()?,
                None,
            )?
        }
    };
    while generator.step(&mut session, None).await? != Step::End {}
    if begins {
        let (snapshot, pending) = generator.snapshot();
        let beside = Beside {
            pending,
            snapshot: Some(snapshot),
            note: Vec::new(),
        };
        let mut bytes = Vec::new();
        session.save(&beside, &mut bytes).await?;
        std::fs::write(file, bytes)?;
    }
    Ok(format!("{:?} {}", generator.ids(), generator.logits_hash()))
}

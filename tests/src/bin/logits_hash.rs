//! Prints, as one JSON object, the hash of all logits of a token sequence on one device: what the suite
//! runs on each driver and under emulators.
//!
//! Usage: logits_hash MODEL DEVICE BATCH TOKENS, with DEVICE `cpu` or part of an adapter's name.
#![forbid(unsafe_code)]

use carat::{DeviceChoice, Error, LogitsHash, Model, Session, SessionOptions, Verify, Want};
use carat_tests::rng::Rng;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, device, batch, tokens] = args.as_slice() else {
        eprintln!("usage: logits_hash MODEL DEVICE BATCH TOKENS");
        return ExitCode::from(2);
    };
    let (Ok(batch), Ok(tokens)) = (batch.parse(), tokens.parse()) else {
        eprintln!("BATCH and TOKENS are numbers");
        return ExitCode::from(2);
    };
    match pollster::block_on(run(Path::new(model), device, batch, tokens)) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// A batch of 0 decodes token by token after a first batch of 5.
async fn run(model: &Path, device: &str, batch: u32, count: u32) -> Result<String, Error> {
    let model = Arc::new(Model::open(model, Verify::Hashes)?);
    let device = match device {
        "cpu" => DeviceChoice::Cpu,
        name => DeviceChoice::GpuNamed(name.into()),
    };
    let size = if batch == 0 { 5 } else { batch };
    let options = SessionOptions {
        device,
        context: count,
        batch: Some(size),
        outputs: size,
        ..Default::default()
    };
    let mut session = Session::new(model.clone(), &options).await?;
    let mut rng = Rng(20_26);
    let vocab = u64::from(model.spec().vocab_size);
    let tokens: Vec<u32> = (0..count).map(|_| rng.below(vocab) as u32).collect();
    let mut hash = LogitsHash::new(session.logits_exponent());
    let mut positions = 0u32;
    let mut take = |o: carat::Output<'_>| {
        hash.push(o.checksum);
        positions += 1;
    };
    if batch == 0 {
        let (prompt, rest) = tokens.split_at(tokens.len().min(5));
        session.forward(prompt, Want::From(0), &mut take).await?;
        for t in rest {
            session.forward(&[*t], Want::LastResult, &mut take).await?;
        }
    } else {
        session.forward(&tokens, Want::From(0), &mut take).await?;
    }
    let (saturated, _) = session.residual_stats().await?;
    Ok(serde_json::json!({
        "device": session.device(),
        "dispatches": session.dispatches(),
        "positions": positions,
        "saturated": saturated,
        "hash": hash.hex(),
    })
    .to_string())
}

//! Prints, as one JSON object a line, the hash of all logits of token sequences on one device: what the suite runs on
//! each driver and under emulators. On a GPU they share the device and its pipelines.
//!
//! Usage: logits_hash DEVICE (MODEL BATCH TOKENS KV)..., with DEVICE `cpu` or part of an adapter's name, and KV the place of the
//! cache's kind in `CacheBits::ALL`.
#![forbid(unsafe_code)]

use carat::internals::plan::DEFAULT_BINDING;
use carat::internals::{
    CacheBits, DeviceChoice, Error, LogitsHash, Model, Session, SessionOptions, Verify, Want,
};
use carat_tests::rng::Rng;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((device, runs)) = args.split_first() else {
        return usage();
    };
    let (runs, []) = runs.as_chunks::<4>() else {
        return usage();
    };
    let opened = match pollster::block_on(Opened::new(device)) {
        Ok(opened) => opened,
        Err(e) => return failed(&e),
    };
    for [model, batch, tokens, kv] in runs {
        let (Ok(batch), Ok(tokens)) = (batch.parse(), tokens.parse()) else {
            return usage();
        };
        let kind = kv.parse().ok().and_then(|i: usize| CacheBits::ALL.get(i));
        let Some(cache) = kind else {
            return usage();
        };
        match pollster::block_on(run(&opened, Path::new(model), [batch, tokens], *cache)) {
            Ok(line) => println!("{line}"),
            Err(e) => return failed(&e),
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: logits_hash DEVICE (MODEL BATCH TOKENS KV)...; BATCH, TOKENS and KV are numbers"
    );
    ExitCode::from(2)
}

fn failed(e: &Error) -> ExitCode {
    eprintln!("error: {e}");
    ExitCode::FAILURE
}

/// The device of every run.
struct Opened {
    choice: DeviceChoice,
    #[cfg(feature = "gpu")]
    gpu: Option<carat::internals::device::Gpu>,
}

impl Opened {
    async fn new(device: &str) -> Result<Self, Error> {
        let choice = match device {
            "cpu" => DeviceChoice::Cpu,
            name => DeviceChoice::GpuNamed(name.into()),
        };
        Ok(Self {
            #[cfg(feature = "gpu")]
            gpu: carat::internals::device::choose(&choice, DEFAULT_BINDING).await?,
            choice,
        })
    }

    async fn session(&self, model: Arc<Model>, options: &SessionOptions) -> Result<Session, Error> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = &self.gpu {
            return Session::on(model, options, gpu.clone()).await;
        }
        Session::new(model, options).await
    }
}

/// A batch of 0 decodes token by token after a first batch of 5.
async fn run(
    opened: &Opened,
    model: &Path,
    [batch, count]: [u32; 2],
    cache: CacheBits,
) -> Result<String, Error> {
    let model = Arc::new(Model::open(model, Verify::Hashes)?);
    let size = if batch == 0 { 5 } else { batch };
    let options = SessionOptions {
        device: opened.choice.clone(),
        context: count,
        batch: Some(size),
        outputs: size,
        cache,
        ..Default::default()
    };
    let mut session = opened.session(model.clone(), &options).await?;
    let mut rng = Rng(20_26);
    let vocab = u64::from(model.spec().vocab_size);
    let tokens: Vec<u32> = (0..count).map(|_| rng.below(vocab) as u32).collect();
    let mut hash = LogitsHash::new(session.logits_exponent());
    let mut positions = 0u32;
    let mut take = |o: carat::internals::Output<'_>| {
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

use super::{Args, CPU, Contestant};
use anyhow::Result;
use carat::internals::{DeviceChoice, Model, Session, SessionOptions, Verify, Want};
use std::sync::Arc;

pub struct Carat {
    session: Session,
    batch: usize,
}

impl Carat {
    pub fn load(args: &Args, mapped: bool) -> Result<Self> {
        let load = if mapped { Model::open } else { Model::read };
        let model = Arc::new(load(&args.model, Verify::Structure)?);
        let options = SessionOptions {
            device: match args.device.as_str() {
                CPU => DeviceChoice::Cpu,
                name => DeviceChoice::GpuNamed(name.into()),
            },
            context: args.context,
            threads: Some(args.threads),
            ..SessionOptions::default()
        };
        let session = pollster::block_on(Session::new(model, &options))?;
        let batch = session.plan().extent.batch as usize;
        Ok(Self { session, batch })
    }
}

impl Contestant for Carat {
    fn truncate(&mut self, len: usize) -> Result<()> {
        self.session.truncate(len);
        Ok(())
    }

    fn prompt(&mut self, tokens: &[u32]) -> Result<()> {
        let batches = tokens.len().div_ceil(self.batch);
        for (i, tokens) in tokens.chunks(self.batch).enumerate() {
            let last = i + 1 == batches;
            let want = if last {
                Want::LastResult
            } else {
                Want::From(tokens.len())
            };
            let mut ignore = |_: carat::internals::Output<'_>| {};
            pollster::block_on(self.session.forward(tokens, want, &mut ignore))?;
        }
        Ok(())
    }

    fn bytes_per_token(&self) -> Option<u64> {
        Some(self.session.plan().decode_weight_bytes())
    }

    fn vocab(&self) -> u32 {
        self.session.model().spec().vocab_size
    }
}

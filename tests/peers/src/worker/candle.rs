use super::{Args, Contestant};
use anyhow::{Context, Result, bail};
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use std::fs::File;
use std::io::BufReader;

pub struct Candle {
    model: ModelWeights,
    vocab: u32,
    len: usize,
}

impl Candle {
    pub fn load(args: &Args) -> Result<Self> {
        // candle and the products that it leaves to the crate gemm ask this pool how many threads there are.
        rayon::ThreadPoolBuilder::new()
            .num_threads(args.threads)
            .build_global()?;
        let mut file = BufReader::new(File::open(&args.model)?);
        let content = Content::read(&mut file)?;
        let vocab = content.metadata.get("llama.vocab_size");
        let vocab = vocab
            .context("the file has no llama.vocab_size")?
            .to_u32()?;
        let model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
        Ok(Self {
            model,
            vocab,
            len: 0,
        })
    }
}

impl Contestant for Candle {
    fn truncate(&mut self, len: usize) -> Result<()> {
        // A prompt at position 0 empties its cache; it keeps no part of one.
        if len != 0 {
            bail!("candle keeps no part of a text");
        }
        self.len = 0;
        Ok(())
    }

    fn prompt(&mut self, tokens: &[u32]) -> Result<()> {
        let tokens = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = self.model.forward(&tokens, self.len)?;
        self.len += tokens.dim(1)?;
        std::hint::black_box(logits.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    fn vocab(&self) -> u32 {
        self.vocab
    }
}

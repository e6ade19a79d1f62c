//! LoRA adapters.

use crate::values::{self, Lora};
use clap::Args;

/// What is added to a model.
#[derive(Args, Clone, Debug, Default)]
pub struct LoraArgs {
    /// Add a LoRA adapter: a directory of PEFT or a GGUF file, and :S for its strength, from -16 to 16 [default: 1]. May be
    /// given several times
    #[arg(long, value_name = "FILE[:S]", value_parser = values::lora, help_heading = "Adapters")]
    pub lora: Vec<Lora>,
}

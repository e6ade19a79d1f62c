//! How tokens are chosen: the model's settings, then the user's flags.

use crate::args::SamplingArgs;
use crate::failure::Usage;
use crate::input;
use anyhow::Result;
use carat::Model;
use carat::sample::Params;

/// The model's settings where it has some, then the user's.
///
/// Errors: flags that are out of range (a [`Usage`] error), a header that cannot be read.
pub fn params(args: &SamplingArgs, model: &Model) -> Result<Params> {
    let mut params = Params {
        seed: args.seed,
        ..input::sampling(model)?
    };
    let set = |field: &mut f32, value: Option<f32>| *field = value.unwrap_or(*field);
    set(&mut params.temperature, args.temp);
    set(&mut params.top_p, args.top_p);
    set(&mut params.min_p, args.min_p);
    set(&mut params.repeat_penalty, args.repeat_penalty);
    params.top_k = args.top_k.unwrap_or(params.top_k);
    params.validate().map_err(|e| Usage(e.to_string()))?;
    Ok(params)
}

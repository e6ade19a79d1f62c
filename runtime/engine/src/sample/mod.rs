//! From logits to a token: biases and penalties, filters, temperature, one draw.
//!
//! The order is that of [`Sampler::sample_among`]'s body, where each step has one line; `docs/sampling.md` lists it.
//! The same inputs give the same token on every platform: the only floating-point operations are IEEE
//! `+ - * /` on `f64` and `libm`; every weight is then a fixed-point integer, so that sums do not
//! depend on an order, and the draw is an integer comparison. Greedy decoding without a repetition penalty uses
//! integers only; a bias, and what DRY, presence and frequency penalties take from a logit, is an integer in the logits'
//! unit. [`TokenMetrics`] are reports: nothing reads them back.

mod adaptive;
mod counts;
mod dry;
mod filters;
mod metrics;
mod mirostat;
mod params;
mod ranges;
mod sampler;
mod shifts;
mod sigma;
mod spread;
mod state;
mod temperature;
mod typical;
mod xtc;

pub use filters::{Candidate, Candidates, MAX_EXPONENT, WEIGHT_ONE};
pub use metrics::{Alternative, TokenMetrics};
pub use params::{LogitBias, Params};
pub use ranges::ParamError;
pub use sampler::{SampleError, Sampler, argmax};
pub use state::{SamplerState, StateError};

//! From logits to a token: penalty, filters, temperature, one draw.
//!
//! Steps and their order: logit bias with DRY, mask, and as in llama.cpp repetition penalty, top-k, top-p, min-p,
//! temperature, draw.
//! The same inputs give the same token on every platform: the only floating-point operations are IEEE
//! `+ - * /` on `f64` and `libm::exp`; every weight is then a fixed-point integer, so that sums do not
//! depend on an order, and the draw is an integer comparison. Greedy decoding without a penalty uses
//! integers only; a bias, and what DRY takes from a logit, is an integer in the logits' unit. [`TokenMetrics`] are reports: nothing reads
//! them back.

mod dry;
mod filters;
mod metrics;
mod params;
mod sampler;

pub use filters::{Candidate, Candidates, MAX_EXPONENT, WEIGHT_ONE};
pub use metrics::{Alternative, TokenMetrics};
pub use params::{LogitBias, ParamError, Params};
pub use sampler::{SampleError, Sampler, argmax};

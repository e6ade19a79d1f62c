//! Vectors with which a file proves a device, and the probe that fixes the residual stream's unit.

use crate::error::Error;
use crate::sample::{Params, Sampler};
use crate::session::{Checksum, Output, Session, Want};
use carat_format::keys::{GOLDEN_POSITIONS, GOLDEN_PROMPT_LEN};

/// A prompt and the checksum of the logits at each position of it and of the greedy tokens after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Golden {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// Checksums by position.
    pub checksums: Vec<Checksum>,
}

/// Tokens of the probing text.
const PROBE_TOKENS: usize = 96;
/// Head-room of the residual stream over the probe's largest magnitude, as a power of two.
const HEAD_ROOM_BITS: i32 = 4;

impl Golden {
    /// Runs `prompt` and greedy tokens from an empty session; fewer positions where the context is shorter.
    /// `cancelled` is asked before each pass.
    ///
    /// Errors: as [`Session::forward`], or cancelled.
    pub async fn run(
        session: &mut Session,
        prompt: &[u32],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        session.truncate(0);
        let positions = GOLDEN_POSITIONS.min(session.context() as usize);
        let prompt = &prompt[..prompt.len().min(positions)];
        let mut checksums = Vec::with_capacity(positions);
        let mut next = 0;
        session
            .forward(prompt, Want::From(0), &mut |o| {
                checksums.push(o.checksum);
                next = o.argmax;
            })
            .await?;
        while checksums.len() < positions && !prompt.is_empty() {
            if cancelled() {
                return Err(Error::Cancelled);
            }
            session
                .forward(&[next], Want::LastResult, &mut |o| {
                    checksums.push(o.checksum);
                    next = o.argmax;
                })
                .await?;
        }
        Ok(Self {
            prompt: prompt.to_vec(),
            checksums,
        })
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The model's own text: the start of it serves as golden prompt.
    pub tokens: Vec<u32>,
    /// Exponent of the residual stream: the largest magnitude times 16 fits 31 bits.
    pub residual_exponent: i32,
}

impl Probe {
    /// Samples a text from an empty session (temperature 1, fixed seed), starting with `start`.
    ///
    /// The session's own residual exponent must leave room: saturation makes the text, not the run, worse.
    /// `cancelled` is asked before each pass. Errors: as [`Session::forward`], or cancelled.
    pub async fn run(
        session: &mut Session,
        start: u32,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        session.truncate(0);
        let params = Params {
            temperature: 1.0,
            top_k: 0,
            top_p: 0.95,
            min_p: 0.0,
            ..Params::default().repeating()
        };
        let mut sampler = Sampler::new(params).ok();
        let exponent = session.logits_exponent();
        let mut tokens = vec![start];
        let length = PROBE_TOKENS.min(session.context() as usize);
        while tokens.len() <= length {
            if cancelled() {
                return Err(Error::Cancelled);
            }
            let last = tokens[tokens.len() - 1];
            let mut next = None;
            let mut choose = |o: Output<'_>| {
                let sampler = sampler.as_mut();
                let sampled = sampler.and_then(|s| s.sample(o.logits, exponent, &tokens).ok());
                next = Some(sampled.unwrap_or(o.argmax));
            };
            session.forward(&[last], Want::Last, &mut choose).await?;
            let Some(next) = next else { break };
            tokens.push(next);
        }
        tokens.truncate(GOLDEN_PROMPT_LEN.max(length));
        let (_, max) = session.residual_stats().await?;
        let unit = session.model().spec().residual_exponent;
        let bits = 32 - max.leading_zeros() as i32;
        let residual_exponent = (unit + bits + HEAD_ROOM_BITS - 31).clamp(-31, 16);
        Ok(Self {
            tokens,
            residual_exponent,
        })
    }
}

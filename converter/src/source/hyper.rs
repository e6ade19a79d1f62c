//! Checks of a model's hyper-parameters, and how a source whose blocks are alike says them.

use super::SourceError;
use super::rope::Rope;
use carat_format::model::{Attention, Block, FeedForward, Gated, Mixer, Reals};
use carat_format::{FormatError, Hyper, bounds};
use std::path::Path;

/// What all blocks of a model have but for their window and rotary table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Uniform {
    pub attention: Attention<Reals>,
    pub gated: Gated,
}

impl Uniform {
    /// So many blocks.
    ///
    /// # Errors
    /// No block, or more than a model may have; `path` is named.
    pub fn blocks(&self, path: &Path, count: u32) -> Result<Vec<Block<Reals>>, SourceError> {
        block_count(path, count)?;
        let block = Block {
            mixer: Some(Mixer::Attention(self.attention)),
            feed_forward: Some(FeedForward::Gated(self.gated)),
        };
        Ok(vec![block; count as usize])
    }
}

/// The number of blocks, of as many as a model may have; `path` is named in the error.
pub(super) fn block_count(path: &Path, count: u32) -> Result<u32, SourceError> {
    if (1..=bounds::MAX_BLOCKS).contains(&count) {
        return Ok(count);
    }
    Err(SourceError::Value {
        path: path.into(),
        field: "the number of blocks".into(),
        found: count.to_string(),
        expected: format!("1 to {}", bounds::MAX_BLOCKS),
    })
}

/// Gives the blocks of the kind that has a window, which are `windowed`, the window where there is one, and the rotary
/// table of their kind. Returns the tables that are needed.
pub(super) fn tables(hyper: &mut Hyper, ropes: [Rope; 2], windows: Windows) -> Vec<Rope> {
    let [full, local] = ropes;
    let (windowed, context) = (&windows.blocks, hyper.context_length);
    let window = windows.length.filter(|w| *w < context);
    let two = full != local && windowed.contains(&true) && windowed.contains(&false);
    for (block, windowed) in hyper.blocks.iter_mut().zip(windowed) {
        if let Some(a) = block.attention_mut() {
            a.rope = u32::from(two && *windowed);
            a.window = window.filter(|_| *windowed);
        }
    }
    match two {
        true => vec![full, local],
        false if windowed.first() == Some(&true) => vec![local],
        false => vec![full],
    }
}

/// Which blocks are of the kind that has a window, and its length, where there is one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Windows {
    pub blocks: Vec<bool>,
    pub length: Option<u32>,
}

/// Checks the shape and ε; `path` is named in the error.
pub(super) fn check(hyper: &Hyper, path: &Path) -> Result<(), SourceError> {
    let value = |field: String, found: String, expected: String| SourceError::Value {
        path: path.into(),
        field,
        found,
        expected,
    };
    match hyper.check() {
        Ok(()) => {}
        Err(FormatError::Range {
            field,
            found,
            expected,
        }) => return Err(value(field, found, expected)),
        Err(error) => {
            let path = path.into();
            return Err(SourceError::Carat { path, error });
        }
    }
    // The integer format holds ε·D down to 2^-96; a larger ε than 1 is no model's.
    if !(hyper.epsilon >= 0.0 && hyper.epsilon <= 1.0) {
        let field = "the epsilon of RMSNorm".into();
        return Err(value(field, hyper.epsilon.to_string(), "0 to 1".into()));
    }
    Ok(())
}

/// Checks the rotary tables and the attention's scale; `path` is named in the error.
pub(super) fn check_tables(hyper: &Hyper, path: &Path) -> Result<(), SourceError> {
    let error = |field: &str, found: f64, expected: &str| SourceError::Value {
        path: path.into(),
        field: field.into(),
        found: found.to_string(),
        expected: expected.into(),
    };
    for a in hyper.blocks.iter().filter_map(Block::attention) {
        if !(a.scale.is_finite() && a.scale > 0.0) {
            return Err(error("the attention's scale", a.scale, "a positive number"));
        }
    }
    let mut angles = hyper.rope_tables.iter().flatten();
    match angles.find(|w| !w.is_finite()) {
        Some(w) => Err(error("a rotary frequency", *w, "a finite number")),
        None => Ok(()),
    }
}

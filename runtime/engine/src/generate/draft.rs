//! Tokens that a smaller model proposes: speculative decoding (Leviathan et al. 2023, Chen et al. 2023).
//!
//! The proposals are the smaller model's likeliest tokens. The larger one computes them in one pass with the pending one, and each is
//! checked as if it had been chosen alone, whatever the sampler is: a proposal can never change a token, only save a pass. How many
//! are proposed follows from how many were right.

use super::{Generator, Room};
use crate::error::Error;
use crate::model::Model;
use crate::session::{DeviceChoice, Loaded, Output, Part, Sequence, SessionOptions};
use carat_text::tokenizer::Tokenizer;
use std::sync::Arc;

/// Tokens proposed at first.
const FIRST: usize = 3;
/// Proposals wrong from their first token on, one after another, after which there is a pause.
const PATIENCE: u32 = 3;
/// The longest pause: so many tokens are 2 to this power.
const LONGEST_PAUSE: u32 = 6;

/// A smaller model of the same vocabulary, on the CPU.
pub struct Drafter {
    loaded: Loaded,
    /// Most tokens of a proposal.
    most: usize,
}

/// What a drafter keeps of one text.
pub struct Draft {
    sequence: Sequence,
    /// Tokens that are proposed next.
    wanted: usize,
    /// Proposals wrong from their first token on.
    wrong: u32,
    /// Tokens without a proposal.
    pause: u32,
    /// What the generator had counted before the last proposal.
    counted: (u64, u64),
}

impl Drafter {
    /// Loads the smaller model, for texts of a larger one.
    ///
    /// Errors: another vocabulary, a model without a head, as of [`Loaded::new`].
    pub async fn new(
        model: Arc<Model>,
        larger: &Model,
        options: &SessionOptions,
        most: usize,
    ) -> Result<Self, Error> {
        model.check_head()?;
        same_vocabulary(&model, larger)?;
        let loaded = Loaded::new(model, options).await?;
        Ok(Self { loaded, most })
    }

    /// A session for it beside one of the larger model: on the CPU, for as many texts of as many positions.
    pub fn options(larger: &SessionOptions) -> SessionOptions {
        SessionOptions {
            device: DeviceChoice::Cpu,
            outputs: larger.sequences,
            spare: 0,
            adapters: Vec::new(),
            memory_limit: None,
            ..larger.clone()
        }
    }

    /// For a text that begins.
    pub fn draft(&self) -> Draft {
        Draft {
            sequence: self.loaded.sequence(),
            wanted: FIRST.min(self.most),
            wrong: 0,
            pause: 0,
            counted: (0, 0),
        }
    }

    /// Most tokens of a proposal.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The smaller model.
    pub fn model(&self) -> &Arc<Model> {
        self.loaded.model()
    }

    /// Gives a generation whose tokens so far are `history`, beside the pending one, tokens to be computed in advance, as far as a
    /// pass has room for them. Nothing where it would not gain.
    ///
    /// Errors: a device's failure.
    pub async fn propose(
        &mut self,
        draft: &mut Draft,
        generator: &mut Generator,
        history: &[u32],
        room: Room,
    ) -> Result<(), Error> {
        let most = generator.room_for_drafts(room);
        if most == 0 {
            return Ok(());
        }
        // Whatever was proposed before is checked by now.
        draft.learn(generator.drafted(), self.most);
        let count = most.min(draft.wanted);
        if draft.pause > 0 {
            draft.pause -= 1;
            return Ok(());
        }
        let pending = generator.pending_tokens();
        let len = history.len() + pending.len();
        if len + count > self.loaded.plan().extent.context as usize {
            return Ok(());
        }
        let text = history.iter().chain(pending).copied();
        let same = draft.sequence.tokens().iter().zip(text.clone());
        let same = same.take_while(|(a, b)| **a == *b).count();
        draft.sequence.truncate(same.min(len - 1));
        let kept = draft.sequence.tokens().len();
        let mut rest: Vec<u32> = text.skip(kept).collect();
        let vocab = self.model().spec().vocab_size;
        if rest.iter().any(|id| *id >= vocab) {
            return Ok(());
        }
        let rows = self.loaded.plan().extent.batch as usize;
        let mut proposal = Vec::with_capacity(count);
        while rest.len() > rows {
            let piece: Vec<u32> = rest.drain(..rows).collect();
            self.pass(draft, &piece, 0).await?;
        }
        while let Some(next) = self.pass(draft, &rest, 1).await? {
            proposal.push(next);
            if proposal.len() == count {
                break;
            }
            rest = vec![next];
        }
        generator.propose(proposal);
        Ok(())
    }

    /// A pass of the smaller model: the likeliest token behind, if it is asked for.
    async fn pass(
        &mut self,
        draft: &mut Draft,
        tokens: &[u32],
        outputs: usize,
    ) -> Result<Option<u32>, Error> {
        let mut parts = [Part {
            sequence: &mut draft.sequence,
            tokens,
            outputs,
        }];
        let mut found = None;
        let mut sink = |_: usize, o: Output<'_>| found = Some(o.argmax);
        self.loaded.pass(&mut parts, false, &mut sink).await?;
        Ok(found)
    }
}

impl Draft {
    /// After a proposal was checked: `counted` are tokens proposed and right ones so far.
    fn learn(&mut self, counted: (u64, u64), most: usize) {
        let proposed = counted.0 - self.counted.0;
        let right = (counted.1 - self.counted.1) as usize;
        self.counted = counted;
        if proposed == 0 {
            return;
        }
        self.wanted = match right as u64 == proposed {
            true => (self.wanted + 2).min(most),
            false => (right + 1).min(most),
        };
        self.wrong = if right == 0 { self.wrong + 1 } else { 0 };
        if self.wrong >= PATIENCE {
            self.pause = 1 << (self.wrong - PATIENCE + 2).min(LONGEST_PAUSE);
        }
    }
}

/// Errors: a token of another text, or one that ends a text there alone.
fn same_vocabulary(model: &Model, larger: &Model) -> Result<(), Error> {
    let (a, b) = (model.tokenizer()?, larger.tokenizer()?);
    // Rows of an embedding beyond the tokenizer's tokens have no text.
    let tokens = model.spec().vocab_size.max(larger.spec().vocab_size);
    let other = (0..tokens).find(|id| {
        let same = a.decode_bytes(*id, true) == b.decode_bytes(*id, true);
        !same || a.is_end(*id) != b.is_end(*id)
    });
    let Some(id) = other else {
        return Ok(());
    };
    let text = |t: &Tokenizer| String::from_utf8_lossy(t.decode_bytes(id, true)).into_owned();
    Err(Error::Vocabulary(match text(a) == text(b) {
        true => format!("token {id} ends a text of one of them alone"),
        false => format!("token {id} is {:?} there, {:?} here", text(a), text(b)),
    }))
}

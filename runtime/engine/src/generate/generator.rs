//! A generation, one step at a time.

use super::lookup::Lookup;
use super::steps::{Advance, Demand, Held, Outputs, Place, Room, Step};
use super::{Forcing, GenerateError, GenerateOptions, Generation};
use crate::error::Error;
use crate::sample::{Sampler, TokenMetrics};
use crate::session::{Checksum, LogitsHash, Session, Want};
use carat_text::constraint::{Constraint, Mask};
use carat_text::stop::{StopReason, StopStrings};
use carat_text::tokenizer::Tokenizer;
use carat_text::utf8::Utf8Stream;
use std::collections::VecDeque;

/// A generation between its steps. It holds no session: a step that fails by its device can be taken again with another
/// session that holds the same tokens, and the text goes on as if nothing had happened.
#[derive(Clone)]
pub struct Generator {
    pub(super) options: GenerateOptions,
    pub(super) sampler: Sampler,
    stops: StopStrings,
    /// Control tokens that stop strings name, which have no text, with the strings' indices.
    stop_ids: Vec<(u32, usize)>,
    utf8: Utf8Stream,
    pub(super) hash: LogitsHash,
    /// What the hash is made of.
    pub(super) checksums: Vec<Checksum>,
    exponent: i32,
    want: Want,
    /// What the last demand wanted, and the tokens that may follow.
    asked: Want,
    mask: Option<Mask>,
    /// What was computed and nothing was chosen from yet.
    outputs: Outputs,
    /// Tokens behind the pending one that were computed in advance: one fewer than outputs.
    pub(super) drafts: VecDeque<u32>,
    /// The next output is behind a draft that was right.
    checks: bool,
    lookup: Lookup,
    /// What another model proposes behind the pending token.
    proposal: Vec<u32>,
    /// Whether the drafts under way are its.
    proposed_by_other: bool,
    /// Tokens proposed, and right ones.
    counts: (u64, u64),
    /// Tokens of the prompt.
    total: usize,
    /// Tokens that the session does not hold yet.
    pub(super) pending: Vec<u32>,
    pub(super) ids: Vec<u32>,
    text: String,
    reason: Option<StopReason>,
    forcing: Option<Box<dyn Forcing>>,
}

impl Generator {
    /// The start of a generation that continues the session with `prompt`; `constrained` if its steps get a constraint.
    ///
    /// Errors: a model without a head, an empty prompt, one longer than the context, a parameter outside its range.
    pub fn new(
        session: &Session,
        prompt: &[u32],
        options: &GenerateOptions,
        constrained: bool,
    ) -> Result<Self, GenerateError> {
        Self::at(Place::of(session), prompt, options, constrained)
    }

    /// The same at a place that is no session's.
    ///
    /// Errors: as there.
    pub fn at(
        place: Place<'_>,
        prompt: &[u32],
        options: &GenerateOptions,
        constrained: bool,
    ) -> Result<Self, GenerateError> {
        let Place {
            model,
            exponent,
            used,
            context,
        } = place;
        model.check_head()?;
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if prompt.len() > (context as usize).saturating_sub(used) {
            let asked = prompt.len();
            return Err(Error::ContextFull {
                asked,
                used,
                context,
            }
            .into());
        }
        let control_id = |(index, text): (usize, &String)| {
            let tokenizer = model.tokenizer().ok()?;
            Some((tokenizer.control_id(text)?, index))
        };
        let stop_ids = options.stops.iter().enumerate();
        let stop_ids = stop_ids.filter_map(control_id).collect();
        // Greedy choice among all tokens needs the arg-max alone, which the device finds.
        let argmax_only =
            options.sampling.takes_likeliest() && options.metrics.is_none() && !constrained;
        Ok(Self {
            sampler: Sampler::new(options.sampling.clone())?,
            stops: StopStrings::new(options.stops.clone())?,
            stop_ids,
            options: options.clone(),
            utf8: Utf8Stream::new(),
            hash: LogitsHash::new(exponent),
            checksums: Vec::new(),
            exponent,
            want: if argmax_only {
                Want::Greedy
            } else {
                Want::Last
            },
            asked: Want::Last,
            mask: None,
            outputs: Outputs::default(),
            drafts: VecDeque::new(),
            checks: false,
            lookup: Lookup::new(options.lookup),
            proposal: Vec::new(),
            proposed_by_other: false,
            counts: (0, 0),
            total: prompt.len(),
            pending: prompt.to_vec(),
            ids: Vec::new(),
            text: String::new(),
            reason: None,
            forcing: None,
        })
    }

    /// The first `tokens` tokens of the prompt are computed already, all but the last at most.
    pub fn skip(&mut self, tokens: usize) {
        let tokens = tokens.min(self.pending.len().saturating_sub(1));
        self.pending.drain(..tokens);
        self.total -= tokens;
    }

    /// Lets `forcing` decide tokens, as where reasoning takes more of them than it may.
    pub fn force(&mut self, forcing: Box<dyn Forcing>) {
        self.forcing = Some(forcing);
    }

    /// Computes a part of the prompt, or chooses a token.
    ///
    /// Errors: a device's failure, after which the step may be taken again; a limit of the constraint, no token that fits.
    pub async fn step(
        &mut self,
        session: &mut Session,
        mut constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Step, GenerateError> {
        let model = session.model().clone();
        let tokenizer = model.tokenizer().map_err(GenerateError::from)?;
        loop {
            let follow = constraint.as_deref_mut();
            let Advance { step, cut } = self.advance(tokenizer, session.tokens(), follow)?;
            if cut > 0 {
                session.truncate(session.tokens().len() - cut);
            }
            if let Some(step) = step {
                return Ok(step);
            }
            let room = Room::of(session);
            let follow = constraint.as_deref_mut();
            let demand = self.demand(tokenizer, session.tokens(), room, follow)?;
            let Some(Demand { tokens, want, .. }) = demand else {
                return Ok(Step::End);
            };
            let fed = tokens.len();
            let (tokens, _, rows) = self.parts(fed);
            session
                .forward(tokens, want, &mut |o| rows.push(&o))
                .await?;
            if let Some(step) = self.fed(fed) {
                return Ok(step);
            }
        }
    }

    /// The tokens that are to be computed next, and what is wanted of them; `None` if the generation has ended. `history` has the
    /// tokens of the sequence. A demand may be asked for again, until [`Generator::fed`] says that it was met.
    ///
    /// Errors: a limit of the constraint.
    pub fn demand(
        &mut self,
        tokenizer: &Tokenizer,
        history: &[u32],
        room: Room,
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Option<Demand<'_>>, GenerateError> {
        // Of a demand that was not met.
        let drafts = self.drafts.len();
        self.pending.truncate(self.pending.len() - drafts);
        self.drafts.clear();
        if self.reason.is_some() {
            return Ok(None);
        }
        if self.pending.len() > room.rows {
            return Ok(Some(Demand {
                tokens: &self.pending[..room.rows],
                want: Want::From(room.rows),
                outputs: 0,
            }));
        }
        if !self.prepare(tokenizer, room.positions, constraint)? {
            return Ok(None);
        }
        let most = self.most_drafts(room);
        let mut drafts = self.lookup.drafts(history, &self.pending, most);
        self.proposed_by_other = drafts.is_empty();
        if drafts.is_empty() {
            drafts.extend(self.proposal.iter().take(most));
        }
        self.pending.extend(&drafts);
        self.drafts.extend(drafts);
        let first = self.pending.len() - 1 - self.drafts.len();
        let want = match (self.asked, self.drafts.len()) {
            (want, 0) => want,
            (Want::Greedy | Want::LastResult, _) => Want::FromResult(first),
            _ => Want::From(first),
        };
        Ok(Some(Demand {
            tokens: &self.pending[..],
            want,
            outputs: 1 + self.drafts.len(),
        }))
    }

    /// Tokens that a pass may compute behind the pending ones.
    fn most_drafts(&self, room: Room) -> usize {
        let left = self.options.max_tokens - self.ids.len();
        let most = (room.outputs.min(room.rows).min(room.positions)).min(left);
        // The last token needs no pass of its own.
        most.saturating_sub(self.pending.len().max(1))
    }

    /// How many tokens another model may propose now: none where something is to be chosen from already, nor before the first
    /// token.
    pub fn room_for_drafts(&self, room: Room) -> usize {
        let begun = !self.ids.is_empty() && self.pending.len() == 1;
        match begun && self.outputs.queue.is_empty() && !self.has_ended() {
            true => self.most_drafts(room),
            false => 0,
        }
    }

    /// Lets the next demand compute tokens in advance that another model proposes, where the text itself proposes none.
    pub fn propose(&mut self, tokens: Vec<u32>) {
        self.proposal = tokens;
    }

    /// Whether another token is to be chosen, and from what.
    fn prepare(
        &mut self,
        tokenizer: &Tokenizer,
        room: usize,
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<bool, GenerateError> {
        if self.ids.len() >= self.options.max_tokens {
            self.reason = Some(StopReason::Length);
            return Ok(false);
        }
        if self.pending.len() > room {
            self.reason = Some(StopReason::Context);
            return Ok(false);
        }
        self.mask = None;
        if let Some(constraint) = constraint {
            let mut mask = constraint.mask()?;
            if let Some(mask) = mask.as_mut().filter(|_| self.options.ignore_end) {
                tokenizer.ends().for_each(|id| mask.remove(id));
            }
            if mask.as_ref().is_none_or(|m| m.is_empty()) {
                self.reason = Some(StopReason::Complete);
                return Ok(false);
            }
            self.mask = mask;
        }
        self.asked = match self.want {
            // A loop can make another token than the likeliest the best one.
            Want::Greedy if self.sampler.avoids_one_after(&self.ids) => Want::Last,
            // After the last token no pass is needed.
            Want::Greedy if self.ids.len() + 1 >= self.options.max_tokens => Want::LastResult,
            want => want,
        };
        Ok(true)
    }

    /// The first `fed` tokens of a demand, how many of its last ones give outputs, and where those go.
    pub fn parts(&mut self, fed: usize) -> (&[u32], usize, &mut Outputs) {
        let fed = fed.min(self.pending.len());
        let outputs = match fed == self.pending.len() {
            true => 1 + self.drafts.len(),
            false => 0,
        };
        self.outputs.clear();
        (&self.pending[..fed], outputs, &mut self.outputs)
    }

    /// The first `fed` tokens of a demand were computed. A step if they are a part of the prompt; otherwise
    /// [`Generator::advance`] has some.
    pub fn fed(&mut self, fed: usize) -> Option<Step> {
        if fed < self.pending.len() {
            self.pending.drain(..fed);
            return Some(Step::Prompt {
                done: self.total - self.pending.len(),
                total: self.total,
            });
        }
        self.checks = false;
        self.proposal.clear();
        self.counts.0 += self.drafts.len() as u64;
        None
    }

    /// Chooses a token, if an output is there. `history` has all tokens of the sequence, of which the last [`Advance::cut`] then
    /// must go.
    ///
    /// Errors: a limit of the constraint, no token that fits.
    pub fn advance(
        &mut self,
        tokenizer: &Tokenizer,
        history: &[u32],
        mut constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Advance, GenerateError> {
        if self.outputs.queue.is_empty() {
            return Ok(Advance::default());
        }
        // Behind a draft that was right the sequence holds the token already: what a demand would have asked is asked now.
        if self.checks {
            let follow = constraint.as_deref_mut();
            let goes_on = self.reason.is_none() && self.prepare(tokenizer, usize::MAX, follow)?;
            let lacks = matches!(self.asked, Want::Last) && !self.outputs.have_logits();
            if !goes_on || lacks {
                let cut = self.outputs.queue.len();
                self.outputs.clear();
                self.drafts.clear();
                let step = (!goes_on).then_some(Step::End);
                return Ok(Advance { step, cut });
            }
        }
        let history = &history[..history.len() - self.drafts.len()];
        let step = self.choose(tokenizer, history, constraint)?;
        let id = self.pending.first().copied();
        let mut cut = 0;
        if self.reason.is_none() && id.is_some() && self.drafts.front().copied() == id {
            self.drafts.pop_front();
            self.counts.1 += 1;
            if !self.proposed_by_other {
                self.lookup.was_right();
            }
            self.checks = true;
        } else {
            cut = self.drafts.len();
            if !self.proposed_by_other {
                self.lookup.was_wrong(cut);
            }
            self.drafts.clear();
            self.outputs.clear();
        }
        let step = Some(step);
        Ok(Advance { step, cut })
    }

    /// Chooses a token from the first output.
    fn choose(
        &mut self,
        tokenizer: &Tokenizer,
        history: &[u32],
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Step, GenerateError> {
        let Some(Held { row, logits }) = self.outputs.queue.pop_front() else {
            return Ok(Step::End);
        };
        self.hash.push(row.checksum);
        self.checksums.push(row.checksum);
        let forced = self.forcing.as_mut().and_then(|f| f.next(tokenizer));
        let id = if let Some(id) = forced {
            id
        } else if matches!(self.asked, Want::Greedy | Want::LastResult) {
            row.argmax
        } else {
            // The history is the whole sequence, so a penalty sees the prompt too.
            let (generated, mask) = (self.ids.len(), self.mask.as_ref());
            self.sampler
                .sample_among(&logits, self.exponent, history, generated, mask)?
        };
        let metrics = self
            .options
            .metrics
            .and_then(|top| TokenMetrics::new(row.position + 1, id, &logits, self.exponent, top));
        self.outputs.free.push(logits);
        let text = self.take(tokenizer, id, constraint)?;
        Ok(Step::Token { id, text, metrics })
    }

    /// A token was chosen: what becomes certain by it, and whether the text ends with it.
    ///
    /// Errors: a limit of the constraint.
    pub(super) fn take(
        &mut self,
        tokenizer: &Tokenizer,
        id: u32,
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<String, GenerateError> {
        self.ids.push(id);
        self.pending.clear();
        self.pending.push(id);
        if let Some(constraint) = constraint {
            constraint.accept(id)?;
        }
        let ends = !self.options.ignore_end && tokenizer.is_end(id);
        let text = if ends {
            String::new()
        } else {
            let shown = self.options.shown.contains(&id);
            let bytes = tokenizer.decode_bytes(id, shown);
            self.stops.push(&self.utf8.push(bytes))
        };
        self.text.push_str(&text);
        if let Some(forcing) = &mut self.forcing {
            forcing.read(&text);
        }
        self.reason = if ends {
            Some(StopReason::End { id })
        } else {
            let named = self.stop_ids.iter().find(|stop| stop.0 == id);
            let hit = self.stops.hit().or(named.map(|stop| stop.1));
            hit.map(|index| StopReason::StopString { index })
        };
        Ok(text)
    }

    /// How many tokens were proposed in advance, and how many of them were right.
    pub fn drafted(&self) -> (u64, u64) {
        self.counts
    }

    /// Tokens that are not computed yet.
    pub fn pending_tokens(&self) -> &[u32] {
        &self.pending[..self.pending.len() - self.drafts.len()]
    }

    /// How many tokens are not computed yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether no further token comes.
    pub fn has_ended(&self) -> bool {
        self.reason.is_some() || self.ids.len() >= self.options.max_tokens
    }

    /// Ends the generation, unless it has ended already.
    pub fn cancel(&mut self) {
        self.reason.get_or_insert(StopReason::Cancelled);
    }

    /// Goes on after a limit: of a generation that had all the tokens it was to have, or was cancelled, `max_tokens` is the
    /// new most. What comes is what would have come without the end. Whatever else ended it holds.
    pub fn extend(&mut self, max_tokens: usize) {
        if let Some(StopReason::Length | StopReason::Cancelled) = self.reason {
            self.reason = None;
        }
        self.options.max_tokens = max_tokens;
    }

    /// What it was asked for.
    pub fn options(&self) -> &GenerateOptions {
        &self.options
    }

    /// The text that is certain so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tokens chosen so far.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The hash over the logits so far: see [`LogitsHash`].
    pub fn logits_hash(&self) -> String {
        self.hash.hex()
    }

    /// The generation, and text that was held back and is certain now that it has ended.
    pub fn finish(
        mut self,
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> (Generation, String) {
        let mut tail = self.stops.push(&self.utf8.flush());
        tail.push_str(&self.stops.flush());
        self.text.push_str(&tail);
        let reason = self.reason.unwrap_or({
            match self.ids.len() >= self.options.max_tokens {
                true => StopReason::Length,
                false => StopReason::Cancelled,
            }
        });
        let cut = matches!(reason, StopReason::StopString { .. });
        let generation = Generation {
            ids: self.ids,
            text: self.text,
            complete: constraint.map(|c| !cut && c.is_complete()),
            reason,
            logits_hash: self.hash.hex(),
        };
        (generation, tail)
    }
}

//! Text that goes on with a prompt.

use super::flow::Flow;
use super::part::Parts;
use super::{Cancel, Error, Format, Model, PLAIN_LENGTH, Part, Sampling};
use crate::error::Error as Fault;
use crate::sample::TokenMetrics;
use carat_text::stop::StopReason;

/// A text that goes on with a prompt, piece by piece: [`Model::generate`] makes one, and nothing is computed before its first
/// piece is asked for. Dropped, it ends.
///
/// Pieces come in a `for` loop, which waits for each, or from [`Generation::next`] where a program is asynchronous;
/// [`Generation::text`] is all of them.
///
/// ```
/// # let model = carat::Model::open(carat_examples::bundled()?)?;
/// let mut generation = model.generate("Once upon a time").sampling(carat::Sampling::greedy().max_tokens(8));
/// for piece in &mut generation {
///     print!("{}", piece?);
/// }
/// println!(" [{} tokens by {}]", generation.tokens(), generation.device());
/// # assert_eq!(generation.tokens(), 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Generation {
    flow: Flow,
    prompt: Prompt,
    sampling: Sampling,
}

enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
    /// The text has begun.
    Taken,
}

impl Generation {
    pub(super) fn of_text(model: Model, text: &str) -> Self {
        Self::new(model, Prompt::Text(text.to_owned()))
    }

    pub(super) fn of_tokens(model: Model, tokens: &[u32]) -> Self {
        Self::new(model, Prompt::Tokens(tokens.to_vec()))
    }

    fn new(model: Model, prompt: Prompt) -> Self {
        Self {
            flow: Flow::new(model),
            prompt,
            sampling: Sampling::new(),
        }
    }

    /// Chooses tokens so. To be set before the first piece.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Lets the text follow a format. To be set before the first piece.
    pub fn format(mut self, format: Format) -> Self {
        self.flow.format = format;
        self
    }

    /// Reports what the model thinks of each token, with so many of the likeliest ones: [`Generation::take_metrics`]. To be set
    /// before the first piece.
    pub fn metrics(mut self, top: usize) -> Self {
        self.flow.metrics = Some(top);
        self
    }

    /// Ends the text when `cancel` says so: what came before stays, and [`Generation::stop_reason`] is
    /// [`StopReason::Cancelled`].
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.flow.cancel = cancel.clone();
        self
    }

    /// The next piece of the text, at least one character; `None` at the end. It computes on the thread that polls it: on the CPU
    /// one poll is one piece, on a GPU it waits in between. The future stays on its thread, as it is not `Send`; a server with
    /// many threads gives a blocking `for` loop one of them. One that is dropped before it is ready ends the text.
    ///
    /// Errors: the prompt does not fit the context or is empty, a parameter is out of range, the format cannot be used, the device
    /// fails, the file is damaged. After an error nothing follows.
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        if let Err(e) = self.begin().await {
            return Some(Err(e));
        }
        let piece = self.flow.next().await;
        if !matches!(piece, Some(Ok(_))) {
            self.give_back();
        }
        match piece? {
            // Nothing tells parts of such a text apart.
            Ok(Part::Text(text) | Part::Reasoning(text)) => Some(Ok(text)),
            Ok(Part::Call(call)) => Some(Ok(call.arguments)),
            Err(e) => Some(Err(e)),
        }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let file = self.flow.model.shared.file.clone();
        let ids = match std::mem::replace(&mut self.prompt, Prompt::Taken) {
            Prompt::Taken => return Ok(()),
            Prompt::Text(text) => file.encode_prompt(&text)?,
            Prompt::Tokens(ids) => {
                let vocab = file.spec().vocab_size;
                if let Some(id) = ids.iter().copied().find(|id| *id >= vocab) {
                    return Err(Fault::Token { id, vocab }.into());
                }
                ids
            }
        };
        let options = self.sampling.options(&file, PLAIN_LENGTH, 0)?;
        let begun = self.flow.begin(None, &ids, options, Parts::default()).await;
        if begun.is_err() {
            self.give_back();
        }
        begun
    }

    fn give_back(&mut self) {
        if let Some(relay) = self.flow.release() {
            self.flow.model.give(relay);
        }
    }

    /// All of the text, waited for. Errors: as [`Generation::next`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn text(self) -> Result<String, Error> {
        self.into_iter().collect()
    }

    /// Why the text ended; `None` while it goes on, and after an error.
    pub fn stop_reason(&self) -> Option<&StopReason> {
        self.flow.outcome.reason.as_ref()
    }

    /// With a [`Format`], once the text has ended: whether it is whole. One that a limit cut is not.
    pub fn is_complete(&self) -> Option<bool> {
        self.flow.outcome.complete
    }

    /// Tokens of the prompt, once the text has begun.
    pub fn prompt_tokens(&self) -> usize {
        self.flow.outcome.prompt_tokens
    }

    /// Tokens of the text so far, the one that ended it included.
    pub fn tokens(&self) -> usize {
        self.flow.outcome.ids.len()
    }

    /// The tokens of the text so far, the one that ended it included.
    pub fn ids(&self) -> &[u32] {
        &self.flow.outcome.ids
    }

    /// What the model thought of the tokens since the last call, where [`Generation::metrics`] asks.
    pub fn take_metrics(&mut self) -> Vec<TokenMetrics> {
        std::mem::take(&mut self.flow.outcome.metrics)
    }

    /// Tokens of the prompt that were computed before, and were not again.
    pub fn cached_tokens(&self) -> usize {
        self.flow.outcome.cached_tokens
    }

    /// blake3 over everything that the tokens were chosen from, in hexadecimal, once the text has ended: equal on two devices
    /// that computed the same.
    pub fn logits_hash(&self) -> &str {
        &self.flow.outcome.logits_hash
    }

    /// What computes the text, or did; empty before the first piece.
    pub fn device(&self) -> String {
        self.flow.device()
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.give_back();
    }
}

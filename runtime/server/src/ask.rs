//! What is asked of the engine: a prompt, how it goes on, and how the answer is read.

use crate::hosted::Hosted;
use crate::refusal::{Kind, Refusal};
use carat::Format;
use carat::internals::adapter::Strength;
use carat::internals::{Forcing, GenerateOptions, Reasoning};
use carat_text::reply::{Budget, Options, Parser};

/// One text.
#[derive(Clone)]
pub struct Ask {
    /// The prompt.
    pub ids: Vec<u32>,
    /// How it goes on.
    pub options: GenerateOptions,
    /// What it follows.
    pub format: Format,
    /// What tells the parts of an answer apart; a text that goes on has none.
    pub parts: Option<Options>,
    /// Reasoning is content.
    pub raw: bool,
    /// Tokens of reasoning, at most.
    pub budget: Option<usize>,
    /// The slot whose last text it is.
    pub slot: u32,
    /// The context ends it, not a number that was asked for.
    pub fills: bool,
    /// How strongly each adapter acts; `None`: as they were loaded.
    pub strengths: Option<Vec<Strength>>,
}

impl Ask {
    /// A text of at most as many tokens as the context has room for.
    ///
    /// Errors: the prompt alone does not fit, or is empty. It is never cut.
    pub fn new(
        hosted: &Hosted,
        ids: Vec<u32>,
        mut options: GenerateOptions,
    ) -> Result<Self, Refusal> {
        let (context, tokens) = (hosted.context, ids.len());
        if tokens == 0 {
            return Err(Refusal::invalid(
                "the prompt has no tokens and the model adds none; give some text",
            )
            .at("prompt"));
        }
        if tokens > context as usize {
            let mut refusal = Refusal::new(
                Kind::ContextLength,
                format!(
                    "the prompt has {tokens} tokens, the context {context} positions; shorten it"
                ),
            );
            refusal.room = Some((tokens, context));
            return Err(refusal);
        }
        let fills = options.within(context, tokens)?;
        Ok(Self {
            ids,
            options,
            format: Format::Text,
            parts: None,
            raw: false,
            budget: None,
            slot: 0,
            fills,
            strengths: None,
        })
    }

    /// As many choices, each with a seed of its own.
    pub fn choices(self, n: usize) -> Vec<Self> {
        let mut all = vec![self; n];
        for (i, ask) in all.iter_mut().enumerate() {
            let seed = &mut ask.options.sampling.seed;
            *seed = seed.wrapping_add(i as u64);
        }
        all
    }

    /// What ends its reasoning.
    pub fn forcing(&self, hosted: &Hosted) -> Option<Box<dyn Forcing>> {
        let budget = Budget::new(hosted.dialect.syntax(), self.budget?)?;
        let reasoning = Reasoning::new(self.parser(hosted)?, budget);
        Some(Box::new(reasoning))
    }

    /// What reads the answer.
    pub fn parser(&self, hosted: &Hosted) -> Option<Parser> {
        let options = self.parts.clone()?;
        Some(Parser::new(hosted.dialect.syntax(), options))
    }
}

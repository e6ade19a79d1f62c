//! Which device answers: the CPU while a GPU is made ready, then the GPU, from one step of a generation to the next.
//! Every device gives the same tokens, so the change does not show in a text.

#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
mod gpu;
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
mod opening;
#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
mod tests;

use super::Verdict;
use super::gate::Allowance;
use crate::error::Error;
#[cfg(feature = "gpu")]
use crate::exec::gpu::Loading;
use crate::generate::{Draft, Drafter, Event, GenerateError, Generator, Room, Step};
use crate::model::Model;
use crate::session::{DeviceChoice, Session, SessionOptions};
use carat_text::constraint::Constraint;
use std::any::Any;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// What whoever waits for a device sees of it, and may say.
pub trait Observer: Send + Sync {
    /// Whether waiting is to end.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Shows how far a GPU of that name is, until what it returns is dropped: at the first token, or when the GPU is ready.
    #[cfg(feature = "gpu")]
    fn loading(&self, gpu: &str, loading: &Arc<Loading>) -> Option<Box<dyn Any + Send>> {
        let _ = (gpu, loading);
        None
    }

    /// Tells how far it is: before each step of a generation, and every few milliseconds where it is waited for.
    #[cfg(feature = "gpu")]
    fn tick(&self, loading: &Loading) {
        let _ = loading;
    }

    /// Told when a GPU that nobody asked for cannot be used.
    fn left_aside(&self, reason: &Reason) {
        let _ = reason;
    }
}

/// Nobody watches.
impl Observer for () {}

/// Tokens that one device chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its name.
    pub device: String,
    /// How many.
    pub tokens: usize,
}

/// The least times of a token's pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// On the CPU.
    pub here: Duration,
    /// On the GPU.
    pub there: Duration,
}

impl Times {
    /// Whether the GPU takes less.
    pub fn favour_the_gpu(self) -> bool {
        self.there < self.here
    }
}

/// Why the device that answers does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing but the CPU was left.
    NoGpu,
    /// The user named it.
    Asked,
    /// The app asked for the CPU, as one that is in the background.
    Background,
    /// The GPU of that name needed longer than the text.
    NotReady(String),
    /// The limit on memory excludes a GPU.
    BeyondLimit {
        /// Its name.
        gpu: String,
        /// Bytes that it would take.
        bytes: u64,
    },
    /// The limit on memory excludes the CPU beside the GPU that was asked for.
    Alone,
    /// Both were timed.
    Timed {
        /// The GPU's name.
        gpu: String,
        /// The times.
        times: Times,
    },
    /// The GPU that was asked for went on after so many tokens.
    Ready {
        /// Its name.
        gpu: String,
        /// Tokens chosen before.
        after: usize,
    },
    /// The GPU that nobody asked for failed.
    LeftAside {
        /// Its name.
        gpu: String,
        /// What it said.
        error: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGpu => f.write_str("there is no GPU that can be used"),
            Self::Asked => f.write_str("it was asked for"),
            Self::Background => f.write_str("the app is in the background"),
            Self::NotReady(gpu) => write!(f, "{gpu} was not ready before the end"),
            Self::BeyondLimit { gpu, bytes } => write!(
                f,
                "{gpu} would take {bytes} bytes, which the limit on memory does not allow"
            ),
            Self::Alone => f.write_str("the limit on memory does not allow the CPU beside it"),
            Self::Timed { gpu, times } => {
                let [here, there] = [times.here, times.there].map(|t| t.as_secs_f64() * 1e3);
                write!(
                    f,
                    "{gpu} takes {there:.2} ms for a token, the CPU {here:.2} ms"
                )
            }
            Self::Ready { gpu, after: 1 } => write!(f, "{gpu} was ready after 1 token"),
            Self::Ready { gpu, after } => write!(f, "{gpu} was ready after {after} tokens"),
            Self::LeftAside { gpu, error } => write!(f, "{gpu} is left aside: {error}"),
        }
    }
}

/// The session that answers, and a GPU's that may go on from it.
pub struct Relay {
    session: Session,
    #[cfg_attr(
        not(all(feature = "gpu", not(target_arch = "wasm32"))),
        expect(dead_code, reason = "nothing is made ready that could be shown")
    )]
    observer: Arc<dyn Observer>,
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    waiting: Option<gpu::Waiting>,
    /// The user named a GPU: it is not compared with the CPU.
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    asked: bool,
    /// How far the GPU is, on a screen.
    shown: Option<Box<dyn Any + Send>>,
    /// A smaller model that proposes tokens.
    drafter: Option<(Drafter, Draft)>,
    reason: Reason,
    /// What it was told of GPUs last.
    place: Allowance,
    /// The reason compares devices, and has not been told yet.
    decided: bool,
    news: bool,
    shares: Vec<Share>,
}

impl Relay {
    fn with(session: Session, reason: Reason, observer: Arc<dyn Observer>) -> Self {
        Self {
            session,
            observer,
            #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
            waiting: None,
            #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
            asked: true,
            shown: None,
            drafter: None,
            reason,
            place: Allowance::default(),
            decided: false,
            news: false,
            shares: Vec::new(),
        }
    }

    async fn on_cpu(
        model: Arc<Model>,
        options: &SessionOptions,
        reason: Reason,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        Ok(Self::with(cpu(model, options).await?, reason, observer))
    }

    /// Opens a session where `options` say. A browser's GPU and a build without GPUs have nothing beside it.
    ///
    /// Errors: as [`Session::new`].
    #[cfg(not(all(feature = "gpu", not(target_arch = "wasm32"))))]
    pub async fn open(
        model: Arc<Model>,
        options: &SessionOptions,
        _: &Verdict,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        let reason = match options.device {
            DeviceChoice::Auto if !cfg!(feature = "gpu") => Reason::NoGpu,
            _ => Reason::Asked,
        };
        if !cfg!(feature = "gpu") && options.device == DeviceChoice::Auto {
            return Self::on_cpu(model, options, reason, observer).await;
        }
        let session = Session::new(model, options).await?;
        Ok(Self::with(session, reason, observer))
    }

    /// Does as an app says of GPUs. This build has none, or cannot be sent to the background.
    ///
    /// Errors: none.
    #[cfg(not(all(feature = "gpu", not(target_arch = "wasm32"))))]
    pub async fn follow(&mut self, place: Allowance, _: &SessionOptions) -> Result<(), Error> {
        self.place = place;
        Ok(())
    }

    /// It was opened while this held.
    pub(super) fn opened_at(mut self, place: Allowance) -> Self {
        self.place = place;
        self
    }

    /// The session that answers.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Lets a smaller model propose tokens from now on.
    pub fn draft_with(&mut self, drafter: Drafter) {
        let draft = drafter.draft();
        self.drafter = Some((drafter, draft));
    }

    /// What answers, and what is made ready beside it.
    pub fn device(&self) -> String {
        #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
        if let Some(gpu::Waiting::Opening(opening)) = &self.waiting {
            let (here, there) = (self.session.device(), opening.name());
            return format!("{here} until {there} is ready");
        }
        self.session.device()
    }

    /// The tokens that each device chose since the last call, in order.
    pub fn take_shares(&mut self) -> Vec<Share> {
        std::mem::take(&mut self.shares)
    }

    /// Why the device that answers does.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Whether more than one device could answer.
    pub fn had_a_choice(&self) -> bool {
        #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
        if self.waiting.is_some() {
            return true;
        }
        self.decided
    }

    /// What was decided since the last call.
    pub fn take_news(&mut self) -> Option<&Reason> {
        std::mem::take(&mut self.news).then_some(&self.reason)
    }

    /// Before the first [`Relay::step`] of a generation: pauses the comparison with the file's hashes, and shows how far a GPU
    /// is.
    pub fn begin(&mut self, verdict: &Verdict) {
        verdict.pause();
        #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
        {
            self.shown = match &self.waiting {
                Some(gpu::Waiting::Opening(opening)) => opening.show(&*self.observer),
                _ => None,
            };
        }
    }

    /// A step of a generation that [`Relay::begin`] announced, before which a GPU that is ready takes over. The comparison with
    /// the file's hashes pauses while devices are timed.
    ///
    /// Errors: as [`Generator::step`]; a GPU that was asked for cannot be used.
    pub async fn step(
        &mut self,
        generator: &mut Generator,
        constraint: Option<&mut (dyn Constraint + '_)>,
        verdict: &Verdict,
    ) -> Result<Step, GenerateError> {
        let step = self.try_step(generator, constraint, verdict).await;
        if !matches!(step, Ok(Step::Prompt { .. })) {
            // A bar and the text may share a terminal.
            self.shown = None;
        }
        if let Ok(Step::Token { .. }) = step {
            let device = self.session.device();
            match self.shares.last_mut().filter(|s| s.device == device) {
                Some(share) => share.tokens += 1,
                None => self.shares.push(Share { device, tokens: 1 }),
            }
        }
        step
    }

    async fn try_step(
        &mut self,
        generator: &mut Generator,
        constraint: Option<&mut (dyn Constraint + '_)>,
        verdict: &Verdict,
    ) -> Result<Step, GenerateError> {
        #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
        if !generator.has_ended() {
            self.hand_over(verdict).await?;
        }
        let _ = verdict;
        if let Some((drafter, draft)) = &mut self.drafter {
            let room = Room::of(&self.session);
            let history = self.session.tokens();
            drafter.propose(draft, generator, history, room).await?;
        }
        generator.step(&mut self.session, constraint).await
    }

    /// Takes the steps of a generation until it ends. The comparison with the file's hashes pauses before the first token and
    /// while devices are timed; damage ends the generation.
    ///
    /// Errors: as [`Relay::step`].
    pub async fn run(
        &mut self,
        generator: &mut Generator,
        mut constraint: Option<&mut (dyn Constraint + '_)>,
        verdict: &Verdict,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), GenerateError> {
        self.begin(verdict);
        loop {
            let follow = constraint.as_deref_mut();
            let event = match self.step(generator, follow, verdict).await? {
                Step::Prompt { done, total } => watch(Event::Prompt { done, total }),
                Step::Token { id, text, metrics } => {
                    let event = watch(Event::Token {
                        id,
                        text: &text,
                        metrics: metrics.as_ref(),
                    });
                    verdict.resume();
                    event
                }
                Step::End => return Ok(()),
            };
            if event.is_break() || verdict.failed() {
                generator.cancel();
            }
        }
    }
}

async fn cpu(model: Arc<Model>, options: &SessionOptions) -> Result<Session, Error> {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        ..options.clone()
    };
    Session::new(model, &options).await
}

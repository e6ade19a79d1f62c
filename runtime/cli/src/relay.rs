//! Which device answers: the CPU while a GPU is made ready, then the GPU, from one step of a generation to the next.
//! Every device gives the same tokens, so the change does not show in a text.

mod opening;
#[cfg(test)]
mod tests;

use crate::interrupt;
use crate::term::{self, Bar};
use crate::verdict::Verdict;
use anyhow::Result;
use carat::device::Gpu;
use carat::{
    DeviceChoice, Error, Event, GenerateOptions, Generation, Generator, Model, Session,
    SessionOptions, Step,
};
use carat_text::constraint::Constraint;
use opening::Opening;
use pollster::block_on;
use serde::Serialize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Passes of each device that are timed before one is left aside. The least time of each counts: the first one wakes threads
/// and brings in pages.
const TRIALS: usize = 4;

/// Tokens that one device chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    device: String,
    tokens: usize,
}

impl Share {
    /// For a person.
    pub fn show(&self) -> String {
        let name = term::clip(&self.device, 32);
        format!("{name}: {}", counted(self.tokens))
    }
}

/// The least times of a token's pass.
#[derive(Clone, Copy, Debug)]
struct Times {
    here: Duration,
    there: Duration,
}

impl Times {
    fn favour_the_gpu(self) -> bool {
        self.there < self.here
    }

    /// For a person; `name` is the GPU's.
    fn show(self, name: &str) -> String {
        let [here, there] = [self.here, self.there].map(|t| t.as_secs_f64() * 1e3);
        format!("{name} takes {there:.2} ms for a token, the CPU {here:.2} ms")
    }
}

/// A GPU that does not answer yet.
enum Waiting {
    Opening(Opening),
    /// Decided for; it holds some of the tokens.
    Ready(Box<Session>),
}

/// The session that answers, and a GPU's that may go on from it.
pub struct Relay {
    session: Session,
    waiting: Option<Waiting>,
    /// The user named a GPU: it is not compared with the CPU.
    asked: bool,
    /// Where both were timed.
    times: Option<Times>,
    reason: String,
    /// The reason compares devices, and has not been told yet.
    decided: bool,
    news: bool,
    shares: Vec<Share>,
}

impl Relay {
    /// Opens a session on the CPU and, where `options` ask for a GPU or leave that open and there is one, begins to make
    /// the GPU's ready beside it. Where memory's limit does not allow both, only one is open at a time, and the comparison with
    /// the file's hashes pauses while they are timed.
    ///
    /// Errors: as [`Session::new`]; Ctrl-C.
    pub fn open(
        model: Arc<Model>,
        options: &SessionOptions,
        verdict: &Verdict,
    ) -> Result<Self, Error> {
        let Some(gpu) = block_on(options.open_device(&model))? else {
            let reason = match options.device {
                DeviceChoice::Auto => "there is no GPU that can be used",
                _ => "it was asked for",
            };
            return Self::on_cpu(model, options, reason.into());
        };
        let asked = options.device != DeviceChoice::Auto;
        Self::beside(model, options, gpu, asked, verdict)
    }

    fn beside(
        model: Arc<Model>,
        options: &SessionOptions,
        gpu: Gpu,
        asked: bool,
        verdict: &Verdict,
    ) -> Result<Self, Error> {
        if let Some(limit) = options.memory_limit {
            let both = options.memory(&model)?.total() + options.gpu_memory(&model)?.total();
            if both > limit {
                return Self::one_at_a_time(model, options, gpu, asked, verdict, limit);
            }
        }
        let reason = format!("{} was not ready before the end", gpu.adapter().name);
        let mut relay = Self::on_cpu(model.clone(), options, reason)?;
        let opening = Opening::start(model, options, gpu, false)?;
        relay.waiting = Some(Waiting::Opening(opening));
        relay.asked = asked;
        Ok(relay)
    }

    fn on_cpu(model: Arc<Model>, options: &SessionOptions, reason: String) -> Result<Self, Error> {
        Ok(Self::with(cpu(model, options)?, reason))
    }

    fn with(session: Session, reason: String) -> Self {
        Self {
            session,
            waiting: None,
            asked: true,
            times: None,
            reason,
            decided: false,
            news: false,
            shares: Vec::new(),
        }
    }

    /// Measures the CPU, closes it and waits for the GPU.
    fn one_at_a_time(
        model: Arc<Model>,
        options: &SessionOptions,
        gpu: Gpu,
        asked: bool,
        verdict: &Verdict,
        limit: u64,
    ) -> Result<Self, Error> {
        let name = gpu.adapter().name.clone();
        let needed = options.gpu_memory(&model)?;
        let kept = if model.is_copied() { model.len() } else { 0 };
        let total = needed.total() + kept;
        if total > limit {
            if asked {
                return Err(Error::MemoryLimit {
                    limit,
                    least: total,
                    weights: needed.weights + kept,
                    context: options.context,
                });
            }
            let reason =
                format!("{name} would take {total} bytes, which --memory-limit does not allow");
            let mut relay = Self::on_cpu(model, options, reason)?;
            relay.decided = true;
            return Ok(relay);
        }
        verdict.pause();
        let here = match asked {
            true => None,
            false => Some(least(&mut cpu(model.clone(), options)?, 0, TRIALS)?),
        };
        let opened = Opening::start(model.clone(), options, gpu, true).and_then(Opening::wait);
        let measured = opened.and_then(|mut gpu| {
            let there = here.map(|_| least(&mut gpu, 0, TRIALS)).transpose()?;
            Ok((gpu, there))
        });
        let mut relay = match measured {
            Ok((gpu, there)) => {
                let times = here.zip(there).map(|(here, there)| Times { here, there });
                let reason = match times {
                    Some(times) => times.show(&name),
                    None => "the limit on memory does not allow the CPU beside it".into(),
                };
                let mut relay = if times.is_none_or(Times::favour_the_gpu) {
                    Self::with(gpu, reason)
                } else {
                    drop(gpu);
                    Self::on_cpu(model, options, reason)?
                };
                relay.times = times;
                relay
            }
            Err(e) if asked || matches!(e, Error::Cancelled) => return Err(e),
            Err(e) => Self::on_cpu(model, options, left_aside(&name, &e))?,
        };
        verdict.resume();
        relay.decided = true;
        Ok(relay)
    }

    /// The session that answers.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What answers, and what is made ready beside it.
    pub fn device(&self) -> String {
        match &self.waiting {
            Some(Waiting::Opening(opening)) => {
                format!(
                    "{} until {} is ready",
                    self.session.device(),
                    opening.name()
                )
            }
            _ => self.session.device(),
        }
    }

    /// The tokens that each device chose since the last call, in order.
    pub fn take_shares(&mut self) -> Vec<Share> {
        std::mem::take(&mut self.shares)
    }

    /// Why the device that answers does.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether more than one device could answer.
    pub fn had_a_choice(&self) -> bool {
        self.waiting.is_some() || self.decided
    }

    /// What was decided since the last call.
    pub fn take_news(&mut self) -> Option<&str> {
        std::mem::take(&mut self.news).then_some(&self.reason)
    }

    fn decided(&mut self, reason: String) {
        self.reason = reason;
        (self.decided, self.news) = (true, true);
    }

    /// Continues the session with `prompt` and then with chosen tokens: see [`carat::generate_constrained`]. The comparison
    /// with the file's hashes pauses before the first token and while devices are timed; damage ends the generation.
    ///
    /// Errors: as there; a GPU that was asked for cannot be used.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        mut constraint: Option<&mut dyn Constraint>,
        verdict: &Verdict,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        verdict.pause();
        let mut bar = self.bar();
        let mut generator = Generator::new(&self.session, prompt, options, constraint.is_some())?;
        loop {
            if !generator.has_ended() {
                self.hand_over(verdict)?;
            }
            let follow = constraint.as_deref_mut();
            let event = match block_on(generator.step(&mut self.session, follow))? {
                Step::Prompt { done, total } => watch(Event::Prompt { done, total }),
                Step::Token { id, text, metrics } => {
                    // A bar and the text may share a terminal.
                    bar = None;
                    self.count();
                    let event = watch(Event::Token {
                        id,
                        text: &text,
                        metrics: metrics.as_ref(),
                    });
                    verdict.resume();
                    event
                }
                Step::End => break,
            };
            if event.is_break() || verdict.failed() {
                generator.cancel();
            }
        }
        drop(bar);
        let (generation, tail) = generator.finish(constraint);
        if !tail.is_empty() {
            // The generation has ended: there is nothing left to stop.
            let _ = watch(Event::Tail { text: &tail });
        }
        Ok(generation)
    }

    fn bar(&self) -> Option<Bar> {
        match &self.waiting {
            Some(Waiting::Opening(opening)) => Some(opening.bar()),
            _ => None,
        }
    }

    fn count(&mut self) {
        let device = self.session.device();
        match self.shares.last_mut().filter(|s| s.device == device) {
            Some(share) => share.tokens += 1,
            None => self.shares.push(Share { device, tokens: 1 }),
        }
    }

    /// Goes on with the GPU if it is ready and, unasked, faster.
    fn hand_over(&mut self, verdict: &Verdict) -> Result<(), Error> {
        // With a full cache nothing can be timed, and nothing more comes.
        if self.session.tokens().len() >= self.session.context() as usize {
            return Ok(());
        }
        let finished = |w: &mut Waiting| match w {
            Waiting::Opening(opening) => opening.is_finished(),
            Waiting::Ready(_) => true,
        };
        let result = match self.waiting.take_if(finished) {
            None => return Ok(()),
            Some(Waiting::Ready(gpu)) => self.move_to(gpu),
            Some(Waiting::Opening(opening)) => {
                let name = opening.name().to_owned();
                let opened = opening.wait();
                let decided = opened.and_then(|gpu| self.decide(&name, gpu, verdict));
                match decided {
                    Ok(Some(gpu)) => self.move_to(gpu),
                    Ok(None) => Ok(()),
                    Err(e) => Err(e),
                }
            }
        };
        match result {
            // Nobody asked for this GPU: the processor gives the same tokens.
            Err(e) if !self.asked => {
                self.decided(left_aside("the GPU", &e));
                Ok(())
            }
            other => other,
        }
    }

    /// The GPU, if it was asked for or is faster with as many tokens in the cache.
    fn decide(
        &mut self,
        name: &str,
        mut gpu: Session,
        verdict: &Verdict,
    ) -> Result<Option<Box<Session>>, Error> {
        let used = self.session.tokens().len();
        if self.asked {
            let before = self.shares.iter().map(|s| s.tokens).sum();
            self.decided(format!("{name} was ready after {}", counted(before)));
            return Ok(Some(Box::new(gpu)));
        }
        // Until the next token: both are timed with the cores to themselves.
        verdict.pause();
        let [mut here, mut there] = [Duration::MAX; 2];
        for _ in 0..TRIALS {
            // In turn: whatever else the machine does, both meet it.
            here = here.min(least(&mut self.session, used, 1)?);
            there = there.min(least(&mut gpu, used, 1)?);
        }
        let times = Times { here, there };
        self.times = Some(times);
        self.decided(times.show(name));
        Ok(times.favour_the_gpu().then(|| Box::new(gpu)))
    }

    /// Brings the GPU's session to the tokens of the one that answers, and takes its place.
    fn move_to(&mut self, mut gpu: Box<Session>) -> Result<(), Error> {
        let held = self.session.tokens();
        let same = held.iter().zip(gpu.tokens()).take_while(|(a, b)| a == b);
        let same = same.count();
        gpu.truncate(same);
        let batch = gpu.plan().extent.batch as usize;
        for part in held[same..].chunks(batch) {
            if interrupt::requested() {
                // The generation ends; the next one goes on here.
                self.waiting = Some(Waiting::Ready(gpu));
                return Ok(());
            }
            block_on(gpu.replay(part))?;
        }
        block_on(gpu.take_statistics(&mut self.session))?;
        let model = self.session.model().clone();
        self.session = *gpu;
        // The GPU has its copy, and the CPU reads the file no more.
        model.release(0, model.len());
        Ok(())
    }
}

fn cpu(model: Arc<Model>, options: &SessionOptions) -> Result<Session, Error> {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        ..options.clone()
    };
    block_on(Session::new(model, &options))
}

/// The least time of `times` passes of a token after `used` others; zero with a full cache. It decides where a text is
/// computed, never what it says.
fn least(session: &mut Session, used: usize, times: usize) -> Result<Duration, Error> {
    let (mut least, mut last) = (None, None);
    block_on(session.rehearse(used, times, || {
        let now = Instant::now();
        if let Some(before) = last.replace(now) {
            let passed = now - before;
            least = Some(least.map_or(passed, |l: Duration| l.min(passed)));
        }
    }))?;
    Ok(least.unwrap_or_default())
}

fn left_aside(name: &str, error: &Error) -> String {
    let reason = format!("{name} is left aside: {error}");
    term::warn(&reason);
    reason
}

fn counted(tokens: usize) -> String {
    match tokens {
        1 => "1 token".into(),
        n => format!("{n} tokens"),
    }
}

//! A GPU beside the CPU: made ready, compared, gone over to.

use super::opening::Opening;
use super::{Observer, Reason, Relay, Times, cpu};
use crate::device::Gpu;
use crate::error::Error;
use crate::front::Verdict;
use crate::front::gate::Allowance;
use crate::front::room::common;
use crate::model::Model;
use crate::session::{DeviceChoice, Session, SessionOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Passes of each device that are timed before one is left aside. The least time of each counts: the first one wakes threads
/// and brings in pages.
const TRIALS: usize = 4;

/// A GPU that does not answer yet.
pub(super) enum Waiting {
    Opening(Opening),
    /// Decided for; it holds some of the tokens.
    Ready(Box<Session>),
}

impl Relay {
    /// Opens a session on the CPU and, where `options` ask for a GPU or leave that open and there is one, begins to make
    /// the GPU's ready beside it. Where memory's limit does not allow both, only one is open at a time, and the comparison with
    /// the file's hashes pauses while they are timed.
    ///
    /// Errors: as [`Session::new`]; cancelled.
    pub async fn open(
        model: Arc<Model>,
        options: &SessionOptions,
        verdict: &Verdict,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        let Some(gpu) = options.open_device(&model).await? else {
            let reason = match options.device {
                DeviceChoice::Auto => Reason::NoGpu,
                _ => Reason::Asked,
            };
            return Self::on_cpu(model, options, reason, observer).await;
        };
        let asked = options.device != DeviceChoice::Auto;
        Self::beside(model, options, gpu, asked, verdict, observer).await
    }

    pub(super) async fn beside(
        model: Arc<Model>,
        options: &SessionOptions,
        gpu: Gpu,
        asked: bool,
        verdict: &Verdict,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        if let Some(limit) = options.memory_limit {
            let both = options.memory(&model)?.total() + options.gpu_memory(&model)?.total();
            if both > limit {
                return Self::one_at_a_time(model, options, gpu, asked, verdict, limit, observer)
                    .await;
            }
        }
        let reason = Reason::NotReady(gpu.adapter().name.clone());
        let mut relay = Self::on_cpu(model.clone(), options, reason, observer).await?;
        let opening = Opening::start(model, options, gpu, false)?;
        relay.waiting = Some(Waiting::Opening(opening));
        relay.asked = asked;
        Ok(relay)
    }

    /// Measures the CPU, closes it and waits for the GPU.
    async fn one_at_a_time(
        model: Arc<Model>,
        options: &SessionOptions,
        gpu: Gpu,
        asked: bool,
        verdict: &Verdict,
        limit: u64,
        observer: Arc<dyn Observer>,
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
            let reason = Reason::BeyondLimit {
                gpu: name,
                bytes: total,
            };
            let mut relay = Self::on_cpu(model, options, reason, observer).await?;
            relay.decided = true;
            return Ok(relay);
        }
        verdict.pause();
        let here = match asked {
            true => None,
            false => {
                let mut here = cpu(model.clone(), options).await?;
                Some(least(&mut here, 0, TRIALS).await?)
            }
        };
        let measured = measured(&model, options, gpu, here, &*observer).await;
        let mut relay = match measured {
            Ok((gpu, there)) => {
                let times = here.zip(there).map(|(here, there)| Times { here, there });
                let reason = match times {
                    Some(times) => Reason::Timed { gpu: name, times },
                    None => Reason::Alone,
                };
                if times.is_none_or(Times::favour_the_gpu) {
                    Self::with(gpu, reason, observer)
                } else {
                    drop(gpu);
                    Self::on_cpu(model, options, reason, observer).await?
                }
            }
            Err(e) if asked || matches!(e, Error::Cancelled) => return Err(e),
            Err(e) => {
                let reason = left_aside(name, &e, &*observer);
                Self::on_cpu(model, options, reason, observer).await?
            }
        };
        verdict.resume();
        relay.decided = true;
        Ok(relay)
    }

    fn decided(&mut self, reason: Reason) {
        self.reason = reason;
        (self.decided, self.news) = (true, true);
    }

    /// Goes on with the GPU if it is ready and, unasked, faster.
    pub(super) async fn hand_over(&mut self, verdict: &Verdict) -> Result<(), Error> {
        if let Some(Waiting::Opening(opening)) = &self.waiting {
            opening.tick(&*self.observer);
        }
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
            Some(Waiting::Ready(gpu)) => self.move_to(gpu, true).await,
            Some(Waiting::Opening(opening)) => {
                let name = opening.name().to_owned();
                let decided = match opening.wait(&*self.observer) {
                    Ok(gpu) => self.decide(name, gpu, verdict).await,
                    Err(e) => Err(e),
                };
                match decided {
                    Ok(Some(gpu)) => self.move_to(gpu, true).await,
                    Ok(None) => Ok(()),
                    Err(e) => Err(e),
                }
            }
        };
        match result {
            // Nobody asked for this GPU: the processor gives the same tokens.
            Err(e) if !self.asked => {
                let reason = left_aside("the GPU".into(), &e, &*self.observer);
                self.decided(reason);
                Ok(())
            }
            other => other,
        }
    }

    /// The GPU, if it was asked for or is faster with as many tokens in the cache.
    async fn decide(
        &mut self,
        name: String,
        mut gpu: Session,
        verdict: &Verdict,
    ) -> Result<Option<Box<Session>>, Error> {
        let used = self.session.tokens().len();
        if self.asked {
            let after = self.shares.iter().map(|s| s.tokens).sum();
            self.decided(Reason::Ready { gpu: name, after });
            return Ok(Some(Box::new(gpu)));
        }
        // Until the next token: both are timed with the cores to themselves.
        verdict.pause();
        let [mut here, mut there] = [Duration::MAX; 2];
        for _ in 0..TRIALS {
            // In turn: whatever else the machine does, both meet it.
            here = here.min(least(&mut self.session, used, 1).await?);
            there = there.min(least(&mut gpu, used, 1).await?);
        }
        let times = Times { here, there };
        self.decided(Reason::Timed { gpu: name, times });
        Ok(times.favour_the_gpu().then(|| Box::new(gpu)))
    }

    /// Leaves the GPU where an app forbids it, and makes it ready again where the app allows it. While it leaves, both have
    /// their memory.
    ///
    /// Errors: as [`Session::new`]; a GPU that was asked for cannot be opened again.
    pub async fn follow(
        &mut self,
        place: Allowance,
        options: &SessionOptions,
    ) -> Result<(), Error> {
        if place == self.place {
            return Ok(());
        }
        self.place = place;
        // It may have been given up meanwhile.
        self.waiting = None;
        let model = self.session.model().clone();
        if self.session.is_on_gpu() {
            let here = cpu(model.clone(), options).await?;
            self.move_to(Box::new(here), false).await?;
        }
        self.reason = Reason::Background;
        if !place.gpu {
            return Ok(());
        }
        self.asked = options.device != DeviceChoice::Auto;
        match self.open_beside(model, options).await {
            Err(e) if !self.asked => {
                self.reason = left_aside("the GPU".into(), &e, &*self.observer);
                Ok(())
            }
            other => other,
        }
    }

    async fn open_beside(
        &mut self,
        model: Arc<Model>,
        options: &SessionOptions,
    ) -> Result<(), Error> {
        let Some(gpu) = options.open_device(&model).await? else {
            self.reason = Reason::NoGpu;
            return Ok(());
        };
        if let Some(limit) = options.memory_limit {
            let bytes = options.memory(&model)?.total() + options.gpu_memory(&model)?.total();
            if bytes > limit {
                let gpu = gpu.adapter().name.clone();
                self.reason = Reason::BeyondLimit { gpu, bytes };
                return Ok(());
            }
        }
        self.reason = Reason::NotReady(gpu.adapter().name.clone());
        let opening = Opening::start(model, options, gpu, false)?;
        self.waiting = Some(Waiting::Opening(opening));
        Ok(())
    }

    /// Gives up a GPU that is being made ready. [`Relay::follow`] begins again.
    pub fn give_up_waiting(&mut self) {
        self.waiting = None;
    }

    /// Brings another session to the tokens of the one that answers, and takes its place. Whoever observes it may put it off.
    async fn move_to(&mut self, mut other: Box<Session>, put_off: bool) -> Result<(), Error> {
        let held = self.session.tokens();
        let same = common(held, other.tokens());
        other.truncate(same);
        let batch = other.plan().extent.batch as usize;
        for part in held[same..].chunks(batch) {
            if put_off && self.observer.is_cancelled() {
                // The generation ends; the next one goes on here.
                self.waiting = Some(Waiting::Ready(other));
                return Ok(());
            }
            other.set_strengths(self.session.strengths())?;
            other.replay(part).await?;
        }
        other.take_statistics(&mut self.session).await?;
        let model = self.session.model().clone();
        self.session = *other;
        if self.session.is_on_gpu() {
            // The GPU has its copy, and the CPU reads the file no more.
            model.release(0, model.len());
        }
        Ok(())
    }
}

/// The GPU's session, and its time of a token where the CPU's is known.
async fn measured(
    model: &Arc<Model>,
    options: &SessionOptions,
    gpu: Gpu,
    here: Option<Duration>,
    observer: &dyn Observer,
) -> Result<(Session, Option<Duration>), Error> {
    let opening = Opening::start(model.clone(), options, gpu, true)?;
    let mut gpu = opening.wait(observer)?;
    let there = match here {
        Some(_) => Some(least(&mut gpu, 0, TRIALS).await?),
        None => None,
    };
    Ok((gpu, there))
}

/// The least time of `times` passes of a token after `used` others; zero with a full cache. It decides where a text is
/// computed, never what it says.
async fn least(session: &mut Session, used: usize, times: usize) -> Result<Duration, Error> {
    let (mut least, mut last) = (None, None);
    let each = || {
        let now = Instant::now();
        if let Some(before) = last.replace(now) {
            let passed = now - before;
            least = Some(least.map_or(passed, |l: Duration| l.min(passed)));
        }
    };
    session.rehearse(used, times, each).await?;
    Ok(least.unwrap_or_default())
}

fn left_aside(gpu: String, error: &Error, observer: &dyn Observer) -> Reason {
    let error = error.to_string();
    let reason = Reason::LeftAside { gpu, error };
    observer.left_aside(&reason);
    reason
}

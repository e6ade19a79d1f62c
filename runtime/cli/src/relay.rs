//! Which device answers, as the command line shows it: see [`Relay`].

use crate::interrupt;
use crate::term;
#[cfg(feature = "gpu")]
use crate::term::Bar;
use crate::verdict::Verdict;
#[cfg(feature = "gpu")]
use carat::internals::Loading;
use carat::internals::{Error, Model, Observer, Reason, Relay, SessionOptions};
use pollster::block_on;
use serde::Serialize;
#[cfg(feature = "gpu")]
use std::any::Any;
use std::sync::Arc;

/// Whoever waits at a terminal.
struct Terminal;

impl Observer for Terminal {
    fn is_cancelled(&self) -> bool {
        interrupt::requested()
    }

    #[cfg(feature = "gpu")]
    fn loading(&self, gpu: &str, loading: &Arc<Loading>) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(Bar::loading(gpu, loading.clone())))
    }

    fn left_aside(&self, reason: &Reason) {
        term::warn(&shown(reason));
    }
}

/// Opens the model where `options` say.
///
/// Errors: as [`Relay::open`]; Ctrl-C.
pub fn open(
    model: Arc<Model>,
    options: &SessionOptions,
    verdict: &Verdict,
) -> Result<Relay, Error> {
    let terminal = Arc::new(Terminal);
    block_on(Relay::open(model, options, verdict.of_engine(), terminal))
}

/// Why the device that answers does, for a person.
pub fn shown(reason: &Reason) -> String {
    match reason {
        Reason::BeyondLimit { gpu, bytes } => {
            format!("{gpu} would take {bytes} bytes, which --memory-limit does not allow")
        }
        other => other.to_string(),
    }
}

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
        match self.tokens {
            1 => format!("{name}: 1 token"),
            n => format!("{name}: {n} tokens"),
        }
    }
}

/// The tokens that each device chose since the last call, in order.
pub fn take_shares(relay: &mut Relay) -> Vec<Share> {
    let shares = relay.take_shares().into_iter();
    shares
        .map(|s| Share {
            device: s.device,
            tokens: s.tokens,
        })
        .collect()
}

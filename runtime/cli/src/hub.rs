//! `carat pull`, and models that are named as the hub has them.

use crate::args::{Command, PullArgs};
use crate::failure::{Interrupted, Usage};
use crate::term::{self, Bar};
use crate::{failure, interrupt};
use anyhow::Result;
use carat_converter::progress::Progress;
use carat_hub::{Error, Hub, Note, Observer, Plan, Pulled, Reference, Settings};
use serde::Serialize;
use std::path::Path;
use std::sync::OnceLock;

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    repo: &'a str,
    revision: &'a str,
    commit: &'a str,
    path: &'a Path,
    bytes: u64,
    /// Bytes that came over the network for it.
    fetched_bytes: u64,
    files: Vec<Fetched<'a>>,
}

#[derive(Serialize)]
struct Fetched<'a> {
    name: &'a str,
    path: &'a Path,
    bytes: u64,
    /// None offline.
    hash: Option<&'a str>,
}

/// Runs the command.
pub fn run(args: PullArgs) -> Result<()> {
    let model = match &args.revision {
        Some(revision) => args.model.at(revision).map_err(told)?,
        None => args.model,
    };
    let settings = Settings {
        verify: args.verify,
        ..Settings::from_env()?
    };
    let hub = Hub::new(settings).map_err(told)?;
    let pulled = pull(&hub, &model)?;
    if !args.json {
        return term::print(&format!("{}\n", pulled.path.display()));
    }
    let files = pulled.files.iter();
    term::print_json(&Report {
        repo: &pulled.repository,
        revision: &pulled.revision,
        commit: &pulled.commit,
        path: &pulled.path,
        bytes: pulled.bytes,
        fetched_bytes: pulled.fetched,
        files: files
            .map(|f| Fetched {
                name: &f.name,
                path: &f.path,
                bytes: f.bytes,
                hash: f.hash.as_deref(),
            })
            .collect(),
    })
}

/// Fetches the models of a command that are named as the hub has them, and puts their paths there.
///
/// Errors: a name that is none; whatever [`Hub::pull`] says.
pub fn fetch(command: &mut Command) -> Result<()> {
    let mut hub = None;
    for model in command.models() {
        let Some(name) = model.to_str().filter(|name| is_on_hub(name)) else {
            continue;
        };
        let reference: Reference = name.parse().map_err(told)?;
        let hub = match &hub {
            Some(hub) => hub,
            None => hub.insert(Hub::new(Settings::from_env()?).map_err(told)?),
        };
        let pulled = match pull(hub, &reference) {
            Err(e) if e.downcast_ref().is_some_and(Error::is_network) => {
                let Ok(pulled) = hub.cached(&reference) else {
                    return Err(e);
                };
                term::warn(&format!(
                    "{}; taking what was fetched before (commit {})",
                    failure::describe(&e),
                    short(&pulled.commit)
                ));
                pulled
            }
            result => result?,
        };
        *model = pulled.path;
    }
    Ok(())
}

/// Whether a name is a hub's: an address may be a path as well, and then the path is meant.
fn is_on_hub(name: &str) -> bool {
    name.starts_with("hf:") || (Reference::is_stated(name) && !Path::new(name).exists())
}

/// A name or an address that is none is a fault of the command line.
fn told(error: Error) -> anyhow::Error {
    match error {
        Error::Name { .. } | Error::Endpoint { .. } => Usage(error.to_string()).into(),
        error => error.into(),
    }
}

fn pull(hub: &Hub, model: &Reference) -> Result<Pulled> {
    interrupt::install();
    let watch = Watch::default();
    let result = hub.pull(model, &watch);
    drop(watch);
    result.map_err(|e| match e {
        Error::Cancelled { total: 0, .. } => Interrupted("; nothing was fetched".into()).into(),
        Error::Cancelled { kept, total } => Interrupted(
            format!(
                "; {} of {} are kept, and the next pull goes on from there",
                term::bytes(kept),
                term::bytes(total)
            )
            .into(),
        )
        .into(),
        e => told(e),
    })
}

/// Enough of a commit for a person.
fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// Shows a pull on stderr.
#[derive(Default)]
struct Watch {
    bar: OnceLock<Bar>,
}

impl Watch {
    fn say(&self, text: &str) {
        match self.bar.get() {
            Some(bar) => bar.suspend(|| term::note(text)),
            None => term::note(text),
        }
    }
}

impl Observer for Watch {
    fn plan(&self, plan: &Plan) {
        if let Some(file) = &plan.chosen {
            self.say(&format!(
                "{} has several models; taking {file}. A file or a quantization behind a colon takes another, like {}:Q4_K_M",
                plan.repository, plan.repository
            ));
        }
        if plan.present == plan.bytes {
            return;
        }
        let there = match plan.present {
            0 => String::new(),
            n => format!(", of which {} are here", term::bytes(n)),
        };
        self.say(&format!(
            "{} at commit {}: {} {}, {}{there}",
            plan.repository,
            short(&plan.commit),
            plan.files,
            if plan.files == 1 { "file" } else { "files" },
            term::bytes(plan.bytes)
        ));
        // It is planned once.
        let _ = self
            .bar
            .set(Bar::bytes(&plan.repository, plan.present, plan.bytes));
    }

    fn file(&self, name: &str) {
        if let Some(bar) = self.bar.get() {
            bar.name(name);
        }
    }

    fn advance(&self, done: u64, total: u64) {
        if let Some(bar) = self.bar.get() {
            bar.step(done, total);
        }
    }

    fn note(&self, note: &Note) {
        self.say(&match note {
            Note::Retry { cause, wait } => {
                // What to do if that does not help is for the error.
                let cause = cause.split("; ").next().unwrap_or(cause);
                format!("{cause}; trying again in {:.0} s", wait.as_secs_f64())
            }
            Note::Busy { file } => {
                format!("another program fetches {file} already; waiting for it")
            }
            Note::Restart { file } => {
                format!("the server does not go on where {file} ends; it is fetched from its start")
            }
            Note::Damaged { file } => {
                format!("{file} is damaged in the cache; it is fetched again")
            }
        });
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

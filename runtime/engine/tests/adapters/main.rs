//! Adapters: files of both kinds, strengths, batches, devices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod files;
mod hostile;
mod run;

//! Pulls from a hub that this machine plays.
#![allow(clippy::unwrap_used, clippy::panic)]

mod access;
mod cache;
mod hostile;
mod resume;
mod server;
mod support;
mod tls;
mod trouble;

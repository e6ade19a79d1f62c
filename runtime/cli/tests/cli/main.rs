//! The program as scripts see it: JSON objects, exit codes, one line for what went wrong.
#![allow(clippy::unwrap_used)]

mod cache;
mod card;
mod chat;
mod compare;
mod contract;
mod diagnose;
mod embed;
mod events;
mod failures;
mod follow;
mod habits;
// One definition of a hub that is played.
#[path = "../../../hub/tests/hub/server.rs"]
mod hub;
mod loops;
mod lora;
#[cfg(unix)]
mod lost;
mod memory;
mod page;
mod pull;
mod streams;
mod support;
mod template;
mod tokenize;
mod unfit;
mod usage;

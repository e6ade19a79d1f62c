//! Files that lose bytes while they are mapped. Each case is a process of its own: what it meets may end that.
#![cfg(all(unix, feature = "mmap", feature = "threads"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod files;
mod foreign;
#[cfg(feature = "gpu")]
mod gpu;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

/// In a child process, the case that it is.
const CASE: &str = "CARAT_TEST_CASE";
/// And the bundled model.
const MODEL: &str = "CARAT_TEST_MODEL";

type Case = (&'static str, fn());

/// Runs each case in a child process.
fn run(cases: &[Case], check: impl Fn(&str, Output)) {
    let (program, model) = (std::env::current_exe(), carat_examples::bundled());
    let (program, model) = (program.unwrap(), model.unwrap());
    for (name, _) in cases {
        let mut command = Command::new(&program);
        command.args(["--exact", "child", "--nocapture"]);
        command.env(CASE, name).env(MODEL, model.as_ref());
        check(name, command.output().unwrap());
    }
}

#[test]
fn child() {
    let Ok(name) = std::env::var(CASE) else {
        return;
    };
    let all = [
        files::LIVE,
        files::DIE,
        foreign::LIVE,
        foreign::DIE,
        #[cfg(feature = "gpu")]
        gpu::LIVE,
    ];
    let (_, case) = all.iter().copied().flatten().find(|c| c.0 == name).unwrap();
    case();
    println!("WHOLE");
}

/// The process reaches the end of each case.
fn live(cases: &[Case]) {
    run(cases, |name, output| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (status, out) = (output.status, text(&output.stdout));
        let err = text(&output.stderr);
        assert!(status.success(), "{name}: {status}\n{out}\n{err}");
        assert!(out.contains("WHOLE"), "{name}: {out}");
    });
}

/// SIGBUS ends the process in each case.
fn die(cases: &[Case]) {
    run(cases, |name, output| {
        let signal = output.status.signal();
        assert_eq!(signal, Some(libc::SIGBUS), "{name}: {output:?}");
    });
}

#[test]
fn a_file_that_is_shortened_is_an_error() {
    live(files::LIVE);
}

#[test]
fn without_the_guard_the_process_ends() {
    die(files::DIE);
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_needs_the_file_until_it_has_the_weights() {
    live(gpu::LIVE);
}

#[test]
fn other_faults_go_to_the_handler_before() {
    live(foreign::LIVE);
}

#[test]
fn other_faults_end_the_process_where_nobody_handles_them() {
    die(foreign::DIE);
}

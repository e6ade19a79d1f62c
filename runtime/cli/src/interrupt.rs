//! Ctrl-C, and what a system sends a program that it wants to end (SIGTERM, SIGHUP): the first asks a long operation to end
//! well, the second ends the process.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The signal that asked; 0 while none did.
static ASKED: AtomicI32 = AtomicI32::new(0);
/// Nothing runs that could end well.
static IDLE: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// Number of Ctrl-C's signal.
const INTERRUPT: i32 = 2;

/// From here on the first signal only sets [`requested`]. Where no handler can be installed, signals end the process as
/// before.
pub fn install() {
    INSTALL.call_once(|| {
        if let Err(e) = listen() {
            tracing::warn!("Ctrl-C will end the process at once: {e}");
        }
    });
}

/// Called for each signal, on a thread of its own.
fn asked(signal: i32) {
    let first = ASKED.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
    if first.is_err() || IDLE.load(Ordering::Relaxed) {
        std::process::exit(128 + signal);
    }
}

#[cfg(unix)]
fn listen() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGTERM};
    let mut wanted = vec![INTERRUPT, SIGTERM];
    if takes_hang_up() {
        wanted.push(SIGHUP);
    }
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || signals.forever().for_each(asked))?;
    Ok(())
}

/// Whether the end of the terminal is to end the program: not where `nohup` has it ignored. Only Linux tells; elsewhere
/// the system's own way stays.
#[cfg(unix)]
fn takes_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit n - 1 is signal n.
    ignored.is_some_and(|mask| mask & 1 << (signal_hook::consts::SIGHUP - 1) == 0)
}

#[cfg(not(unix))]
fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| asked(INTERRUPT))
}

/// Whether Ctrl-C was pressed, or the program asked to end.
pub fn requested() -> bool {
    ASKED.load(Ordering::Relaxed) != 0
}

/// Whether the whole program was asked to end, not just what it does.
pub fn terminated() -> bool {
    ![0, INTERRUPT].contains(&ASKED.load(Ordering::Relaxed))
}

/// The exit code of a program that a signal ended: 130 for Ctrl-C, 143 for SIGTERM.
pub fn code() -> u8 {
    let signal = match ASKED.load(Ordering::Relaxed) {
        0 => INTERRUPT,
        signal => signal,
    };
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Forgets a Ctrl-C: the operation that it ended is over, the program goes on.
pub fn clear() {
    // What ends the program is not forgotten.
    let _ = ASKED.compare_exchange(INTERRUPT, 0, Ordering::Relaxed, Ordering::Relaxed);
}

/// Whether the program only waits for input, so that a signal ends it at once.
pub fn idle(idle: bool) {
    IDLE.store(idle, Ordering::Relaxed);
    if idle && terminated() {
        std::process::exit(code().into());
    }
}

//! Ctrl-C: the first asks a long operation to end well, the second ends the process.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);
/// Nothing runs that could end well.
static IDLE: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// From here on the first Ctrl-C only sets [`requested`]. Where no handler can be installed, Ctrl-C ends
/// the process as before.
pub fn install() {
    INSTALL.call_once(|| {
        let installed = ctrlc::set_handler(|| {
            if REQUESTED.swap(true, Ordering::Relaxed) || IDLE.load(Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        if let Err(e) = installed {
            tracing::warn!("Ctrl-C will end the process at once: {e}");
        }
    });
}

/// Whether Ctrl-C was pressed.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Forgets a Ctrl-C: the operation that it ended is over, the program goes on.
pub fn clear() {
    REQUESTED.store(false, Ordering::Relaxed);
}

/// Whether the program only waits for input, so that Ctrl-C ends it at once.
pub fn idle(idle: bool) {
    IDLE.store(idle, Ordering::Relaxed);
}

//! The handler of SIGBUS, which the system sends a thread that reads a mapped page which its file no longer has.

use super::{Slot, TABLE};
use crate::error::Error;
use libc::{c_int, c_void, siginfo_t};
use std::ops::RangeInclusive;
use std::ptr::{null, with_exposed_provenance, with_exposed_provenance_mut};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, PoisonError};

/// Codes of a SIGBUS by the access that the thread tries: an address that is not aligned or not there, a failed object,
/// failed memory. One that somebody sends has another code, and so has memory that failed with nobody reading it.
const FAULTS: RangeInclusive<c_int> = 1..=4;

/// Takes the signal with what is known of it.
type Informed = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
/// Takes the signal.
type Plain = unsafe extern "C" fn(c_int);

static INSTALLED: AtomicBool = AtomicBool::new(false);
/// Bytes of a page.
static PAGE: AtomicUsize = AtomicUsize::new(1);
/// What handled the signal before, and how.
static BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static BEFORE_IS_INFORMED: AtomicBool = AtomicBool::new(false);
static BEFORE_RUNS_ONCE: AtomicBool = AtomicBool::new(false);

/// Whether the handler is there.
pub(super) fn is_installed() -> bool {
    INSTALLED.load(Relaxed)
}

/// Installs the handler, once.
///
/// Errors: the system refuses.
pub fn install() -> Result<(), Error> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if is_installed() {
        return Ok(());
    }
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE.store(usize::try_from(page).map_err(|_| refused())?, SeqCst);
    // The handler may run as soon as it is there: it must know the one before.
    remember(&exchange(None)?);
    // SAFETY: integers and a pointer that may be null.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handle as Informed as *const () as usize;
    // On the thread's own stack for signals: where the fault is the other may be full.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // Another thread may have installed one meanwhile.
    remember(&exchange(Some(&action))?);
    INSTALLED.store(true, SeqCst);
    Ok(())
}

/// What handles the signal, in whose place `action` comes if there is one.
fn exchange(action: Option<&libc::sigaction>) -> Result<libc::sigaction, Error> {
    let new = action.map_or(null(), |a| a as *const _);
    // SAFETY: integers and a pointer that may be null.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: both are whole, or null. The new handler does what a handler may.
    match unsafe { libc::sigaction(libc::SIGBUS, new, &mut old) } {
        0 => Ok(old),
        _ => Err(refused()),
    }
}

fn refused() -> Error {
    Error::Guard(std::io::Error::last_os_error())
}

fn remember(before: &libc::sigaction) {
    let has = |flag| before.sa_flags & flag != 0;
    BEFORE_IS_INFORMED.store(has(libc::SA_SIGINFO), SeqCst);
    BEFORE_RUNS_ONCE.store(has(libc::SA_RESETHAND), SeqCst);
    BEFORE.store(before.sa_sigaction, SeqCst);
}

/// The handler. It may interrupt any code, so here and in what it calls are atomic loads and stores and calls of the system
/// alone: nothing allocates, locks or panics.
unsafe extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = errno::errno();
    // SAFETY: the system gives what it says of the signal. With a code of a fault the address is part of that.
    let (is_fault, address) = unsafe { (FAULTS.contains(&(*info).si_code), (*info).si_addr()) };
    if !(is_fault && replace(address as usize)) {
        // SAFETY: as the system called this one.
        unsafe { pass_on(signal, info, context, is_fault) };
    }
    errno::set_errno(errno);
}

/// Puts zeros in the place of the page at an address, and of what follows in its map, if it is in one.
fn replace(address: usize) -> bool {
    let in_map = |slot: &'static Slot| Some((slot, slot.end_of(address)?));
    let Some((slot, end)) = TABLE.iter().find_map(in_map) else {
        return false;
    };
    // Nobody reads zeros before they are known to be none of the file's.
    slot.lost.store(true, SeqCst);
    let start = address & !(PAGE.load(SeqCst).wrapping_sub(1));
    // SAFETY: the pages are a map's that is in the table. It stays there, as the thread that reads it has it borrowed and waits
    // for this. Who reads it finds other bytes from now on, as with a file that another process changes.
    let zeros = unsafe {
        libc::mmap(
            with_exposed_provenance_mut(start),
            end.wrapping_sub(start),
            libc::PROT_READ,
            libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    zeros != libc::MAP_FAILED
}

/// Gives the signal to what handled it before.
unsafe fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void, is_fault: bool) {
    let before = BEFORE.load(SeqCst);
    // The system ignores no fault: who returned from it would meet it again.
    if before == libc::SIG_IGN && !is_fault {
        return;
    }
    let is_default = before == libc::SIG_DFL || before == libc::SIG_IGN;
    if is_default || BEFORE_RUNS_ONCE.load(SeqCst) {
        // SAFETY: the default is always there.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let handler = with_exposed_provenance::<()>(before);
    if is_default {
        // A fault comes again by itself, one that was sent does not.
        if !is_fault {
            // SAFETY: it waits until this handler has returned.
            unsafe { libc::raise(signal) };
        }
    } else if BEFORE_IS_INFORMED.load(SeqCst) {
        // SAFETY: it was installed as such a function.
        unsafe { std::mem::transmute::<*const (), Informed>(handler)(signal, info, context) };
    } else {
        // SAFETY: it was installed as such a function.
        unsafe { std::mem::transmute::<*const (), Plain>(handler)(signal) };
    }
}

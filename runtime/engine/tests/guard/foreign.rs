//! Signals that are none of Carat's.

use super::Case;
use super::files::Copy;
use carat::guard_maps;
use carat::internals::{Model, Verify};
use libc::{c_int, c_void, siginfo_t};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub const LIVE: &[Case] = &[
    ("an_informed_handler", an_informed_handler),
    ("a_plain_handler", a_plain_handler),
    ("ignored_where_sent", ignored_where_sent),
    ("a_map_in_a_models_place", a_map_in_a_models_place),
];

pub const DIE: &[Case] = &[
    ("no_handler", no_handler),
    ("ignored", ignored),
    ("the_languages_own", the_languages_own),
    ("no_handler_where_sent", no_handler_where_sent),
    ("a_handler_that_runs_once", a_handler_that_runs_once),
];

/// How often a handler of the test's own ran.
static RAN: AtomicUsize = AtomicUsize::new(0);
/// The page that a handler of the test's own puts zeros in.
static PAGE: AtomicUsize = AtomicUsize::new(0);

fn page() -> usize {
    // SAFETY: asks for a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

fn zeros() {
    let place = PAGE.load(SeqCst) as *mut c_void;
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the page is of the test's own map.
    let put = unsafe { libc::mmap(place, 1, libc::PROT_READ, flags, -1, 0) };
    assert_ne!(put, libc::MAP_FAILED);
}

unsafe extern "C" fn informed(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    assert_eq!(signal, libc::SIGBUS);
    assert!(!context.is_null());
    // SAFETY: the system gives it.
    let address = unsafe { (*info).si_addr() } as usize;
    assert_eq!(address & !(page() - 1), PAGE.load(SeqCst));
    zeros();
    RAN.fetch_add(1, SeqCst);
}

unsafe extern "C" fn plain(signal: c_int) {
    assert_eq!(signal, libc::SIGBUS);
    zeros();
    RAN.fetch_add(1, SeqCst);
}

unsafe extern "C" fn idle(_: c_int) {}

fn handle_by(handler: usize, flags: c_int) {
    // SAFETY: integers and a pointer that may be null; the handler is a function, or one of the system's values.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGBUS, &action, null_mut()), 0);
    }
}

/// A page of a file that has none any more, at an address if one is given; and the file.
fn lost(at: Option<usize>) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(page() as u64).unwrap();
    let place = at.unwrap_or(0) as *mut c_void;
    let fixed = at.map_or(0, |_| libc::MAP_FIXED);
    let (flags, fd) = (libc::MAP_PRIVATE | fixed, file.as_raw_fd());
    // SAFETY: at an address only where nothing is.
    let map = unsafe { libc::mmap(place, page(), libc::PROT_READ, flags, fd, 0) };
    assert_ne!(map, libc::MAP_FAILED);
    PAGE.store(map as usize, SeqCst);
    file.set_len(0).unwrap();
    file
}

fn touch() -> u8 {
    // SAFETY: the page is mapped, and what its handler puts there too.
    unsafe { (PAGE.load(SeqCst) as *const u8).read_volatile() }
}

fn send() {
    // SAFETY: to this very thread.
    assert_eq!(unsafe { libc::raise(libc::SIGBUS) }, 0);
}

/// A model that is lost beside it, and survived.
fn a_model_is_lost() {
    let copy = Copy::new();
    let model = Model::open(&copy.path, Verify::Structure).unwrap();
    copy.shorten(0);
    assert!(model.verify().is_err());
}

fn an_informed_handler() {
    handle_by(informed as *const () as usize, libc::SA_SIGINFO);
    guard_maps().unwrap();
    a_model_is_lost();
    assert_eq!(RAN.load(SeqCst), 0);
    for n in 1..4 {
        let _file = lost(None);
        assert_eq!(touch(), 0);
        assert_eq!(RAN.load(SeqCst), n);
        a_model_is_lost();
    }
}

fn a_plain_handler() {
    handle_by(plain as *const () as usize, 0);
    guard_maps().unwrap();
    a_model_is_lost();
    assert_eq!(RAN.load(SeqCst), 0);
    let _file = lost(None);
    assert_eq!((touch(), RAN.load(SeqCst)), (0, 1));
    send();
    assert_eq!(RAN.load(SeqCst), 2);
}

fn ignored_where_sent() {
    handle_by(libc::SIG_IGN, 0);
    guard_maps().unwrap();
    send();
    a_model_is_lost();
}

/// A map of the test's own where a model's was: the table does not have it any more.
fn a_map_in_a_models_place() {
    handle_by(informed as *const () as usize, libc::SA_SIGINFO);
    guard_maps().unwrap();
    let copy = Copy::new();
    let model = Model::open(&copy.path, Verify::Structure).unwrap();
    let place = model.slice(0, 1).as_ptr() as usize;
    drop(model);
    let _file = lost(Some(place));
    assert_eq!((touch(), RAN.load(SeqCst)), (0, 1));
}

fn no_handler() {
    handle_by(libc::SIG_DFL, 0);
    guard_maps().unwrap();
    a_model_is_lost();
    let _file = lost(None);
    touch();
}

/// The system ignores no fault.
fn ignored() {
    handle_by(libc::SIG_IGN, 0);
    guard_maps().unwrap();
    let _file = lost(None);
    touch();
}

/// Of the standard library, which looks for full stacks.
fn the_languages_own() {
    guard_maps().unwrap();
    a_model_is_lost();
    let _file = lost(None);
    touch();
}

fn no_handler_where_sent() {
    handle_by(libc::SIG_DFL, 0);
    guard_maps().unwrap();
    send();
}

/// Its second fault finds the system's default.
fn a_handler_that_runs_once() {
    handle_by(idle as *const () as usize, libc::SA_RESETHAND);
    guard_maps().unwrap();
    let _file = lost(None);
    touch();
}

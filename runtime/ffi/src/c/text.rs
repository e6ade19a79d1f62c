//! Texts for C: UTF-8 that ends with a zero byte.

use crate::app::Failure;
use std::collections::HashMap;
use std::ffi::c_char;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A text that ends with a zero byte. Bytes of zero within it are kept: where they may be, a length is given too.
pub struct Held(Vec<u8>);

impl Held {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        Self(bytes)
    }

    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Bytes without the one at the end.
    pub(super) fn len(&self) -> usize {
        self.0.len() - 1
    }
}

fn given() -> MutexGuard<'static, HashMap<usize, Held>> {
    static GIVEN: OnceLock<Mutex<HashMap<usize, Held>>> = OnceLock::new();
    let given = GIVEN.get_or_init(Mutex::default);
    // Whole after every statement.
    given.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Texts that are not freed.
pub(super) fn live() -> usize {
    given().len()
}

/// Gives a text to the caller, who frees it.
///
/// Errors: no place for it.
pub(super) fn give(text: &str, to: *mut *mut c_char) -> Result<(), Failure> {
    if to.is_null() {
        return Err(super::read::null("place for the text"));
    }
    let held = Held::new(text);
    let pointer = held.as_ptr().cast_mut();
    given().insert(pointer.addr(), held);
    // SAFETY: it is not null, and the caller gives a place for a pointer there.
    unsafe { to.write(pointer) };
    Ok(())
}

/// Frees a text that a function gave. Null, and what is no such text, are let be.
#[unsafe(no_mangle)]
pub extern "C" fn carat_string_free(text: *mut c_char) {
    given().remove(&text.addr());
}

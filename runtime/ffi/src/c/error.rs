//! Errors as handles, and the one place where panics end.

use super::handles::{self, Object};
use super::text::Held;
use crate::app::{Code, Failure};
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null;
use std::sync::Arc;

/// An error: `carat_error_free` gives it back.
#[allow(non_camel_case_types)]
pub struct carat_error {
    _private: [u8; 0],
}

/// What a function returns: `CARAT_OK`, `CARAT_END`, or what went wrong.
#[repr(i32)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum carat_code {
    /// It is done.
    CARAT_OK = 0,
    /// A model cannot be fetched.
    CARAT_NETWORK = 1,
    /// Bytes of a file do not have their hash.
    CARAT_HASH = 2,
    /// A file is no Carat model, contradicts itself, or holds what this build cannot run.
    CARAT_FORMAT = 3,
    /// There is no such GPU, or it failed.
    CARAT_WEBGPU = 4,
    /// The GPU was lost.
    CARAT_DEVICE_LOST = 5,
    /// The work was cancelled, or the object is closed.
    CARAT_ABORTED = 6,
    /// The memory does not suffice, or the limit on it.
    CARAT_MEMORY = 7,
    /// The tokens do not fit the context.
    CARAT_CONTEXT = 8,
    /// A parameter is out of its range, or a handle is none.
    CARAT_PARAMETER = 9,
    /// The chat template fails, or refuses the conversation.
    CARAT_TEMPLATE = 10,
    /// A file cannot be read or written.
    CARAT_STORAGE = 11,
    /// All else.
    CARAT_INTERNAL = 12,
    /// `carat_stream_next`: the text has ended.
    CARAT_END = 100,
}

impl From<Code> for carat_code {
    fn from(code: Code) -> Self {
        match code {
            Code::Network => Self::CARAT_NETWORK,
            Code::Hash => Self::CARAT_HASH,
            Code::Format => Self::CARAT_FORMAT,
            Code::Webgpu => Self::CARAT_WEBGPU,
            Code::DeviceLost => Self::CARAT_DEVICE_LOST,
            Code::Aborted => Self::CARAT_ABORTED,
            Code::Memory => Self::CARAT_MEMORY,
            Code::Context => Self::CARAT_CONTEXT,
            Code::Parameter => Self::CARAT_PARAMETER,
            Code::Template => Self::CARAT_TEMPLATE,
            Code::Storage => Self::CARAT_STORAGE,
            Code::Internal => Self::CARAT_INTERNAL,
        }
    }
}

/// An error with its texts as C has them.
pub struct ErrorObject {
    code: Code,
    message: Held,
    found: Option<Held>,
    expected: Option<Held>,
}

/// Runs `act`, and gives an error to whoever wants it. No panic leaves it.
pub(super) fn run(
    error: *mut *mut carat_error,
    act: impl FnOnce() -> Result<carat_code, Failure>,
) -> carat_code {
    let done = catch_unwind(AssertUnwindSafe(act));
    let failure = match done.unwrap_or_else(|_| Err(Failure::panicked())) {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    let code = failure.code;
    if !error.is_null() {
        let object = ErrorObject {
            code,
            message: Held::new(&failure.message),
            found: failure.found.as_deref().map(Held::new),
            expected: failure.expected.as_deref().map(Held::new),
        };
        let handle = handles::put(Object::Error(Arc::new(object)));
        // SAFETY: it is not null, and the caller gives a place for a pointer there.
        unsafe { error.write(handle) };
    }
    code.into()
}

/// As [`run`] where there is nothing to say but whether it was done.
pub(super) fn run_unit(
    error: *mut *mut carat_error,
    act: impl FnOnce() -> Result<(), Failure>,
) -> carat_code {
    run(error, || act().map(|()| carat_code::CARAT_OK))
}

fn of<T>(error: *const carat_error, get: impl FnOnce(&ErrorObject) -> T, otherwise: T) -> T {
    match handles::find::<Arc<ErrorObject>, _>(error) {
        Ok(error) => get(&error),
        Err(_) => otherwise,
    }
}

/// The kind of an error; `CARAT_PARAMETER` of a handle that is none.
#[unsafe(no_mangle)]
pub extern "C" fn carat_error_code(error: *const carat_error) -> carat_code {
    of(error, |e| e.code.into(), carat_code::CARAT_PARAMETER)
}

/// What went wrong, one line of UTF-8: the state, the cause and the remedy. It lives as long as the error; null of a handle
/// that is none.
#[unsafe(no_mangle)]
pub extern "C" fn carat_error_message(error: *const carat_error) -> *const c_char {
    of(error, |e| e.message.as_ptr(), null())
}

/// What was found, where the error is about a value; else null. It lives as long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn carat_error_found(error: *const carat_error) -> *const c_char {
    let text = |e: &ErrorObject| e.found.as_ref().map_or(null(), Held::as_ptr);
    of(error, text, null())
}

/// What was expected in its place, where the error is about a value; else null. It lives as long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn carat_error_expected(error: *const carat_error) -> *const c_char {
    let text = |e: &ErrorObject| e.expected.as_ref().map_or(null(), Held::as_ptr);
    of(error, text, null())
}

/// Frees an error. Null, and an error that was freed already, are let be.
#[unsafe(no_mangle)]
pub extern "C" fn carat_error_free(error: *mut carat_error) {
    // What is none needs no freeing.
    let _ = handles::take::<Arc<ErrorObject>, _>(error);
}

/// The name of a code, `device-lost` for instance, as the npm package has it. Never freed.
#[unsafe(no_mangle)]
pub extern "C" fn carat_code_name(code: i32) -> *const c_char {
    macro_rules! names {
        ($($code:ident: $name:literal),*) => {
            match code {
                0 => c"ok".as_ptr(),
                100 => c"end".as_ptr(),
                $(c if c == Code::$code as i32 => {
                    debug_assert_eq!(Code::$code.name(), $name);
                    concat!($name, "\0").as_ptr().cast()
                })*
                _ => c"unknown".as_ptr(),
            }
        };
    }
    names!(
        Network: "network", Hash: "hash", Format: "format", Webgpu: "webgpu", DeviceLost: "device-lost",
        Aborted: "aborted", Memory: "memory", Context: "context", Parameter: "parameter",
        Template: "template", Storage: "storage", Internal: "internal"
    )
}

//! What C gives, checked.

use crate::app::Failure;
use std::ffi::{CStr, c_char};

/// Of a pointer that must not be null.
pub(super) fn null(what: &str) -> Failure {
    Failure::parameter(format!("the {what} is null"))
}

/// A text that may be missing.
///
/// Errors: no UTF-8.
///
/// # Safety
///
/// The pointer is null, or of a text that ends with a zero byte and stays as it is for `'a`.
pub(super) unsafe fn text_opt<'a>(
    text: *const c_char,
    what: &str,
) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller says.
    let bytes = unsafe { CStr::from_ptr(text) };
    match bytes.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(e) => Err(Failure::parameter(format!(
            "the {what} is no UTF-8 from byte {} on",
            e.valid_up_to()
        ))),
    }
}

/// A text.
///
/// Errors: null, no UTF-8.
///
/// # Safety
///
/// As [`text_opt`].
pub(super) unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: as the caller says.
    unsafe { text_opt(text, what) }?.ok_or_else(|| null(what))
}

/// A struct that begins with its size, of which every pattern of bits is a value, zero being what holds where nothing is said.
///
/// # Safety
///
/// The type is `repr(C)`, begins with a `usize`, and all its bytes may be anything.
pub(super) unsafe trait Versioned: Copy {
    /// Its name in errors.
    const NAME: &'static str;
}

/// A struct as far as the caller's version of it goes; `None` for null.
///
/// Errors: a size that is none; one of a later version that says what this library does not know.
///
/// # Safety
///
/// The pointer is null, or of a struct that has as many bytes as it says.
pub(super) unsafe fn versioned<T: Versioned>(from: *const T) -> Result<Option<T>, Failure> {
    if from.is_null() {
        return Ok(None);
    }
    let (name, most) = (T::NAME, size_of::<T>());
    // SAFETY: it begins with its size.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    if size < size_of::<usize>() || size > 1 << 16 {
        return Err(Failure::parameter(format!(
            "'struct_size' of {name} is {size}; set it to sizeof({name})"
        )));
    }
    // SAFETY: the struct has `size` bytes.
    let rest = unsafe {
        let first = from.cast::<u8>().add(most.min(size));
        std::slice::from_raw_parts(first, size.saturating_sub(most))
    };
    if rest.iter().any(|b| *b != 0) {
        return Err(Failure::parameter(format!(
            "{name} says what this version of the library does not know; update the library"
        )));
    }
    let mut out = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: both have so many bytes, they are apart, and any bytes are a value.
    unsafe {
        let to = out.as_mut_ptr().cast::<u8>();
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), to, most.min(size));
        Ok(Some(out.assume_init()))
    }
}

/// Writes as much of a struct as the caller's version of it has.
///
/// Errors: null, a size that is none.
///
/// # Safety
///
/// The pointer is null, or of memory for as many bytes as its first word says.
pub(super) unsafe fn answer<T: Versioned>(to: *mut T, value: T) -> Result<(), Failure> {
    let name = T::NAME;
    if to.is_null() {
        return Err(null(&format!("place for {name}")));
    }
    // SAFETY: it begins with its size.
    let size = unsafe { to.cast::<usize>().read_unaligned() };
    let word = size_of::<usize>();
    if size < word || size > 1 << 16 {
        return Err(Failure::parameter(format!(
            "'struct_size' of {name} is {size}; set it to sizeof({name})"
        )));
    }
    let bytes = size.min(size_of::<T>()) - word;
    // SAFETY: both have so many bytes behind the size; they are apart.
    unsafe {
        let from = std::ptr::from_ref(&value).cast::<u8>().add(word);
        std::ptr::copy_nonoverlapping(from, to.cast::<u8>().add(word), bytes);
    }
    Ok(())
}

/// Gives as many items as there is room for. `count` has the room before, and how many there are after.
///
/// Errors: no count; too little room, where nothing is given.
///
/// # Safety
///
/// `to` is null or has room for `*count` items.
pub(super) unsafe fn fill<T: Copy>(
    items: &[T],
    to: *mut T,
    count: *mut usize,
) -> Result<(), Failure> {
    if count.is_null() {
        return Err(null("count"));
    }
    // SAFETY: it is not null.
    let room = unsafe { count.read() };
    // SAFETY: as before.
    unsafe { count.write(items.len()) };
    if to.is_null() && room == 0 {
        // Only the number was asked for.
        return Ok(());
    }
    if to.is_null() {
        return Err(null("place for the items"));
    }
    if room < items.len() {
        return Err(Failure::parameter(format!(
            "there is room for {room} items; give room for {}",
            items.len()
        )));
    }
    // SAFETY: there is room for so many, and the caller's memory is apart from ours.
    unsafe { std::ptr::copy_nonoverlapping(items.as_ptr(), to, items.len()) };
    Ok(())
}

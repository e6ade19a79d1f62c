//! Conversations.
#![allow(non_camel_case_types)]

use super::error::{carat_code, carat_error, run_unit};
use super::handles::{self, Object};
use super::model::{carat_model, put, stream_options};
use super::stream::{self, carat_stream};
use super::structs::{carat_conversation_options, carat_stream_options};
use super::{read, text};
use crate::app::{Conversation, ConversationOptions, Failure, Model, Stream, StreamOptions};
use serde::Deserialize;
use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;

/// A conversation, one answer at a time. Any thread may use it: `carat_conversation_free` gives it back.
pub struct carat_conversation {
    _private: [u8; 0],
}

/// Errors: as [`read::versioned`].
///
/// # Safety
///
/// As there.
unsafe fn options(
    options: *const carat_conversation_options,
) -> Result<ConversationOptions, Failure> {
    // SAFETY: as the caller says.
    match unsafe { read::versioned(options) }? {
        // SAFETY: as the caller says.
        Some(options) => unsafe { options.options() },
        None => Ok(ConversationOptions::default()),
    }
}

/// Begins a conversation. `with` and `error` may be null.
///
/// # Safety
///
/// Pointers are null or of what they say; texts end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_new(
    model: *const carat_model,
    with: *const carat_conversation_options,
    conversation: *mut *mut carat_conversation,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        // SAFETY: as the caller says.
        unsafe {
            put(conversation, || {
                let model = handles::find::<Model, _>(model)?;
                let made = model.conversation(&options(with)?)?;
                Ok(Object::Conversation(Arc::new(made)))
            })
        }
    })
}

/// Goes on with a conversation that `carat_conversation_save` wrote. `with` and `error` may be null.
///
/// # Safety
///
/// As `carat_conversation_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_resume(
    model: *const carat_model,
    path: *const c_char,
    with: *const carat_conversation_options,
    conversation: *mut *mut carat_conversation,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        // SAFETY: as the caller says.
        unsafe {
            put(conversation, || {
                let model = handles::find::<Model, _>(model)?;
                let path = Path::new(read::text(path, "path of the session")?);
                let made = model.resume(path, &options(with)?)?;
                Ok(Object::Conversation(Arc::new(made)))
            })
        }
    })
}

/// Ends the answer under way, waits for its thread, gives the memory back and frees the handle.
#[unsafe(no_mangle)]
pub extern "C" fn carat_conversation_free(conversation: *mut carat_conversation) -> carat_code {
    run_unit(std::ptr::null_mut(), || {
        if conversation.is_null() {
            return Ok(());
        }
        handles::take::<Arc<Conversation>, _>(conversation)?.close();
        Ok(())
    })
}

/// A stream of what `ask` asks.
///
/// # Safety
///
/// Pointers are null or of what they say.
unsafe fn answer(
    conversation: *const carat_conversation,
    options: *const carat_stream_options,
    to: *mut *mut carat_stream,
    error: *mut *mut carat_error,
    ask: impl FnOnce(&Conversation, &StreamOptions) -> Result<Stream, Failure>,
) -> carat_code {
    run_unit(error, || {
        // SAFETY: as the caller says.
        unsafe {
            put(to, || {
                let conversation = handles::find::<Arc<Conversation>, _>(conversation)?;
                let options = stream_options(options)?;
                Ok(stream::object(ask(&conversation, &options)?))
            })
        }
    })
}

/// Says something; the stream is the answer. A conversation gives one answer at a time. `options` and `error` may be null.
///
/// # Safety
///
/// As `carat_conversation_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_ask(
    conversation: *const carat_conversation,
    message: *const c_char,
    options: *const carat_stream_options,
    to: *mut *mut carat_stream,
    error: *mut *mut carat_error,
) -> carat_code {
    // SAFETY: as the caller says.
    unsafe {
        answer(conversation, options, to, error, |c, options| {
            c.ask(read::text(message, "message")?, options)
        })
    }
}

/// Another answer to the last message.
///
/// # Safety
///
/// As `carat_conversation_ask`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_regenerate(
    conversation: *const carat_conversation,
    options: *const carat_stream_options,
    to: *mut *mut carat_stream,
    error: *mut *mut carat_error,
) -> carat_code {
    // SAFETY: as the caller says.
    unsafe { answer(conversation, options, to, error, Conversation::regenerate) }
}

/// Says what came of the calls of the last answer, as JSON `[{"id": "call_0", "result": "12:00"}]`; the stream is the answer that
/// follows.
///
/// # Safety
///
/// As `carat_conversation_ask`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_answer_calls(
    conversation: *const carat_conversation,
    results: *const c_char,
    options: *const carat_stream_options,
    to: *mut *mut carat_stream,
    error: *mut *mut carat_error,
) -> carat_code {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Of {
        id: String,
        result: String,
    }
    let wrong = |e: serde_json::Error| {
        Failure::parameter(format!(
            "the results are no list: {e}; expected [{{\"id\": \"call_0\", \"result\": \"…\"}}]"
        ))
    };
    // SAFETY: as the caller says.
    unsafe {
        answer(conversation, options, to, error, |c, options| {
            let json = read::text(results, "list of results")?;
            let all: Vec<Of> = serde_json::from_str(json).map_err(wrong)?;
            let pairs = all.into_iter().map(|r| (r.id, r.result)).collect();
            c.answer_calls(pairs, options)
        })
    }
}

/// Takes the last message and its answer back. `message` becomes its text, which `carat_string_free` frees, or null where there
/// was none; it may be null itself.
///
/// # Safety
///
/// As `carat_conversation_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_undo(
    conversation: *const carat_conversation,
    message: *mut *mut c_char,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        let undone = handles::find::<Arc<Conversation>, _>(conversation)?.undo()?;
        if message.is_null() {
            return Ok(());
        }
        match undone {
            Some(said) => text::give(&said, message),
            None => {
                // SAFETY: it is not null.
                unsafe { message.write(std::ptr::null_mut()) };
                Ok(())
            }
        }
    })
}

/// All messages as JSON, a list in OpenAI's form; `carat_string_free` frees it.
///
/// # Safety
///
/// As `carat_conversation_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_messages(
    conversation: *const carat_conversation,
    json: *mut *mut c_char,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        let messages = handles::find::<Arc<Conversation>, _>(conversation)?.messages()?;
        text::give(&messages, json)
    })
}

/// What one text sets.
///
/// # Safety
///
/// The text ends with a zero byte; `error` is null or a place for a pointer.
unsafe fn set(
    conversation: *const carat_conversation,
    given: *const c_char,
    what: &str,
    error: *mut *mut carat_error,
    act: impl FnOnce(&Conversation, &str) -> Result<(), Failure>,
) -> carat_code {
    run_unit(error, || {
        let conversation = handles::find::<Arc<Conversation>, _>(conversation)?;
        // SAFETY: as the caller says.
        act(&conversation, unsafe { read::text(given, what) }?)
    })
}

/// Goes on with other messages, as `carat_conversation_messages` gives them. Each user's message must have an answer.
///
/// # Safety
///
/// As `carat_conversation_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_set_messages(
    conversation: *const carat_conversation,
    json: *const c_char,
    error: *mut *mut carat_error,
) -> carat_code {
    let act = Conversation::set_messages;
    // SAFETY: as the caller says.
    unsafe { set(conversation, json, "list of messages", error, act) }
}

/// Sets the system message from the next answer on.
///
/// # Safety
///
/// As `carat_conversation_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_set_system(
    conversation: *const carat_conversation,
    message: *const c_char,
    error: *mut *mut carat_error,
) -> carat_code {
    let act = Conversation::set_system;
    // SAFETY: as the caller says.
    unsafe { set(conversation, message, "system message", error, act) }
}

/// Sets the tools from the next answer on, JSON in OpenAI's form; an empty list takes them away.
///
/// # Safety
///
/// As `carat_conversation_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_set_tools(
    conversation: *const carat_conversation,
    json: *const c_char,
    error: *mut *mut carat_error,
) -> carat_code {
    let act = Conversation::set_tools;
    // SAFETY: as the caller says.
    unsafe { set(conversation, json, "list of tools", error, act) }
}

/// Writes the conversation with its keys and values to a file, which appears when it is whole.
///
/// # Safety
///
/// As `carat_conversation_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_conversation_save(
    conversation: *const carat_conversation,
    path: *const c_char,
    error: *mut *mut carat_error,
) -> carat_code {
    let act = |c: &Conversation, path: &str| c.save(Path::new(path));
    // SAFETY: as the caller says.
    unsafe { set(conversation, path, "path of the session", error, act) }
}

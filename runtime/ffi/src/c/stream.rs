//! Texts under way.
#![allow(non_camel_case_types)]

use super::error::{carat_code, carat_error, run, run_unit};
use super::handles::{self, Object};
use super::read;
use super::structs::{carat_piece, carat_piece_kind, carat_result};
use super::text::Held;
use crate::app::{Failure, Outcome, Piece, PieceKind, Stream};
use std::ffi::c_void;
use std::ptr::null;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A text under way, or one that has ended: `carat_stream_free` gives it back.
pub struct carat_stream {
    _private: [u8; 0],
}

/// A stream with what C was given of it last.
pub struct StreamObject {
    stream: Stream,
    last: Mutex<Option<HeldPiece>>,
    ended: OnceLock<HeldOutcome>,
}

struct HeldPiece {
    kind: PieceKind,
    text: Held,
    call: Option<(Held, Held)>,
    ids: Vec<u32>,
    tokens: Option<Held>,
}

struct HeldOutcome {
    outcome: Outcome,
    text: Held,
    reason: Held,
    hash: Held,
    device: Held,
    json: Held,
}

/// Where a stream was made.
pub(super) fn object(stream: Stream) -> Object {
    Object::Stream(Arc::new(StreamObject {
        stream,
        last: Mutex::new(None),
        ended: OnceLock::new(),
    }))
}

impl HeldPiece {
    fn new(piece: &Piece) -> Self {
        let call = piece.call.as_ref();
        let tokens = (!piece.tokens.is_empty()).then_some(&piece.tokens);
        Self {
            kind: piece.kind,
            text: Held::new(&piece.text),
            call: call.map(|c| (Held::new(&c.id), Held::new(&c.name))),
            ids: piece.ids.clone(),
            tokens: tokens.map(|t| Held::new(&serde_json::to_string(t).unwrap_or_default())),
        }
    }

    fn shown(&self) -> carat_piece {
        let (call_id, call_name) = match &self.call {
            Some((id, name)) => (id.as_ptr(), name.as_ptr()),
            None => (null(), null()),
        };
        carat_piece {
            struct_size: 0,
            kind: match self.kind {
                PieceKind::Text => carat_piece_kind::CARAT_PIECE_TEXT,
                PieceKind::Reasoning => carat_piece_kind::CARAT_PIECE_REASONING,
                PieceKind::Call => carat_piece_kind::CARAT_PIECE_CALL,
            } as i32,
            text: self.text.as_ptr(),
            text_len: self.text.len(),
            call_id,
            call_name,
            ids: self.ids.as_ptr(),
            id_count: self.ids.len(),
            tokens_json: self.tokens.as_ref().map_or(null(), Held::as_ptr),
        }
    }
}

impl HeldOutcome {
    fn new(outcome: Outcome) -> Self {
        Self {
            text: Held::new(&outcome.text),
            reason: Held::new(&outcome.reason),
            hash: Held::new(&outcome.logits_hash),
            device: Held::new(&outcome.device),
            json: Held::new(&serde_json::to_string(&outcome).unwrap_or_default()),
            outcome,
        }
    }

    fn shown(&self) -> carat_result {
        let o = &self.outcome;
        carat_result {
            struct_size: 0,
            text: self.text.as_ptr(),
            text_len: self.text.len(),
            ids: o.ids.as_ptr(),
            id_count: o.ids.len(),
            reason: self.reason.as_ptr(),
            logits_hash: self.hash.as_ptr(),
            device: self.device.as_ptr(),
            json: self.json.as_ptr(),
            complete: o.complete.map_or(-1, i32::from),
            prompt_tokens: o.prompt_tokens,
            cached_tokens: o.cached_tokens,
            ms_to_first_token: o.ms_to_first_token,
            tokens_per_second: o.tokens_per_second,
        }
    }
}

fn find(stream: *const carat_stream) -> Result<Arc<StreamObject>, Failure> {
    handles::find(stream)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the next piece: `CARAT_OK` with a piece, `CARAT_END` at the end, or what went wrong. One thread at a time pulls;
/// another may cancel. `error` may be null.
///
/// # Safety
///
/// `piece` is of a `carat_piece` with its `struct_size`; `error` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_stream_next(
    stream: *const carat_stream,
    piece: *mut carat_piece,
    error: *mut *mut carat_error,
) -> carat_code {
    run(error, || {
        let stream = find(stream)?;
        let Some(next) = stream.stream.next()? else {
            return Ok(carat_code::CARAT_END);
        };
        let held = HeldPiece::new(&next);
        let shown = held.shown();
        *lock(&stream.last) = Some(held);
        // SAFETY: as the caller says.
        unsafe { read::answer(piece, shown) }?;
        Ok(carat_code::CARAT_OK)
    })
}

/// Told of each piece; `false` cancels the text.
pub type carat_on_piece =
    Option<unsafe extern "C" fn(user: *mut c_void, piece: *const carat_piece) -> bool>;

/// Calls `on_piece` on this thread with each piece until the end: `CARAT_OK`, or what went wrong. What a piece points to lives
/// until `on_piece` returns.
///
/// # Safety
///
/// `on_piece` may be called with `user`; `error` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_stream_each(
    stream: *const carat_stream,
    on_piece: carat_on_piece,
    user: *mut c_void,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        let stream = find(stream)?;
        let on_piece = on_piece.ok_or_else(|| read::null("function"))?;
        while let Some(next) = stream.stream.next()? {
            let held = HeldPiece::new(&next);
            let mut shown = held.shown();
            shown.struct_size = size_of::<carat_piece>();
            // SAFETY: as the caller says.
            if !unsafe { on_piece(user, &shown) } {
                stream.stream.cancel();
            }
        }
        Ok(())
    })
}

/// Ends the text at its next step. What is there can still be pulled, and then the end.
#[unsafe(no_mangle)]
pub extern "C" fn carat_stream_cancel(stream: *const carat_stream) -> carat_code {
    run_unit(std::ptr::null_mut(), || {
        find(stream)?.stream.cancel();
        Ok(())
    })
}

/// What is known of the text, once `carat_stream_next` gave `CARAT_END`; before, `CARAT_PARAMETER`. `error` may be null.
///
/// # Safety
///
/// `result` is of a `carat_result` with its `struct_size`; `error` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_stream_result(
    stream: *const carat_stream,
    result: *mut carat_result,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        let stream = find(stream)?;
        let held = match stream.ended.get() {
            Some(held) => held,
            None => {
                let ended = stream.stream.outcome().ok_or_else(|| {
                    Failure::parameter("the text goes on; pull its pieces until CARAT_END")
                })?;
                let held = HeldOutcome::new(ended?);
                stream.ended.get_or_init(|| held)
            }
        };
        // SAFETY: as the caller says.
        unsafe { read::answer(result, held.shown()) }
    })
}

/// Ends the text, waits for its thread and frees the handle.
#[unsafe(no_mangle)]
pub extern "C" fn carat_stream_free(stream: *mut carat_stream) -> carat_code {
    run_unit(std::ptr::null_mut(), || {
        if stream.is_null() {
            return Ok(());
        }
        handles::take::<Arc<StreamObject>, _>(stream)?
            .stream
            .close();
        Ok(())
    })
}

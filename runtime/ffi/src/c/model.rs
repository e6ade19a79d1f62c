//! Models.
#![allow(non_camel_case_types)]

use super::error::{carat_code, carat_error, run_unit};
use super::handles::{self, Object};
use super::stream::{self, carat_stream};
use super::structs::{carat_load_options, carat_progress, carat_stage, carat_stream_options};
use super::{read, text};
use crate::app::{Failure, LoadStage, Model, OnLoad, StreamOptions};
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// A model that is open. Any thread may use it: `carat_model_free` gives it back.
pub struct carat_model {
    _private: [u8; 0],
}

/// A program's function and what it wants to be given.
#[derive(Clone, Copy)]
struct Told {
    call: unsafe extern "C" fn(*mut c_void, i32, u64, u64) -> bool,
    user: *mut c_void,
}

// SAFETY: it is called on the thread that called `carat_model_load`, before that returns, and on no other: see `Model::load`.
unsafe impl Send for Told {}
// SAFETY: as above.
unsafe impl Sync for Told {}

impl Told {
    fn tell(&self, stage: LoadStage, done: u64, total: u64) -> bool {
        let stage = match stage {
            LoadStage::Download => carat_stage::CARAT_STAGE_DOWNLOAD,
            LoadStage::Read => carat_stage::CARAT_STAGE_READ,
            LoadStage::Upload => carat_stage::CARAT_STAGE_UPLOAD,
            LoadStage::Compile => carat_stage::CARAT_STAGE_COMPILE,
        };
        // SAFETY: the program says that the function may be called with what it gave.
        unsafe { (self.call)(self.user, stage as i32, done, total) }
    }
}

fn told(progress: carat_progress, user: *mut c_void) -> Option<Arc<OnLoad>> {
    let told = Told {
        call: progress?,
        user,
    };
    Some(Arc::new(move |stage, done, total| {
        told.tell(stage, done, total)
    }))
}

/// Writes a new handle.
///
/// # Safety
///
/// `to` is null or a place for a pointer.
pub(super) unsafe fn put<T>(
    to: *mut *mut T,
    make: impl FnOnce() -> Result<Object, Failure>,
) -> Result<(), Failure> {
    if to.is_null() {
        return Err(read::null("place for the handle"));
    }
    // SAFETY: it is not null. Whoever looks after an error finds no handle.
    unsafe { to.write(std::ptr::null_mut()) };
    let handle = handles::put(make()?);
    // SAFETY: as before.
    unsafe { to.write(handle) };
    Ok(())
}

/// Opens a model: a path, an address (`https://…/model.gguf`) or a hub's name (`hf:OWNER/NAME`). It takes as long as it takes:
/// call it from a thread that may wait. `options` and `error` may be null.
///
/// # Safety
///
/// Pointers are null or of what they say; texts end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_model_load(
    from: *const c_char,
    options: *const carat_load_options,
    model: *mut *mut carat_model,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        // SAFETY: as the caller says.
        unsafe {
            put(model, || {
                let from = read::text(from, "path of the model")?;
                let (options, progress) = match read::versioned(options)? {
                    Some(given) => (given.options()?, told(given.progress, given.user)),
                    None => Default::default(),
                };
                Ok(Object::Model(Model::load(from, &options, progress)?))
            })
        }
    })
}

/// Cancels what is under way, waits for its threads, closes the model's conversations and frees the handle. Handles of its
/// conversations and streams stay valid, say that they are closed, and are freed by themselves.
#[unsafe(no_mangle)]
pub extern "C" fn carat_model_free(model: *mut carat_model) -> carat_code {
    run_unit(std::ptr::null_mut(), || {
        if model.is_null() {
            return Ok(());
        }
        handles::take::<Model, _>(model)?.close();
        Ok(())
    })
}

/// What is known of a model, as JSON under the names of the npm package's `ModelInfo`; the text is freed by
/// `carat_string_free`.
///
/// # Safety
///
/// `json` and `error` are null or places for pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_model_info(
    model: *const carat_model,
    json: *mut *mut c_char,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        let info = handles::find::<Model, _>(model)?.info()?;
        text::give(&serde_json::to_string(&info).unwrap_or_default(), json)
    })
}

/// The tokens of a text. `*count` has the room of `ids` before, and the number of tokens after; with `ids` null and `*count` 0
/// only the number is given.
///
/// # Safety
///
/// `input` is a text of UTF-8 that ends with a zero byte, `ids` has room for `*count`, `count` and `error` are null or of what they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_model_tokenize(
    model: *const carat_model,
    input: *const c_char,
    ids: *mut u32,
    count: *mut usize,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        let model = handles::find::<Model, _>(model)?;
        // SAFETY: as the caller says.
        unsafe {
            let tokens = model.tokenize(read::text(input, "text")?)?;
            read::fill(&tokens, ids, count)
        }
    })
}

/// The text of tokens, which `carat_string_free` frees.
///
/// # Safety
///
/// `ids` has `count` tokens; `output` and `error` are null or places for pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_model_detokenize(
    model: *const carat_model,
    ids: *const u32,
    count: usize,
    output: *mut *mut c_char,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        let model = handles::find::<Model, _>(model)?;
        let ids = match (ids.is_null(), count) {
            (_, 0) => &[][..],
            (true, _) => return Err(read::null("list of tokens")),
            // SAFETY: it has so many.
            (false, _) => unsafe { std::slice::from_raw_parts(ids, count) },
        };
        text::give(&model.detokenize(ids)?, output)
    })
}

/// The meaning of a text as a vector of length 1; `*count` as in `carat_model_tokenize`. The model's info says how many numbers
/// it has, `embeddingSize`.
///
/// # Safety
///
/// As `carat_model_tokenize`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_model_embed(
    model: *const carat_model,
    input: *const c_char,
    vector: *mut f32,
    count: *mut usize,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        let model = handles::find::<Model, _>(model)?;
        // SAFETY: as the caller says.
        unsafe {
            let input = read::text(input, "text")?;
            if vector.is_null() && !count.is_null() && count.read() == 0 {
                count.write(model.info()?.embedding_size as usize);
                return Ok(());
            }
            read::fill(&model.embed(input)?, vector, count)
        }
    })
}

/// A text that goes on with a prompt. `options` and `error` may be null.
///
/// # Safety
///
/// As `carat_model_load`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn carat_model_generate(
    model: *const carat_model,
    prompt: *const c_char,
    options: *const carat_stream_options,
    to: *mut *mut carat_stream,
    error: *mut *mut carat_error,
) -> carat_code {
    run_unit(error, || {
        // SAFETY: as the caller says.
        unsafe {
            put(to, || {
                let model = handles::find::<Model, _>(model)?;
                let prompt = read::text(prompt, "prompt")?;
                Ok(stream::object(
                    model.generate(prompt, &stream_options(options)?)?,
                ))
            })
        }
    })
}

/// Errors: as [`read::versioned`].
///
/// # Safety
///
/// As there.
pub(super) unsafe fn stream_options(
    options: *const carat_stream_options,
) -> Result<StreamOptions, Failure> {
    // SAFETY: as the caller says.
    match unsafe { read::versioned(options) }? {
        // SAFETY: as the caller says.
        Some(options) => unsafe { options.options() },
        None => Ok(StreamOptions::default()),
    }
}

/// The system is short of memory: gives back what can be computed or read again.
#[unsafe(no_mangle)]
pub extern "C" fn carat_model_memory_warning(model: *const carat_model) -> carat_code {
    run_unit(std::ptr::null_mut(), || {
        handles::find::<Model, _>(model)?.memory_warning()
    })
}

/// The app goes into the background: texts go on with the CPU, with the same tokens. When this returns no GPU works for the model.
#[unsafe(no_mangle)]
pub extern "C" fn carat_model_enter_background(model: *const carat_model) -> carat_code {
    run_unit(std::ptr::null_mut(), || {
        handles::find::<Model, _>(model)?.enter_background()
    })
}

/// The app is in the foreground again: a GPU is made ready, as at loading.
#[unsafe(no_mangle)]
pub extern "C" fn carat_model_enter_foreground(model: *const carat_model) -> carat_code {
    run_unit(std::ptr::null_mut(), || {
        handles::find::<Model, _>(model)?.enter_foreground()
    })
}

//! llama.cpp through its C interface, since the safe crate over it cannot switch repacking off.

use super::{Args, CPU, Contestant};
use anyhow::{Context, Result, bail};
use llama_cpp_sys_2 as sys;
use std::ffi::{CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

pub struct Llama {
    model: NonNull<sys::llama_model>,
    context: NonNull<sys::llama_context>,
    vocab: u32,
}

/// Tokens that llama.cpp takes at once: its default for both.
const BATCH: usize = 512;

impl Llama {
    pub fn load(args: &Args, repack: bool) -> Result<Self> {
        let gpu = args.device != CPU;
        if gpu && !cfg!(feature = "vulkan") {
            bail!("llama.cpp is built without its Vulkan backend: --features vulkan");
        }
        let path = CString::new(args.model.as_os_str().as_bytes())?;
        // SAFETY: the calls take no pointers but the callback's null and follow llama.h's order: backend, model.
        let mut model = unsafe {
            sys::llama_log_set(Some(silent), std::ptr::null_mut());
            sys::llama_backend_init();
            sys::llama_model_default_params()
        };
        // More layers than any model has: all.
        model.n_gpu_layers = if gpu { 1000 } else { 0 };
        model.use_extra_bufts = repack;
        // SAFETY: `path` is a string that ends with a zero and outlives the call; the parameters are llama.cpp's own.
        let model = unsafe { sys::llama_model_load_from_file(path.as_ptr(), model) };
        let model = NonNull::new(model)
            .with_context(|| format!("llama.cpp cannot load {}", args.model.display()))?;
        // SAFETY: no arguments.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = args.context;
        params.n_batch = BATCH as u32;
        params.n_ubatch = BATCH as u32;
        params.n_threads = args.threads as i32;
        params.n_threads_batch = args.threads as i32;
        // SAFETY: the model is loaded and lives as long as `Self`.
        let context = unsafe { sys::llama_init_from_model(model.as_ptr(), params) };
        let context = NonNull::new(context).context("llama.cpp cannot make a context")?;
        // SAFETY: the model is loaded; the vocabulary belongs to it.
        let vocab =
            unsafe { sys::llama_vocab_n_tokens(sys::llama_model_get_vocab(model.as_ptr())) };
        Ok(Self {
            model,
            context,
            vocab: u32::try_from(vocab)?,
        })
    }
}

/// Says nothing.
unsafe extern "C" fn silent(_: sys::ggml_log_level, _: *const c_char, _: *mut c_void) {}

impl Contestant for Llama {
    fn truncate(&mut self, len: usize) -> Result<()> {
        // SAFETY: the context lives as long as `self`, and its memory as long as it.
        let there = unsafe {
            let memory = sys::llama_get_memory(self.context.as_ptr());
            sys::llama_memory_seq_rm(memory, 0, len as i32, -1)
        };
        if !there {
            bail!("llama.cpp cannot forget part of a text");
        }
        Ok(())
    }

    fn prompt(&mut self, tokens: &[u32]) -> Result<()> {
        for part in tokens.chunks(BATCH) {
            let mut ids: Vec<sys::llama_token> =
                part.iter().map(|&t| t as sys::llama_token).collect();
            // SAFETY: `ids` outlives the batch; the context lives. Without an array of outputs the last token's are
            // computed, and `llama_synchronize` waits for them.
            let failed = unsafe {
                let batch = sys::llama_batch_get_one(ids.as_mut_ptr(), ids.len() as i32);
                let failed = sys::llama_decode(self.context.as_ptr(), batch);
                sys::llama_synchronize(self.context.as_ptr());
                failed
            };
            if failed != 0 {
                bail!("llama_decode returns {failed}");
            }
        }
        Ok(())
    }

    fn vocab(&self) -> u32 {
        self.vocab
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        // SAFETY: both were made by llama.cpp, are freed once, the context first.
        unsafe {
            sys::llama_free(self.context.as_ptr());
            sys::llama_model_free(self.model.as_ptr());
        }
    }
}

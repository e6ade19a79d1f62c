//! Structs that C fills in or reads. Each begins with its size; zero is what holds where nothing is said.
#![allow(non_camel_case_types)]

use super::read::{self, Versioned};
use crate::app::{Adapter, ConversationOptions, Failure, LoadOptions, Sampling, StreamOptions};
use std::ffi::{c_char, c_void};

/// Told how far loading is: a `carat_stage`, how much is done and of how much (0 where that is not known). `false` ends loading.
pub type carat_progress =
    Option<unsafe extern "C" fn(user: *mut c_void, stage: i32, done: u64, total: u64) -> bool>;

/// What loading does.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum carat_stage {
    /// Bytes come over the network.
    CARAT_STAGE_DOWNLOAD = 1,
    /// Bytes of the file are read into memory.
    CARAT_STAGE_READ = 2,
    /// Bytes of weights go to a GPU.
    CARAT_STAGE_UPLOAD = 3,
    /// Kernels are compiled for a GPU.
    CARAT_STAGE_COMPILE = 4,
}

/// A LoRA adapter.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct carat_adapter {
    /// A directory that PEFT saved, or a GGUF file.
    pub path: *const c_char,
    /// From -16 to 16; 1 is the adapter as it was trained.
    pub strength: f64,
}

/// How a model is opened. Zero everywhere but in `struct_size` is Carat's choice.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct carat_load_options {
    /// `sizeof(carat_load_options)`.
    pub struct_size: usize,
    /// `auto` (null too), `cpu`, `gpu`, `gpu:INDEX` or `gpu:NAME`.
    pub device: *const c_char,
    /// Positions of the context.
    pub context: u32,
    /// Threads of the CPU.
    pub threads: u32,
    /// Most bytes of memory, weights included.
    pub memory_limit: u64,
    /// Bits of the keys that are kept of a text: 8 (0 too) or 4.
    pub key_bits: u32,
    /// Bits of the values that are kept of a text: 8 (0 too) or 4.
    pub value_bits: u32,
    /// 1: the file is not compared with its hashes.
    pub unverified: u32,
    /// 1: the file is copied into memory, and not mapped.
    pub copied: u32,
    /// LoRA adapters, `adapter_count` of them.
    pub adapters: *const carat_adapter,
    /// How many.
    pub adapter_count: usize,
    /// The folder for models that are fetched.
    pub cache_dir: *const c_char,
    /// Called on the thread that loads, and not after `carat_model_load` returns.
    pub progress: carat_progress,
    /// Given to `progress`.
    pub user: *mut c_void,
}

/// How a conversation begins.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct carat_conversation_options {
    /// `sizeof(carat_conversation_options)`.
    pub struct_size: usize,
    /// The system message.
    pub system: *const c_char,
    /// Tools, a list in OpenAI's form, as JSON.
    pub tools: *const c_char,
    /// Messages that were said before, a list in OpenAI's form, as JSON. Each user's message must have an answer.
    pub messages: *const c_char,
    /// How tokens are chosen, as JSON: `{"temperature": 0.7, "topK": 40, "topP": 0.95, "minP": 0.05, "repeatPenalty": 1.1,
    /// "presencePenalty": 0, "frequencyPenalty": 0, "seed": 7, "maxTokens": 100, "stop": ["\n"], "greedy": false}`, each
    /// optional.
    pub sampling: *const c_char,
    /// The time that the template is told, in seconds since 1970; 0 is now.
    pub date: i64,
}

/// What holds for one text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct carat_stream_options {
    /// `sizeof(carat_stream_options)`.
    pub struct_size: usize,
    /// As in `carat_conversation_options`; null: as the conversation says.
    pub sampling: *const c_char,
    /// A JSON schema that the text follows.
    pub json_schema: *const c_char,
    /// A grammar that the text follows, in llguidance's variant of Lark's syntax.
    pub grammar: *const c_char,
    /// `auto` (null too), `none`, `required`, or the name of the tool that must be called.
    pub tool_choice: *const c_char,
    /// Reports what the model thinks of each token, with so many of the likeliest ones; 0: no report.
    pub metrics: u32,
}

/// What a piece is of.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum carat_piece_kind {
    /// Text that the user reads.
    CARAT_PIECE_TEXT = 1,
    /// The model's reasoning.
    CARAT_PIECE_REASONING = 2,
    /// A call of a tool, whole.
    CARAT_PIECE_CALL = 3,
}

/// A piece of a text: whole characters, never empty. What it points to lives until the next call of `carat_stream_next` or
/// `carat_stream_free` with its stream.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct carat_piece {
    /// `sizeof(carat_piece)`: to be set before the call.
    pub struct_size: usize,
    /// A `carat_piece_kind`.
    pub kind: i32,
    /// UTF-8, and a zero byte; of a call its arguments, a JSON object.
    pub text: *const c_char,
    /// Bytes of the text.
    pub text_len: usize,
    /// The id of a call; else null.
    pub call_id: *const c_char,
    /// The tool of a call; else null.
    pub call_name: *const c_char,
    /// Tokens that were chosen since the piece before.
    pub ids: *const u32,
    /// How many.
    pub id_count: usize,
    /// What the model thought of tokens since the piece before, a list as JSON: `[{"id", "logprob", "entropy", "rank", "top":
    /// [{"id", "logprob"}]}]`; null where nobody asked.
    pub tokens_json: *const c_char,
}

/// What is known of a text at its end. What it points to lives until `carat_stream_free`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct carat_result {
    /// `sizeof(carat_result)`: to be set before the call.
    pub struct_size: usize,
    /// The text that the user reads: UTF-8, and a zero byte.
    pub text: *const c_char,
    /// Bytes of the text.
    pub text_len: usize,
    /// Its tokens, the one that ended it included.
    pub ids: *const u32,
    /// How many.
    pub id_count: usize,
    /// `end`, `stop`, `complete`, `length`, `context` or `cancelled`.
    pub reason: *const c_char,
    /// blake3 over everything that the tokens were chosen from, in hexadecimal.
    pub logits_hash: *const c_char,
    /// What computed it.
    pub device: *const c_char,
    /// All of this, the reasoning and the calls of tools, as JSON.
    pub json: *const c_char,
    /// With a schema or grammar, 1: the text is whole, 0: it is not; else -1.
    pub complete: i32,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of them, those that were computed before and not again.
    pub cached_tokens: u32,
    /// Milliseconds from the start to the first token.
    pub ms_to_first_token: f64,
    /// Tokens per second after the first one.
    pub tokens_per_second: f64,
}

macro_rules! versioned {
    ($($type:ident),*) => {
        $(
            // SAFETY: it is `repr(C)`, its first field is `usize`, and the others are numbers, pointers and pointers to functions
            // that may be null.
            unsafe impl Versioned for $type {
                const NAME: &'static str = stringify!($type);
            }
        )*
    };
}

versioned!(
    carat_load_options,
    carat_conversation_options,
    carat_stream_options,
    carat_piece,
    carat_result
);

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn flag(name: &str, value: u32) -> Result<bool, Failure> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Failure::parameter(format!(
            "'{name}' is {other}; expected 0 or 1"
        ))),
    }
}

fn nonzero<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

impl carat_load_options {
    /// Errors: texts that are no UTF-8, numbers out of their range.
    ///
    /// # Safety
    ///
    /// Its pointers are null or as the struct says.
    pub(super) unsafe fn options(&self) -> Result<LoadOptions, Failure> {
        let bits = |name: &str, bits: u32| match u8::try_from(bits) {
            Ok(bits) => Ok(nonzero(bits)),
            Err(_) => Err(Failure::parameter(format!(
                "'{name}' is {bits}; expected 4 or 8"
            ))),
        };
        let mut adapters = Vec::new();
        if self.adapter_count > 0 {
            if self.adapters.is_null() {
                return Err(read::null("list of adapters"));
            }
            for i in 0..self.adapter_count {
                // SAFETY: the list has so many.
                let adapter = unsafe { self.adapters.add(i).read() };
                // SAFETY: its path is a text.
                let path = unsafe { read::text(adapter.path, "path of an adapter") }?;
                adapters.push(Adapter {
                    path: path.into(),
                    strength: adapter.strength,
                });
            }
        }
        // SAFETY: as the caller says.
        let device = unsafe { read::text_opt(self.device, "device") }?;
        // SAFETY: as the caller says.
        let cache_dir = unsafe { read::text_opt(self.cache_dir, "folder for models") }?;
        Ok(LoadOptions {
            device: device.unwrap_or("auto").into(),
            context: nonzero(self.context),
            memory_limit: nonzero(self.memory_limit),
            threads: nonzero(self.threads),
            key_bits: bits("key_bits", self.key_bits)?,
            value_bits: bits("value_bits", self.value_bits)?,
            verify: !flag("unverified", self.unverified)?,
            map: !flag("copied", self.copied)?,
            adapters,
            cache_dir: owned(cache_dir),
        })
    }
}

/// Errors: no UTF-8, no sampling.
///
/// # Safety
///
/// The pointer is null or a text.
unsafe fn sampling(json: *const c_char) -> Result<Option<Sampling>, Failure> {
    // SAFETY: as the caller says.
    let json = unsafe { read::text_opt(json, "sampling") }?;
    json.map(Sampling::of_json).transpose()
}

impl carat_conversation_options {
    /// Errors: texts that are no UTF-8, or no sampling.
    ///
    /// # Safety
    ///
    /// Its pointers are null or as the struct says.
    pub(super) unsafe fn options(&self) -> Result<ConversationOptions, Failure> {
        // SAFETY: as the caller says.
        unsafe {
            Ok(ConversationOptions {
                system: owned(read::text_opt(self.system, "system message")?),
                tools: owned(read::text_opt(self.tools, "list of tools")?),
                messages: owned(read::text_opt(self.messages, "list of messages")?),
                sampling: sampling(self.sampling)?.unwrap_or_default(),
                date: nonzero(self.date),
            })
        }
    }
}

impl carat_stream_options {
    /// Errors: texts that are no UTF-8, or no sampling.
    ///
    /// # Safety
    ///
    /// Its pointers are null or as the struct says.
    pub(super) unsafe fn options(&self) -> Result<StreamOptions, Failure> {
        // SAFETY: as the caller says.
        unsafe {
            Ok(StreamOptions {
                sampling: sampling(self.sampling)?,
                json_schema: owned(read::text_opt(self.json_schema, "JSON schema")?),
                grammar: owned(read::text_opt(self.grammar, "grammar")?),
                tool_choice: owned(read::text_opt(self.tool_choice, "choice of tools")?),
                metrics: nonzero(self.metrics),
            })
        }
    }
}

// Carat: language models inside apps, in integers, the same tokens on every device.
//
// Made by cbindgen from runtime/ffi/src/c; docs/embedding-c.md has an example. Functions return CARAT_OK or what went wrong; where
// `error` is given, it becomes an error that carat_error_free frees. Handles may be used from any thread. Texts are UTF-8.


#ifndef CARAT_H
#define CARAT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// The version of this interface. It grows with what is added; what is there stays. A program asks
// `carat_abi_version() >= CARAT_ABI_VERSION`.
#define CARAT_ABI_VERSION 1

// What a function returns: `CARAT_OK`, `CARAT_END`, or what went wrong.
enum carat_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It is done.
    CARAT_OK = 0,
    // A model cannot be fetched.
    CARAT_NETWORK = 1,
    // Bytes of a file do not have their hash.
    CARAT_HASH = 2,
    // A file is no Carat model, contradicts itself, or holds what this build cannot run.
    CARAT_FORMAT = 3,
    // There is no such GPU, or it failed.
    CARAT_WEBGPU = 4,
    // The GPU was lost.
    CARAT_DEVICE_LOST = 5,
    // The work was cancelled, or the object is closed.
    CARAT_ABORTED = 6,
    // The memory does not suffice, or the limit on it.
    CARAT_MEMORY = 7,
    // The tokens do not fit the context.
    CARAT_CONTEXT = 8,
    // A parameter is out of its range, or a handle is none.
    CARAT_PARAMETER = 9,
    // The chat template fails, or refuses the conversation.
    CARAT_TEMPLATE = 10,
    // A file cannot be read or written.
    CARAT_STORAGE = 11,
    // All else.
    CARAT_INTERNAL = 12,
    // `carat_stream_next`: the text has ended.
    CARAT_END = 100,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum carat_code carat_code;
#else
typedef int32_t carat_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The kind of a [`Failure`]. The names are those of the npm package.
enum Code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // A model cannot be fetched.
    Network = 1,
    // Bytes of a file do not have their hash.
    Hash = 2,
    // A file is no Carat model, contradicts itself, or holds what this build cannot run.
    Format = 3,
    // There is no such GPU, or it failed.
    Webgpu = 4,
    // The GPU was lost: a model that is opened again may have it back.
    DeviceLost = 5,
    // The work was cancelled, or the object is closed.
    Aborted = 6,
    // The memory does not suffice, or the limit on it.
    Memory = 7,
    // The tokens do not fit the context.
    Context = 8,
    // A parameter is out of its range, a schema cannot be used, or an object is none.
    Parameter = 9,
    // The chat template fails, or refuses the conversation.
    Template = 10,
    // A file cannot be read or written.
    Storage = 11,
    // All else.
    Internal = 12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum Code Code;
#else
typedef int32_t Code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a piece is of.
enum carat_piece_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Text that the user reads.
    CARAT_PIECE_TEXT = 1,
    // The model's reasoning.
    CARAT_PIECE_REASONING = 2,
    // A call of a tool, whole.
    CARAT_PIECE_CALL = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum carat_piece_kind carat_piece_kind;
#else
typedef int32_t carat_piece_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What loading does.
enum carat_stage
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Bytes come over the network.
    CARAT_STAGE_DOWNLOAD = 1,
    // Bytes of the file are read into memory.
    CARAT_STAGE_READ = 2,
    // Bytes of weights go to a GPU.
    CARAT_STAGE_UPLOAD = 3,
    // Kernels are compiled for a GPU.
    CARAT_STAGE_COMPILE = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum carat_stage carat_stage;
#else
typedef int32_t carat_stage;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A conversation, one answer at a time. Any thread may use it: `carat_conversation_free` gives it back.
typedef struct carat_conversation carat_conversation;

// An error: `carat_error_free` gives it back.
typedef struct carat_error carat_error;

// A model that is open. Any thread may use it: `carat_model_free` gives it back.
typedef struct carat_model carat_model;

// A text under way, or one that has ended: `carat_stream_free` gives it back.
typedef struct carat_stream carat_stream;

// How a conversation begins.
typedef struct carat_conversation_options {
    // `sizeof(carat_conversation_options)`.
    size_t struct_size;
    // The system message.
    const char *system;
    // Tools, a list in OpenAI's form, as JSON.
    const char *tools;
    // Messages that were said before, a list in OpenAI's form, as JSON. Each user's message must have an answer.
    const char *messages;
    // How tokens are chosen, as JSON: `{"temperature": 0.7, "topK": 40, "topP": 0.95, "minP": 0.05, "repeatPenalty": 1.1,
    // "presencePenalty": 0, "frequencyPenalty": 0, "seed": 7, "maxTokens": 100, "stop": ["\n"], "greedy": false}`, each
    // optional.
    const char *sampling;
    // The time that the template is told, in seconds since 1970; 0 is now.
    int64_t date;
} carat_conversation_options;

// What holds for one text.
typedef struct carat_stream_options {
    // `sizeof(carat_stream_options)`.
    size_t struct_size;
    // As in `carat_conversation_options`; null: as the conversation says.
    const char *sampling;
    // A JSON schema that the text follows.
    const char *json_schema;
    // A grammar that the text follows, in llguidance's variant of Lark's syntax.
    const char *grammar;
    // `auto` (null too), `none`, `required`, or the name of the tool that must be called.
    const char *tool_choice;
    // Reports what the model thinks of each token, with so many of the likeliest ones; 0: no report.
    uint32_t metrics;
} carat_stream_options;

// A LoRA adapter.
typedef struct carat_adapter {
    // A directory that PEFT saved, or a GGUF file.
    const char *path;
    // From -16 to 16; 1 is the adapter as it was trained.
    double strength;
} carat_adapter;

// Told how far loading is: a `carat_stage`, how much is done and of how much (0 where that is not known). `false` ends loading.
typedef bool (*carat_progress)(void *user, int32_t stage, uint64_t done, uint64_t total);

// How a model is opened. Zero everywhere but in `struct_size` is Carat's choice.
typedef struct carat_load_options {
    // `sizeof(carat_load_options)`.
    size_t struct_size;
    // `auto` (null too), `cpu`, `gpu`, `gpu:INDEX` or `gpu:NAME`.
    const char *device;
    // Positions of the context.
    uint32_t context;
    // Threads of the CPU.
    uint32_t threads;
    // Most bytes of memory, weights included.
    uint64_t memory_limit;
    // Bits of the keys that are kept of a text: 8 (0 too) or 4.
    uint32_t key_bits;
    // Bits of the values that are kept of a text: 8 (0 too) or 4.
    uint32_t value_bits;
    // 1: the file is not compared with its hashes.
    uint32_t unverified;
    // 1: the file is copied into memory, and not mapped.
    uint32_t copied;
    // LoRA adapters, `adapter_count` of them.
    const struct carat_adapter *adapters;
    // How many.
    size_t adapter_count;
    // The folder for models that are fetched.
    const char *cache_dir;
    // Called on the thread that loads, and not after `carat_model_load` returns.
    carat_progress progress;
    // Given to `progress`.
    void *user;
} carat_load_options;

// A piece of a text: whole characters, never empty. What it points to lives until the next call of `carat_stream_next` or
// `carat_stream_free` with its stream.
typedef struct carat_piece {
    // `sizeof(carat_piece)`: to be set before the call.
    size_t struct_size;
    // A `carat_piece_kind`.
    int32_t kind;
    // UTF-8, and a zero byte; of a call its arguments, a JSON object.
    const char *text;
    // Bytes of the text.
    size_t text_len;
    // The id of a call; else null.
    const char *call_id;
    // The tool of a call; else null.
    const char *call_name;
    // Tokens that were chosen since the piece before.
    const uint32_t *ids;
    // How many.
    size_t id_count;
    // What the model thought of tokens since the piece before, a list as JSON: `[{"id", "logprob", "entropy", "rank", "top":
    // [{"id", "logprob"}]}]`; null where nobody asked.
    const char *tokens_json;
} carat_piece;

// Told of each piece; `false` cancels the text.
typedef bool (*carat_on_piece)(void *user, const struct carat_piece *piece);

// What is known of a text at its end. What it points to lives until `carat_stream_free`.
typedef struct carat_result {
    // `sizeof(carat_result)`: to be set before the call.
    size_t struct_size;
    // The text that the user reads: UTF-8, and a zero byte.
    const char *text;
    // Bytes of the text.
    size_t text_len;
    // Its tokens, the one that ended it included.
    const uint32_t *ids;
    // How many.
    size_t id_count;
    // `end`, `stop`, `complete`, `length`, `context` or `cancelled`.
    const char *reason;
    // blake3 over everything that the tokens were chosen from, in hexadecimal.
    const char *logits_hash;
    // What computed it.
    const char *device;
    // All of this, the reasoning and the calls of tools, as JSON.
    const char *json;
    // With a schema or grammar, 1: the text is whole, 0: it is not; else -1.
    int32_t complete;
    // Tokens of the prompt.
    uint32_t prompt_tokens;
    // Of them, those that were computed before and not again.
    uint32_t cached_tokens;
    // Milliseconds from the start to the first token.
    double ms_to_first_token;
    // Tokens per second after the first one.
    double tokens_per_second;
} carat_result;

// Every code, in the order of their numbers, which begin with 1.
#define Code_ALL { Network, Hash, Format, Webgpu, DeviceLost, Aborted, Memory, Context, Parameter, Template, Storage, Internal, }

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the interface that the library has.
uint32_t carat_abi_version(void);

// The version of Carat, `0.1.0` for instance. Never freed.
const char *carat_version(void);

// How many objects and texts are not freed yet: 0 in a program that frees all.
size_t carat_live_objects(void);

// Begins a conversation. `with` and `error` may be null.
carat_code carat_conversation_new(const struct carat_model *model,
                                  const struct carat_conversation_options *with,
                                  struct carat_conversation **conversation,
                                  struct carat_error **error);

// Goes on with a conversation that `carat_conversation_save` wrote. `with` and `error` may be null.
carat_code carat_conversation_resume(const struct carat_model *model,
                                     const char *path,
                                     const struct carat_conversation_options *with,
                                     struct carat_conversation **conversation,
                                     struct carat_error **error);

// Ends the answer under way, waits for its thread, gives the memory back and frees the handle.
carat_code carat_conversation_free(struct carat_conversation *conversation);

// Says something; the stream is the answer. A conversation gives one answer at a time. `options` and `error` may be null.
carat_code carat_conversation_ask(const struct carat_conversation *conversation,
                                  const char *message,
                                  const struct carat_stream_options *options,
                                  struct carat_stream **to,
                                  struct carat_error **error);

// Another answer to the last message.
carat_code carat_conversation_regenerate(const struct carat_conversation *conversation,
                                         const struct carat_stream_options *options,
                                         struct carat_stream **to,
                                         struct carat_error **error);

// Says what came of the calls of the last answer, as JSON `[{"id": "call_0", "result": "12:00"}]`; the stream is the answer that
// follows.
carat_code carat_conversation_answer_calls(const struct carat_conversation *conversation,
                                           const char *results,
                                           const struct carat_stream_options *options,
                                           struct carat_stream **to,
                                           struct carat_error **error);

// Takes the last message and its answer back. `message` becomes its text, which `carat_string_free` frees, or null where there
// was none; it may be null itself.
carat_code carat_conversation_undo(const struct carat_conversation *conversation,
                                   char **message,
                                   struct carat_error **error);

// All messages as JSON, a list in OpenAI's form; `carat_string_free` frees it.
carat_code carat_conversation_messages(const struct carat_conversation *conversation,
                                       char **json,
                                       struct carat_error **error);

// Goes on with other messages, as `carat_conversation_messages` gives them. Each user's message must have an answer.
carat_code carat_conversation_set_messages(const struct carat_conversation *conversation,
                                           const char *json,
                                           struct carat_error **error);

// Sets the system message from the next answer on.
carat_code carat_conversation_set_system(const struct carat_conversation *conversation,
                                         const char *message,
                                         struct carat_error **error);

// Sets the tools from the next answer on, JSON in OpenAI's form; an empty list takes them away.
carat_code carat_conversation_set_tools(const struct carat_conversation *conversation,
                                        const char *json,
                                        struct carat_error **error);

// Writes the conversation with its keys and values to a file, which appears when it is whole.
carat_code carat_conversation_save(const struct carat_conversation *conversation,
                                   const char *path,
                                   struct carat_error **error);

// The kind of an error; `CARAT_PARAMETER` of a handle that is none.
carat_code carat_error_code(const struct carat_error *error);

// What went wrong, one line of UTF-8: the state, the cause and the remedy. It lives as long as the error; null of a handle
// that is none.
const char *carat_error_message(const struct carat_error *error);

// What was found, where the error is about a value; else null. It lives as long as the error.
const char *carat_error_found(const struct carat_error *error);

// What was expected in its place, where the error is about a value; else null. It lives as long as the error.
const char *carat_error_expected(const struct carat_error *error);

// Frees an error. Null, and an error that was freed already, are let be.
void carat_error_free(struct carat_error *error);

// The name of a code, `device-lost` for instance, as the npm package has it. Never freed.
const char *carat_code_name(int32_t code);

// Opens a model: a path, an address (`https://…/model.gguf`) or a hub's name (`hf:OWNER/NAME`). It takes as long as it takes:
// call it from a thread that may wait. `options` and `error` may be null.
carat_code carat_model_load(const char *from,
                            const struct carat_load_options *options,
                            struct carat_model **model,
                            struct carat_error **error);

// Cancels what is under way, waits for its threads, closes the model's conversations and frees the handle. Handles of its
// conversations and streams stay valid, say that they are closed, and are freed by themselves.
carat_code carat_model_free(struct carat_model *model);

// What is known of a model, as JSON under the names of the npm package's `ModelInfo`; the text is freed by
// `carat_string_free`.
carat_code carat_model_info(const struct carat_model *model, char **json, struct carat_error **error);

// The tokens of a text. `*count` has the room of `ids` before, and the number of tokens after; with `ids` null and `*count` 0
// only the number is given.
carat_code carat_model_tokenize(const struct carat_model *model,
                                const char *input,
                                uint32_t *ids,
                                size_t *count,
                                struct carat_error **error);

// The text of tokens, which `carat_string_free` frees.
carat_code carat_model_detokenize(const struct carat_model *model,
                                  const uint32_t *ids,
                                  size_t count,
                                  char **output,
                                  struct carat_error **error);

// The meaning of a text as a vector of length 1; `*count` as in `carat_model_tokenize`. The model's info says how many numbers
// it has, `embeddingSize`.
carat_code carat_model_embed(const struct carat_model *model,
                             const char *input,
                             float *vector,
                             size_t *count,
                             struct carat_error **error);

// A text that goes on with a prompt. `options` and `error` may be null.
carat_code carat_model_generate(const struct carat_model *model,
                                const char *prompt,
                                const struct carat_stream_options *options,
                                struct carat_stream **to,
                                struct carat_error **error);

// The system is short of memory: gives back what can be computed or read again.
carat_code carat_model_memory_warning(const struct carat_model *model);

// The app goes into the background: texts go on with the CPU, with the same tokens. When this returns no GPU works for the model.
carat_code carat_model_enter_background(const struct carat_model *model);

// The app is in the foreground again: a GPU is made ready, as at loading.
carat_code carat_model_enter_foreground(const struct carat_model *model);

// Waits for the next piece: `CARAT_OK` with a piece, `CARAT_END` at the end, or what went wrong. One thread at a time pulls;
// another may cancel. `error` may be null.
carat_code carat_stream_next(const struct carat_stream *stream,
                             struct carat_piece *piece,
                             struct carat_error **error);

// Calls `on_piece` on this thread with each piece until the end: `CARAT_OK`, or what went wrong. What a piece points to lives
// until `on_piece` returns.
carat_code carat_stream_each(const struct carat_stream *stream,
                             carat_on_piece on_piece,
                             void *user,
                             struct carat_error **error);

// Ends the text at its next step. What is there can still be pulled, and then the end.
carat_code carat_stream_cancel(const struct carat_stream *stream);

// What is known of the text, once `carat_stream_next` gave `CARAT_END`; before, `CARAT_PARAMETER`. `error` may be null.
carat_code carat_stream_result(const struct carat_stream *stream,
                               struct carat_result *result,
                               struct carat_error **error);

// Ends the text, waits for its thread and frees the handle.
carat_code carat_stream_free(struct carat_stream *stream);

// Frees a text that a function gave. Null, and what is no such text, are let be.
void carat_string_free(char *text);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CARAT_H */

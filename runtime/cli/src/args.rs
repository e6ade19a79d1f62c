//! The command line.

mod hub;
mod lora;
mod measure;
mod run;
mod sampling;
mod serve;
mod talk;

pub use hub::PullArgs;
pub use lora::LoraArgs;
pub use measure::{CompareArgs, EvalArgs, LogitsArgs};
pub use run::{FollowArgs, RunArgs};
pub use sampling::SamplingArgs;
pub use serve::ServeArgs;
pub use talk::{ChatArgs, TemplateArgs, TokenizeArgs};

use crate::values::{self, Chosen};
use carat::internals::{CacheBits, DeviceChoice};
use carat_converter::budget::Target;
use carat_converter::convert::{CardText, Rule};
use carat_format::{Pooling, ScaleGroup, keys};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Language models at 1 to 8 bits per weight, run in integers: one file, one prompt and one seed give
/// the same text on every device.
#[derive(Debug, Parser)]
#[command(
    name = "carat",
    version,
    max_term_width = 80,
    arg_required_else_help = true
)]
#[command(after_help = "Example: carat demo
         carat chat model.gguf
         carat run model.gguf 'It was a dark night'

A model is a Carat file, any other GGUF of a known architecture, a directory from Hugging Face, or \
hf:OWNER/NAME, which is fetched from the Hugging Face hub.

Every command has its own --help with an example. Exit codes: 0 done, 1 failed, 2 wrong usage, \
130 interrupted, 143 terminated. CARAT_LOG=debug logs to stderr; NO_COLOR=1 turns colours off.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Convert the bundled model to 4 bits, measure it, and let it write a story
    #[command(after_help = "Example: carat demo

Converts without calibration, takes under 20 seconds and leaves no file behind.")]
    Demo(DemoArgs),
    /// Convert a checkpoint to a Carat file
    #[command(after_help = "Example: carat convert TinyLlama-1.1B/ -o tinyllama.gguf
         carat convert model.gguf -o small.gguf --preset best-3
         carat convert model.gguf -o small.gguf --bits 2 --tensor 'token_embd|ffn_down=4,g64'

Sources: Hugging Face directories (safetensors in F32, F16, BF16, FP8, INT8, MXFP4, NVFP4, \
compressed-tensors, GPTQ or AWQ), and GGUF files, whole or split (give any part), in F32, F16, BF16, \
Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q8_K, IQ1_S to IQ4_XS, MXFP4, NVFP4, TQ1_0 or \
TQ2_0. Architectures: llama (Llama, SmolLM), mistral, qwen2, qwen3, phi3, gemma2, gemma3 (text) and \
bitnet.

A conversion fits codes and scales to a text. It takes minutes for a model of a billion weights and \
needs no GPU. The bytes are the same for any number of threads on one kind of processor. --method none \
leaves the fit out: faster, worse, and the same bytes on every machine.

The file appears under its name when it is whole. A file that would be useless does not appear.")]
    Convert(ConvertArgs),
    /// Fetch a model from the Hugging Face hub, and print its path
    #[command(after_help = "Example: carat pull HuggingFaceTB/SmolLM2-135M-Instruct
         carat pull bartowski/SmolLM2-135M-Instruct-GGUF:Q8_0
         carat pull OWNER/NAME:FOLDER/FILE.gguf --revision v1.0
         carat convert $(carat pull OWNER/NAME) -o small.gguf

Commands that take a model fetch it themselves: carat run hf:OWNER/NAME PROMPT. Without a file, the \
safetensors checkpoint is fetched, else the one GGUF model, else the one in Q8_0.

Files go to the cache that other programs share ($HF_HUB_CACHE, $HF_HOME/hub or ~/.cache/huggingface/hub). \
Each is checked by its hash; what was interrupted is gone on with. HF_TOKEN is the token for private and \
gated models, HF_ENDPOINT another hub, HF_HUB_OFFLINE=1 takes from the cache alone, SSL_CERT_FILE names \
certificates to trust.")]
    Pull(PullArgs),
    /// Chat with a model
    #[command(
        after_help = "Example: carat chat qwen.gguf --system 'Answer in one sentence.'

Answers go to stdout, everything else to stderr. Without a terminal each line of standard input is a \
message. /help lists the commands of the chat: /regen /undo /system /save /load /stats /quit.

What you type never becomes a control token. When the context is full, the oldest messages are left \
out, with a note. An answer computes only what is new in the conversation. Each answer has a seed of \
its own. Your lines are kept in memory only."
    )]
    Chat(Box<ChatArgs>),
    /// Continue a prompt, or answer a conversation
    #[command(
        after_help = "Example: carat run story.gguf 'It was a dark night' -n 200 --temp 0.7
         cat letter.txt | carat run story.gguf - --json
         carat run story.gguf --messages talk.json --json

The text goes to stdout, everything else to stderr. The same file, prompt, settings and seed give the \
same text on every device."
    )]
    Run(Box<RunArgs>),
    /// Serve models over HTTP: the APIs of OpenAI and Anthropic, and a page to chat
    #[command(after_help = "Example: carat serve story.gguf
         carat serve --models-dir ~/models --models-max 2 --port 9000
         curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}'

Answers are computed at once, --parallel of them, and each is bit for bit the one that it would be alone. \
What begins like an earlier text is not computed again. Every answer has the hash of its logits \
(X-Carat-Logits-Hash). The log has paths and times, and no texts; CARAT_LOG=warn turns it off.")]
    Serve(Box<ServeArgs>),
    /// Turn texts into vectors: the hidden state after the last norm
    #[command(
        after_help = "Example: carat embed story.gguf --text sentences.txt --lines > vectors.jsonl

Each text gives one line: a JSON array of length 1 (Euclidean). With --pooling none each token gives \
one. --json gives one object with the integers behind the vectors, which are the same on every device."
    )]
    Embed(EmbedArgs),
    /// Show what a model file holds: sizes, tensors, encodings
    #[command(after_help = "Example: carat inspect story.gguf --tensors

Reads Carat files, any GGUF and Hugging Face directories. payload_bpw counts the bits of all \
matrices per weight, padding included; file_bpw counts the bits of the whole file.")]
    Inspect(InspectArgs),
    /// Measure quality on a text: perplexity, and divergence from a reference
    #[command(
        after_help = "Example: carat eval story.gguf --text book.txt --ctx 256 --reference checkpoint/

The text is tokenized once and cut into chunks of --ctx tokens. The predictions in the second half of \
each chunk are scored, as llama-perplexity does. A Carat file runs in integers; anything else, and \
every --reference, runs in f32. Divergence is KL(reference, model) in nats.

With --card the tokens are those that the file carries, and the figures come out to the last digit \
on every machine and device."
    )]
    Eval(EvalArgs),
    /// Compare size and quality of several files on one text, as a table and a plot
    #[command(
        after_help = "Example: carat compare a.gguf b.gguf llama-Q4_K_M.gguf --text book.txt --reference checkpoint/ --svg plot.svg

All files must be of one model. Carat files run in integers. Other GGUFs and Hugging Face directories \
run in f32 with their decoded weights. The scores are those of eval; the reference runs once for all."
    )]
    Compare(CompareArgs),
    /// Measure speed: prompt, text, and the share of the memory's bandwidth
    #[command(
        after_help = "Example: carat bench story.gguf --pp 512 --tg 128 --device cpu --threads 4

Each repetition starts empty, computes --pp random tokens and then the --tg likeliest ones, without a \
sampler. Rates are medians. GB/s is the bytes of weights per token times the tokens per second. On the \
CPU, bench compares it with what the same threads reach when they only read memory, in the same run."
    )]
    Bench(BenchArgs),
    /// Check this machine: adapters, limits, every kernel, a model's golden vectors
    #[command(after_help = "Example: carat doctor story.gguf

Every kernel runs on every adapter, software ones included, over small models made up on the spot. The \
results are compared with the CPU word by word. With a model, the checksums of logits that its file \
states are computed on the CPU and on every adapter. The exit code is 1 if anything differs.")]
    Doctor(DoctorArgs),
    /// Print the token ids of a text
    #[command(
        after_help = "Example: carat tokenize story.gguf --text letter.txt --json

Reads Carat files, any GGUF (also one with a vocabulary and no weights) and Hugging Face directories. \
No token is put in front or behind; with --bos the ids are those of a prompt of run."
    )]
    Tokenize(TokenizeArgs),
    /// Print the prompt that a conversation becomes
    #[command(
        after_help = "Example: echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | carat template qwen.gguf --messages -

FILE.json holds a list of messages, or an object with messages and optional keys: tools, \
add_generation_prompt (default true), bos_token, eos_token, date (what strftime_now returns; default: \
this time in UTC) and further variables of the template.

Templates are untrusted: they may take two million steps, nest 250 deep and make 16 MiB."
    )]
    Template(TemplateArgs),
    /// Print the logits after each of some tokens
    #[command(
        after_help = "Example: carat logits story.gguf --tokens 0,510,284 --json

A Carat file gives integers: logit = integer * 2^exponent, with a hash that is the same on every \
device. A checkpoint (Hugging Face directory, GGUF) gives the f32 reference. Its exponent and hash are \
null, because floats differ between machines."
    )]
    Logits(LogitsArgs),
    /// List or remove converted checkpoints that were kept
    #[command(after_help = "Example: carat cache list

Commands that run a Carat file take any checkpoint as well. They convert it once and keep the file in \
$CARAT_CACHE, or in carat in the system's directory for caches. A checkpoint that changed is \
converted again; the old file stays until carat cache clear.")]
    Cache(CacheCommandArgs),
    /// Print a script that makes a shell complete commands and options
    #[command(
        after_help = "Example: carat completions fish > ~/.config/fish/completions/carat.fish
         source <(carat completions bash)    # a line of ~/.bashrc
         source <(carat completions zsh)     # of ~/.zshrc, behind compinit
         carat completions powershell >> $PROFILE

A new shell then completes them."
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page of every command into a directory
    #[command(after_help = "Example: carat man ~/.local/share/man/man1
         man carat-run")]
    Man {
        /// Where to: it is made if it is absent, and pages that are there are replaced
        directory: PathBuf,
    },
}

/// Where to run.
#[derive(Args, Clone, Debug)]
pub struct DeviceArgs {
    /// auto (a hardware GPU, else the CPU), cpu, gpu, or gpu:NAME (a part of an adapter's name)
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = values::device, help_heading = "Device")]
    pub device: DeviceChoice,
    /// CPU threads; -1: all cores [default: all cores]
    #[arg(short, long, value_name = "N", default_value = "-1", hide_default_value = true, allow_hyphen_values = true, value_parser = values::threads, help_heading = "Device")]
    pub threads: Chosen<usize>,
    /// Bits of the cached keys and values, 8 or 4: of both, or of each as 8,4. 4 halves the memory; keys of 4 bits cost quality
    #[arg(long, value_name = "K,V", default_value = "8", hide_default_value = true, value_parser = values::kv, help_heading = "Device")]
    pub kv: CacheBits,
    // Taken for those who are used to it; crate::habits says what decides instead.
    #[arg(long, aliases = ["gpu-layers", "num-gpu"], value_name = "N", allow_hyphen_values = true, hide = true)]
    pub n_gpu_layers: Option<String>,
}

/// How much memory there is for it.
#[derive(Args, Clone, Debug)]
pub struct MemoryArgs {
    /// Use at most this much memory, weights included, like 900MB or 1.5GiB; shortens the context if it must
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Device")]
    pub memory_limit: Option<u64>,
    #[command(flatten)]
    pub map: MapArgs,
}

/// Tokens that are computed in advance; the text does not depend on it.
#[derive(Args, Clone, Debug)]
pub struct SpeculationArgs {
    /// Compute up to N tokens in advance where the text said the same before; the text does not depend on it; 0: none
    #[arg(long, visible_alias = "draft-lookup", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Tokens in advance")]
    pub lookup: u32,
    /// Let a smaller model with the same vocabulary propose tokens, which change none
    #[arg(
        long,
        alias = "model-draft",
        value_name = "MODEL",
        help_heading = "Tokens in advance"
    )]
    pub draft_model: Option<PathBuf>,
    /// Tokens that it proposes at once, at most
    #[arg(long, aliases = ["draft", "draft-n"], value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Tokens in advance")]
    pub draft_max: u32,
}

/// How the file comes to memory.
#[derive(Args, Clone, Debug)]
pub struct MapArgs {
    /// Read the file into memory instead of mapping it: loads slower, may run faster
    #[arg(long, help_heading = "Device")]
    pub no_mmap: bool,
}

/// What to do with a checkpoint where a Carat file is needed.
#[derive(Args, Clone, Debug)]
pub struct CacheArgs {
    /// Convert it to N bits per weight [default: 4]
    #[arg(long, value_name = "N", value_parser = values::bits, help_heading = "If the model is a checkpoint")]
    pub bits: Option<f64>,
    /// Convert it without calibration: faster, worse
    #[arg(long, help_heading = "If the model is a checkpoint")]
    pub fast: bool,
    /// Convert it into a temporary file and keep nothing
    #[arg(long, help_heading = "If the model is a checkpoint")]
    pub no_cache: bool,
}

/// `carat demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Checkpoint to use instead of the bundled one
    #[arg(value_name = "DIRECTORY")]
    pub source: Option<PathBuf>,
    #[command(flatten)]
    pub place: DeviceArgs,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `carat convert`.
#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// Hugging Face directory or GGUF file
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// File to write
    #[arg(short, long, value_name = "OUT.gguf")]
    pub output: PathBuf,
    /// Bits per weight: 1, 1.6 (the levels -1, 0 and 1), 2, 3, 4, 5, 6 or 8. From 2 to 6, scales add 0.4 bits on average,
    /// and each matrix gets the bits that it needs. Matrices of two or three values in the checkpoint take 1 or 1.6 bits
    /// instead of more, without loss [default: 4, and more where the model loses by it]
    #[arg(long, value_name = "N", value_parser = values::bits, help_heading = "Size")]
    pub bits: Option<f64>,
    /// How many weights share a scale: 32, 64 or 128. With this option all matrices take the same bits [default: what
    /// each matrix needs]
    #[arg(long, value_name = "N", value_parser = values::group, help_heading = "Size")]
    pub group: Option<ScaleGroup>,
    /// Other bits, group or both for matrices whose name matches a regular expression, like
    /// 'ffn_down=4,g64'. May be given several times; the last that matches decides
    #[arg(long, value_name = "PATTERN=BITS,gN", value_parser = values::rule, help_heading = "Size")]
    pub tensor: Vec<Rule>,
    /// A size that is known to be good
    #[arg(long, value_name = "NAME", value_parser = values::presets(), conflicts_with_all = ["bits", "group", "target_bpw", "target_size"], help_heading = "Size")]
    pub preset: Option<String>,
    /// Bits per weight over all tensors: each matrix without a --tensor rule gets the bits and group that do
    /// least harm
    #[arg(long, value_name = "BITS", value_parser = Target::parse_bits, conflicts_with_all = ["bits", "group", "target_size"], help_heading = "Size")]
    pub target_bpw: Option<Target>,
    /// The same for a size of all tensors, like 512MiB
    #[arg(long, value_name = "SIZE", value_parser = Target::parse_size, conflicts_with_all = ["bits", "group"], help_heading = "Size")]
    pub target_size: Option<Target>,
    /// Fit codes and scales to this text (UTF-8, 256 tokens or more), or with 'self' to a text that the model
    /// samples [default: a text of Carat's own]
    #[arg(long, value_name = "FILE|self", help_heading = "Calibration")]
    pub calib: Option<PathBuf>,
    /// Tokens of the text to use, in whole chunks of 256 [default: 4096; 16384 if you give bits, a size or a text]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Calibration")]
    pub calib_tokens: Option<u32>,
    /// Chooses the chunks of a longer text
    #[arg(
        long,
        value_name = "S",
        default_value_t = 0,
        help_heading = "Calibration"
    )]
    pub seed: u64,
    /// Methods of the fit (docs/quality.md has what each gains). 'none' alone: no fit and no text, faster and worse
    /// [default: scales,gptq,cd,drift]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = ["none", "scales", "gptq", "cd", "drift", "exponent", "rotate-heads", "rotate-stream", "awq"], help_heading = "Calibration")]
    pub method: Vec<String>,
    /// Tokens that the file's quality card is measured on; 0: no card
    #[arg(long, value_name = "N", default_value_t = CardText::TOKENS as u32, value_parser = clap::value_parser!(u32).range(0..=keys::MAX_CARD_TOKENS as i64), help_heading = "Quality card")]
    pub card_tokens: u32,
    /// Text of the card (UTF-8) [default: a short one of Carat's own]
    #[arg(long, value_name = "FILE", help_heading = "Quality card")]
    pub card_text: Option<PathBuf>,
    /// CPU threads; -1: all cores [default: all cores]
    #[arg(short, long, value_name = "N", default_value = "-1", hide_default_value = true, allow_hyphen_values = true, value_parser = values::threads, help_heading = "Device")]
    pub threads: Chosen<usize>,
    /// Write a page with drawings and JSON about every tensor into this directory; a name that ends in .json
    /// takes the JSON alone
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub report: Option<PathBuf>,
    /// Replace files that exist, and write a file even if it is useless
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `carat inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Carat file, GGUF or Hugging Face directory, or a LoRA adapter
    pub model: PathBuf,
    /// List the tensors
    #[arg(long)]
    pub tensors: bool,
    /// Of an adapter: count intruder dimensions in the matrices of this model, which takes minutes for a large one
    #[arg(long, value_name = "MODEL")]
    pub base: Option<PathBuf>,
    /// Compare every tensor with the hash that the file states (Carat files)
    #[arg(long)]
    pub verify: bool,
    /// Show the memory that it takes, by the length of the context (Carat files)
    #[arg(long)]
    pub memory: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A model, where it runs, and the form of the results.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// Carat file, or a checkpoint: it is converted once and kept
    pub model: PathBuf,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub place: DeviceArgs,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `carat bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1 << 20), help_heading = "What to measure")]
    pub pp: u32,
    /// Tokens to generate after it
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1 << 20), help_heading = "What to measure")]
    pub tg: u32,
    /// How often to do both
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "What to measure")]
    pub repetitions: u32,
    /// On a GPU: measure every kernel of a token alone, beside a kernel that only reads
    #[arg(long, help_heading = "What to measure")]
    pub kernels: bool,
    /// On a GPU: find the fastest workgroups for this model and keep them for this adapter
    #[arg(long, conflicts_with = "kernels", help_heading = "What to measure")]
    pub autotune: bool,
    /// Without a GPU: count bytes and instructions per token, and the speed that they allow on some GPUs
    #[arg(long, conflicts_with_all = ["kernels", "autotune"], help_heading = "What to measure")]
    pub predict: bool,
    /// Measure instead what tokens in advance gain after the beginning of this text, --pp tokens of it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kernels", "autotune", "predict"], help_heading = "What to measure")]
    pub text: Option<PathBuf>,
    #[command(flatten)]
    pub speculation: SpeculationArgs,
    #[command(flatten)]
    pub map: MapArgs,
    #[command(flatten)]
    pub of: ModelArgs,
}

/// `carat doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Carat file or checkpoint whose golden vectors to compute too
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `carat embed`.
#[derive(Args, Debug)]
pub struct EmbedArgs {
    /// Text to embed, UTF-8; -: standard input
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub text: PathBuf,
    /// How the states of a text's tokens become one vector [default: what the model is made for, else mean]
    #[arg(long, value_name = "HOW", value_parser = values::pooling())]
    pub pooling: Option<Pooling>,
    /// Take every line as a text of its own
    #[arg(long)]
    pub lines: bool,
    #[command(flatten)]
    pub of: ModelArgs,
}

/// `carat cache`.
#[derive(Args, Debug)]
pub struct CacheCommandArgs {
    #[command(subcommand)]
    pub action: CacheAction,
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheAction {
    /// Converted files: size, bits, date, checkpoint
    #[command(after_help = "Example: carat cache list --json")]
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove everything that the cache holds
    #[command(after_help = "Example: carat cache clear

Files that are being written by another carat stay; files in use vanish when it ends.")]
    Clear {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

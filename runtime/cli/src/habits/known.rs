//! What other programs have and this one has not: what to do instead.

/// Options of other programs that are not here, and what to do.
const OPTIONS: &[(&[&str], &str)] = &[
    (
        &[
            "-v",
            "--verbose",
            "--log-verbose",
            "-lv",
            "--verbosity",
            "--debug",
        ],
        "CARAT_LOG=debug in the environment logs to stderr; in a chat /stats shows speeds; -V is the version",
    ),
    (
        &[
            "-hf",
            "-hfr",
            "--hf-repo",
            "-hff",
            "--hf-file",
            "-mu",
            "--model-url",
        ],
        "give hf:OWNER/NAME, which is fetched from the Hugging Face hub, or a file on this machine",
    ),
    (
        &["-p", "--prompt"],
        "carat run MODEL PROMPT continues a prompt; carat chat MODEL --system TEXT sets a system message",
    ),
    (
        &[
            "-i",
            "--interactive",
            "-cnv",
            "--conversation",
            "-if",
            "--interactive-first",
        ],
        "carat chat MODEL chats with a model",
    ),
    (
        &["-q", "--quiet", "--silent"],
        "leave it out, or send stderr elsewhere: 2>/dev/null",
    ),
    (
        &["-o", "--output"],
        "results go to standard output: add > FILE",
    ),
    (
        &["--mmproj", "-mm", "--image"],
        "images are not read: leave it out",
    ),
    (
        &["--lora-scaled"],
        "--lora FILE:S adds an adapter with the strength S",
    ),
    (
        &["-r", "--reverse-prompt"],
        "--stop TEXT ends a text before TEXT",
    ),
    (
        &["--tfs", "--samplers", "--sampler-seq", "--sampling-seq"],
        "Carat's order of the filters is fixed, and --tfs has gone from llama.cpp too: leave it out",
    ),
    (
        &[
            "-no-cnv",
            "--no-conversation",
            "--no-display-prompt",
            "--simple-io",
            "--mlock",
            "-fa",
            "--flash-attn",
            "-b",
            "--batch-size",
            "-ub",
            "--ubatch-size",
            "-e",
            "--escape",
            "--jinja",
            "--color",
            "-co",
            "-sm",
            "--split-mode",
            "-mg",
            "--main-gpu",
            "-ctk",
            "--cache-type-k",
            "-ctv",
            "--cache-type-v",
            "--keep",
            "--no-warmup",
            "--log-disable",
            "--no-perf",
            "--numa",
            "-np",
            "--parallel",
            "--no-kv-offload",
            "-nkvo",
            "--no-context-shift",
            "--cache-prompt",
            "--prompt-cache",
        ],
        "Carat has no such setting: leave it out",
    ),
    (
        &["-sys", "--system", "--system-prompt"],
        "carat chat MODEL --system TEXT sets a system message; carat run takes it from --messages FILE",
    ),
    (
        &["-st", "--single-turn"],
        "carat run MODEL --messages FILE answers once; so does a line of standard input: echo Hello | carat chat MODEL",
    ),
    (
        &["-tb", "--threads-batch"],
        "-t N sets the threads for the prompt and for the text",
    ),
    (
        &["--chat-template", "--chat-template-file"],
        "carat chat MODEL --template FILE.jinja replaces the model's chat template",
    ),
    (
        &[
            "--think",
            "--reasoning",
            "--reasoning-budget",
            "--chat-template-kwargs",
            "--no-think",
        ],
        "set the variable that the model's chat template reads, like \"enable_thinking\": false, beside the messages of --messages FILE",
    ),
    (
        &[
            "--rope-freq-base",
            "--rope-freq-scale",
            "--rope-scale",
            "--rope-scaling",
            "--yarn-orig-ctx",
            "--yarn-ext-factor",
            "--yarn-attn-factor",
            "--yarn-beta-slow",
            "--yarn-beta-fast",
            "--override-kv",
        ],
        "Carat takes this from the model's file: leave it out",
    ),
    (
        &["-j", "-jf", "--json-schema-file", "--format"],
        "--json-schema FILE, or '{…}' itself, makes the text JSON; --json prints the result as JSON",
    ),
    (
        &["--grammar-file"],
        "--grammar FILE reads a grammar in Lark's syntax, not GBNF",
    ),
    (&["--outfile"], "carat convert SRC -o OUT.gguf"),
    (
        &["--outtype", "--quantize", "--quant"],
        "--bits N gives the bits per weight: carat convert SRC -o OUT.gguf --bits 4",
    ),
];

/// Commands of other programs, and the one to give.
pub const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["quantize", "quantise", "create"],
        "carat convert SOURCE -o OUT.gguf",
    ),
    (
        &["generate", "complete", "completion", "cli", "prompt"],
        "carat run MODEL PROMPT",
    ),
    (&["talk", "converse"], "carat chat MODEL"),
    (&["show", "info", "dump"], "carat inspect MODEL"),
    (
        &["list", "ls", "ps"],
        "carat cache list, which lists converted checkpoints",
    ),
    (
        &["rm", "remove", "delete"],
        "carat cache clear, which removes converted checkpoints",
    ),
    (&["perplexity", "ppl"], "carat eval MODEL --text FILE"),
    (
        &["embedding", "embeddings"],
        "carat embed MODEL --text FILE",
    ),
    (&["download", "fetch", "get"], "carat pull OWNER/NAME"),
    (
        &["push", "serve", "server", "stop"],
        "Carat serves nothing: carat run MODEL PROMPT, where MODEL is a file, a directory or hf:OWNER/NAME",
    ),
];

/// What to do instead of another program's option, in whose name `_` may stand for `-`.
pub fn tip_for(option: &str) -> Option<&'static str> {
    let name = option.split('=').next().unwrap_or(option);
    let name = name.replace('_', "-");
    let known = OPTIONS.iter().find(|o| o.0.contains(&&*name))?;
    Some(known.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_one_row() {
        for table in [OPTIONS, COMMANDS] {
            let mut seen = std::collections::BTreeSet::new();
            for name in table.iter().flat_map(|row| row.0) {
                assert!(seen.insert(name), "{name} twice");
            }
        }
    }
}

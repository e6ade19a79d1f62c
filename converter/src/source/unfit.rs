//! What lies beside models or is mistaken for one: what it is, and what to do.

use super::SourceError;
use super::config::EXPERTS;
use super::io::read_small;
use carat_gguf::Header;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// By `general.type`, and for files without it by `general.architecture`: what it is, what to do.
const TYPES: [(&str, &str, &str); 5] = [
    ("adapter", LORA, MERGE),
    ("mmproj", PROJECTOR, BESIDE),
    ("clip", PROJECTOR, BESIDE),
    ("imatrix", IMATRIX, MADE_FOR),
    (
        "controlvector",
        "a control vector, which steers another model",
        "give the model itself",
    ),
];
const LORA: &str = "a LoRA adapter, which changes another model";
const MERGE: &str = "merge it into that model (peft: merge_and_unload; llama.cpp: llama-export-lora) and give the result";
const PROJECTOR: &str = "a projector (mmproj), which brings images or sound into another model";
const BESIDE: &str = "give the model's own file, which lies beside it; it runs on text alone";
const IMATRIX: &str = "an importance matrix, which quantizers of llama.cpp read";
const MADE_FOR: &str = "give the model that it was made for";
const DENSE: &str = "mixtures of experts are not supported, give a dense model";

/// Largest `adapter_config.json` that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 10_000;

fn no_model(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> SourceError {
    SourceError::NoModel {
        path: path.into(),
        what: what.into(),
        remedy: remedy.into(),
    }
}

/// A GGUF file that is no model, or one of experts.
pub(super) fn gguf(path: &Path, header: &Header<'_>) -> Option<SourceError> {
    // Keys of another type are refused where they are read.
    let text = |key: &str| header.str_opt(key).ok().flatten();
    let architecture = text(carat_format::keys::ARCHITECTURE);
    let known = |name: &str| TYPES.iter().find(|t| t.0 == name);
    let kind = text("general.type").and_then(known);
    if let Some((_, what, remedy)) = kind.or_else(|| architecture.and_then(known)) {
        return Some(no_model(path, *what, *remedy));
    }
    let experts = header.u32_opt(&format!("{}.expert_count", architecture?));
    let experts = experts.ok().flatten().filter(|n| *n > 0)?;
    Some(no_model(
        path,
        format!("a model of {experts} experts"),
        DENSE,
    ))
}

/// A configuration of a model of experts.
pub(super) fn config(path: &Path, config: &Map<String, Value>) -> Option<SourceError> {
    let text = config.get("text_config").and_then(Value::as_object);
    let count = |map: &Map<String, Value>| EXPERTS.iter().find_map(|k| map.get(*k)?.as_u64());
    let experts = count(config).or_else(|| text.and_then(count));
    let experts = experts.filter(|n| *n > 1)?;
    Some(no_model(
        path,
        format!("a model of {experts} experts"),
        DENSE,
    ))
}

/// A directory of an adapter.
pub(super) fn adapter(path: &Path) -> Option<SourceError> {
    let bytes = read_small(&path.join("adapter_config.json"), MAX_CONFIG).ok()?;
    let config: Option<Value> = serde_json::from_slice(&bytes).ok();
    let base = config
        .as_ref()
        .and_then(|c| c.get("base_model_name_or_path"));
    let base = base.and_then(Value::as_str).unwrap_or("another model");
    let base: String = base.chars().take(120).collect();
    let what = format!("a LoRA adapter, which changes {base}");
    Some(no_model(path, what, MERGE))
}

/// A directory without `config.json`.
pub(super) fn directory(path: &Path) -> SourceError {
    if let Some(error) = adapter(path) {
        return error;
    }
    let what = "a directory without config.json";
    let found = names(path, |p| p.extension().is_some_and(|e| e == "gguf"));
    let remedy = match &found[..] {
        [] => match names(&path.join("snapshots"), |p| p.join("config.json").exists()).first() {
            // What the hub's own tools download to.
            Some(snapshot) => format!("give {}", path.join("snapshots").join(snapshot).display()),
            None => "expected a Hugging Face directory or a .gguf file".into(),
        },
        [one] => format!("give the file in it: {}", path.join(one).display()),
        [one, ..] => format!(
            "give one of the {} .gguf files in it, like {}",
            found.len(),
            path.join(one).display()
        ),
    };
    no_model(path, what, remedy)
}

/// Names in a directory, sorted.
fn names(directory: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.take(MAX_ENTRIES).map(|e| e.path());
    let found = paths.filter(|p| wanted(p));
    let mut found: Vec<PathBuf> = found.filter_map(|p| Some(p.file_name()?.into())).collect();
    found.sort();
    found
}

/// How names on the Hugging Face Hub begin, where they say so.
const HUB: [&str; 5] = [
    "hf.co/",
    "huggingface.co/",
    "hf://",
    "https://hf.co/",
    "https://huggingface.co/",
];

/// A part of a name on a hub.
fn is_plain(part: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    part.chars().all(known) && !part.is_empty()
}

/// How Carat names what is on the Hugging Face Hub, `hf:owner/model`: where the name begins as in [`HUB`] also with a file of
/// it, and behind a colon with a part of the names of files, as llama.cpp and Ollama have it.
fn hub(name: &str) -> Option<String> {
    let stated = HUB.iter().find_map(|begin| name.strip_prefix(begin));
    let (place, tag) = match stated.unwrap_or(name).split_once(':') {
        Some((place, tag)) => (place, Some(tag)),
        None => (stated.unwrap_or(name), None),
    };
    let mut parts = place.trim_end_matches('/').split('/');
    let (owner, model) = (parts.next()?, parts.next()?);
    let file: Vec<&str> = parts.collect();
    let is_file = [".gguf", ".safetensors"].iter().any(|e| model.ends_with(e));
    let is_path = owner.starts_with('.') || is_file || !file.is_empty();
    // A page of the hub, or an address of a file.
    let is_address = ["blob", "resolve", "tree"]
        .iter()
        .any(|p| file.first() == Some(p));
    let names = [owner, model]
        .into_iter()
        .chain(tag)
        .chain(file.iter().copied());
    if !names.into_iter().all(is_plain) || is_address || (is_path && stated.is_none()) {
        return None;
    }
    let file = Some(file.join("/")).filter(|f| !f.is_empty());
    let tag = tag.filter(|t| *t != "latest").map(str::to_owned);
    let wanted = file.or(tag).map_or(String::new(), |w| format!(":{w}"));
    Some(format!("hf:{owner}/{model}{wanted}"))
}

/// A name of what is elsewhere: an address, or a model of a hub.
pub(super) fn elsewhere(path: &Path) -> Option<SourceError> {
    let name = path.to_str()?;
    let what = "not on this machine";
    if let Some(known) = hub(name) {
        // Below a folder that is here the path is only wrong.
        let first = name.split('/').next().unwrap_or_default();
        let remedy = format!("if it is a model of the Hugging Face hub, give {known}");
        return (!Path::new(first).exists()).then(|| no_model(path, what, remedy));
    }
    if name.starts_with("https://") || name.starts_with("http://") {
        let remedy = "download it, and give the path of the file";
        return Some(no_model(path, what, remedy));
    }
    // In Ollama's library.
    let (model, tag) = name.split_once(':')?;
    (model.len() > 1 && is_plain(model) && is_plain(tag)).then(|| {
        let remedy = "download a GGUF file or a Hugging Face directory, and give its path";
        no_model(path, what, remedy)
    })
}

/// Refuses what Git leaves in the place of a large file that was not fetched; `start` are the file's first bytes.
pub(crate) fn refuse_pointer(path: &Path, start: &[u8]) -> Result<(), SourceError> {
    match start.starts_with(b"version https://git-lfs") {
        true => Err(no_model(
            path,
            "a pointer of Git LFS in the place of the file",
            "fetch the file itself: git lfs pull",
        )),
        false => Ok(()),
    }
}

/// Bytes of a file's start that tell what it is.
pub(super) const START: u64 = 256;

/// A file that is no GGUF, by its name and the first [`START`] bytes.
pub(super) fn file(path: &Path, start: &[u8]) -> Option<SourceError> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let extension = extension.as_deref().unwrap_or_default();
    if start.is_empty() {
        let what = "an empty file, not a GGUF file";
        return Some(no_model(path, what, "fetch it again"));
    }
    if let Err(error) = refuse_pointer(path, start) {
        return Some(error);
    }
    match extension {
        "safetensors" => {
            let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
            return Some(SourceError::BareSafetensors {
                path: path.into(),
                directory: directory.unwrap_or(Path::new(".")).into(),
            });
        }
        "bin" | "pt" | "pth" | "pkl" => return Some(SourceError::Pickle { path: path.into() }),
        _ => {}
    }
    // The matrices of llama.cpp before GGUF: a count, and the first tensor's name with its length.
    if start.get(8..).is_some_and(|s| s.starts_with(b"blk.")) {
        return Some(no_model(path, IMATRIX, MADE_FOR));
    }
    let text = String::from_utf8_lossy(start);
    let begin = text.trim_start().to_lowercase();
    if begin.starts_with("<!doctype") || begin.starts_with("<html") {
        let what = "a web page in the place of the file";
        let remedy =
            "download the file itself (on huggingface.co the link with /resolve/, not /blob/)";
        return Some(no_model(path, what, remedy));
    }
    // A character may be cut at the end.
    let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    let odd = |c: char| c.is_control() && !c.is_whitespace() || c == char::REPLACEMENT_CHARACTER;
    if !whole.contains(odd) && start.len() > 4 {
        let what = "a text file, not a GGUF file or a Hugging Face directory";
        return Some(no_model(path, what, "is the path right?"));
    }
    None
}

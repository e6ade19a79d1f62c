//! What can be wrong with a checkpoint.

use std::path::PathBuf;

/// A fault of a checkpoint: which file and field or tensor, what was expected, what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum SourceError {
    #[error("{}: {error}", path.display())]
    Io {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}: no such file or directory; is the path right?", path.display())]
    NotFound { path: PathBuf },
    #[error("{}: neither a Hugging Face directory nor a GGUF file (it starts with the bytes {found:02x?})", path.display())]
    UnknownKind { path: PathBuf, found: Vec<u8> },
    #[error("{}: {what}; {remedy}", path.display())]
    NoModel {
        path: PathBuf,
        what: String,
        remedy: String,
    },
    #[error("{}: a safetensors file alone lacks config.json and the tokenizer; give the directory {} that holds it", path.display(), directory.display())]
    BareSafetensors { path: PathBuf, directory: PathBuf },
    #[error("{}: a pickle checkpoint (PyTorch) is not read; save it as safetensors first", path.display())]
    Pickle { path: PathBuf },
    #[error("{}: no model.safetensors and no model.safetensors.index.json in this directory; is the download complete?", path.display())]
    NoWeights { path: PathBuf },
    #[error("{}: {found} bytes, at most {limit} are read", path.display())]
    TooLarge {
        path: PathBuf,
        found: u64,
        limit: u64,
    },

    #[error("{}: not valid JSON: {error}; fetch the file again, or mend it", path.display())]
    Json {
        path: PathBuf,
        error: serde_json::Error,
    },
    #[error("{}: {field} is missing, expected {expected}", path.display())]
    Missing {
        path: PathBuf,
        field: String,
        expected: &'static str,
    },
    #[error("{}: {field} is {found}, expected {expected}", path.display())]
    Value {
        path: PathBuf,
        field: String,
        found: String,
        expected: String,
    },
    #[error("{}: the architecture '{found}' is not supported; supported: {known}", path.display())]
    Architecture {
        path: PathBuf,
        found: String,
        known: String,
    },
    #[error("{}: a multimodal checkpoint ('{found}'), whose text model is in text_config; give a checkpoint of that model alone, with a config.json of its own", path.display())]
    Multimodal { path: PathBuf, found: String },
    #[error("{}: {field} is {found}, which changes the model's arithmetic and is not supported{hint}", path.display())]
    Unsupported {
        path: PathBuf,
        field: String,
        found: String,
        hint: &'static str,
    },
    #[error("{}: {field} (= {found}) is not understood and may change the model's arithmetic; remove it if it does not", path.display())]
    UnknownField {
        path: PathBuf,
        field: String,
        found: String,
    },

    #[error("{}: {field} names the file {found:?}, expected the plain name of a file in the same directory", path.display())]
    ShardName {
        path: PathBuf,
        field: String,
        found: String,
    },
    #[error("{}: the index names this file, which is missing; is the download complete?", path.display())]
    MissingShard { path: PathBuf },
    #[error("{}: the index places tensor {tensor:?} in this file, which does not have it", path.display())]
    ShardTensor { path: PathBuf, tensor: String },
    #[error("{}: the safetensors header: {fault}", path.display())]
    Safetensors { path: PathBuf, fault: String },
    #[error("{}: the file has {found} bytes, its header describes {expected}; it was cut or altered, fetch it again", path.display())]
    Length {
        path: PathBuf,
        expected: u64,
        found: u64,
    },
    #[error("{}: {error}", path.display())]
    Gguf {
        path: PathBuf,
        error: carat_gguf::Error,
    },
    #[error("{}: this is part {part} of {count} of a split GGUF; its name must end in {suffix}, else the other parts cannot be found", path.display())]
    PartName {
        path: PathBuf,
        part: u32,
        count: u32,
        suffix: String,
    },
    #[error("{}: part {part} of {count} of a split GGUF is missing; put all parts into one directory", path.display())]
    MissingPart {
        path: PathBuf,
        part: u32,
        count: u32,
    },
    #[error("{}: tensor {tensor:?} is in {} too; the parts are not of one model", path.display(), first.display())]
    DuplicateTensor {
        path: PathBuf,
        tensor: String,
        first: PathBuf,
    },
    #[error("{}: {error}", path.display())]
    GgufKey {
        path: PathBuf,
        error: carat_gguf::KeyError,
    },
    #[error("{}: {error}", path.display())]
    Carat {
        path: PathBuf,
        error: carat_format::FormatError,
    },

    #[error("{}: tensor {tensor:?} is missing; the file is incomplete or holds a vocabulary alone, give the whole checkpoint", path.display())]
    MissingTensor { path: PathBuf, tensor: String },
    #[error("{}: tensor {tensor:?} is not part of a {architecture} model and would be ignored; the checkpoint is of another architecture", path.display())]
    UnknownTensor {
        path: PathBuf,
        tensor: String,
        architecture: String,
    },
    #[error("{}: tensor {tensor:?} has the shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        path: PathBuf,
        tensor: String,
        expected: Vec<u64>,
        found: Vec<u64>,
    },
    #[error("{}: tensor {tensor:?} has the type {found}; read are {known}", path.display())]
    Type {
        path: PathBuf,
        tensor: String,
        found: String,
        known: String,
    },
    #[error("{}: tensor {tensor:?}: weight {index} is {found}, expected a finite number; the checkpoint is damaged", path.display())]
    NotFinite {
        path: PathBuf,
        tensor: String,
        index: u64,
        found: f32,
    },
    #[error("{}: tensor {tensor:?} is missing, expected beside {beside:?} by the quantization_config ({scheme}); fetch the checkpoint again, all of its files", path.display())]
    MissingBeside {
        path: PathBuf,
        tensor: String,
        beside: String,
        scheme: &'static str,
    },
    #[error("{}: tensor {tensor:?}: element {index} is {found}, expected {expected}; the checkpoint is damaged, fetch it again", path.display())]
    Element {
        path: PathBuf,
        tensor: String,
        index: u64,
        found: i64,
        expected: String,
    },
    #[error("the model has no tensor {tensor:?}")]
    NoTensor { tensor: String },
    #[error("rows {start}..{end} of tensor {tensor:?}, which has {rows}")]
    Rows {
        tensor: String,
        start: u64,
        end: u64,
        rows: u64,
    },
}

impl SourceError {
    /// What to do, where it is said apart from what is wrong.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::NoModel { remedy, .. } => Some(remedy),
            _ => None,
        }
    }
}

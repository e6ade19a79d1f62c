//! Why an adapter cannot be used.

use std::path::PathBuf;

/// A fault of an adapter, naming the file and the tensor or field.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum AdapterError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{}: no adapter is there: expected a directory with adapter_config.json and adapter_model.safetensors, as PEFT saves it, \
         or a GGUF file of an adapter",
        path.display()
    )]
    NoAdapter { path: PathBuf },
    #[error("{}: the file has {found} bytes, expected at most {most}", path.display())]
    TooLarge {
        path: PathBuf,
        found: u64,
        most: u64,
    },
    #[error("{}: no readable JSON: {fault}", path.display())]
    Json { path: PathBuf, fault: String },
    #[error("{}: no readable safetensors file: {fault}; save or fetch the adapter again", path.display())]
    Safetensors { path: PathBuf, fault: String },
    #[error("{}: no readable GGUF file: {fault}; convert or fetch the adapter again", path.display())]
    Gguf { path: PathBuf, fault: String },
    #[error("{}: {field} is {found}, expected {expected}", path.display())]
    Value {
        path: PathBuf,
        field: String,
        found: String,
        expected: String,
    },
    #[error("{}: {what} cannot be used: {remedy}", path.display())]
    Unsupported {
        path: PathBuf,
        what: String,
        remedy: &'static str,
    },
    #[error(
        "{}: tensor '{tensor}' is no matrix of an adapter, expected the names of lora_A and lora_B of PEFT, or of lora_a and lora_b \
         of llama.cpp",
        path.display()
    )]
    UnknownTensor { path: PathBuf, tensor: String },
    #[error("{}: tensor '{tensor}' has no counterpart '{missing}'; the file is cut or was merged wrongly", path.display())]
    Unpaired {
        path: PathBuf,
        tensor: String,
        missing: &'static str,
    },
    #[error("{}: the file has no matrices of an adapter", path.display())]
    Empty { path: PathBuf },
    #[error("{}: the elements of tensor '{tensor}' are of type {found}, expected {expected}", path.display())]
    Type {
        path: PathBuf,
        tensor: String,
        found: String,
        expected: &'static str,
    },
    #[error("{}: tensor '{tensor}' has the shape {found:?}, expected {expected}", path.display())]
    Shape {
        path: PathBuf,
        tensor: String,
        found: Vec<u64>,
        expected: String,
    },
    #[error("{}: element {index} of tensor '{tensor}' is {found}, expected a finite number", path.display())]
    NotFinite {
        path: PathBuf,
        tensor: String,
        index: usize,
        found: f32,
    },
    #[error("{}: the elements of tensor '{tensor}' are too large for a product with them", path.display())]
    Magnitude { path: PathBuf, tensor: String },
    #[error(
        "{}: tensor '{tensor}' is for {what}, which the model does not have; is the adapter for another model?",
        path.display()
    )]
    NotInModel {
        path: PathBuf,
        tensor: String,
        what: String,
    },
    #[error(
        "{}: the adapter is for models of the architecture '{found}', the model is of '{expected}'; use the model that it was made for",
        path.display()
    )]
    Architecture {
        path: PathBuf,
        found: String,
        expected: String,
    },
}

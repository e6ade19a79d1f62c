//! What can be wrong with a file that is a valid GGUF but no valid Carat model.

/// A fault of a Carat file, naming the tensor or key, what was expected and what was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// `general.architecture` is not `carat`.
    #[error(
        "not a Carat file: general.architecture is '{found}', expected 'carat'; convert it first with `carat convert`"
    )]
    NotCarat {
        /// The architecture found.
        found: String,
    },
    /// The file's major version is not this program's.
    #[error(
        "file version '{found}' is not supported, expected {expected}; convert the checkpoint again"
    )]
    Version {
        /// The version found.
        found: String,
        /// The versions this program reads.
        expected: String,
    },
    /// `carat.requires` names a feature this program does not have.
    #[error(
        "the file requires the feature '{feature}', which this version does not have; update Carat"
    )]
    Requires {
        /// The unknown feature.
        feature: String,
    },
    /// A metadata key is missing or has the wrong type.
    #[error(transparent)]
    Key(#[from] carat_gguf::KeyError),
    /// A per-tensor array has not one entry (or 16, or 32) for each tensor.
    #[error(
        "key '{key}' has {found} entries, expected {expected}: as many as the file's tensors ask for"
    )]
    ArrayLength {
        /// The key.
        key: String,
        /// Entries that the tensors ask for.
        expected: usize,
        /// Entries found.
        found: usize,
    },
    /// A value is outside what the engine's arithmetic is proved for.
    #[error(
        "{field} is {found}, expected {expected}; the file is damaged or made for another version"
    )]
    Range {
        /// The key or tensor field.
        field: String,
        /// What was found.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// A matrix of no or impossible size.
    #[error("a matrix of {rows} rows by {cols} columns cannot be laid out")]
    Shape {
        /// Output rows.
        rows: u64,
        /// Input columns.
        cols: u64,
    },
    /// The directory lacks a tensor of the model.
    #[error("tensor '{name}' is missing")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor's shape is not the model's.
    #[error("tensor '{name}' is {found_rows}x{found_cols}, expected {rows}x{cols}")]
    TensorShape {
        /// Its name.
        name: String,
        /// Expected rows.
        rows: u64,
        /// Expected columns.
        cols: u64,
        /// Rows found.
        found_rows: u64,
        /// Columns found.
        found_cols: u64,
    },
    /// A tensor's payload has not the size its layout gives.
    #[error("tensor '{name}' has {found} bytes, expected {expected}")]
    TensorSize {
        /// Its name.
        name: String,
        /// Bytes the layout gives.
        expected: u64,
        /// Bytes in the container.
        found: u64,
    },
    /// A tensor of another type or number of dimensions than the format's.
    #[error("tensor '{name}' is {found}, expected {expected} of one dimension")]
    TensorType {
        /// Its name.
        name: String,
        /// Type and dimensions found.
        found: String,
        /// Type expected.
        expected: &'static str,
    },
    /// A tensor that is none of the model's.
    #[error("tensor '{name}' is none of this model's; the file is made for another version")]
    ExtraTensor {
        /// Its name.
        name: String,
    },
    /// An encoding this version does not know.
    #[error("tensor '{name}' has the encoding '{found}', expected one of {expected}")]
    Encoding {
        /// Tensor.
        name: String,
        /// Encoding found.
        found: String,
        /// Known encodings.
        expected: String,
    },
    /// Rows handed to the packer do not match the layout.
    #[error("{found} rows were given, expected {expected}")]
    RowCount {
        /// Rows of the layout.
        expected: u64,
        /// Rows given.
        found: u64,
    },
    /// A row handed to the packer does not match the layout.
    #[error("row {row}: codes or scales do not match the layout")]
    Row {
        /// Its index.
        row: u64,
    },
}

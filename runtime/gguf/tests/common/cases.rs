//! A file for each way to be wrong.

use carat_gguf::limits::{MAX_ARRAY_DEPTH, MAX_KEY, MAX_METADATA, MAX_STRING, MAX_TENSORS};
use carat_gguf::{Error, ShapeError, TensorType, ValueType};

use super::{ARRAY, BOOL, F32, File, STR, U8, U32, valid};

/// A wrong file: its first bytes, its length, and what [`carat_gguf::parse`] says.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub total_len: u64,
    pub error: Error,
}

fn case(name: &'static str, file: File, error: Error) -> Case {
    let total_len = file.at();
    Case {
        name,
        bytes: file.bytes,
        total_len,
        error,
    }
}

fn key(s: &str) -> String {
    s.into()
}

/// A file of one tensor, and its name's place.
fn one_tensor(dims: &[u64], ty: TensorType, offset: u64) -> File {
    File::new(3, 1, 0).tensor("t", dims, ty.0, offset).data(64)
}

fn shape(name: &'static str, dims: &[u64], ty: TensorType, fault: ShapeError) -> Case {
    case(
        name,
        one_tensor(dims, ty, 0),
        Error::Shape {
            tensor: key("t"),
            fault,
        },
    )
}

pub fn cases() -> Vec<Case> {
    let mut all = container();
    all.extend(metadata());
    all.extend(tensors());
    all
}

fn container() -> Vec<Case> {
    let whole = valid(3);
    let cut = |n: usize| File {
        bytes: whole[..n].to_vec(),
        wide: true,
    };
    let truncated = |what, position, needed, file_len| Error::Truncated {
        what,
        position,
        needed,
        file_len,
    };
    let magic = |m: &[u8]| {
        File {
            bytes: Vec::new(),
            wide: true,
        }
        .raw(m)
        .u32(3)
        .u64(0)
        .u64(0)
    };
    let mut all = vec![
        case("empty", cut(0), truncated("the magic", 0, 4, 0)),
        case("cut-in-magic", cut(3), truncated("the magic", 0, 4, 3)),
        case("cut-in-version", cut(6), truncated("the version", 4, 4, 6)),
        case(
            "cut-in-counts",
            cut(20),
            truncated("the number of metadata entries", 16, 8, 20),
        ),
        case(
            "bad-magic",
            magic(b"GGXF"),
            Error::BadMagic { found: *b"GGXF" },
        ),
        case(
            "big-endian",
            File::new(3 << 24, 0, 0),
            Error::BigEndian { version: 3 },
        ),
        case(
            "version-0",
            File::new(0, 0, 0),
            Error::UnsupportedVersion { found: 0 },
        ),
        case(
            "version-4",
            File::new(4, 0, 0),
            Error::UnsupportedVersion { found: 4 },
        ),
        case(
            "metadata-bomb",
            File::new(3, 0, u64::MAX),
            Error::TooManyMetadata {
                position: 16,
                found: u64::MAX,
            },
        ),
        case(
            "metadata-past-end",
            File::new(3, 0, MAX_METADATA),
            Error::MetadataPastEnd {
                position: 16,
                found: MAX_METADATA,
                remaining: 0,
            },
        ),
        case(
            "tensor-bomb",
            File::new(3, u64::MAX, 0),
            Error::TooManyTensors {
                position: 8,
                found: u64::MAX,
            },
        ),
        case(
            "tensor-bomb-v1",
            File::new(1, MAX_TENSORS, 0),
            Error::TensorsPastEnd {
                position: 16,
                found: MAX_TENSORS,
                remaining: 0,
            },
        ),
        case(
            "tensors-past-end",
            File::new(3, 2, 0).tensor("t", &[1], 0, 0).data(0),
            Error::TensorsPastEnd {
                position: 24,
                found: 2,
                remaining: 40,
            },
        ),
    ];
    for (name, bytes, format) in [
        ("legacy-ggml", b"lmgg", "ggml"),
        ("legacy-ggmf", b"fmgg", "ggmf"),
        ("legacy-ggjt", b"tjgg", "ggjt"),
        ("legacy-ggla", b"algg", "ggla"),
    ] {
        all.push(case(name, magic(bytes), Error::LegacyGgml { format }));
    }
    let mut longer = case(
        "",
        cut(30),
        Error::PrefixLongerThanFile {
            prefix: 30,
            file_len: 29,
        },
    );
    longer.total_len = 29;
    all.push(longer);
    all
}

fn metadata() -> Vec<Case> {
    let f = |ty| File::new(3, 0, 1).key("k", ty);
    let value = f(U8).at();
    let pad = |f: File| f.raw(&[0; 16]);
    let mut deep = f(ARRAY);
    for _ in 0..=MAX_ARRAY_DEPTH {
        deep = deep.u32(ARRAY).count(1);
    }
    let deep_at = value + 12 * u64::from(MAX_ARRAY_DEPTH);
    let mut all = vec![
        case(
            "key-too-long",
            File::new(3, 0, 1).u64(MAX_KEY + 1).raw(&[0; 16]),
            Error::KeyTooLong {
                index: 0,
                position: 24,
                found: MAX_KEY + 1,
            },
        ),
        case(
            "key-past-end",
            File::new(3, 0, 1).u64(17).raw(&[0; 16]),
            Error::KeyPastEnd {
                index: 0,
                position: 24,
                found: 17,
                remaining: 16,
            },
        ),
        case(
            "key-not-utf8",
            File::new(3, 0, 1).key([0xff], U8).raw(&[0]),
            Error::KeyNotUtf8 {
                index: 0,
                position: 24,
            },
        ),
        case(
            "duplicate-key",
            File::new(3, 0, 3)
                .key("b", U8)
                .raw(&[1])
                .key("a", U8)
                .raw(&[2])
                .key("b", U8)
                .raw(&[3]),
            Error::DuplicateKey {
                key: key("b"),
                first: 0,
                second: 2,
            },
        ),
        case(
            "value-type-13",
            pad(f(13)),
            Error::UnknownValueType {
                key: key("k"),
                position: value - 4,
                found: 13,
            },
        ),
        case(
            "element-type-99",
            f(ARRAY).u32(99).count(0),
            Error::UnknownValueType {
                key: key("k"),
                position: value,
                found: 99,
            },
        ),
        case(
            "string-past-end",
            f(STR).u64(u64::MAX).raw(b"abc"),
            Error::StringPastEnd {
                key: key("k"),
                position: value,
                found: u64::MAX,
                remaining: 3,
            },
        ),
        case(
            "string-not-utf8",
            f(STR).str([b'a', 0xc0, 0x80]),
            Error::StringNotUtf8 {
                key: key("k"),
                position: value,
            },
        ),
        case(
            "element-not-utf8",
            f(ARRAY).u32(STR).count(2).str("ok").str([0xed, 0xa0, 0x80]),
            Error::StringNotUtf8 {
                key: key("k"),
                position: value + 12 + 10,
            },
        ),
        case(
            "bool-2",
            f(BOOL).raw(&[2]),
            Error::BadBool {
                key: key("k"),
                position: value,
                found: 2,
            },
        ),
        case(
            "bool-element-7",
            f(ARRAY).u32(BOOL).count(3).raw(&[0, 1, 7]),
            Error::BadBool {
                key: key("k"),
                position: value + 14,
                found: 7,
            },
        ),
        case(
            "array-bomb",
            f(ARRAY).u32(F32).count(1 << 62),
            Error::ArrayPastEnd {
                key: key("k"),
                position: value + 4,
                element: ValueType::F32,
                found: 1 << 62,
                remaining: 0,
            },
        ),
        case(
            "array-of-strings-bomb",
            f(ARRAY).u32(STR).count(3).raw(&[0; 20]),
            Error::ArrayPastEnd {
                key: key("k"),
                position: value + 4,
                element: ValueType::Str,
                found: 3,
                remaining: 20,
            },
        ),
        case(
            "array-too-deep",
            deep.u32(U8).count(0),
            Error::ArrayTooDeep {
                key: key("k"),
                position: deep_at,
            },
        ),
        case(
            "alignment-float",
            File::new(3, 0, 1).key("general.alignment", F32).u32(0),
            Error::AlignmentType {
                found: ValueType::F32,
            },
        ),
    ];
    for (name, found) in [
        ("alignment-0", 0),
        ("alignment-48", 48),
        ("alignment-4", 4),
        ("alignment-2g", 1 << 31),
    ] {
        all.push(case(
            name,
            File::new(3, 0, 1).key("general.alignment", U32).u32(found),
            Error::AlignmentValue {
                found: found.into(),
            },
        ));
    }
    // In a file long enough to hold the string; only its start is given.
    let mut long = case(
        "",
        f(STR).u64(MAX_STRING + 1),
        Error::StringTooLong {
            key: key("k"),
            position: value,
            found: MAX_STRING + 1,
        },
    );
    long.total_len = 1 << 40;
    all.push(long);
    all
}

fn tensors() -> Vec<Case> {
    let f32_ = TensorType::F32;
    let t = || key("t");
    vec![
        case(
            "tensor-name-too-long",
            File::new(3, 1, 0).u64(1025).raw(&[b'a'; 1060]),
            Error::TensorNameTooLong {
                index: 0,
                position: 24,
                found: 1025,
            },
        ),
        case(
            "tensor-name-past-end",
            File::new(3, 1, 0).u64(1000).raw(&[b'a'; 40]),
            Error::TensorNamePastEnd {
                index: 0,
                position: 24,
                found: 1000,
                remaining: 40,
            },
        ),
        case(
            "tensor-name-not-utf8",
            File::new(3, 1, 0).tensor([0xff], &[1], 0, 0).data(32),
            Error::TensorNameNotUtf8 {
                index: 0,
                position: 24,
            },
        ),
        case(
            "duplicate-tensor",
            File::new(3, 2, 0)
                .tensor("t", &[1], 0, 0)
                .tensor("t", &[1], 0, 32)
                .data(64),
            Error::DuplicateTensor {
                tensor: t(),
                first: 0,
                second: 1,
            },
        ),
        shape("no-dims", &[], f32_, ShapeError::NoDims),
        shape(
            "five-dims",
            &[1; 5],
            f32_,
            ShapeError::TooManyDims { found: 5 },
        ),
        shape("zero-dim", &[4, 0], f32_, ShapeError::ZeroDim { axis: 1 }),
        shape(
            "elements-overflow",
            &[1 << 32, 1 << 32],
            f32_,
            ShapeError::ElementsOverflow {
                dims: [1 << 32, 1 << 32, 1, 1],
            },
        ),
        shape(
            "bytes-overflow",
            &[1 << 62],
            TensorType::F64,
            ShapeError::BytesOverflow {
                elements: 1 << 62,
                ty: TensorType::F64,
            },
        ),
        shape(
            "partial-block",
            &[48, 2],
            TensorType::Q4_0,
            ShapeError::PartialBlock {
                found: 48,
                ty: TensorType::Q4_0,
                block: 32,
            },
        ),
        case(
            "unaligned-tensor",
            one_tensor(&[1], f32_, 16),
            Error::UnalignedTensor {
                tensor: t(),
                offset: 16,
                alignment: 32,
            },
        ),
        case(
            "offset-overflow",
            one_tensor(&[1], f32_, u64::MAX - 31),
            Error::OffsetOverflow {
                tensor: t(),
                offset: u64::MAX - 31,
                data_start: 64,
            },
        ),
        case(
            "tensor-past-end",
            one_tensor(&[17], f32_, 0),
            Error::TensorPastEnd {
                tensor: t(),
                start: 64,
                size: 68,
                file_len: 128,
            },
        ),
        case(
            "unknown-tensor-past-end",
            one_tensor(&[1], TensorType(77), 64),
            Error::TensorPastEnd {
                tensor: t(),
                start: 128,
                size: 1,
                file_len: 128,
            },
        ),
        case(
            "tensors-overlap",
            File::new(3, 2, 0)
                .tensor("b", &[8], 0, 32)
                .tensor("a", &[9], 0, 0)
                .data(64),
            Error::TensorsOverlap {
                first: key("a"),
                first_end: 132,
                second: key("b"),
                second_start: 128,
            },
        ),
        case(
            "unknown-tensors-overlap",
            File::new(3, 2, 0)
                .tensor("a", &[8], 77, 0)
                .tensor("b", &[8], 78, 0)
                .data(64),
            Error::TensorsOverlap {
                first: key("a"),
                first_end: 97,
                second: key("b"),
                second_start: 96,
            },
        ),
    ]
}

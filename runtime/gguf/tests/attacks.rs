//! Every variant of every error, provoked by hand.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use std::collections::BTreeSet;
use std::fmt::Debug;

use carat_gguf::limits::{MAX_ARRAY_DEPTH, MAX_KEY, MAX_METADATA, MAX_STRING, MAX_TENSORS};
use carat_gguf::{
    Header, KeyError, OwnedArray, OwnedValue, Parse, ShapeError, TensorType, ValueType, WriteError,
    Writer, parse,
};

fn whole(bytes: &[u8]) -> Header<'_> {
    match parse(bytes, bytes.len() as u64) {
        Ok(Parse::Complete(header)) => header,
        other => panic!("{other:?}"),
    }
}

/// Names of the variants of an enum of error.rs.
fn variants(of: &str) -> BTreeSet<String> {
    let source = include_str!("../src/error.rs");
    let body = source
        .split(&format!("pub enum {of} {{"))
        .nth(1)
        .unwrap()
        .split("\n}")
        .next()
        .unwrap();
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(name)
        .collect()
}

fn name(debug: impl AsRef<str>) -> String {
    debug
        .as_ref()
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric())
        .collect()
}

fn names<'e, E: Debug + 'e>(errors: impl IntoIterator<Item = &'e E>) -> BTreeSet<String> {
    errors.into_iter().map(|e| name(format!("{e:?}"))).collect()
}

#[test]
fn each_attack_has_its_error() {
    let cases = common::cases::cases();
    let mut shapes = Vec::new();
    for case in &cases {
        let found = parse(&case.bytes, case.total_len);
        assert_eq!(found, Err(case.error.clone()), "{}", case.name);
        if let carat_gguf::Error::Shape { fault, .. } = case.error {
            shapes.push(fault);
        }
    }
    assert_eq!(names(cases.iter().map(|c| &c.error)), variants("Error"));
    assert_eq!(names(&shapes), variants("ShapeError"));
}

#[test]
fn messages_name_the_place() {
    for case in common::cases::cases() {
        let message = case.error.to_string();
        assert!(
            message.contains(|c: char| c.is_ascii_digit()) || message.contains('"'),
            "{message}"
        );
    }
    let long = "é".repeat(1000);
    let mut w = Writer::new();
    w.kv(&*long, 1u8).unwrap();
    let layout = w.finish().unwrap();
    let error = whole(&layout.header).str(&long).unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

/// Each version holds the same.
#[test]
fn fixtures() {
    let files = [1, 2, 3].map(common::valid);
    let headers: Vec<_> = files.iter().map(|f| whole(f)).collect();
    for (version, h) in (1..).zip(&headers) {
        assert_eq!((h.version(), h.alignment()), (version, 32));
        assert_eq!(h.metadata(), headers[0].metadata());
        assert_eq!(h.str("general.architecture"), Ok("llama"));
        assert_eq!((h.u32("u8"), h.u64("u64")), (Ok(200), Ok(u64::MAX)));
        assert_eq!((h.i32("i8"), h.i64("i64")), (Ok(-128), Ok(-1)));
        assert_eq!(
            (h.f32("f32"), h.f64("f32"), h.f64("f64")),
            (Ok(1.0), Ok(1.0), Ok(1.0))
        );
        assert_eq!((h.bool("bool"), h.bool_opt("none")), (Ok(true), Ok(None)));
        let strings: Vec<_> = h.str_array("strings").unwrap().collect();
        assert_eq!(strings, ["", "é", "abc"]);
        let floats: Vec<_> = h
            .array_of::<f32>("floats")
            .unwrap()
            .map(f32::to_bits)
            .collect();
        assert_eq!(floats, [0x7fc0_0000, 0]);
        let bools = h.array("bools").unwrap();
        assert!(bools.iter_bool().unwrap().eq([false, true]));
        assert_eq!(bools.bytes(), Some(&[0, 1][..]));
        assert!(bools.iter_int().is_none() && bools.iter_u8().is_none());
        let nested = h.array("nested").unwrap();
        let inner: Vec<_> = nested.iter().map(|v| v.as_array().unwrap()).collect();
        assert!(inner[0].iter_str().unwrap().eq(["x"]));
        assert!(inner[1].iter_int().unwrap().eq([7, 8]));
        assert!(inner[2].is_empty() && inner[2].element_type() == ValueType::Array);
        assert!(nested.get(0).is_none() && nested.bytes().is_none());

        let [a, b, c] = h.tensors() else {
            panic!("{:?}", h.tensors())
        };
        assert_eq!(
            (a.offset, a.size, a.elements()),
            (h.data_start(), Some(68), 64)
        );
        assert_eq!(
            (b.offset, b.size, b.ty),
            (h.data_start() + 96, None, TensorType(1234))
        );
        assert_eq!(&b.dims[..], [3, 1, 1, 2]);
        assert_eq!(h.tensor("last"), Some(c));
        assert_eq!(
            c.range().map(|r| r.end),
            Some(files[version as usize - 1].len() as u64)
        );
        assert_eq!(h.tensor("none"), None);
    }
}

#[test]
fn questions_fail_by_name() {
    let file = common::valid(3);
    let h = whole(&file);
    let errors = [
        h.u32("absent").unwrap_err(),
        h.u32_opt("bool").unwrap_err(),
        h.u32("u64").unwrap_err(),
        h.array_of_opt::<u32>("floats").map(|_| ()).unwrap_err(),
    ];
    let (key, expected) = (|k: &str| k.to_string(), "an integer of type uint32");
    assert_eq!(
        errors,
        [
            KeyError::Missing {
                key: key("absent"),
                expected
            },
            KeyError::WrongType {
                key: key("bool"),
                expected,
                found: ValueType::Bool
            },
            KeyError::OutOfRange {
                key: key("u64"),
                expected,
                found: u64::MAX.into()
            },
            KeyError::WrongElement {
                key: key("floats"),
                expected: "uint32",
                found: ValueType::F32
            },
        ]
    );
    assert_eq!(names(&errors), variants("KeyError"));
    assert!(h.f32("f64").is_err() && h.u64("i8").is_err() && h.str("strings").is_err());
}

#[test]
fn the_writer_refuses_what_the_reader_refuses() {
    let long = |n: u64| "a".repeat(n as usize);
    let one = |w: &mut Writer| w.tensor("t", &[2], TensorType::F32, 8).unwrap();
    let kv = |v: OwnedValue| Writer::new().kv("k", v).map(|_| ()).unwrap_err();
    let tensor = |dims: &[u64], ty, size| Writer::new().tensor("t", dims, ty, size).unwrap_err();
    let (k, t) = (|| "k".to_string(), || "t".to_string());

    let mut deep = OwnedArray::U8(vec![]);
    for _ in 0..MAX_ARRAY_DEPTH {
        deep = OwnedArray::Array(vec![deep]);
    }
    let mut full = Writer::new();
    for i in 0..MAX_METADATA - 1 {
        full.kv(i.to_string(), 0u8).unwrap();
    }
    let mut many = Writer::new();
    for i in 0..MAX_TENSORS {
        many.tensor(i.to_string(), &[1], TensorType::I8, 1).unwrap();
    }
    let mut twice = Writer::new();
    twice.kv("k", 1u8).unwrap();
    one(&mut twice);
    let mut huge = Writer::new();
    huge.tensor("a", &[1], TensorType(99), 1).unwrap();
    huge.tensor("t", &[1], TensorType(99), u64::MAX / 2)
        .unwrap();

    let found = MAX_STRING + 1;
    let pairs = [
        (
            Writer::new().alignment(48).finish().unwrap_err(),
            WriteError::Alignment { found: 48 },
        ),
        (
            Writer::new()
                .kv("general.alignment", 64u32)
                .map(|_| ())
                .unwrap_err(),
            WriteError::AlignmentKey,
        ),
        (
            twice.kv("k", 2u8).map(|_| ()).unwrap_err(),
            WriteError::DuplicateKey { key: k() },
        ),
        (
            kv(long(found).into()),
            WriteError::StringTooLong { key: k(), found },
        ),
        (
            kv(vec![long(found)].into()),
            WriteError::StringTooLong { key: k(), found },
        ),
        (kv(deep.into()), WriteError::ArrayTooDeep { key: k() }),
        (
            full.kv("k", 0u8).map(|_| ()).unwrap_err(),
            WriteError::TooManyMetadata,
        ),
        (
            twice.tensor("t", &[2], TensorType::F32, 8).unwrap_err(),
            WriteError::DuplicateTensor { tensor: t() },
        ),
        (
            tensor(&[33], TensorType::Q8_0, 34),
            WriteError::Shape {
                tensor: t(),
                fault: ShapeError::PartialBlock {
                    found: 33,
                    ty: TensorType::Q8_0,
                    block: 32,
                },
            },
        ),
        (
            tensor(&[32], TensorType::Q8_0, 33),
            WriteError::Size {
                tensor: t(),
                expected: 34,
                found: 33,
            },
        ),
        (
            tensor(&[32], TensorType(99), 0),
            WriteError::EmptyTensor { tensor: t() },
        ),
        (
            many.tensor("t", &[2], TensorType::F32, 8).unwrap_err(),
            WriteError::TooManyTensors,
        ),
        (
            huge.finish().unwrap_err(),
            WriteError::FileTooLong { tensor: t() },
        ),
    ];
    let mut all = Vec::new();
    for (found, expected) in pairs {
        assert_eq!(found, expected);
        all.push(found);
    }
    let key = Writer::new()
        .kv(long(MAX_KEY + 1), 0u8)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(key, WriteError::KeyTooLong { found, .. } if found == MAX_KEY + 1));
    let name = Writer::new()
        .tensor(long(1025), &[1], TensorType::I8, 1)
        .unwrap_err();
    assert!(matches!(
        name,
        WriteError::TensorNameTooLong { found: 1025, .. }
    ));
    all.extend([key, name]);
    assert_eq!(names(&all), variants("WriteError"));

    // What fills the limits is read.
    let layout = full.alignment(64).finish().unwrap();
    assert_eq!(whole(&layout.header).metadata().len() as u64, MAX_METADATA);
    let layout = many.finish().unwrap();
    let parsed = parse(&layout.header, layout.file_len).unwrap();
    assert!(matches!(parsed, Parse::Complete(h) if h.tensors().len() as u64 == MAX_TENSORS));
}

#[test]
fn values_can_be_patched_in_place() {
    let mut w = Writer::new().alignment(64);
    w.kv("a", 1u32)
        .unwrap()
        .kv("b", vec![1i16, 2, 3])
        .unwrap()
        .kv("c", "text")
        .unwrap();
    let mut layout = w.finish().unwrap();
    let mut patch = |key: &str, bytes: &[u8]| {
        let range = layout.value_offset(key).unwrap();
        layout.header[range.start as usize..range.end as usize].copy_from_slice(bytes);
    };
    patch("a", &7u32.to_le_bytes());
    patch("b", &[9, 0, 8, 0, 7, 0]);
    patch("c", b"next");
    patch("general.alignment", &32u32.to_le_bytes());
    assert_eq!(layout.value_offset("d"), None);
    let h = whole(&layout.header);
    assert_eq!(
        (h.u32("a"), h.str("c"), h.alignment()),
        (Ok(7), Ok("next"), 32)
    );
    assert!(h.array_of::<i16>("b").unwrap().eq([9, 8, 7]));
    assert_eq!(h.metadata()[0].0, "general.alignment");
}

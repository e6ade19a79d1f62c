//! Files at random: what is written is read; prefixes and mutations do no harm.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_gguf::fuzzing::drive;
use carat_gguf::limits::MAX_ARRAY_DEPTH;
use carat_gguf::{Layout, OwnedArray, OwnedValue, Parse, TensorType, Writer, parse};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn array() -> impl Strategy<Value = OwnedArray> {
    let leaf = prop_oneof![
        vec(any::<u8>(), 0..20).prop_map(OwnedArray::U8),
        vec(any::<i8>(), 0..20).prop_map(OwnedArray::I8),
        vec(any::<u16>(), 0..20).prop_map(OwnedArray::U16),
        vec(any::<i16>(), 0..20).prop_map(OwnedArray::I16),
        vec(any::<u32>(), 0..20).prop_map(OwnedArray::U32),
        vec(any::<i32>(), 0..20).prop_map(OwnedArray::I32),
        vec(any::<u64>(), 0..20).prop_map(OwnedArray::U64),
        vec(any::<i64>(), 0..20).prop_map(OwnedArray::I64),
        vec(any::<f32>(), 0..20).prop_map(OwnedArray::F32),
        vec(any::<f64>(), 0..20).prop_map(OwnedArray::F64),
        vec(any::<bool>(), 0..20).prop_map(OwnedArray::Bool),
        vec(any::<String>(), 0..10).prop_map(OwnedArray::Str),
    ];
    leaf.prop_recursive(MAX_ARRAY_DEPTH - 1, 40, 4, |inner| {
        vec(inner, 0..4).prop_map(OwnedArray::Array)
    })
}

fn value() -> impl Strategy<Value = OwnedValue> {
    prop_oneof![
        any::<u8>().prop_map(OwnedValue::U8),
        any::<i8>().prop_map(OwnedValue::I8),
        any::<u16>().prop_map(OwnedValue::U16),
        any::<i16>().prop_map(OwnedValue::I16),
        any::<u32>().prop_map(OwnedValue::U32),
        any::<i32>().prop_map(OwnedValue::I32),
        any::<u64>().prop_map(OwnedValue::U64),
        any::<i64>().prop_map(OwnedValue::I64),
        any::<f32>().prop_map(OwnedValue::F32),
        any::<f64>().prop_map(OwnedValue::F64),
        any::<bool>().prop_map(OwnedValue::Bool),
        any::<String>().prop_map(OwnedValue::Str),
        array().prop_map(OwnedValue::Array),
    ]
}

/// Blocks in a row, the other dimensions, type.
type Shape = (u64, Vec<u64>, TensorType);

fn shape() -> impl Strategy<Value = Shape> {
    let known = prop::sample::select(TensorType::KNOWN);
    (
        1..5u64,
        vec(1..4u64, 0..=3),
        prop_oneof![9 => known, 1 => Just(TensorType(4))],
    )
}

#[derive(Clone, Debug)]
struct Model {
    alignment: u64,
    metadata: Vec<(String, OwnedValue)>,
    tensors: Vec<(String, Vec<u64>, TensorType, u64)>,
}

fn model() -> impl Strategy<Value = Model> {
    let metadata = btree_map(any::<String>(), value(), 0..12);
    let tensors = btree_map(any::<String>(), shape(), 0..8);
    (3..10u32, metadata, tensors).prop_map(|(log, metadata, tensors)| Model {
        alignment: 1 << log,
        metadata: metadata.into_iter().collect(),
        tensors: tensors
            .into_iter()
            .map(|(name, (blocks, rest, ty))| {
                let row = blocks * ty.block_size().unwrap_or(1);
                let size = blocks * rest.iter().product::<u64>() * ty.type_size().unwrap_or(3);
                (name, [vec![row], rest].concat(), ty, size)
            })
            .collect(),
    })
}

fn write(model: &Model) -> Layout {
    let mut w = Writer::new().alignment(model.alignment);
    for (key, value) in &model.metadata {
        w.kv(key.as_str(), value.clone()).unwrap();
    }
    for (i, (name, dims, ty, size)) in model.tensors.iter().enumerate() {
        assert_eq!(w.tensor(name.as_str(), dims, *ty, *size).unwrap(), i);
    }
    w.finish().unwrap()
}

/// Equal in representation, so that NaN is no exception.
fn same(a: &OwnedValue, b: &OwnedValue) -> bool {
    let bytes = |v: &OwnedValue| {
        let mut w = Writer::new();
        w.kv("", v.clone()).unwrap();
        w.finish().unwrap().header
    };
    bytes(a) == bytes(b)
}

proptest! {
    #[test]
    fn what_is_written_is_read(model in model()) {
        let layout = write(&model);
        prop_assert_eq!(layout.data_start, layout.header.len() as u64);
        prop_assert_eq!(layout.data_start % model.alignment, 0);
        let Parse::Complete(h) = parse(&layout.header, layout.file_len).unwrap() else {
            panic!("incomplete");
        };
        prop_assert_eq!((h.version(), h.alignment(), h.data_start()),
            (3, model.alignment, layout.data_start));
        let own = usize::from(model.alignment != 32);
        prop_assert_eq!(h.metadata().len(), model.metadata.len() + own);
        for ((key, value), (k, v)) in h.metadata()[own..].iter().zip(&model.metadata) {
            prop_assert_eq!(key, k);
            prop_assert!(same(&value.into(), v), "{}: {:?} {:?}", key, value, v);
        }
        prop_assert_eq!(h.tensors().len(), model.tensors.len());
        let mut end = layout.data_start;
        for (i, (t, (name, dims, ty, size))) in h.tensors().iter().zip(&model.tensors).enumerate() {
            prop_assert_eq!((t.name, &t.dims[..], t.ty), (name.as_str(), &dims[..], *ty));
            prop_assert_eq!(t.size, ty.type_size().map(|_| *size));
            prop_assert_eq!(t.offset, layout.tensor_offsets[i]);
            prop_assert_eq!(t.offset, end.next_multiple_of(model.alignment));
            end = t.offset + size;
        }
        prop_assert_eq!(layout.file_len, end.next_multiple_of(model.alignment));
    }

    #[test]
    fn each_prefix_is_complete_or_wants_more(model in model()) {
        let layout = write(&model);
        let whole = parse(&layout.header, layout.file_len).unwrap();
        let mut wanted = 0;
        for have in 0..layout.header.len() {
            match parse(&layout.header[..have], layout.file_len).unwrap() {
                Parse::NeedMore(n) => {
                    prop_assert!(n > have as u64 && n <= layout.file_len);
                    wanted = have;
                }
                // Padding alone is missing, and nothing less was complete.
                complete => {
                    prop_assert_eq!(&complete, &whole);
                    prop_assert!(((layout.header.len() - have) as u64) < model.alignment);
                    prop_assert!(wanted < have);
                }
            }
        }
        // The same file, ended inside its header, is wrong at each place.
        for have in 0..=wanted {
            prop_assert!(parse(&layout.header[..have], have as u64).is_err());
        }
    }

    #[test]
    fn few_requests_are_enough(model in model(), first in 0..100usize) {
        let layout = write(&model);
        let (mut have, mut requests) = (first.min(layout.header.len()), 0);
        while let Parse::NeedMore(n) = parse(&layout.header[..have], layout.file_len).unwrap() {
            have = layout.header.len().min(n as usize);
            requests += 1;
        }
        // Each request at least doubles the prefix, from 4096 bytes on.
        prop_assert!(requests <= 2 + (layout.header.len() / 4096).checked_ilog2().unwrap_or(0));
    }

    #[test]
    fn mutations_do_no_harm(
        model in model(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let layout = write(&model);
        let mut bytes = layout.header;
        bytes.resize(layout.file_len as usize, 0);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        drive(&bytes);
    }

    #[test]
    fn mutations_of_each_version_do_no_harm(
        version in 1..=3u32,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = common::valid(version);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drive(&bytes);
    }

    #[test]
    fn noise_does_no_harm(version in 1..=3u32, counts in (0..3u64, 0..3u64), noise in vec(any::<u8>(), 0..300)) {
        drive(&noise);
        let (tensors, entries) = counts;
        drive(&common::File::new(version, tensors, entries).raw(&noise).bytes);
    }
}

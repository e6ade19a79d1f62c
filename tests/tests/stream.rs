//! A file that arrives by ranges: header, segments, a damaged one, and a model as good as one that was opened whole.
#![allow(clippy::unwrap_used)]

use carat::internals::{DeviceChoice, Error, Head, Model, Session, SessionOptions, Verify, Want};
use carat_tests::facet;
use std::sync::Arc;

fn checksum(model: Model) -> u64 {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: 256,
        ..Default::default()
    };
    let mut session = pollster::block_on(Session::new(Arc::new(model), &options)).unwrap();
    let mut sum = 0;
    pollster::block_on(session.forward(&[5, 6, 7], Want::Last, &mut |o| sum = o.checksum)).unwrap();
    sum
}

#[test]
fn segments_make_a_whole_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facet.gguf");
    facet::convert_to(8, &path);
    let bytes = std::fs::read(&path).unwrap();
    let len = bytes.len() as u64;

    let mut need = 16;
    let head = loop {
        match Model::head(&bytes[..need as usize], len).unwrap() {
            Head::NeedMore(more) => {
                assert!(more > need && more <= len, "{need} {more}");
                need = more;
            }
            Head::Whole(model) => break model,
        }
    };
    assert_eq!(head.len(), len);
    assert!(head.tokenizer().is_ok());
    let segments = head.segments().unwrap();
    let mut held = head.hold().unwrap();
    // Nothing of the tensors is there yet.
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        ..Default::default()
    };
    let none = pollster::block_on(Session::new(Arc::new(*head), &options));
    assert!(matches!(none, Err(Error::MissingTensor(_))));

    assert_eq!(segments.count(), 2);
    assert_eq!(segments.range(1).end, len);
    assert!(segments.range(2).is_empty());
    // Last first: the order does not matter.
    for i in [1, 0] {
        let range = segments.range(i);
        let part = &bytes[range.start as usize..range.end as usize];
        segments.check(i, part).unwrap();
        let mut damaged = part.to_vec();
        damaged[part.len() / 2] ^= 1;
        let found = segments.check(i, &damaged).unwrap_err();
        assert!(matches!(found, Error::Segment { index, .. } if index == i));
        assert!(segments.check(i, &part[1..]).is_err());
        held.fill(range.start, part);
    }
    assert!(segments.check(2, &[]).is_err());
    // What lies before the tensors or behind the file is left out.
    held.fill(0, &[0xff; 64]);
    held.fill(len, &[1, 2, 3]);
    held.verify().unwrap();
    assert_eq!(
        checksum(held),
        checksum(Model::open(&path, Verify::Hashes).unwrap())
    );
}

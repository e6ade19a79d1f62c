//! The driver that the fuzz target and the replay of its corpus share. It panics where a promise of
//! this crate does not hold.

use crate::{Header, Parse, Value, Writer, parse};

/// Parses `data` as a whole file and as prefixes of one, reads all that it holds, writes it again
/// and parses that. Returns whether `data` is a valid file.
pub fn drive(data: &[u8]) -> bool {
    let len = data.len() as u64;
    let whole = match parse(data, len) {
        Ok(Parse::NeedMore(n)) => panic!("NeedMore({n}) for a whole file of {len} bytes"),
        Ok(Parse::Complete(header)) => Some(header),
        Err(_) => None,
    };
    prefixes(data, whole.as_ref());
    if let Some(header) = &whole {
        read_all(header, len);
        rewrite(header);
    }
    whole.is_some()
}

/// A prefix of a valid file is complete and equal, or wants more; one of a wrong
/// file is never complete.
fn prefixes(data: &[u8], whole: Option<&Header<'_>>) {
    let len = data.len() as u64;
    let mut have = 0;
    while have < data.len() {
        match parse(&data[..have], len) {
            Ok(Parse::NeedMore(n)) => {
                assert!(
                    n > have as u64 && n <= len,
                    "NeedMore({n}) at {have} of {len}"
                );
                assert!(
                    n >= len.min(2 * have as u64),
                    "NeedMore({n}) at {have} grows too slowly"
                );
            }
            Ok(Parse::Complete(header)) => {
                assert_eq!(Some(&header), whole, "the prefix of {have} bytes differs");
            }
            Err(e) => assert!(
                whole.is_none(),
                "prefix of {have} bytes of a valid file: {e}"
            ),
        }
        have += 1 + have / 8;
    }
}

fn read_all(header: &Header<'_>, len: u64) {
    for (key, value) in header.metadata() {
        assert_eq!(header.get(key), Some(value));
        read_value(value);
    }
    for t in header.tensors() {
        assert_eq!(header.tensor(t.name), Some(t));
        assert_eq!((t.offset - header.data_start()) % header.alignment(), 0);
        assert!(t.offset < len);
        if let Some(range) = t.range() {
            assert!(range.start < range.end && range.end <= len);
        }
        assert_eq!(t.elements(), t.dims.iter().product::<u64>());
    }
}

fn read_value(value: &Value<'_>) {
    let Some(array) = value.as_array() else {
        return;
    };
    let mut count = 0;
    for (i, element) in array.iter().enumerate() {
        assert_eq!(element.value_type(), array.element_type());
        if array.bytes().is_some() {
            assert_eq!(array.get(i), Some(element));
        }
        read_value(&element);
        count += 1;
    }
    assert_eq!(count, array.len());
    assert_eq!(array.get(array.len()), None);
    if let Some(strings) = array.iter_str() {
        assert_eq!(strings.count(), array.len());
    }
}

/// Writes what was read as version 3, which reads back equal.
fn rewrite(header: &Header<'_>) {
    let mut writer = Writer::new().alignment(header.alignment());
    for (key, value) in header.metadata() {
        if *key != crate::ALIGNMENT_KEY {
            writer.kv(*key, value).expect("a valid entry is written");
        }
    }
    for t in header.tensors() {
        writer
            .tensor(t.name, &t.dims, t.ty, t.size.unwrap_or(1))
            .expect("a valid tensor is written");
    }
    let layout = writer.finish().expect("a valid file is written");
    let again = match parse(&layout.header, layout.file_len) {
        Ok(Parse::Complete(again)) => again,
        other => panic!("a written file does not parse: {other:?}"),
    };
    fn other<'h, 'a>(h: &'h Header<'a>) -> impl Iterator<Item = &'h (&'a str, Value<'a>)> {
        h.metadata()
            .iter()
            .filter(|(key, _)| *key != crate::ALIGNMENT_KEY)
    }
    assert!(other(header).eq(other(&again)));
    assert_eq!(header.alignment(), again.alignment());
    assert_eq!(header.tensors().len(), again.tensors().len());
    for ((a, b), offset) in header
        .tensors()
        .iter()
        .zip(again.tensors())
        .zip(&layout.tensor_offsets)
    {
        assert_eq!(
            (a.name, a.dims, a.ty, a.size),
            (b.name, b.dims, b.ty, b.size)
        );
        assert_eq!(b.offset, *offset);
    }
}

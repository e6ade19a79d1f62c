//! Numbers of one type where another is usual: taken where the value is the same.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_gguf::{OwnedValue, Parse, Value, Writer, parse};

#[test]
fn numbers_of_every_type_that_hold_the_value() {
    let all: [(&str, OwnedValue); 12] = [
        ("u8", OwnedValue::U8(7)),
        ("i8", OwnedValue::I8(7)),
        ("u16", OwnedValue::U16(7)),
        ("i16", OwnedValue::I16(7)),
        ("u32", OwnedValue::U32(7)),
        ("i32", OwnedValue::I32(7)),
        ("u64", OwnedValue::U64(7)),
        ("i64", OwnedValue::I64(7)),
        ("f32", OwnedValue::F32(7.0)),
        ("f64", OwnedValue::F64(7.0)),
        ("half", OwnedValue::F32(7.5)),
        ("bool", OwnedValue::Bool(true)),
    ];
    let mut w = Writer::new();
    for (key, value) in all {
        w.kv(key, value).unwrap();
    }
    let layout = w.finish().unwrap();
    let Ok(Parse::Complete(h)) = parse(&layout.header, layout.file_len) else {
        panic!("a file without tensors");
    };
    for key in [
        "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64",
    ] {
        assert_eq!(h.u32(key), Ok(7), "{key}");
        assert_eq!(h.i64(key), Ok(7), "{key}");
        assert_eq!(h.f64(key), Ok(7.0), "{key}");
    }
    assert_eq!(h.f64("half"), Ok(7.5));
    for key in ["half", "bool"] {
        assert!(h.u64(key).is_err(), "{key}");
    }
    assert!(h.f64("bool").is_err());
}

#[test]
fn a_value_that_would_be_rounded_is_of_another_type() {
    let odd = (1u64 << 53) + 1;
    assert_eq!(Value::U64(odd).to_float(), None);
    assert_eq!(Value::U64(odd - 1).to_float(), Some((odd - 1) as f64));
    assert_eq!(Value::U64(u64::MAX).to_float(), None);
    assert_eq!(Value::I64(i64::MIN).to_float(), Some(i64::MIN as f64));
    for none in [
        f64::NAN,
        f64::INFINITY,
        1e300,
        0.5,
        9_223_372_036_854_775_808.0,
    ] {
        assert_eq!(Value::F64(none).to_int(), None, "{none}");
    }
    assert_eq!(Value::F64(-0.0).to_int(), Some(0));
    assert_eq!(Value::F32(-3.0).to_int(), Some(-3));
    assert_eq!(Value::Bool(true).to_int(), None);
    assert_eq!(Value::Str("7").to_float(), None);
}

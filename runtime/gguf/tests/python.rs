//! The Python package `gguf` reads what the writer writes.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use std::process::Command;

use carat_gguf::{TensorType, Writer};

const SCRIPT: &str = r#"
import sys
from gguf import GGUFReader
r = GGUFReader(sys.argv[1])
assert r.alignment == 256, r.alignment
value = lambda k: r.fields[k].contents()
assert r.fields["GGUF.version"].contents() == 3
assert list(r.fields)[3] == "general.alignment", list(r.fields)
assert value("general.architecture") == "carat"
assert [value(k) for k in ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")] == \
    [255, -128, 65535, -32768, 4294967295, -2147483648, 2**64 - 1, -2**63]
assert (value("f32"), value("f64"), value("yes"), value("no")) == (1.5, -0.1, True, False)
assert value("floats") == [0.5, -2.0] and value("strings") == ["", "é", "abc"]
assert value("ints") == [1, -2, 3] and value("bools") == [True, False]
assert [t.name for t in r.tensors] == ["a", "b.weight", "c"]
for t in r.tensors:
    assert t.data_offset % 256 == 0
a, b, c = r.tensors
assert a.shape.tolist() == [3, 2] and a.data.tolist() == [[0, 1, 2], [3, 4, 5]]
assert b.tensor_type.name == "Q8_0" and b.n_bytes == 2 * 34 and b.data.tobytes() == bytes([7] * 68)
assert c.tensor_type.name == "I8" and c.data.tolist() == [5]
print("read by gguf")
"#;

#[test]
fn python_reads_what_is_written() {
    let python = |args: &[&str]| Command::new("python3").args(args).output();
    if !python(&["-c", "import gguf"]).is_ok_and(|o| o.status.success()) {
        eprintln!(
            "ABSENT: python3 with the package gguf (pip install gguf); this test checks nothing"
        );
        return;
    }
    let mut w = Writer::new().alignment(256);
    w.kv("general.architecture", "carat").unwrap();
    w.kv("u8", u8::MAX).unwrap().kv("i8", i8::MIN).unwrap();
    w.kv("u16", u16::MAX).unwrap().kv("i16", i16::MIN).unwrap();
    w.kv("u32", u32::MAX).unwrap().kv("i32", i32::MIN).unwrap();
    w.kv("u64", u64::MAX).unwrap().kv("i64", i64::MIN).unwrap();
    w.kv("f32", 1.5f32).unwrap().kv("f64", -0.1f64).unwrap();
    w.kv("yes", true).unwrap().kv("no", false).unwrap();
    w.kv("floats", vec![0.5f32, -2.0])
        .unwrap()
        .kv("strings", vec!["", "é", "abc"])
        .unwrap();
    w.kv("ints", vec![1i32, -2, 3])
        .unwrap()
        .kv("bools", vec![true, false])
        .unwrap();
    let a: Vec<u8> = (0..6u8).flat_map(|v| f32::from(v).to_le_bytes()).collect();
    let data = [a, vec![7; 68], vec![5]];
    w.tensor("a", &[3, 2], TensorType::F32, 24).unwrap();
    w.tensor("b.weight", &[32, 2], TensorType::Q8_0, 68)
        .unwrap();
    w.tensor("c", &[1], TensorType::I8, 1).unwrap();
    let layout = w.finish().unwrap();

    let mut file = layout.header;
    file.resize(layout.file_len as usize, 0);
    for (bytes, offset) in data.iter().zip(&layout.tensor_offsets) {
        let start = *offset as usize;
        file[start..start + bytes.len()].copy_from_slice(bytes);
    }
    let path = std::env::temp_dir().join(format!("carat-gguf-{}.gguf", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let name = path.to_str().unwrap();
    let read = python(&["-c", SCRIPT, name]).unwrap();
    let dump = python(&["-m", "gguf.scripts.gguf_dump", name]).unwrap();
    std::fs::remove_file(&path).unwrap();
    let text = |o: &std::process::Output| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&o.stdout),
            String::from_utf8_lossy(&o.stderr)
        )
    };
    assert!(
        read.status.success() && text(&read).contains("read by gguf"),
        "{}",
        text(&read)
    );
    assert!(
        dump.status.success() && text(&dump).contains("b.weight"),
        "{}",
        text(&dump)
    );
}

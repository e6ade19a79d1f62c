//! Files built byte by byte.
#![allow(dead_code)] // Each test file uses a part.

pub mod cases;

use carat_gguf::TensorType;

const U8: u32 = 0;
const U32: u32 = 4;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STR: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a file in the making.
pub struct File {
    pub bytes: Vec<u8>,
    wide: bool,
}

impl File {
    pub fn new(version: u32, tensors: u64, entries: u64) -> Self {
        let file = Self {
            bytes: b"GGUF".to_vec(),
            wide: version > 1,
        };
        file.u32(version).count(tensors).count(entries)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn u32(self, v: u32) -> Self {
        self.raw(&v.to_le_bytes())
    }

    pub fn u64(self, v: u64) -> Self {
        self.raw(&v.to_le_bytes())
    }

    /// 32 bits in version 1, 64 later.
    pub fn count(self, v: u64) -> Self {
        if self.wide {
            self.u64(v)
        } else {
            self.u32(v.try_into().unwrap())
        }
    }

    pub fn str(self, s: impl AsRef<[u8]>) -> Self {
        let s = s.as_ref();
        self.count(s.len() as u64).raw(s)
    }

    pub fn key(self, key: impl AsRef<[u8]>, ty: u32) -> Self {
        self.str(key).u32(ty)
    }

    pub fn tensor(self, name: impl AsRef<[u8]>, dims: &[u64], ty: u32, offset: u64) -> Self {
        let file = self.str(name).u32(dims.len() as u32);
        dims.iter()
            .fold(file, |f, d| f.count(*d))
            .u32(ty)
            .u64(offset)
    }

    /// Padding to 32, then `n` bytes.
    pub fn data(mut self, n: usize) -> Self {
        let len = self.bytes.len().next_multiple_of(32) + n;
        self.bytes.resize(len, 0);
        self
    }

    pub fn at(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A file with each type of value, nested arrays, and tensors of a known and an unknown type.
pub fn valid(version: u32) -> Vec<u8> {
    let mut f = File::new(version, 3, 16)
        .key("general.architecture", STR)
        .str("llama");
    let scalars: [(&str, u32, &[u8]); 11] = [
        ("u8", 0, &[200]),
        ("i8", 1, &[0x80]),
        ("u16", 2, &[1, 2]),
        ("i16", 3, &[0xff, 0xff]),
        ("u32", 4, &[1, 2, 3, 4]),
        ("i32", 5, &[0xfe, 0xff, 0xff, 0xff]),
        ("f32", 6, &[0, 0, 0x80, 0x3f]),
        ("bool", 7, &[1]),
        ("u64", 10, &[0xff; 8]),
        ("i64", 11, &[0xff; 8]),
        ("f64", 12, &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
    ];
    for (key, ty, bytes) in scalars {
        f = f.key(key, ty).raw(bytes);
    }
    f.key("strings", ARRAY)
        .u32(STR)
        .count(3)
        .str("")
        .str("é")
        .str("abc")
        .key("floats", ARRAY)
        .u32(F32)
        .count(2)
        .raw(&[0, 0, 0xc0, 0x7f])
        .u32(0)
        .key("bools", ARRAY)
        .u32(BOOL)
        .count(2)
        .raw(&[0, 1])
        .key("nested", ARRAY)
        .u32(ARRAY)
        .count(3)
        .u32(STR)
        .count(1)
        .str("x")
        .u32(U8)
        .count(2)
        .raw(&[7, 8])
        .u32(ARRAY)
        .count(0)
        .tensor("token_embd.weight", &[32, 2], TensorType::Q8_0.0, 0)
        .tensor("strange", &[3, 1, 1, 2], 1234, 96)
        .tensor("last", &[5], TensorType::F32.0, 128)
        .data(128 + 20)
        .bytes
}

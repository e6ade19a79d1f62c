//! Reads everything before the tensor data. Format: the GGUF specification (docs/gguf.md of ggml).

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::cursor::{Cursor, Stop};
use crate::error::{Error, clip};
use crate::header::{Dims, Header, TensorInfo};
use crate::limits::{
    MAX_ALIGNMENT, MAX_DIMS, MAX_KEY, MAX_METADATA, MAX_TENSOR_NAME, MAX_TENSORS, MIN_ALIGNMENT,
    MIN_PREFIX,
};
use crate::types::{TensorType, ValueType};
use crate::value::{self, Value};
use crate::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, ShapeError};

/// What [`parse`] finds in a prefix of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Parse<'a> {
    /// The prefix holds everything before the tensor data, and it is valid.
    Complete(Header<'a>),
    /// The prefix ends before the tensor data; call again with this many bytes of the file or
    /// more. The number is greater than the prefix's length, at most the file's, and at least
    /// doubles the prefix where the file has as many bytes, so that a reader over a network makes
    /// a number of requests that grows with the logarithm of the length.
    NeedMore(u64),
}

/// Parses a GGUF file of `total_len` bytes of which `prefix` holds the first.
///
/// Nothing is copied: the result borrows from `prefix`. Memory taken is at most 8 times the
/// length of `prefix` and 1 KiB, and time grows as n log n of it, whatever the bytes say.
///
/// # Errors
/// Each way to be wrong has a variant of [`Error`]. A prefix whose present bytes are valid gives
/// [`Parse::NeedMore`] and no error, unless its counts or lengths exceed the whole file.
pub fn parse(prefix: &[u8], total_len: u64) -> Result<Parse<'_>, Error> {
    let have = prefix.len() as u64;
    if have > total_len {
        return Err(Error::PrefixLongerThanFile {
            prefix: have,
            file_len: total_len,
        });
    }
    match header(prefix, total_len) {
        Ok(header) => Ok(Parse::Complete(header)),
        Err(Stop::Need(n)) => Ok(Parse::NeedMore(
            n.max(have.saturating_mul(2)).max(MIN_PREFIX).min(total_len),
        )),
        Err(Stop::Error(e)) => Err(e),
    }
}

fn header(prefix: &[u8], total_len: u64) -> Result<Header<'_>, Stop> {
    let mut c = Cursor::new(prefix, total_len, true);
    check_magic(c.magic()?)?;
    let version = check_version(c.u32("the version")?)?;
    c.wide = version > 1;

    let position = c.position();
    let tensors = c.count("the number of tensors")?;
    if tensors > MAX_TENSORS {
        return Err(Error::TooManyTensors {
            position,
            found: tensors,
        }
        .into());
    }
    let position = c.position();
    let entries = c.count("the number of metadata entries")?;
    if entries > MAX_METADATA {
        return Err(Error::TooManyMetadata {
            position,
            found: entries,
        }
        .into());
    }
    let metadata = metadata(&mut c, entries, position)?;
    let by_key = sorted(metadata.len(), &|i| metadata[i].0, &|first, second| {
        Error::DuplicateKey {
            key: clip(metadata[first].0),
            first: first as u64,
            second: second as u64,
        }
    })?;
    let alignment = alignment(&metadata)?;

    let position = c.position();
    let mut tensors = tensor_infos(&mut c, tensors, position)?;
    let by_name = sorted(tensors.len(), &|i| tensors[i].name, &|first, second| {
        Error::DuplicateTensor {
            tensor: clip(tensors[first].name),
            first: first as u64,
            second: second as u64,
        }
    })?;
    // A position in a slice, far below 2^63, plus less than MAX_ALIGNMENT.
    let data_start = c.position().next_multiple_of(alignment);
    older_q2_0(&mut tensors, total_len.saturating_sub(data_start));
    place(&mut tensors, data_start, alignment, total_len)?;
    Ok(Header {
        version,
        alignment,
        data_start,
        metadata,
        by_key,
        tensors,
        by_name,
    })
}

fn check_magic(found: [u8; 4]) -> Result<(), Error> {
    // The magic numbers that preceded GGUF were written as little-endian integers.
    let format = match &found {
        m if *m == MAGIC => return Ok(()),
        b"lmgg" => "ggml",
        b"fmgg" => "ggmf",
        b"tjgg" => "ggjt",
        b"algg" => "ggla",
        _ => return Err(Error::BadMagic { found }),
    };
    Err(Error::LegacyGgml { format })
}

fn check_version(found: u32) -> Result<u32, Error> {
    match (found, found.swap_bytes()) {
        (1..=3, _) => Ok(found),
        (_, version @ 1..=3) => Err(Error::BigEndian { version }),
        _ => Err(Error::UnsupportedVersion { found }),
    }
}

/// Asks that `count` things of at least `least` bytes each fit in the rest of the file, then that
/// they lie in the prefix: memory for `count` of them is then bounded by the prefix.
fn fit(
    c: &Cursor<'_>,
    count: u64,
    least: u64,
    past: impl FnOnce(u64) -> Error,
) -> Result<(), Stop> {
    let remaining = c.remaining();
    match count.checked_mul(least) {
        Some(n) if n <= remaining => c.require(n),
        _ => Err(past(remaining).into()),
    }
}

fn metadata<'a>(
    c: &mut Cursor<'a>,
    entries: u64,
    position: u64,
) -> Result<Vec<(&'a str, Value<'a>)>, Stop> {
    // Length of the key, type, one byte of value.
    let least = c.count_width() + 4 + 1;
    fit(c, entries, least, |remaining| Error::MetadataPastEnd {
        position,
        found: entries,
        remaining,
    })?;
    let mut metadata = Vec::with_capacity(entries as usize);
    for index in 0..entries {
        let key = key(c, index)?;
        let position = c.position();
        let raw = c.u32("the type of a metadata value")?;
        let ty = ValueType::from_raw(raw).ok_or_else(|| Error::UnknownValueType {
            key: clip(key),
            position,
            found: raw,
        })?;
        metadata.push((key, value::read(c, ty, 0, key)?));
    }
    Ok(metadata)
}

fn key<'a>(c: &mut Cursor<'a>, index: u64) -> Result<&'a str, Stop> {
    let position = c.position();
    let found = c.count("the length of a key")?;
    if found > MAX_KEY {
        return Err(Error::KeyTooLong {
            index,
            position,
            found,
        }
        .into());
    }
    let remaining = c.remaining();
    if found > remaining {
        return Err(Error::KeyPastEnd {
            index,
            position,
            found,
            remaining,
        }
        .into());
    }
    let bytes = c.take(found, "a key")?;
    core::str::from_utf8(bytes).map_err(|_| Error::KeyNotUtf8 { index, position }.into())
}

fn tensor_name<'a>(c: &mut Cursor<'a>, index: u64) -> Result<&'a str, Stop> {
    let position = c.position();
    let found = c.count("the length of a tensor's name")?;
    if found > MAX_TENSOR_NAME {
        return Err(Error::TensorNameTooLong {
            index,
            position,
            found,
        }
        .into());
    }
    let remaining = c.remaining();
    if found > remaining {
        return Err(Error::TensorNamePastEnd {
            index,
            position,
            found,
            remaining,
        }
        .into());
    }
    let bytes = c.take(found, "the name of a tensor")?;
    core::str::from_utf8(bytes).map_err(|_| Error::TensorNameNotUtf8 { index, position }.into())
}

fn alignment(metadata: &[(&str, Value<'_>)]) -> Result<u64, Error> {
    let Some((_, value)) = metadata.iter().find(|(key, _)| *key == ALIGNMENT_KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let found = value.as_int().ok_or(Error::AlignmentType {
        found: value.value_type(),
    })?;
    u64::try_from(found)
        .ok()
        .filter(|a| valid_alignment(*a))
        .ok_or(Error::AlignmentValue { found })
}

pub(crate) fn valid_alignment(alignment: u64) -> bool {
    alignment.is_power_of_two() && (MIN_ALIGNMENT..=MAX_ALIGNMENT).contains(&alignment)
}

/// Reads the tensors, with `offset` as in the file: from the start of the data.
fn tensor_infos<'a>(
    c: &mut Cursor<'a>,
    count: u64,
    position: u64,
) -> Result<Vec<TensorInfo<'a>>, Stop> {
    // Length of the name, number of dimensions, one dimension, type, offset.
    let least = c.count_width() + 4 + c.count_width() + 4 + 8;
    fit(c, count, least, |remaining| Error::TensorsPastEnd {
        position,
        found: count,
        remaining,
    })?;
    let mut tensors = Vec::with_capacity(count as usize);
    for index in 0..count {
        let name = tensor_name(c, index)?;
        let shape = |fault| Error::Shape {
            tensor: clip(name),
            fault,
        };
        let rank = c.u32("the number of a tensor's dimensions")?;
        if rank as usize > MAX_DIMS {
            return Err(shape(ShapeError::TooManyDims { found: rank.into() }).into());
        }
        let mut dims = [0; MAX_DIMS];
        let dims = &mut dims[..rank as usize];
        for dim in dims.iter_mut() {
            *dim = c.count("a tensor's dimension")?;
        }
        let ty = TensorType(c.u32("a tensor's type")?);
        let offset = c.u64("a tensor's offset")?;
        let (dims, elements, size) = Dims::check(dims, ty).map_err(shape)?;
        tensors.push(TensorInfo {
            name,
            dims,
            ty,
            offset,
            size,
            elements,
        });
    }
    Ok(tensors)
}

/// Indices of `len` things, at most [`MAX_TENSORS`], in order; the lower one first among equals. One copy of a sort's code serves
/// all: a browser fetches it.
fn ordered(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len as u32).collect();
    let by_index = |a: &u32, b: &u32| compare(*a as usize, *b as usize).then(a.cmp(b));
    order.sort_unstable_by(by_index);
    order
}

/// Indices of `len` things in the order of their names, which must differ.
fn sorted<'n>(
    len: usize,
    name: &dyn Fn(usize) -> &'n str,
    twice: &dyn Fn(usize, usize) -> Error,
) -> Result<Vec<u32>, Error> {
    let order = ordered(len, &|a, b| name(a).cmp(name(b)));
    for pair in order.windows(2) {
        let (a, b) = (pair[0] as usize, pair[1] as usize);
        if name(a) == name(b) {
            return Err(twice(a, b));
        }
    }
    Ok(order)
}

/// The first ternary models of blocks of 2 bits were released with ggml's number of `Q2_0` for blocks of 128, before ggml
/// gave it to blocks of 64, which take more bytes. Where a file's tensors have no room for those, and all of them
/// have it for the others, they are what is now `PQ2_0`. `data_len` is the length of the data.
fn older_q2_0(tensors: &mut [TensorInfo<'_>], data_len: u64) {
    if !tensors.iter().any(|t| t.ty == TensorType::Q2_0) {
        return;
    }
    let offset = |i: usize| tensors[i].offset;
    let order = ordered(tensors.len(), &|a, b| offset(a).cmp(&offset(b)));
    let offsets: Vec<u64> = order.iter().map(|i| offset(*i as usize)).collect();
    let room = |t: &TensorInfo<'_>| {
        let next = offsets.partition_point(|o| *o <= t.offset);
        let end = offsets.get(next).map_or(data_len, |o| *o);
        end.saturating_sub(t.offset)
    };
    let of = || tensors.iter().filter(|t| t.ty == TensorType::Q2_0);
    let other = |t: &TensorInfo<'_>| Dims::check(&t.dims, TensorType::PQ2_0).ok()?.2;
    let lacks = of().any(|t| least_size(t) > room(t));
    if !lacks || !of().all(|t| other(t).is_some_and(|size| size <= room(t))) {
        return;
    }
    for t in tensors.iter_mut().filter(|t| t.ty == TensorType::Q2_0) {
        (t.ty, t.size) = (TensorType::PQ2_0, other(t));
    }
}

/// Makes offsets absolute, and checks that the data is aligned, inside the file, and not shared.
fn place(
    tensors: &mut [TensorInfo<'_>],
    data_start: u64,
    alignment: u64,
    file_len: u64,
) -> Result<(), Error> {
    for t in tensors.iter_mut() {
        let (tensor, offset) = (|| clip(t.name), t.offset);
        if offset % alignment != 0 {
            return Err(Error::UnalignedTensor {
                tensor: tensor(),
                offset,
                alignment,
            });
        }
        let start = data_start
            .checked_add(offset)
            .ok_or_else(|| Error::OffsetOverflow {
                tensor: tensor(),
                offset,
                data_start,
            })?;
        let size = least_size(t);
        if start.checked_add(size).is_none_or(|end| end > file_len) {
            return Err(Error::TensorPastEnd {
                tensor: tensor(),
                start,
                size,
                file_len,
            });
        }
        t.offset = start;
    }
    let offset = |i: usize| tensors[i].offset;
    let order = ordered(tensors.len(), &|a, b| offset(a).cmp(&offset(b)));
    for pair in order.windows(2) {
        let (first, second) = (&tensors[pair[0] as usize], &tensors[pair[1] as usize]);
        let first_end = first.offset + least_size(first);
        if second.offset < first_end {
            return Err(Error::TensorsOverlap {
                first: clip(first.name),
                first_end,
                second: clip(second.name),
                second_start: second.offset,
            });
        }
    }
    Ok(())
}

/// Bytes of the data. No tensor is empty, so one of an unknown type has at least one byte.
fn least_size(t: &TensorInfo<'_>) -> u64 {
    t.size.unwrap_or(1)
}

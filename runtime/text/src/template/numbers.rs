//! Numbers from texts and other numbers, as Python's int, float and round make them.

use super::machine::{Res, fail};
use super::value::{Kind, Value};

/// `round(n, digits)` of an int: half to even.
pub(super) fn rounded(n: i128, digits: i32) -> Res<Value> {
    if digits >= 0 {
        return Ok(Value(Kind::Int(n)));
    }
    let unit = u32::try_from(-digits)
        .ok()
        .and_then(|d| 10i128.checked_pow(d));
    let Some(unit) = unit else {
        return Ok(0usize.into());
    };
    let (floor, rest) = (n.div_euclid(unit), n.rem_euclid(unit));
    let up = match (unit - rest).cmp(&rest) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => floor % 2 != 0,
        std::cmp::Ordering::Greater => false,
    };
    match (floor + i128::from(up)).checked_mul(unit) {
        Some(n) => Ok(Value(Kind::Int(n))),
        None => fail("an integer of more than 127 bits"),
    }
}

/// A float without its fraction, nothing where it is not a number.
pub(super) fn truncated(x: f64) -> Res<Option<i128>> {
    if x.is_nan() || x.is_infinite() {
        return Ok(None);
    }
    match x.abs() < libm::ldexp(1.0, 127) {
        true => Ok(Some(x as i128)),
        false => fail("an integer of more than 127 bits"),
    }
}

/// `_` between digits is no part of a number.
fn plain(text: &str) -> Option<String> {
    let text = text.trim_matches(super::lexer::space);
    let bytes = text.as_bytes();
    for (i, b) in bytes.iter().enumerate() {
        let digit = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at))
                .is_some_and(u8::is_ascii_alphanumeric)
        };
        if *b == b'_' && !(digit(i.checked_sub(1)) && digit(Some(i + 1))) {
            return None;
        }
    }
    Some(text.replace('_', ""))
}

/// Python's `int(text, base)`.
pub(super) fn integer(text: &str, base: i128) -> Res<Option<i128>> {
    let Some(text) = plain(text) else {
        return Ok(None);
    };
    if text.chars().any(|c| c.is_numeric() && !c.is_ascii()) {
        return fail("int of digits beyond 0 to 9, which is not supported");
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, of)| Some((lower.strip_prefix(prefix)?, of)));
    let (digits, radix) = match (base, prefixed) {
        (0, Some((digits, of))) => (digits, of),
        (0, None) if lower.starts_with('0') && lower.bytes().any(|b| b != b'0') => return Ok(None),
        (0, None) => (lower.as_str(), 10),
        (base, Some((digits, of))) if base == i128::from(of) => (digits, of),
        (2..=36, _) => (lower.as_str(), u32::try_from(base).unwrap_or(10)),
        _ => return Ok(None),
    };
    let good = |b: u8| char::from(b).is_digit(radix);
    if digits.is_empty() || !digits.bytes().all(good) {
        return Ok(None);
    }
    match i128::from_str_radix(digits, radix) {
        Ok(n) => Ok(Some(if negative { -n } else { n })),
        Err(_) => fail("an integer of more than 127 bits"),
    }
}

/// Python's `float(text)`.
pub(super) fn real(text: &str) -> Option<f64> {
    plain(text)?.parse().ok()
}

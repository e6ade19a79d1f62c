//! Operators: equality, order, arithmetic, slices, sorting.

use super::machine::{Args, Meter, Res, fail};
use super::value::{Form, Kind, Text, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// Longest `range`, as in jinja2's sandbox.
const MAX_RANGE: i128 = 100_000;

/// `a == b`, paid for element by element.
pub(super) fn equal(a: &Value, b: &Value, m: &Meter) -> Res<bool> {
    m.pay(1)?;
    Ok(match (&a.0, &b.0) {
        (Kind::Undefined, Kind::Undefined) | (Kind::None, Kind::None) => true,
        (Kind::Text(a), Kind::Text(b)) => {
            m.pay_text(a.text.len().min(b.text.len()))?;
            a.text == b.text
        }
        (Kind::List(a), Kind::List(b)) => {
            let ranges = matches!((a.form, b.form), (Form::Range(_), Form::Range(_)));
            if a.form.is_view() || b.form.is_view() {
                return fail("a comparison of a dict's keys, values or items; make them a list");
            }
            if !(a.form.joins(b.form) || ranges) || a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, m)? {
                    return Ok(false);
                }
            }
            true
        }
        (Kind::Map(a), Kind::Map(b)) => {
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, value) in &a.entries {
                m.pay_text(key.as_str().map_or(0, str::len))?;
                match b.get(key) {
                    Ok(Some(other)) if equal(value, other, m)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Kind::Function(a), Kind::Function(b)) => a == b,
        (Kind::Macro(a), Kind::Macro(b))
        | (Kind::Namespace(a), Kind::Namespace(b))
        | (Kind::Generator(a), Kind::Generator(b))
        | (Kind::Joiner(a), Kind::Joiner(b))
        | (Kind::Cycler(a), Kind::Cycler(b)) => a == b,
        (Kind::Loop(a), Kind::Loop(b)) => Arc::ptr_eq(a, b),
        (Kind::Method(a), Kind::Method(b)) => Arc::ptr_eq(a, b),
        _ => numbers(a, b) == Some(Some(Ordering::Equal)),
    })
}

/// The order of two numbers, exactly: an int is not rounded to a float. `None` where one is no number,
/// `Some(None)` where one is not a number.
fn numbers(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    let mixed = |n: i128, x: f64| -> Option<Ordering> {
        if x.is_nan() {
            return None;
        }
        // Every int here is between these.
        let limit = libm::ldexp(1.0, 127);
        if x >= limit {
            return Some(Ordering::Less);
        }
        if x < -limit {
            return Some(Ordering::Greater);
        }
        let whole = libm::floor(x);
        let order = n.cmp(&(whole as i128));
        Some(match order {
            Ordering::Equal if x > whole => Ordering::Less,
            order => order,
        })
    };
    Some(match (a.as_int(), b.as_int(), &a.0, &b.0) {
        (Some(a), Some(b), ..) => Some(a.cmp(&b)),
        (Some(a), None, _, Kind::Float(b)) => mixed(a, *b),
        (None, Some(b), Kind::Float(a), _) => mixed(b, *a).map(Ordering::reverse),
        (None, None, Kind::Float(a), Kind::Float(b)) => a.partial_cmp(b),
        _ => return None,
    })
}

/// The order of two values; `None` of a float that is no number.
pub(super) fn order(a: &Value, b: &Value, m: &Meter) -> Res<Option<Ordering>> {
    m.pay(1)?;
    if let Some(order) = numbers(a, b) {
        return Ok(order);
    }
    match (&a.0, &b.0) {
        (Kind::Text(a), Kind::Text(b)) => {
            m.pay_text(a.text.len().min(b.text.len()))?;
            Ok(Some(a.text.cmp(&b.text)))
        }
        (Kind::List(a), Kind::List(b)) if a.form.joins(b.form) => {
            for (a, b) in a.items.iter().zip(&b.items) {
                // Equal elements need no order.
                if equal(a, b, m)? {
                    continue;
                }
                match order(a, b, m)? {
                    Some(Ordering::Equal) => {}
                    other => return Ok(other),
                }
            }
            Ok(Some(a.items.len().cmp(&b.items.len())))
        }
        _ => fail(format!("'{}' and '{}' have no order", a.kind(), b.kind())),
    }
}

/// A stable merge sort whose comparison may fail; every comparison pays for itself.
pub(super) fn sort<T: Clone>(
    items: Vec<T>,
    order: &mut impl FnMut(&T, &T) -> Res<Option<Ordering>>,
) -> Res<Vec<T>> {
    if items.len() < 2 {
        return Ok(items);
    }
    let right = sort(items[items.len() / 2..].to_vec(), order)?;
    let left = sort(items[..items.len() / 2].to_vec(), order)?;
    let mut out = Vec::with_capacity(items.len());
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        if order(&left[l], &right[r])? == Some(Ordering::Greater) {
            out.push(right[r].clone());
            r += 1;
        } else {
            out.push(left[l].clone());
            l += 1;
        }
    }
    out.extend_from_slice(&left[l..]);
    out.extend_from_slice(&right[r..]);
    Ok(out)
}

/// `&<>"'` as HTML writes them, which is what a marked text does to another that is joined to it.
pub(super) fn escape(text: &str, m: &Meter) -> Res<String> {
    m.pay_text(5 * text.len())?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A text, marked safe or not.
pub(super) fn marked(text: &str, safe: bool, m: &Meter) -> Res<Value> {
    m.pay_text(text.len())?;
    Ok(if safe { Value::safe(text) } else { text.into() })
}

fn concatenate(a: &Text, b: &Text, m: &Meter) -> Res<Value> {
    let safe = a.safe || b.safe;
    let escaped = |t: &Text| -> Res<Option<String>> {
        Ok(if safe && !t.safe {
            Some(escape(&t.text, m)?)
        } else {
            None
        })
    };
    let (left, right) = (escaped(a)?, escaped(b)?);
    let (left, right) = (
        left.as_deref().unwrap_or(&a.text),
        right.as_deref().unwrap_or(&b.text),
    );
    m.pay_text(left.len() + right.len())?;
    marked(&[left, right].concat(), safe, m)
}

/// `a op b` for `+ - * / % ^` and `d`, the division that rounds down.
pub(super) fn arithmetic(op: char, a: &Value, b: &Value, m: &Meter) -> Res<Value> {
    match (op, &a.0, &b.0) {
        ('+', Kind::Text(a), Kind::Text(b)) => return concatenate(a, b, m),
        ('+', Kind::List(a), Kind::List(b)) if a.form.joins(b.form) => {
            m.pay(a.items.len() + b.items.len())?;
            let items = [a.items.as_slice(), b.items.as_slice()].concat();
            return if a.form.is_tuple() {
                m.tuple(items)
            } else {
                m.list(items)
            };
        }
        ('*', Kind::Text(_) | Kind::List(_), _) if b.as_int().is_some() => {
            return repeat(a, b.as_int().unwrap_or(0), m);
        }
        ('*', _, Kind::Text(_) | Kind::List(_)) if a.as_int().is_some() => {
            return repeat(b, a.as_int().unwrap_or(0), m);
        }
        _ => {}
    }
    // Python divides ints of any size exactly; here they are floats first.
    const EXACT: u128 = 1 << 53;
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int())
        && op == '/'
        && (a.unsigned_abs() > EXACT || b.unsigned_abs() > EXACT)
    {
        return fail("'/' of an int beyond 2^53; '//' gives its whole part");
    }
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int())
        && let Some(done) = integers(op, a, b)
    {
        return match done {
            Some(n) => Ok(Value(Kind::Int(n))),
            None => fail("an integer of more than 127 bits, or a division by zero"),
        };
    }
    let (Some(x), Some(y)) = (a.as_float(), b.as_float()) else {
        let op = if op == 'd' {
            "//".into()
        } else {
            op.to_string()
        };
        return fail(format!(
            "unsupported operand types for {op}: '{}' and '{}'",
            a.kind(),
            b.kind()
        ));
    };
    if matches!(op, '/' | 'd' | '%') && y == 0.0 {
        return fail("division by zero");
    }
    Ok(match op {
        '+' => x + y,
        '-' => x - y,
        '*' => x * y,
        '/' => x / y,
        'd' => divided(x, y).0,
        '%' => divided(x, y).1,
        _ if x == 0.0 && y < 0.0 => return fail("0.0 cannot be raised to a negative power"),
        _ if x < 0.0 && x.is_finite() && y.is_finite() && libm::trunc(y) != y => {
            return fail("a power that is a complex number, which is not supported");
        }
        _ => {
            let power = libm::pow(x, y);
            if power.is_infinite() && x.is_finite() && y.is_finite() {
                return fail("a power that is too large");
            }
            power
        }
    }
    .into())
}

/// Python's quotient and remainder of floats: rounded down, the remainder with the sign of the divisor.
fn divided(x: f64, y: f64) -> (f64, f64) {
    let mut rest = libm::fmod(x, y);
    let mut quotient = (x - rest) / y;
    if rest == 0.0 {
        rest = libm::copysign(0.0, y);
    } else if (y < 0.0) != (rest < 0.0) {
        rest += y;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (libm::copysign(0.0, x / y), rest);
    }
    let mut whole = libm::floor(quotient);
    if quotient - whole > 0.5 {
        whole += 1.0;
    }
    (whole, rest)
}

/// The integer that an operator gives: `None` where it gives a float, `Some(None)` where none fits.
fn integers(op: char, a: i128, b: i128) -> Option<Option<i128>> {
    Some(match op {
        '+' => a.checked_add(b),
        '-' => a.checked_sub(b),
        '*' => a.checked_mul(b),
        'd' => a.checked_rem(b).and_then(|r| {
            let q = a.checked_div(b)?;
            Some(if r != 0 && (r < 0) != (b < 0) {
                q - 1
            } else {
                q
            })
        }),
        '%' => a.checked_rem(b).map(|r| {
            if r != 0 && (r < 0) != (b < 0) {
                r + b
            } else {
                r
            }
        }),
        '^' if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        _ => return None,
    })
}

fn repeat(value: &Value, times: i128, m: &Meter) -> Res<Value> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    match &value.0 {
        Kind::Text(t) => {
            m.pay_text(t.text.len().saturating_mul(times))?;
            marked(&t.text.repeat(times), t.safe, m)
        }
        Kind::List(list) if list.form == Form::List || list.form.is_tuple() => {
            m.pay(list.items.len().saturating_mul(times))?;
            let copies = std::iter::repeat_n(&list.items, times);
            let items = copies.flatten().cloned().collect();
            if list.form.is_tuple() {
                m.tuple(items)
            } else {
                m.list(items)
            }
        }
        _ => fail("only a text or a list can be repeated"),
    }
}

/// The place of an index that may count from the end.
pub(super) fn index(i: i128, len: usize) -> Option<usize> {
    let i = if i < 0 {
        i.checked_add(len as i128)?
    } else {
        i
    };
    usize::try_from(i).ok().filter(|i| *i < len)
}

/// `value[start:stop:step]`.
pub(super) fn slice(
    value: &Value,
    [start, stop, step]: [Option<i128>; 3],
    m: &Meter,
) -> Res<Value> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return fail("slice step cannot be zero");
    }
    // The places, and the bounds that they come from.
    let pick = |len: usize| -> Res<(Vec<usize>, [i128; 2])> {
        let n = len as i128;
        // Python's rule: bounds beyond the ends are the ends.
        let clamp = |i: i128| {
            let i = if i < 0 { i.saturating_add(n) } else { i };
            if step > 0 {
                i.clamp(0, n)
            } else {
                i.clamp(-1, n - 1)
            }
        };
        let (first, last) = if step > 0 { (0, n) } else { (n - 1, -1) };
        let (mut at, stop) = (start.map_or(first, clamp), stop.map_or(last, clamp));
        let bounds = [at, stop];
        m.pay(len)?;
        let mut picked = Vec::new();
        while (step > 0 && at < stop) || (step < 0 && at > stop) {
            if let Ok(i) = usize::try_from(at) {
                picked.push(i);
            }
            at = at.saturating_add(step);
        }
        Ok((picked, bounds))
    };
    match &value.0 {
        Kind::List(list) if !list.form.is_view() => {
            let (picked, bounds) = pick(list.items.len())?;
            m.pay(picked.len())?;
            let items = picked.into_iter().map(|i| list.items[i].clone()).collect();
            match list.form {
                Form::List => m.list(items),
                Form::Range([first, _, width]) => {
                    let place = |i: i128| i.checked_mul(width)?.checked_add(first);
                    let ends = bounds.map(place);
                    let ([Some(from), Some(to)], Some(step)) = (ends, width.checked_mul(step))
                    else {
                        return fail("an integer of more than 127 bits");
                    };
                    Ok(Value::formed(items, Form::Range([from, to, step])))
                }
                _ => m.tuple(items),
            }
        }
        Kind::Text(t) => {
            m.pay(t.text.len())?;
            let chars: Vec<char> = t.text.chars().collect();
            let (picked, _) = pick(chars.len())?;
            let text: String = picked.into_iter().map(|i| chars[i]).collect();
            marked(&text, t.safe, m)
        }
        _ => fail(format!("'{}' object cannot be sliced", value.kind())),
    }
}

/// `range(stop)` or `range(start, stop, step)`.
pub(super) fn range(args: Args, m: &Meter) -> Res<Value> {
    let [a, b, c] = args.positional("range", 1)?;
    let whole = |v: Option<Value>| match v.as_ref().map(Value::as_int) {
        None => Ok(None),
        Some(Some(n)) => Ok(Some(n)),
        Some(None) => fail("range() takes integers"),
    };
    let (start, stop) = match (whole(a)?, whole(b)?) {
        (Some(stop), None) => (0, stop),
        (Some(start), Some(stop)) => (start, stop),
        _ => return fail("range() needs an argument"),
    };
    let step = whole(c)?.unwrap_or(1);
    let span = if step > 0 {
        stop.checked_sub(start)
    } else {
        start.checked_sub(stop)
    };
    let (Some(span), Some(width)) = (span, step.checked_abs().filter(|w| *w > 0)) else {
        return fail("range() of these numbers");
    };
    let count = span.max(0) / width + i128::from(span.max(0) % width != 0);
    if count > MAX_RANGE {
        return fail(format!("a range of more than {MAX_RANGE}"));
    }
    m.pay(count as usize)?;
    let items = (0..count).map(|i| Value(Kind::Int(start + i * step)));
    Ok(Value::formed(
        items.collect(),
        Form::Range([start, stop, step]),
    ))
}

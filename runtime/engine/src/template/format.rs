//! `'%s' % x` and `'{}'.format(x)`, with the fields that templates use.

use super::lists;
use super::machine::{Args, Meter, Res, fail};
use super::python;
use super::value::{Kind, Text, Value};

/// Widest field and most digits.
const MAX_WIDTH: usize = 9999;

/// `text` in `width` letters; aligned `<`, `>`, `^`, or `=` (behind a sign).
pub(super) fn pad(text: &str, width: usize, fill: char, align: char, m: &Meter) -> Res<String> {
    m.pay_text(text.len())?;
    let missing = width.saturating_sub(text.chars().count());
    m.pay_text(
        text.len()
            .saturating_add(missing.saturating_mul(fill.len_utf8())),
    )?;
    let fill = |n: usize| fill.to_string().repeat(n);
    Ok(match align {
        '<' => text.to_owned() + &fill(missing),
        // Python's str.center puts the odd one to the left only where the width is odd too.
        '^' => {
            let left = missing / 2 + (missing & width & 1);
            fill(left) + text + &fill(missing - left)
        }
        '=' if text.starts_with(['+', '-']) => text[..1].to_owned() + &fill(missing) + &text[1..],
        _ => fill(missing) + text,
    })
}

/// What a field asks for.
struct Spec {
    fill: char,
    align: Option<char>,
    plus: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars>) -> Res<Option<usize>> {
    let mut n = None;
    while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        let next = n.unwrap_or(0) * 10 + d as usize;
        if next > MAX_WIDTH {
            return fail(format!("a format asks for more than {MAX_WIDTH} letters"));
        }
        n = Some(next);
    }
    Ok(n)
}

fn show(value: &Value, spec: &Spec, m: &Meter) -> Res<String> {
    let sign = |text: String| {
        if spec.plus && !text.starts_with('-') {
            format!("+{text}")
        } else {
            text
        }
    };
    let bad = || fail(format!("a format '{}' of '{}'", spec.kind, value.kind()));
    let (text, numeric) = match spec.kind {
        'd' | 'i' | 'u' | 'x' | 'X' => {
            let n = match (value.as_int(), &value.0) {
                (Some(n), _) => n,
                // Python's % rounds towards zero; beyond 2^127 the cast saturates.
                (None, Kind::Float(x)) if x.is_finite() => *x as i128,
                _ => return bad(),
            };
            let text = match spec.kind {
                'x' => format!("{n:x}"),
                'X' => format!("{n:X}"),
                _ => n.to_string(),
            };
            (sign(text), true)
        }
        'f' | 'F' | 'e' | '%' => {
            let Some(x) = value.as_float() else {
                return bad();
            };
            let digits = spec.precision.unwrap_or(6).min(MAX_WIDTH);
            m.pay_text(400 + digits)?;
            let text = match spec.kind {
                '%' => format!("{:.digits$}%", x * 100.0),
                'e' => exponent(&format!("{x:.digits$e}")),
                _ => format!("{x:.digits$}"),
            };
            (sign(text), true)
        }
        'r' => {
            let mut out = String::new();
            python::write(value, &mut out, m)?;
            (out, false)
        }
        's' => {
            let text = python::str(value, m)?;
            let text = match spec.precision {
                Some(n) => text.chars().take(n).collect(),
                None => text,
            };
            (
                text,
                value.as_float().is_some() && !matches!(value.0, Kind::Bool(_)),
            )
        }
        _ => return bad(),
    };
    let align = spec.align.unwrap_or(if numeric { '>' } else { '<' });
    pad(&text, spec.width, spec.fill, align, m)
}

/// Rust's `1e-5` as Python's `1e-05`.
fn exponent(text: &str) -> String {
    match text.split_once('e') {
        Some((digits, e)) => {
            let (sign, e) = e.strip_prefix('-').map_or(('+', e), |e| ('-', e));
            format!("{digits}e{sign}{e:0>2}")
        }
        None => text.to_owned(),
    }
}

/// `format % args`.
pub(super) fn percent(format: &Text, args: &Value, m: &Meter) -> Res<Value> {
    m.pay_text(format.text.len())?;
    let single = [args.clone()];
    let list = match &args.0 {
        Kind::List(list) if list.tuple => list.items.as_slice(),
        _ => &single,
    };
    let mut next = 0;
    let mut out = String::new();
    let mut chars = format.text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut value = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            let name: String = chars.by_ref().take_while(|c| *c != ')').collect();
            match args.get(&name) {
                Some(found) => value = Some(found.clone()),
                None => return fail(format!("a format asks for '{name}'")),
            }
        }
        let mut spec = Spec {
            fill: ' ',
            align: Some('>'),
            plus: false,
            width: 0,
            precision: None,
            kind: 's',
        };
        while let Some(flag) = chars.next_if(|c| "-+0 #".contains(*c)) {
            match flag {
                '-' => spec.align = Some('<'),
                '+' => spec.plus = true,
                '0' if spec.align == Some('>') => (spec.fill, spec.align) = ('0', Some('=')),
                _ => {}
            }
        }
        spec.width = number(&mut chars)?.unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut chars)?.unwrap_or(0));
        }
        spec.kind = match chars.next() {
            Some('%') => {
                out.push('%');
                continue;
            }
            Some(kind) => kind,
            None => return fail("incomplete format"),
        };
        let value = match value {
            Some(value) => value,
            None => {
                next += 1;
                match list.get(next - 1) {
                    Some(value) => value.clone(),
                    None => return fail("not enough arguments for format string"),
                }
            }
        };
        let mut text = show(&value, &spec, m)?;
        if format.safe && !value.is_safe() {
            text = lists::escape(&text, m)?;
        }
        out.push_str(&text);
    }
    if next < list.len() && !matches!(args.0, Kind::Map(_)) {
        return fail("not all arguments converted during string formatting");
    }
    lists::marked(&out, format.safe, m)
}

/// `format.format(*args)`.
pub(super) fn braces(format: &str, args: Args, m: &Meter) -> Res<Value> {
    let mut next = 0;
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            out.push_str(brace);
            rest = &rest[1..];
            continue;
        }
        let Some(end) = rest.find('}').filter(|_| brace == "{") else {
            return fail("a brace of a format has no other");
        };
        let field = &rest[..end];
        rest = &rest[end + 1..];
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, repr) = name.strip_suffix("!r").map_or((name, false), |n| (n, true));
        let name = name.strip_suffix("!s").unwrap_or(name);
        m.pay(1 + args.named.len())?;
        let value = if name.is_empty() {
            next += 1;
            args.positional.get(next - 1)
        } else if let Ok(i) = name.parse::<usize>() {
            args.positional.get(i)
        } else {
            args.named
                .iter()
                .find(|(n, _)| **n == *name)
                .map(|(_, v)| v)
        };
        let Some(value) = value else {
            return fail(format!(
                "a format asks for the argument '{name}', which is not given"
            ));
        };
        let mut chars = spec.chars().peekable();
        let mut parsed = Spec {
            fill: ' ',
            align: None,
            plus: false,
            width: 0,
            precision: None,
            kind: if repr { 'r' } else { 's' },
        };
        let aligns = |c: Option<char>| c.filter(|c| "<>^=".contains(*c));
        if let Some(align) = aligns(spec.chars().nth(1)) {
            parsed.fill = chars.next().unwrap_or(' ');
            parsed.align = Some(align);
            chars.next();
        } else if let Some(align) = aligns(spec.chars().next()) {
            parsed.align = Some(align);
            chars.next();
        }
        parsed.plus = chars.next_if_eq(&'+').is_some();
        if chars.next_if_eq(&'0').is_some() && parsed.align.is_none() {
            (parsed.fill, parsed.align) = ('0', Some('='));
        }
        parsed.width = number(&mut chars)?.unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            parsed.precision = Some(number(&mut chars)?.unwrap_or(0));
        }
        if let Some(kind) = chars.next() {
            parsed.kind = kind;
        } else if parsed.precision.is_some() && matches!(value.0, Kind::Float(_)) {
            parsed.kind = 'f';
        }
        if chars.next().is_some() {
            return fail(format!("a format '{spec}' that is not understood"));
        }
        let text = show(value, &parsed, m)?;
        m.pay_text(text.len())?;
        out.push_str(&text);
    }
    out.push_str(rest);
    m.text(&out)
}

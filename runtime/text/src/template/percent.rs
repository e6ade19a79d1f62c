//! `'%s' % x` and `'{}'.format(x)`: texts with fields.

use super::eval::Machine;
use super::format::{
    Letters, MAX_WIDTH, Spec, digits, format_value, int_digits, number, pad, placed, sign_of,
};
use super::machine::{Args, Meter, Res, fail};
use super::value::{Kind, Text, Value};
use super::{lists, python};

/// `format % args`.
pub(super) fn percent(format: &Text, args: &Value, m: &Meter) -> Res<Value> {
    m.pay_text(format.text.len())?;
    let single = [args.clone()];
    let list = match &args.0 {
        Kind::List(list) if list.form.is_tuple() => list.items.as_slice(),
        _ => &single,
    };
    let mut next = 0;
    let mut take = || {
        next += 1;
        match list.get(next - 1) {
            Some(value) => Ok(value.clone()),
            None => fail("not enough arguments for format string"),
        }
    };
    let mut out = String::new();
    let mut chars = format.text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut value = None;
        if chars.next_if_eq(&'(').is_some() {
            let name: String = chars.by_ref().take_while(|c| *c != ')').collect();
            let Kind::Map(map) = &args.0 else {
                return fail("format requires a mapping");
            };
            match map.get_text(&name) {
                Some(found) => value = Some(found.clone()),
                None => return fail(format!("a format asks for '{name}'")),
            }
        }
        let mut spec = Spec::default();
        let (mut left, mut zeros) = (false, false);
        while let Some(flag) = chars.next_if(|c| "-+0 #".contains(*c)) {
            match flag {
                '-' => left = true,
                '+' => spec.sign = '+',
                ' ' if spec.sign != '+' => spec.sign = ' ',
                '0' => zeros = true,
                '#' => spec.alternate = true,
                _ => {}
            }
        }
        let star =
            |chars: &mut Letters, take: &mut dyn FnMut() -> Res<Value>| -> Res<Option<i128>> {
                if chars.next_if_eq(&'*').is_none() {
                    return Ok(number(chars)?.map(|n| n as i128));
                }
                match take()?.as_int() {
                    Some(n) if n.unsigned_abs() <= MAX_WIDTH as u128 => Ok(Some(n)),
                    _ => fail("'*' in a format takes an int that is not too large"),
                }
            };
        let width = star(&mut chars, &mut take)?.unwrap_or(0);
        left |= width < 0;
        spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            let places = star(&mut chars, &mut take)?.unwrap_or(0);
            spec.precision = Some(usize::try_from(places.max(0)).unwrap_or(0));
        }
        while chars.next_if(|c| "hlL".contains(*c)).is_some() {}
        let kind = match chars.next() {
            Some('%') => {
                out.push('%');
                continue;
            }
            Some(kind) => kind,
            None => return fail("incomplete format"),
        };
        let value = match value {
            Some(value) => value,
            None => take()?,
        };
        spec.align = Some(match (left, zeros) {
            (true, _) => '<',
            (false, true) => '=',
            (false, false) => '>',
        });
        if zeros && !left {
            spec.fill = '0';
        }
        let mut text = percent_one(&value, kind, &spec, m)?;
        if format.safe && !value.is_safe() {
            text = lists::escape(&text, m)?;
        }
        m.pay_text(text.len())?;
        out.push_str(&text);
    }
    // What has items by keys need not be used: a dict, and a list, which Python takes for the same.
    let mapping = match &args.0 {
        Kind::Map(_) => true,
        Kind::List(list) => !list.form.is_tuple() && !list.form.is_view(),
        _ => false,
    };
    if next < list.len() && !mapping {
        return fail("not all arguments converted during string formatting");
    }
    lists::marked(&out, format.safe, m)
}

/// One field of `%`.
fn percent_one(value: &Value, kind: char, spec: &Spec, m: &Meter) -> Res<String> {
    m.pay_text(800 + spec.precision.unwrap_or(0))?;
    let bad = || {
        fail(format!(
            "%{kind} format: a number is required, not {}",
            value.kind()
        ))
    };
    let text = |text: String| {
        let text = match spec.precision {
            Some(n) => text.chars().take(n).collect(),
            None => text,
        };
        let align = if spec.align == Some('<') { '<' } else { '>' };
        pad(&text, spec.width, ' ', align, m)
    };
    match kind {
        's' => text(python::str(value, m)?),
        'r' | 'a' => {
            let mut out = String::new();
            python::write(value, &mut out, m)?;
            if kind == 'a' && !out.is_ascii() {
                return fail("%a of letters beyond ASCII, which is not supported");
            }
            text(out)
        }
        'c' => {
            let c = match (&value.0, value.as_int()) {
                (Kind::Text(t), _) if t.text.chars().count() == 1 => t.text.chars().next(),
                (_, Some(n)) => u32::try_from(n).ok().and_then(char::from_u32),
                _ => None,
            };
            match c {
                Some(c) => pad(
                    &c.to_string(),
                    spec.width,
                    ' ',
                    spec.align.filter(|a| *a == '<').unwrap_or('>'),
                    m,
                ),
                None => fail("%c requires an int or a character"),
            }
        }
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let n = match (value.as_int(), &value.0) {
                (Some(n), _) => n,
                // Rounded towards zero.
                (None, Kind::Float(x))
                    if "diu".contains(kind) && x.abs() < libm::ldexp(1.0, 127) =>
                {
                    *x as i128
                }
                _ => return bad(),
            };
            let mut digits = int_digits(n, kind, false);
            if let Some(places) = spec.precision {
                digits = pad(&digits, places, '0', '>', m)?;
            }
            let prefix = match (spec.alternate, kind) {
                (true, 'x' | 'X' | 'o') => format!("0{kind}"),
                _ => String::new(),
            };
            let prefix = sign_of(n < 0, spec).to_owned() + &prefix;
            placed(&prefix, &digits, spec, 3, m)
        }
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' => {
            let Some(x) = value.as_float() else {
                return bad();
            };
            let text = digits(x, kind, spec.precision, spec.alternate);
            placed(
                sign_of(x.is_sign_negative() && !x.is_nan(), spec),
                &text,
                spec,
                3,
                m,
            )
        }
        _ => fail(format!("unsupported format character '{kind}'")),
    }
}

/// Which numbering the fields of a format have.
#[derive(Default)]
struct Fields {
    next: usize,
    automatic: bool,
    manual: bool,
}

/// `format.format(*args)`.
pub(super) fn braces(machine: &Machine<'_>, format: &str, args: Args) -> Res<String> {
    machine.meter.pay_text(format.len())?;
    let mut fields = Fields::default();
    expand(machine, format, &args, &mut fields, 2)
}

fn expand(
    machine: &Machine<'_>,
    format: &str,
    args: &Args,
    fields: &mut Fields,
    levels: usize,
) -> Res<String> {
    let m = &machine.meter;
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        m.pay_text(at)?;
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            out.push_str(brace);
            rest = &rest[1..];
            continue;
        }
        if levels == 0 {
            return fail("a format in a format in a format");
        }
        // The other brace of this one, those in between left out.
        let mut open = 1;
        let end = rest.char_indices().find(|(_, c)| {
            match c {
                '{' => open += 1,
                '}' => open -= 1,
                _ => {}
            }
            open == 0
        });
        let Some((end, _)) = end.filter(|_| brace == "{") else {
            return fail("a brace of a format has no other");
        };
        let field = &rest[..end];
        rest = &rest[end + 1..];
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = match name.split_once('!') {
            Some((name, conversion)) => (name, Some(conversion)),
            None => (name, None),
        };
        let value = argument(machine, name, args, fields)?;
        let spec = expand(machine, spec, args, fields, levels - 1)?;
        let value = match conversion {
            None => value,
            Some("s") => m.text(&python::str(&value, m)?)?,
            Some("r") => {
                let mut out = String::new();
                python::write(&value, &mut out, m)?;
                m.text(&out)?
            }
            Some(_) => return fail(format!("a format '{field}' that is not understood")),
        };
        let text = format_value(&value, &spec, m)?;
        m.pay_text(text.len())?;
        out.push_str(&text);
    }
    m.pay_text(rest.len())?;
    out.push_str(rest);
    Ok(out)
}

/// The argument of a field: `0`, `name`, `0.attribute`, `name[key]`.
fn argument(machine: &Machine<'_>, field: &str, args: &Args, fields: &mut Fields) -> Res<Value> {
    let m = &machine.meter;
    m.pay(1 + args.named.len())?;
    let end = field.find(['.', '[']).unwrap_or(field.len());
    let (name, mut path) = field.split_at(end);
    let value = match name.parse::<usize>() {
        _ if name.is_empty() => {
            fields.automatic = true;
            fields.next += 1;
            args.positional.get(fields.next - 1)
        }
        Ok(i) => {
            fields.manual = true;
            args.positional.get(i)
        }
        Err(_) => (args.named.iter().find(|(n, _)| **n == *name)).map(|(_, v)| v),
    };
    if fields.automatic && fields.manual {
        return fail("a format with numbered fields and others without numbers");
    }
    let Some(mut value) = value.cloned() else {
        return fail(format!(
            "a format asks for the argument '{name}', which is not given"
        ));
    };
    while !path.is_empty() {
        if value.is_undefined() {
            return fail(format!("a format asks for '{field}', and there is none"));
        }
        let found;
        if let Some(inner) = path.strip_prefix('[') {
            let Some((key, behind)) = inner.split_once(']') else {
                return fail("a format with '[' and no ']'");
            };
            path = behind;
            let key = match key.parse::<i64>() {
                Ok(i) => i.into(),
                Err(_) => m.text(key)?,
            };
            found = machine.item(&value, &key)?;
        } else {
            let inner = path.strip_prefix('.').unwrap_or(path);
            let end = inner.find(['.', '[']).unwrap_or(inner.len());
            path = &inner[end..];
            found = machine.attribute(&value, &inner[..end])?;
        }
        value = found;
    }
    Ok(value)
}

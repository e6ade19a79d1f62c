//! What templates expect of Python: how values print.

use super::machine::{Meter, Res, fail};
use super::value::{Form, Kind, Value};
use std::fmt::Write;

/// `str(value)`, paid for.
pub(super) fn str(value: &Value, m: &Meter) -> Res<String> {
    let mut out = String::new();
    match &value.0 {
        Kind::Undefined => {}
        Kind::Text(t) => push(&t.text, &mut out, m)?,
        _ => write(value, &mut out, m)?,
    }
    Ok(out)
}

fn push(text: &str, out: &mut String, m: &Meter) -> Res<()> {
    m.pay_text(text.len())?;
    out.push_str(text);
    Ok(())
}

/// `repr(value)`.
pub(super) fn write(value: &Value, out: &mut String, m: &Meter) -> Res<()> {
    m.pay(1)?;
    match &value.0 {
        Kind::Undefined => push("Undefined", out, m),
        Kind::None => push("None", out, m),
        Kind::Bool(b) => push(if *b { "True" } else { "False" }, out, m),
        Kind::Int(n) => push(&n.to_string(), out, m),
        Kind::Float(x) => push(&float(*x), out, m),
        Kind::Text(t) if t.safe => {
            push("Markup(", out, m)?;
            quoted(&t.text, out, m)?;
            push(")", out, m)
        }
        Kind::Text(t) => quoted(&t.text, out, m),
        Kind::List(list) => {
            if let Form::Range([start, stop, step]) = list.form {
                return match step {
                    1 => push(&format!("range({start}, {stop})"), out, m),
                    _ => push(&format!("range({start}, {stop}, {step})"), out, m),
                };
            }
            let (open, close) = match list.form {
                Form::Tuple | Form::Group => ("(", ")"),
                Form::Keys => ("dict_keys([", "])"),
                Form::Values => ("dict_values([", "])"),
                Form::Items => ("dict_items([", "])"),
                _ => ("[", "]"),
            };
            out.push_str(open);
            for (i, item) in list.items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(item, out, m)?;
            }
            if list.form.is_tuple() && list.items.len() == 1 {
                out.push(',');
            }
            out.push_str(close);
            Ok(())
        }
        Kind::Map(map) => {
            out.push('{');
            for (i, (key, item)) in map.entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(key, out, m)?;
                out.push_str(": ");
                write(item, out, m)?;
            }
            out.push('}');
            Ok(())
        }
        Kind::Loop(l) => {
            let text = format!("<LoopContext {}/{}>", l.index + 1, l.all().len());
            push(&text, out, m)
        }
        Kind::Generator(_) => {
            fail("a generator is printed, as 'map' and 'select' give one; make it a list first")
        }
        _ => fail(format!(
            "a {} is printed, which is not supported",
            value.kind()
        )),
    }
}

fn quoted(text: &str, out: &mut String, m: &Meter) -> Res<()> {
    // An escape has at most four letters a byte.
    m.pay_text(4 * text.len())?;
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            // Writing to a String cannot fail.
            c if !printable(c) => {
                let _ = match u32::from(c) {
                    n @ 0..=0xff => write!(out, "\\x{n:02x}"),
                    n @ 0..=0xffff => write!(out, "\\u{n:04x}"),
                    n => write!(out, "\\U{n:08x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    Ok(())
}

/// Whether `repr` shows a character as it is.
pub(super) fn printable(c: char) -> bool {
    use unicode_general_category::{GeneralCategory as G, get_general_category};
    c == ' '
        || !matches!(
            get_general_category(c),
            G::Control
                | G::Format
                | G::Surrogate
                | G::PrivateUse
                | G::Unassigned
                | G::LineSeparator
                | G::ParagraphSeparator
                | G::SpaceSeparator
        )
}

/// Python's `repr` of a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(x: f64) -> String {
    if !x.is_finite() {
        let name = if x.is_nan() { "nan" } else { "inf" };
        return format!("{}{name}", if x < 0.0 { "-" } else { "" });
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) || x == 0.0 {
        return format!("{x:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_python_writes_them() {
        for (x, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(float(x), text);
        }
    }
}

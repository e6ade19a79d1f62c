//! What templates expect of Python: how values print, floats, dates.

use super::machine::{Meter, Res};
use super::value::{Kind, Value};
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
        Kind::Text(t) => quoted(&t.text, out, m),
        Kind::List(list) => {
            out.push(if list.tuple { '(' } else { '[' });
            for (i, item) in list.items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(item, out, m)?;
            }
            if list.tuple && list.items.len() == 1 {
                out.push(',');
            }
            out.push(if list.tuple { ')' } else { ']' });
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
        _ => push(&format!("<{}>", value.kind()), out, m),
    }
}

fn quoted(text: &str, out: &mut String, m: &Meter) -> Res<()> {
    // An escape has at most four letters.
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
            c if c < ' ' || c == '\u{7f}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    Ok(())
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

/// C's `strftime` of a time in UTC, for the fields that name a day or a time; others stay as they are.
pub(super) fn strftime(seconds: i64, format: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, of_month) = civil(day);
    let month_name = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
    let day_name = DAYS[usize::try_from(day.rem_euclid(7)).unwrap_or(0) % 7];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        out += &match chars.next() {
            Some('Y') => format!("{year:04}"),
            Some('y') => format!("{:02}", year.rem_euclid(100)),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{of_month:02}"),
            Some('e') => format!("{of_month:2}"),
            Some('B') => month_name.into(),
            Some('b') => month_name[..3].into(),
            Some('A') => day_name.into(),
            Some('a') => day_name[..3].into(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.into(),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('F') => format!("{year:04}-{month:02}-{of_month:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') => "%".into(),
            Some(other) => format!("%{other}"),
            None => "%".into(),
        };
    }
    out
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * march + 2) / 5 + 1)
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

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01 Thu"),
            (1_721_952_000, "2024-07-26 Fri"),
            (951_782_400, "2000-02-29 Tue"),
            (-1, "1969-12-31 Wed"),
        ] {
            assert_eq!(strftime(seconds, "%Y-%m-%d %a"), text);
        }
        assert_eq!(
            strftime(
                1_721_952_000 + 13 * 3600 + 62,
                "%d %b %Y, %A %B %y %H:%M:%S %I %p %% %Q"
            ),
            "26 Jul 2024, Friday July 24 13:01:02 01 PM % %Q"
        );
    }
}

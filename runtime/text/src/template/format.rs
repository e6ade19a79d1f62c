//! The format of one value: widths, signs, groups and digits.

use super::machine::{Meter, Res, fail};
use super::python;
use super::value::{Kind, Value};

/// Widest field and most digits.
pub(super) const MAX_WIDTH: usize = 9999;

/// `text` in `width` letters; aligned `<`, `>`, `^`, `c` as `str.center`, or `=` (behind a sign).
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
        '^' => fill(missing / 2) + text + &fill(missing - missing / 2),
        // str.center puts the odd one to the left only where the width is odd too.
        'c' => {
            let left = missing / 2 + (missing & width & 1);
            fill(left) + text + &fill(missing - left)
        }
        '=' if text.starts_with(['+', '-']) => text[..1].to_owned() + &fill(missing) + &text[1..],
        _ => fill(missing) + text,
    })
}

/// What a field asks for.
#[derive(Clone, Copy)]
pub(super) struct Spec {
    pub fill: char,
    pub align: Option<char>,
    /// `+`, ` ` or `-`
    pub sign: char,
    /// `#`
    pub alternate: bool,
    /// `,` or `_` between groups of digits.
    pub grouping: Option<char>,
    pub width: usize,
    pub precision: Option<usize>,
    /// None where the value chooses.
    pub kind: Option<char>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            fill: ' ',
            align: None,
            sign: '-',
            alternate: false,
            grouping: None,
            width: 0,
            precision: None,
            kind: None,
        }
    }
}

pub(super) type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

pub(super) fn number(chars: &mut Letters) -> Res<Option<usize>> {
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

/// `[[fill]align][sign][#][0][width][grouping][.precision][type]`
fn parse_spec(text: &str) -> Res<Spec> {
    let mut spec = Spec::default();
    let mut chars = text.chars().peekable();
    let aligns = |c: Option<char>| c.filter(|c| "<>^=".contains(*c));
    let filled = aligns(text.chars().nth(1));
    if let Some(align) = filled {
        spec.fill = chars.next().unwrap_or(' ');
        spec.align = Some(align);
        chars.next();
    } else if let Some(align) = aligns(text.chars().next()) {
        spec.align = Some(align);
        chars.next();
    }
    if let Some(sign) = chars.next_if(|c| "+- ".contains(*c)) {
        spec.sign = sign;
    }
    spec.alternate = chars.next_if_eq(&'#').is_some();
    if chars.next_if_eq(&'0').is_some() && filled.is_none() {
        spec.fill = '0';
        spec.align = spec.align.or(Some('='));
    }
    spec.width = number(&mut chars)?.unwrap_or(0);
    spec.grouping = chars.next_if(|c| ",_".contains(*c));
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = match number(&mut chars)? {
            Some(n) => Some(n),
            None => return fail("a format without its precision"),
        };
    }
    spec.kind = chars.next();
    match chars.next() {
        None => Ok(spec),
        Some(_) => fail(format!("a format '{text}' that is not understood")),
    }
}

/// Digits with a separator between groups, zeros in front as far as the width asks for them.
fn grouped(digits: &str, separator: char, group: usize, width: usize) -> String {
    let (whole, rest) = match digits.find(|c: char| !c.is_ascii_alphanumeric()) {
        Some(at) => digits.split_at(at),
        None => (digits, ""),
    };
    let mut letters: Vec<char> = whole.chars().rev().collect();
    let length = |n: usize| n + n.saturating_sub(1) / group + rest.len();
    while length(letters.len()) < width {
        letters.push('0');
    }
    let mut out = String::new();
    for (i, c) in letters.iter().enumerate() {
        if i > 0 && i % group == 0 {
            out.insert(0, separator);
        }
        out.insert(0, *c);
    }
    out + rest
}

/// The digits of a float's size in a format of a type, and whether it is a number at all.
pub(super) fn digits(x: f64, kind: char, precision: Option<usize>, alternate: bool) -> String {
    if !x.is_finite() {
        let name = if x.is_nan() { "nan" } else { "inf" };
        return match kind.is_ascii_uppercase() {
            true => name.to_uppercase(),
            false => name.into(),
        };
    }
    let x = x.abs();
    let places = precision.unwrap_or(6);
    let text = match kind {
        'f' | 'F' => format!("{x:.places$}"),
        'e' | 'E' => exponent(&format!("{x:.places$e}")),
        '%' => format!("{:.places$}", x * 100.0),
        // General: so many digits that mean something, an exponent where it is far from them.
        _ => {
            let most = places.max(1);
            let scientific = format!("{x:.*e}", most - 1);
            let power = scientific
                .split_once('e')
                .and_then(|(_, e)| e.parse::<i64>().ok())
                .unwrap_or(0);
            let fits = (-4..most as i64).contains(&power);
            let text = match fits {
                true => {
                    let after = usize::try_from(most as i64 - 1 - power).unwrap_or(0);
                    format!("{x:.after$}")
                }
                false => exponent(&scientific),
            };
            if alternate { text } else { trimmed(&text) }
        }
    };
    match kind {
        'E' | 'G' => text.to_uppercase(),
        _ => text,
    }
}

/// Without zeros at the end of a fraction.
fn trimmed(text: &str) -> String {
    let (digits, exponent) = match text.find('e') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    match digits.contains('.') {
        true => {
            digits
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
                + exponent
        }
        false => text.to_owned(),
    }
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

/// The digits of an int's size.
pub(super) fn int_digits(n: i128, kind: char, alternate: bool) -> String {
    let n = n.unsigned_abs();
    let (prefix, digits) = match kind {
        'x' => ("0x", format!("{n:x}")),
        'X' => ("0X", format!("{n:X}")),
        'o' => ("0o", format!("{n:o}")),
        'b' => ("0b", format!("{n:b}")),
        _ => ("", n.to_string()),
    };
    match alternate {
        true => prefix.to_owned() + &digits,
        false => digits,
    }
}

/// A number in its width; `prefix` is a sign and what else zeros go behind.
pub(super) fn placed(
    prefix: &str,
    digits: &str,
    spec: &Spec,
    group: usize,
    m: &Meter,
) -> Res<String> {
    let zeros = spec.fill == '0' && spec.align == Some('=');
    let body = match spec.grouping {
        Some(separator) => {
            let width = match zeros {
                true => spec.width.saturating_sub(prefix.len()),
                false => 0,
            };
            m.pay_text(2 * width + 2 * digits.len())?;
            grouped(digits, separator, group, width)
        }
        None => digits.to_owned(),
    };
    match spec.align.unwrap_or('>') {
        '=' => {
            let width = spec.width.saturating_sub(prefix.chars().count());
            Ok(prefix.to_owned() + &pad(&body, width, spec.fill, '>', m)?)
        }
        align => pad(
            &(prefix.to_owned() + &body),
            spec.width,
            spec.fill,
            align,
            m,
        ),
    }
}

pub(super) fn sign_of(negative: bool, spec: &Spec) -> &'static str {
    match (negative, spec.sign) {
        (true, _) => "-",
        (false, '+') => "+",
        (false, ' ') => " ",
        _ => "",
    }
}

/// `format(value, spec)`.
pub(super) fn format_value(value: &Value, text: &str, m: &Meter) -> Res<String> {
    if text.is_empty() {
        return python::str(value, m);
    }
    let spec = parse_spec(text)?;
    let unknown = |kind: char| {
        fail(format!(
            "unknown format code '{kind}' for a value of type '{}'",
            value.kind()
        ))
    };
    m.pay_text(800 + spec.precision.unwrap_or(0))?;
    match &value.0 {
        Kind::Text(t) => {
            if let Some(kind) = spec.kind.filter(|k| *k != 's') {
                return unknown(kind);
            }
            let plain = spec.sign == '-' && !spec.alternate && spec.grouping.is_none();
            if !plain || (spec.align == Some('=') && spec.fill != '0') || text.starts_with('=') {
                return fail(format!("a format '{text}' of a text"));
            }
            let shown: String = match spec.precision {
                Some(n) => t.text.chars().take(n).collect(),
                None => t.text.to_string(),
            };
            let align = spec.align.filter(|a| *a != '=').unwrap_or('<');
            pad(&shown, spec.width, spec.fill, align, m)
        }
        Kind::Int(_) | Kind::Bool(_) | Kind::Float(_) => {
            let default = if value.as_int().is_some() { 'd' } else { 'g' };
            let kind = spec.kind.unwrap_or(default);
            if let (Some(n), 'd' | 'x' | 'X' | 'o' | 'b' | 'n' | 'c') = (value.as_int(), kind) {
                if spec.precision.is_some() {
                    return fail("a precision of an int");
                }
                if kind == 'c' {
                    let c = u32::try_from(n).ok().and_then(char::from_u32);
                    let Some(c) = c else {
                        return fail("'c' of a number that is no character");
                    };
                    return pad(
                        &c.to_string(),
                        spec.width,
                        spec.fill,
                        spec.align.unwrap_or('>'),
                        m,
                    );
                }
                let group = match kind {
                    'd' | 'n' => 3,
                    _ if spec.grouping == Some(',') => {
                        return fail(format!("',' with '{kind}' in a format"));
                    }
                    _ => 4,
                };
                let all = int_digits(n, kind, false);
                let prefix = match (spec.alternate, kind) {
                    (true, 'x' | 'X' | 'o' | 'b') => format!("0{kind}"),
                    _ => String::new(),
                };
                let prefix = sign_of(n < 0, &spec).to_owned() + &prefix;
                return placed(&prefix, &all, &spec, group, m);
            }
            let Some(x) = value.as_float() else {
                return unknown(kind);
            };
            let text = match (kind, spec.kind, spec.precision) {
                ('f' | 'F' | 'e' | 'E' | 'g' | 'G' | 'n', Some(_), _) => {
                    digits(x, kind, spec.precision, spec.alternate)
                }
                ('%', ..) => digits(x, '%', spec.precision, false) + "%",
                // Without a type: all digits, or so many, and a fraction in any case.
                ('g', None, None) => python::float(x.abs()),
                ('g', None, Some(places)) => with_fraction(x, places.max(1)),
                _ => return unknown(kind),
            };
            placed(
                sign_of(x.is_sign_negative() && !x.is_nan(), &spec),
                &text,
                &spec,
                3,
                m,
            )
        }
        _ => fail(format!(
            "unsupported format string passed to {}.__format__",
            value.kind()
        )),
    }
}

/// A float in so many digits, with a fraction where there is no exponent.
fn with_fraction(x: f64, places: usize) -> String {
    let text = digits(x, 'g', Some(places), false);
    let power = format!("{:.*e}", places - 1, x.abs())
        .split_once('e')
        .and_then(|(_, e)| e.parse::<i64>().ok())
        .unwrap_or(0);
    // One digit less before an exponent is taken than 'g' has.
    if x.is_finite() && power == places as i64 - 1 {
        let full = format!("{:.*e}", places - 1, x.abs());
        return trimmed(&exponent(&full));
    }
    match text.contains(['.', 'e', 'n']) {
        true => text,
        false => text + ".0",
    }
}

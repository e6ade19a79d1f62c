//! Methods of Python's str, list and dict that change nothing, and the attributes of a loop.

use super::eval::Machine;
use super::machine::{Args, Meter, Res, fail};
use super::value::{Kind, Loop, Text, Value};
use super::{format, lists};
use std::sync::Arc;

const OF_STR: [&str; 38] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "title",
];
const MORE_OF_STR: [&str; 3] = ["swapcase", "upper", "zfill"];
const OF_DICT: [&str; 5] = ["copy", "get", "items", "keys", "values"];
const OF_LIST: [&str; 3] = ["copy", "count", "index"];

/// The method of that name, if the value has it.
pub(super) fn find(value: &Value, name: &str) -> Option<&'static str> {
    let of = |names: &'static [&'static str]| names.iter().find(|n| **n == name).copied();
    match &value.0 {
        Kind::Text(_) => of(&OF_STR).or(of(&MORE_OF_STR)),
        Kind::Map(_) => of(&OF_DICT),
        Kind::List(_) => of(&OF_LIST),
        Kind::Loop(_) => of(&["cycle", "changed"]),
        _ => None,
    }
}

/// An attribute of the loop variable.
pub(super) fn of_loop(l: &Loop, name: &str) -> Value {
    let (all, i) = (l.all(), l.index);
    let item = |i: Option<usize>| i.and_then(|i| all.get(i)).cloned();
    match name {
        "index" => (i + 1).into(),
        "index0" => i.into(),
        "revindex" => (all.len() - i).into(),
        "revindex0" => (all.len() - i - 1).into(),
        "first" => (i == 0).into(),
        "last" => (i + 1 == all.len()).into(),
        "length" => all.len().into(),
        "depth" => (l.depth + 1).into(),
        "depth0" => l.depth.into(),
        "previtem" => item(i.checked_sub(1)).unwrap_or(Value::UNDEFINED),
        "nextitem" => item(Some(i + 1)).unwrap_or(Value::UNDEFINED),
        _ => Value::UNDEFINED,
    }
}

/// A text argument.
pub(super) fn text<'a>(value: &'a Option<Value>, of: &str) -> Res<&'a str> {
    match value {
        Some(v) => match v.as_str() {
            Some(text) => Ok(text),
            None => fail(format!("{of} takes a str, found '{}'", v.kind())),
        },
        None => fail(format!("{of} needs an argument")),
    }
}

/// A number of the arguments that has a default.
pub(super) fn whole(value: &Option<Value>, default: i128, of: &str) -> Res<i128> {
    match value {
        None => Ok(default),
        Some(v) => match v.as_int() {
            Some(n) => Ok(n),
            None if v.is_none() => Ok(default),
            None => fail(format!("{of} takes an int, found '{}'", v.kind())),
        },
    }
}

impl Machine<'_> {
    /// Calls a method of a value that has it.
    pub(super) fn method(&mut self, value: &Value, name: &'static str, args: Args) -> Res<Value> {
        let m = &self.meter;
        match &value.0 {
            Kind::Text(t) => of_str(t, name, args, m),
            Kind::Map(map) => match name {
                "get" => {
                    let [key, default] = args.bind(name, ["key", "default"])?;
                    let key = key.unwrap_or(Value::UNDEFINED);
                    m.pay_text(key.as_str().map_or(0, str::len))?;
                    match map.get(&key) {
                        Ok(found) => Ok(found.cloned().or(default).unwrap_or_default()),
                        Err(()) => fail(format!("unhashable type: '{}'", key.kind())),
                    }
                }
                "items" => items(value, m),
                "copy" => Ok(value.clone()),
                _ => {
                    m.pay(map.entries.len())?;
                    let pick = |(k, v): &(Value, Value)| if name == "keys" { k } else { v }.clone();
                    m.list(map.entries.iter().map(pick).collect())
                }
            },
            Kind::List(list) => {
                if name == "copy" {
                    return Ok(value.clone());
                }
                let [item] = args.bind(name, ["value"])?;
                let item = item.unwrap_or(Value::UNDEFINED);
                let mut count = 0usize;
                for (i, element) in list.items.iter().enumerate() {
                    if lists::equal(element, &item, m)? {
                        if name == "index" {
                            return Ok(i.into());
                        }
                        count += 1;
                    }
                }
                match name {
                    "count" => Ok(count.into()),
                    _ => fail("the value is not in the list"),
                }
            }
            Kind::Loop(l) if name == "cycle" => match args.positional.len() {
                0 => fail("loop.cycle() needs an argument"),
                n => Ok(args.positional[l.index % n].clone()),
            },
            Kind::Loop(l) => {
                m.pay(args.positional.len())?;
                let seen = m.tuple(args.positional)?;
                let same = match &self.changed[l.changed] {
                    Some(last) => lists::equal(last, &seen, m)?,
                    None => false,
                };
                self.changed[l.changed] = Some(seen);
                Ok((!same).into())
            }
            _ => fail(format!("'{}' has no method '{name}'", value.kind())),
        }
    }
}

/// The pairs of a dict.
pub(super) fn items(value: &Value, m: &Meter) -> Res<Value> {
    let Kind::Map(map) = &value.0 else {
        return fail(format!("items of '{}'", value.kind()));
    };
    // A pair is a list of its own.
    m.pay(6 * map.entries.len())?;
    m.list(
        map.entries
            .iter()
            .map(|(k, v)| Value::tuple(vec![k.clone(), v.clone()]))
            .collect(),
    )
}

fn of_str(t: &Text, name: &'static str, args: Args, m: &Meter) -> Res<Value> {
    let s: &str = &t.text;
    // Every method reads its receiver; upper and lower case may have three times the bytes.
    m.pay_text(3 * s.len())?;
    let back = |text: &str| lists::marked(text, t.safe, m);
    match name {
        "format" => return format::braces(s, args, m),
        "join" => {
            let [parts] = args.bind(name, ["iterable"])?;
            let parts = parts.unwrap_or(Value::UNDEFINED);
            let Some(parts) = parts.items() else {
                return fail(format!("join() of '{}'", parts.kind()));
            };
            let mut out = String::new();
            for (i, part) in parts.iter().enumerate() {
                let Some(part) = part.as_str() else {
                    return fail(format!("join() of a list with '{}'", part.kind()));
                };
                m.pay_text(s.len() + part.len())?;
                if i > 0 {
                    out.push_str(s);
                }
                out.push_str(part);
            }
            return back(&out);
        }
        "split" | "rsplit" => {
            let [sep, most] = args.bind(name, ["sep", "maxsplit"])?;
            let most = whole(&most, -1, name)?;
            let sep = match &sep {
                Some(v) if !v.is_none() => Some(text(&sep, name)?),
                _ => None,
            };
            return split(t, sep, usize::try_from(most).ok(), name == "rsplit", m);
        }
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            let keep = keep.is_some_and(|k| k.truth());
            let lines = lines(s);
            m.pay(3 * lines.len())?;
            return m.list(
                lines
                    .into_iter()
                    .map(|(line, end)| Value::from(if keep { end } else { line }))
                    .collect(),
            );
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            let set = match &chars {
                Some(v) if !v.is_none() => Some(text(&chars, name)?),
                _ => None,
            };
            if let Some(set) = set {
                // Each letter is looked for in the set.
                m.pay(s.len().saturating_mul(1 + set.len() / 16) / 16)?;
            }
            return back(strip(s, set, name != "rstrip", name != "lstrip"));
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let count = whole(&count, -1, name)?;
            let new = replace(s, text(&old, name)?, text(&new, name)?, count, m)?;
            return back(&new);
        }
        "startswith" | "endswith" => {
            let [affix] = args.bind(name, ["affix"])?;
            let single;
            let affixes = match &affix {
                Some(Value(Kind::List(list))) => list.items.as_slice(),
                Some(v) => {
                    single = [v.clone()];
                    &single
                }
                None => &[],
            };
            for affix in affixes {
                let affix = text(&Some(affix.clone()), name)?.to_owned();
                m.pay_text(affix.len())?;
                if (name == "startswith" && s.starts_with(&affix))
                    || (name == "endswith" && s.ends_with(&affix))
                {
                    return Ok(true.into());
                }
            }
            return Ok(false.into());
        }
        "find" | "rfind" | "index" | "rindex" | "count" | "partition" | "rpartition"
        | "removeprefix" | "removesuffix" => {
            let [part] = args.bind(name, ["sub"])?;
            let part = text(&part, name)?;
            m.pay_text(part.len())?;
            let found = if name.starts_with('r') {
                s.rfind(part)
            } else {
                s.find(part)
            };
            let chars = |at: usize| s[..at].chars().count();
            return match name {
                "count" if part.is_empty() => Ok((s.chars().count() + 1).into()),
                "count" => Ok(s.matches(part).count().into()),
                "find" | "rfind" => Ok(found.map_or((-1i64).into(), |at| chars(at).into())),
                "index" | "rindex" => match found {
                    Some(at) => Ok(chars(at).into()),
                    None => fail("substring not found"),
                },
                "removeprefix" => back(s.strip_prefix(part).unwrap_or(s)),
                "removesuffix" => back(s.strip_suffix(part).unwrap_or(s)),
                _ => {
                    let (a, b, c) = match found {
                        Some(at) => (&s[..at], part, &s[at + part.len()..]),
                        None if name == "partition" => (s, "", ""),
                        None => ("", "", s),
                    };
                    m.tuple(vec![back(a)?, back(b)?, back(c)?])
                }
            };
        }
        "center" | "ljust" | "rjust" | "zfill" => {
            let [width, fill] = args.bind(name, ["width", "fillchar"])?;
            let fill = match (&fill, name) {
                (_, "zfill") => '0',
                (None, _) => ' ',
                (Some(_), _) => text(&fill, name)?.chars().next().unwrap_or(' '),
            };
            let width = usize::try_from(whole(&width, 0, name)?).unwrap_or(0);
            let align = match name {
                "center" => '^',
                "ljust" => '<',
                "zfill" => '=',
                _ => '>',
            };
            return back(&format::pad(s, width, fill, align, m)?);
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"])?;
            let size = whole(&size, 8, name)?.clamp(0, 1000) as usize;
            m.pay_text(s.len().saturating_mul(size))?;
            return back(&s.replace('\t', &" ".repeat(size)));
        }
        _ => {}
    }
    let [] = args.bind(name, [])?;
    let all = |test: fn(char) -> bool| !s.is_empty() && s.chars().all(test);
    Ok(match name {
        "lower" => return back(&s.to_lowercase()),
        "casefold" => return back(&s.to_lowercase().replace('ß', "ss")),
        "upper" => return back(&s.to_uppercase()),
        "capitalize" => return back(&capitalize(s)),
        "title" => return back(&title(s, apart)),
        "swapcase" => {
            let swapped: String = s
                .chars()
                .flat_map(|c| {
                    let other: Vec<char> = if c.is_uppercase() {
                        c.to_lowercase().collect()
                    } else {
                        c.to_uppercase().collect()
                    };
                    other
                })
                .collect();
            return back(&swapped);
        }
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => s.is_ascii(),
        "isdecimal" | "isdigit" => all(|c| c.is_ascii_digit()),
        "isnumeric" => all(char::is_numeric),
        "isspace" => all(char::is_whitespace),
        "islower" => s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase),
        "isupper" => s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase),
        _ => !s.is_empty() && title(s, apart) == s,
    }
    .into())
}

pub(super) fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().collect::<String>() + &chars.as_str().to_lowercase(),
        None => String::new(),
    }
}

/// The first letter of each word in upper case; what `starts` says begins a word.
pub(super) fn title(s: &str, starts: fn(char) -> bool) -> String {
    let mut out = String::with_capacity(s.len());
    let mut inside = false;
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = !starts(c);
    }
    out
}

/// What separates the words of `str.title`.
fn apart(c: char) -> bool {
    !c.is_alphabetic()
}

/// Without the letters of `set` (Python's white space if there is none) at the chosen ends.
pub(super) fn strip<'a>(s: &'a str, set: Option<&str>, left: bool, right: bool) -> &'a str {
    let drop = |c: char| match set {
        Some(set) => set.contains(c),
        None => space(c),
    };
    let s = if left { s.trim_start_matches(drop) } else { s };
    if right { s.trim_end_matches(drop) } else { s }
}

/// Python's white space: Unicode's and four separators of ASCII.
fn space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `count` occurrences, or all where it is negative; paid for.
pub(super) fn replace(s: &str, old: &str, new: &str, count: i128, m: &Meter) -> Res<String> {
    m.pay_text(s.len() + old.len())?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = s.matches(old).take(count).count();
    m.pay_text(s.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(s.replacen(old, new, count))
}

/// Lines without and with their ends, as `splitlines` sees them.
pub(super) fn lines(s: &str) -> Vec<(&str, &str)> {
    const ENDS: [char; 9] = [
        '\n', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let mut lines = Vec::new();
    let mut rest = s;
    while let Some(at) = rest.find(|c| c == '\r' || ENDS.contains(&c)) {
        let c = rest[at..].chars().next().map_or(1, char::len_utf8);
        let end = if rest[at..].starts_with("\r\n") {
            at + 2
        } else {
            at + c
        };
        lines.push((&rest[..at], &rest[..end]));
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push((rest, rest));
    }
    lines
}

fn split(
    t: &Text,
    sep: Option<&str>,
    most: Option<usize>,
    from_right: bool,
    m: &Meter,
) -> Res<Value> {
    let s: &str = &t.text;
    let most = most.unwrap_or(usize::MAX);
    let mut parts: Vec<Value> = Vec::new();
    let mut rest = s;
    let mut add = |part: &str| -> Res<()> {
        m.pay(2)?;
        parts.push(lists::marked(part, t.safe, m)?);
        Ok(())
    };
    let mut count = 0;
    match sep {
        Some("") => return fail("empty separator"),
        Some(sep) => {
            m.pay_text(sep.len())?;
            while count < most {
                let found = if from_right {
                    rest.rfind(sep)
                } else {
                    rest.find(sep)
                };
                let Some(at) = found else { break };
                if from_right {
                    add(&rest[at + sep.len()..])?;
                    rest = &rest[..at];
                } else {
                    add(&rest[..at])?;
                    rest = &rest[at + sep.len()..];
                }
                count += 1;
            }
            add(rest)?;
        }
        None => {
            // White space at the far end stays with a part that is left over.
            rest = strip(rest, None, !from_right, from_right);
            while !rest.is_empty() {
                let found = if from_right {
                    rest.rfind(space)
                } else {
                    rest.find(space)
                };
                match found {
                    Some(at) if count < most => {
                        let width = rest[at..].chars().next().map_or(1, char::len_utf8);
                        if from_right {
                            add(&rest[at + width..])?;
                            rest = strip(&rest[..at], None, false, true);
                        } else {
                            add(&rest[..at])?;
                            rest = strip(&rest[at..], None, true, false);
                        }
                        count += 1;
                    }
                    _ => {
                        add(rest)?;
                        break;
                    }
                }
            }
        }
    }
    if from_right {
        parts.reverse();
    }
    m.list(parts)
}

/// A str value of an owned text.
pub(super) fn owned(text: String) -> Value {
    Value::from(Arc::<str>::from(text))
}

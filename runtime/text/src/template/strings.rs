//! Methods of Python's str.

use super::lexer::space;
use super::machine::{Args, Meter, Res, fail, text, whole};
use super::value::{Kind, Text, Value};
use super::{format, lists};
use unicode_general_category::{GeneralCategory as Category, get_general_category};

/// `glue.join(parts)`.
pub(super) fn join(glue: &Text, parts: &[Value], m: &Meter) -> Res<Value> {
    let mut out = String::new();
    for (i, part) in parts.iter().enumerate() {
        let Kind::Text(text) = &part.0 else {
            return fail(format!("join() of a list with '{}'", part.kind()));
        };
        m.pay_text(glue.text.len() + text.text.len())?;
        if i > 0 {
            out.push_str(&glue.text);
        }
        match glue.safe && !text.safe {
            true => out.push_str(&lists::escape(&text.text, m)?),
            false => out.push_str(&text.text),
        }
    }
    lists::marked(&out, glue.safe, m)
}

/// The places from `start` to `stop` as Python's methods take them.
pub(super) fn window(
    start: &Option<Value>,
    stop: &Option<Value>,
    len: usize,
    of: &str,
) -> Res<std::ops::Range<usize>> {
    let place = |value: &Option<Value>, default: usize| -> Res<usize> {
        let n = whole(value, default as i128, of)?;
        let n = if n < 0 {
            n.saturating_add(len as i128)
        } else {
            n
        };
        Ok(usize::try_from(n.max(0)).unwrap_or(usize::MAX))
    };
    Ok(place(start, 0)?..place(stop, len)?.min(len))
}

/// The part of a text from `start` to `stop` in letters, and how many letters are before it; `None` where it
/// begins behind the end, and nothing is found then, not even nothing.
fn part_of<'a>(
    s: &'a str,
    start: &Option<Value>,
    stop: &Option<Value>,
    of: &str,
) -> Res<Option<(&'a str, usize)>> {
    if start.is_none() && stop.is_none() {
        return Ok(Some((s, 0)));
    }
    let len = s.chars().count();
    let window = window(start, stop, len, of)?;
    if window.start > len || window.start > window.end {
        return Ok(None);
    }
    let byte = |n: usize| s.char_indices().nth(n).map_or(s.len(), |c| c.0);
    Ok(Some((
        &s[byte(window.start)..byte(window.end)],
        window.start,
    )))
}

pub(super) fn of_str(t: &Text, name: &'static str, args: Args, m: &Meter) -> Res<Value> {
    let s: &str = &t.text;
    // Every method reads its receiver; upper and lower case may have three times the bytes.
    m.pay_text(3 * s.len())?;
    let back = |text: &str| lists::marked(text, t.safe, m);
    match name {
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
            let [chars] = args.positional(name, 0)?;
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
            let [old, new, count] = args.positional(name, 2)?;
            let count = whole(&count, -1, name)?;
            let new = replace(s, text(&old, name)?, text(&new, name)?, count, m)?;
            return back(&new);
        }
        "startswith" | "endswith" => {
            let [affix, start, stop] = args.positional(name, 1)?;
            let single;
            let affixes = match &affix {
                Some(Value(Kind::List(list))) if list.form.is_tuple() => list.items.as_slice(),
                Some(v) => {
                    single = [v.clone()];
                    &single
                }
                None => &[],
            };
            let part = part_of(s, &start, &stop, name)?;
            for affix in affixes {
                let affix = text(&Some(affix.clone()), name)?.to_owned();
                m.pay_text(affix.len())?;
                if part.is_some_and(|(part, _)| match name {
                    "startswith" => part.starts_with(&affix),
                    _ => part.ends_with(&affix),
                }) {
                    return Ok(true.into());
                }
            }
            return Ok(false.into());
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [sub, start, stop] = args.positional(name, 1)?;
            let sub = text(&sub, name)?;
            m.pay_text(sub.len())?;
            let part = part_of(s, &start, &stop, name)?;
            if name == "count" {
                return Ok(match part {
                    None => 0,
                    Some((part, _)) if sub.is_empty() => part.chars().count() + 1,
                    Some((part, _)) => part.matches(sub).count(),
                }
                .into());
            }
            let found = part.and_then(|(part, before)| {
                let at = match name.starts_with('r') {
                    true => part.rfind(sub),
                    false => part.find(sub),
                };
                at.map(|at| before + part[..at].chars().count())
            });
            return match found {
                Some(at) => Ok(at.into()),
                None if name.ends_with("find") => Ok((-1i64).into()),
                None => fail("substring not found"),
            };
        }
        "partition" | "rpartition" => {
            let [sep] = args.positional(name, 1)?;
            let sep = text(&sep, name)?;
            m.pay_text(sep.len())?;
            if sep.is_empty() {
                return fail("empty separator");
            }
            let found = match name {
                "partition" => s.find(sep),
                _ => s.rfind(sep),
            };
            let (a, b, c) = match found {
                Some(at) => (&s[..at], sep, &s[at + sep.len()..]),
                None if name == "partition" => (s, "", ""),
                None => ("", "", s),
            };
            return m.tuple(vec![back(a)?, back(b)?, back(c)?]);
        }
        "removeprefix" | "removesuffix" => {
            let [part] = args.positional(name, 1)?;
            let part = text(&part, name)?;
            m.pay_text(part.len())?;
            let rest = match name {
                "removeprefix" => s.strip_prefix(part),
                _ => s.strip_suffix(part),
            };
            return back(rest.unwrap_or(s));
        }
        "center" | "ljust" | "rjust" | "zfill" => {
            let [width, fill] = args.positional(name, 1)?;
            let fill = match (&fill, name) {
                (Some(_), "zfill") => return fail("zfill takes 1 argument"),
                (_, "zfill") => '0',
                (None, _) => ' ',
                (Some(_), _) => {
                    let mut chars = text(&fill, name)?.chars();
                    match (chars.next(), chars.next()) {
                        (Some(c), None) => c,
                        _ => return fail("the fill character must be exactly one character"),
                    }
                }
            };
            if width.as_ref().is_some_and(Value::is_none) {
                return fail(format!("{name} takes an int, found 'NoneType'"));
            }
            let width = usize::try_from(whole(&width, 0, name)?).unwrap_or(0);
            let align = match name {
                "center" => 'c',
                "ljust" => '<',
                "zfill" => '=',
                _ => '>',
            };
            return back(&format::pad(s, width, fill, align, m)?);
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"])?;
            let size = whole(&size, 8, name)?.clamp(0, 1000) as usize;
            m.pay_text(s.len().saturating_mul(size.max(1)))?;
            let (mut out, mut column) = (String::new(), 0);
            for c in s.chars() {
                if c == '\t' {
                    let spaces = if size == 0 { 0 } else { size - column % size };
                    out.extend(std::iter::repeat_n(' ', spaces));
                    column += spaces;
                } else {
                    out.push(c);
                    column = if c == '\n' || c == '\r' {
                        0
                    } else {
                        column + 1
                    };
                }
            }
            return back(&out);
        }
        _ => {}
    }
    let [] = args.positional(name, 0)?;
    let all = |test: &dyn Fn(char) -> bool| !s.is_empty() && s.chars().all(test);
    let is = |c: char, kinds: &[Category]| kinds.contains(&get_general_category(c));
    let letter = |c: char| {
        is(
            c,
            &[
                Category::UppercaseLetter,
                Category::LowercaseLetter,
                Category::TitlecaseLetter,
                Category::ModifierLetter,
                Category::OtherLetter,
            ],
        )
    };
    let decimal = |c: char| is(c, &[Category::DecimalNumber]);
    // Which of them Unicode calls digits is not known here.
    let other = |c: char| is(c, &[Category::OtherNumber, Category::LetterNumber]);
    if name == "isdigit" && s.chars().any(other) {
        return fail("isdigit() of numbers beyond 0 to 9, which is not supported");
    }
    Ok(match name {
        "lower" => return back(&s.to_lowercase()),
        "casefold" if !s.chars().all(|c| c < '\u{100}') => {
            return fail("casefold() of letters beyond Latin-1, which is not supported");
        }
        "casefold" => return back(&s.to_lowercase().replace('ß', "ss").replace('µ', "μ")),
        "upper" => return back(&s.to_uppercase()),
        "title" | "istitle" if s.chars().any(own_title) => return fail(OWN_TITLE),
        "swapcase" if s.contains('Σ') => {
            return fail("swapcase() of 'Σ', which is not supported");
        }
        "capitalize" => return back(&capitalize(s)?),
        "title" => return back(&title(s, apart, titled)),
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
        "isalnum" => all(&|c| letter(c) || decimal(c) || other(c)),
        "isalpha" => all(&letter),
        "isascii" => s.is_ascii(),
        "isdecimal" | "isdigit" => all(&decimal),
        "isnumeric" => all(&|c| decimal(c) || other(c)),
        "isidentifier" => {
            let part = |c: char| c == '_' || letter(c);
            s.chars().next().is_some_and(part) && s.chars().all(|c| part(c) || decimal(c))
        }
        "isprintable" => s.chars().all(super::python::printable),
        "isspace" => all(&space),
        "islower" => s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase),
        "isupper" => s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase),
        "istitle" => {
            let cased = |c: char| c.is_uppercase() || c.is_lowercase();
            s.chars().any(cased) && title(s, apart, titled) == s
        }
        _ => return fail(format!("there is no method '{name}'")),
    }
    .into())
}

const OWN_TITLE: &str =
    "the title case of letters that have one of their own, which is not supported";

/// The first letter in title case. Errors: it has one of its own.
pub(super) fn capitalize(s: &str) -> Res<String> {
    let mut chars = s.chars();
    match chars.next() {
        Some(first) if own_title(first) => fail(OWN_TITLE),
        Some(first) => Ok(titled(first) + &chars.as_str().to_lowercase()),
        None => Ok(String::new()),
    }
}

/// A letter in title case: of several letters the first alone is upper case.
fn titled(c: char) -> String {
    let mut upper = c.to_uppercase();
    let first: String = upper.next().into_iter().collect();
    first + &upper.flat_map(char::to_lowercase).collect::<String>()
}

/// Whether a letter has a title case of its own, which is not known here.
fn own_title(c: char) -> bool {
    let letter = |c: char| matches!(c, '\u{1c4}'..='\u{1cc}' | '\u{1f1}'..='\u{1f3}' | '\u{149}' | '\u{1f50}'..='\u{1ffc}');
    // Of ß and the ligatures the first letter alone becomes large.
    letter(c) || c.to_uppercase().nth(1).is_some() && !matches!(c, 'ß' | '\u{fb00}'..='\u{fb06}')
}

/// The first letter of each word as `first` writes it; what `starts` says begins a word.
fn title(s: &str, starts: fn(char) -> bool, first: fn(char) -> String) -> String {
    let mut out = String::with_capacity(s.len());
    let mut inside = false;
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.push_str(&first(c));
        }
        inside = !starts(c);
    }
    out
}

/// As the filter `title` writes words: the first letter in upper case.
pub(super) fn title_words(s: &str) -> String {
    let starts = |c: char| c.is_whitespace() || "-({[<".contains(c);
    title(s, starts, |c| c.to_uppercase().collect())
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

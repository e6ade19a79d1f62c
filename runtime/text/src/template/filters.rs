//! Filters: `value|name(args)`.

use super::eval::Machine;
use super::machine::{self, Args, Res, deep, fail, whole};
use super::methods::{self, owned};
use super::tree::{Expr, Node};
use super::value::{Kind, Map, Value};
use super::{format, json, lists, numbers, percent, python, strings};

const NAMES: [&str; 48] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
    "pprint",
];

/// Whether there is a filter of that name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

impl<'t> Machine<'t> {
    /// The filters of a block, applied to its text.
    pub(super) fn filter_chain(&mut self, expr: &'t Expr<'t>, text: Value) -> Res<Value> {
        let Node::Filter { name, value, args } = &*expr.node else {
            return fail("a block's filter is no filter");
        };
        self.enter()?;
        let value = match value {
            Some(inner) => self.filter_chain(inner, text)?,
            None => text,
        };
        self.leave();
        let args = self.args(args)?;
        self.filter(name, value, args)
    }

    /// Applies the filter of that name.
    pub(super) fn filter(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        self.enter()?;
        let result = self.apply(name, value, args)?;
        self.leave();
        Ok(result)
    }

    fn apply(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        match name {
            "map" => return self.map(value, args),
            "select" | "reject" | "selectattr" | "rejectattr" => {
                return self.select(name, value, args);
            }
            "sort" | "unique" | "min" | "max" | "groupby" | "dictsort" | "sum" => {
                return self.ordered(name, value, args);
            }
            "tojson" => return json::tojson(&value, args, &self.meter),
            "default" | "d" => {
                let [default, boolean] = args.bind(name, ["default_value", "boolean"])?;
                let empty =
                    value.is_undefined() || (boolean.is_some_and(|b| b.truth()) && !value.truth());
                return Ok(if empty {
                    default.unwrap_or("".into())
                } else {
                    value
                });
            }
            "format" => {
                let text = python::str(&value, &self.meter)?;
                self.meter.pay(args.positional.len())?;
                let all = match (args.positional.is_empty(), args.named.is_empty()) {
                    (false, false) => {
                        return fail("format takes arguments with names or without, not both");
                    }
                    (_, true) => self.meter.tuple(args.positional)?,
                    (true, false) => {
                        let mut map = Map::default();
                        for (name, value) in args.named {
                            self.insert(&mut map, name.into(), value)?;
                        }
                        deep(map.into())?
                    }
                };
                let safe = value.is_safe();
                let text = super::value::Text {
                    text: text.into(),
                    safe,
                };
                return percent::percent(&text, &all, &self.meter);
            }
            "attr" => {
                let [name] = args.bind(name, ["name"])?;
                let name = machine::text(&name, "attr")?.to_owned();
                if value.is_undefined() {
                    return fail("an attribute of what is undefined");
                }
                let found = self.own_attribute(&value, &name)?;
                return Ok(found.unwrap_or(Value::UNDEFINED));
            }
            "length" | "count" => {
                let [] = args.bind(name, [])?;
                return self.length(&value).map(Value::from);
            }
            "first" | "last" | "list" | "reverse" | "batch" | "slice" | "join" | "items" => {
                return self.sequence(name, value, args);
            }
            "abs" | "int" | "float" | "round" => return self.number(name, value, args),
            _ => {}
        }
        if !exists(name) {
            return fail(format!("there is no filter '{name}'"));
        }
        self.textual(name, value, args)
    }

    fn length(&self, value: &Value) -> Res<usize> {
        Ok(match &value.0 {
            Kind::Undefined => 0,
            Kind::Text(t) => {
                self.meter.pay_text(t.text.len())?;
                t.text.chars().count()
            }
            Kind::List(list) => list.items.len(),
            Kind::Map(map) => map.entries.len(),
            _ => return fail(format!("object of type '{}' has no len()", value.kind())),
        })
    }

    fn sequence(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        match name {
            "first" | "last" => {
                let [] = args.bind(name, [])?;
                if let Kind::Text(_) = &value.0 {
                    let at = if name == "first" { 0 } else { -1 };
                    return self.item(&value, &Value(Kind::Int(at)));
                }
                if let Kind::Generator(index) = value.0 {
                    return match name {
                        "first" => Ok(self.next(index).unwrap_or(Value::UNDEFINED)),
                        _ => fail("'generator' object is not reversible"),
                    };
                }
                let items = self.iterate(&value)?;
                let found = if name == "first" {
                    items.first()
                } else {
                    items.last()
                };
                Ok(found.cloned().unwrap_or(Value::UNDEFINED))
            }
            "list" => {
                let [] = args.bind(name, [])?;
                let items = self.iterate(&value)?;
                self.meter.list(items)
            }
            "items" => {
                let [] = args.bind(name, [])?;
                if value.is_undefined() {
                    return self.generator(Vec::new());
                }
                let items = methods::items(&value, &self.meter)?;
                let items = self.iterate(&items)?;
                self.generator(items)
            }
            "reverse" => {
                let [] = args.bind(name, [])?;
                if let Kind::Text(t) = &value.0 {
                    self.meter.pay_text(t.text.len())?;
                    let text: String = t.text.chars().rev().collect();
                    return lists::marked(&text, t.safe, &self.meter);
                }
                let mut items = self.iterate(&value)?;
                items.reverse();
                match value.0 {
                    // What cannot be gone through from its end is made a list first.
                    Kind::Generator(_) | Kind::Undefined => self.meter.list(items),
                    _ => self.generator(items),
                }
            }
            "join" => {
                let [glue, attribute] = args.bind(name, ["d", "attribute"])?;
                let m = &self.meter;
                let glue = glue.map_or(Ok(String::new()), |g| python::str(&g, m))?;
                let mut out = String::new();
                for (i, item) in self.iterate(&value)?.into_iter().enumerate() {
                    let item = self.key(&item, attribute.as_ref(), None)?;
                    let text = python::str(&item, &self.meter)?;
                    self.meter.pay_text(glue.len() + text.len())?;
                    if i > 0 {
                        out.push_str(&glue);
                    }
                    out.push_str(&text);
                }
                self.meter.text(&out)
            }
            _ => {
                let count = if name == "batch" {
                    "linecount"
                } else {
                    "slices"
                };
                let [count, fill] = args.bind(name, [count, "fill_with"])?;
                let fill = fill.filter(|f| !f.is_none());
                let count = usize::try_from(whole(&count, 0, name)?).unwrap_or(0);
                if count == 0 {
                    return fail(format!("{name} needs a number above 0"));
                }
                let items = self.iterate(&value)?;
                self.chunks(name == "batch", &items, count, fill)
            }
        }
    }

    /// Parts of `count` elements, or `count` parts.
    fn chunks(
        &self,
        batch: bool,
        items: &[Value],
        count: usize,
        fill: Option<Value>,
    ) -> Res<Value> {
        let parts = if batch {
            items.len().div_ceil(count)
        } else {
            count
        };
        let room = if batch {
            parts.saturating_mul(count)
        } else {
            items.len().saturating_add(count)
        };
        self.meter
            .pay(room.saturating_add(parts.saturating_mul(4)))?;
        let mut out = Vec::with_capacity(parts);
        let mut rest = items;
        for i in 0..parts {
            let longer = items.len() % count;
            let size = match batch {
                true => count.min(rest.len()),
                false => items.len() / count + usize::from(i < longer),
            };
            let (part, after) = rest.split_at(size);
            rest = after;
            let mut part = part.to_vec();
            if let Some(fill) = &fill {
                let full = if batch {
                    count
                } else {
                    // Where all are as long, jinja2 fills each of them.
                    size + usize::from(i >= longer)
                };
                part.resize(full, fill.clone());
            }
            out.push(self.meter.list(part)?);
        }
        self.generator(out)
    }

    fn number(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        match name {
            "abs" => match (&value.0, value.as_int()) {
                (Kind::Float(x), _) => Ok(x.abs().into()),
                (_, Some(n)) => match n.checked_abs() {
                    Some(n) => Ok(Value(Kind::Int(n))),
                    None => fail("abs of a number of more than 127 bits"),
                },
                _ => fail(format!("bad operand type for abs(): '{}'", value.kind())),
            },
            "int" => {
                let [default, base] = args.bind(name, ["default", "base"])?;
                let base = whole(&base, 10, name)?;
                if value.is_undefined() {
                    return fail("int of what is undefined");
                }
                self.meter.pay_text(value.as_str().map_or(0, str::len))?;
                let parsed = match (&value.0, value.as_int()) {
                    (_, Some(n)) => Some(n),
                    (Kind::Text(t), _) => match numbers::integer(&t.text, base)? {
                        Some(n) => Some(n),
                        None => numbers::real(&t.text).map_or(Ok(None), numbers::truncated)?,
                    },
                    (Kind::Float(x), _) if x.is_infinite() => {
                        return fail("cannot convert float infinity to integer");
                    }
                    (Kind::Float(x), _) => numbers::truncated(*x)?,
                    _ => None,
                };
                Ok(
                    parsed
                        .map_or_else(|| default.unwrap_or(0usize.into()), |n| Value(Kind::Int(n))),
                )
            }
            "float" => {
                let [default] = args.bind(name, ["default"])?;
                if value.is_undefined() {
                    return fail("float of what is undefined");
                }
                self.meter.pay_text(value.as_str().map_or(0, str::len))?;
                let text = value.as_str().unwrap_or_default();
                if text.chars().any(|c| c.is_numeric() && !c.is_ascii()) {
                    return fail("float of digits beyond 0 to 9, which is not supported");
                }
                let parsed = value.as_float().or_else(|| numbers::real(value.as_str()?));
                Ok(parsed.map_or_else(|| default.unwrap_or(0.0.into()), Value::from))
            }
            _ => {
                let [digits, method] = args.bind(name, ["precision", "method"])?;
                let digits = whole(&digits, 0, name)?;
                let digits = i32::try_from(digits.clamp(-400, 400)).unwrap_or(0);
                let method = match method.as_ref().map(Value::as_str) {
                    None => "common",
                    Some(Some(method @ ("common" | "ceil" | "floor"))) => method,
                    _ => return fail("round: the method is 'common', 'ceil' or 'floor'"),
                };
                self.meter.pay(16)?;
                if let (Some(n), "common") = (value.as_int(), method) {
                    return numbers::rounded(n, digits);
                }
                let Some(x) = value.as_float() else {
                    return fail(format!("round of '{}'", value.kind()));
                };
                if method == "common" {
                    if !x.is_finite() {
                        return Ok(x.into());
                    }
                    // As many decimals as Python writes, and the number that reads back.
                    let places = usize::try_from(digits).ok();
                    return Ok(match places {
                        Some(places) => format!("{x:.places$}").parse().unwrap_or(x),
                        None => {
                            let unit = libm::pow(10.0, f64::from(-digits));
                            libm::rint(x / unit) * unit
                        }
                    }
                    .into());
                }
                let scale = libm::pow(10.0, f64::from(digits));
                let whole = match method {
                    "ceil" => libm::ceil(x * scale),
                    _ => libm::floor(x * scale),
                };
                match whole.is_finite() {
                    true => Ok((whole / scale).into()),
                    false => fail("round of a number that is too large"),
                }
            }
        }
    }

    /// Filters that read the value as a text.
    fn textual(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        let m = &self.meter;
        let s = match (name, &value.0) {
            ("urlencode", Kind::Generator(_)) => String::new(),
            ("indent", kind) if !matches!(kind, Kind::Text(_)) => {
                return fail(format!("indent of '{}'", value.kind()));
            }
            _ => python::str(&value, m)?,
        };
        // Upper and lower case may have three times the bytes.
        m.pay_text(3 * s.len())?;
        let back = |text: &str| lists::marked(text, value.is_safe(), m);
        match name {
            "trim" => {
                let [chars] = args.bind(name, ["chars"])?;
                let set = chars.as_ref().and_then(Value::as_str);
                m.pay(s.len().saturating_mul(set.map_or(0, str::len) / 16) / 16)?;
                return back(strings::strip(&s, set, true, true));
            }
            "replace" => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
                let (Some(old), Some(new)) = (old, new) else {
                    return fail("replace needs two texts");
                };
                let (old, new) = (python::str(&old, m)?, python::str(&new, m)?);
                let count = whole(&count, -1, name)?;
                return m.text(&strings::replace(&s, &old, &new, count, m)?);
            }
            "indent" => {
                let [width, first, blank] = args.bind(name, ["width", "first", "blank"])?;
                let width = match width.as_ref().map(|w| (w.as_str(), w)) {
                    Some((Some(text), _)) => text.to_owned(),
                    _ => {
                        let n =
                            usize::try_from(whole(&width, 4, name)?.max(0)).unwrap_or(usize::MAX);
                        m.pay_text(n)?;
                        " ".repeat(n)
                    }
                };
                let flag = |v: Option<Value>| v.is_some_and(|v| v.truth());
                let text = indent(&s, &width, flag(first), flag(blank), m)?;
                return back(&text);
            }
            "center" => {
                let [width] = args.bind(name, ["width"])?;
                let width = usize::try_from(whole(&width, 80, name)?).unwrap_or(0);
                return back(&format::pad(&s, width, ' ', 'c', m)?);
            }
            "truncate" => {
                // What is no text is cut as one by nobody.
                if value.as_str().is_none() {
                    return fail(format!("truncate of '{}'", value.kind()));
                }
                let [length, kill, end, leeway] =
                    args.bind(name, ["length", "killwords", "end", "leeway"])?;
                let length = usize::try_from(whole(&length, 255, name)?).unwrap_or(0);
                let leeway = usize::try_from(whole(&leeway, 5, name)?).unwrap_or(0);
                let end = end.map_or(Ok("...".to_owned()), |e| python::str(&e, m))?;
                if length < end.chars().count() {
                    return fail("truncate: the length is less than that of the end");
                }
                if s.chars().count() <= length.saturating_add(leeway) {
                    return back(&s);
                }
                let keep = length.saturating_sub(end.chars().count());
                let mut text: String = s.chars().take(keep).collect();
                if !kill.is_some_and(|k| k.truth()) {
                    text.truncate(text.rfind(' ').unwrap_or(text.len()));
                }
                m.pay_text(text.len() + end.len())?;
                return back(&(text + &end));
            }
            _ => {}
        }
        let [] = args.bind(name, [])?;
        match name {
            "string" => back(&s),
            "lower" => back(&s.to_lowercase()),
            "upper" => back(&s.to_uppercase()),
            "capitalize" => back(&strings::capitalize(&s)?),
            "title" => back(&strings::title_words(&s)),
            "safe" => Ok(Value::safe(&s)),
            "e" | "escape" if value.is_safe() => Ok(value.clone()),
            "e" | "escape" | "forceescape" => Ok(Value::safe(&lists::escape(&s, m)?)),
            "wordcount" => Ok(s
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|w| !w.is_empty())
                .count()
                .into()),
            "urlencode" => {
                let pairs = match &value.0 {
                    Kind::Text(_) => return m.text(&quoted(&s, true)),
                    Kind::Map(_) => self.iterate(&methods::items(&value, m)?)?,
                    Kind::List(_) | Kind::Generator(_) => self.iterate(&value)?,
                    _ => return m.text(&quoted(&s, true)),
                };
                let mut out = String::new();
                for (i, pair) in pairs.iter().enumerate() {
                    let pair = self.iterate(pair)?;
                    let [key, item] = pair.as_slice() else {
                        return fail("urlencode takes a text, a dict or pairs");
                    };
                    let (key, item) = (
                        python::str(key, &self.meter)?,
                        python::str(item, &self.meter)?,
                    );
                    self.meter.pay_text(3 * (key.len() + item.len()))?;
                    if i > 0 {
                        out.push('&');
                    }
                    out += &quoted(&key, false);
                    out.push('=');
                    out += &quoted(&item, false);
                }
                self.meter.text(&out)
            }
            "pprint" => {
                let sorted = sorted(&value, &self.meter)?;
                let mut out = String::new();
                python::write(&sorted, &mut out, &self.meter)?;
                match out.chars().count() {
                    0..=80 => Ok(owned(out)),
                    _ => fail("pprint of more than a line, which is not supported"),
                }
            }
            _ => fail(format!("there is no filter '{name}'")),
        }
    }
}

/// A part of an address: in a query, white space is `+`, and `/` is escaped too.
fn quoted(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(3 * text.len());
    for b in text.bytes() {
        match b {
            b' ' if !path => out.push('+'),
            b'/' if path => out.push('/'),
            _ if b.is_ascii_alphanumeric() || b"_.-~".contains(&b) => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// A value whose dicts are in the order of their keys.
fn sorted(value: &Value, m: &super::machine::Meter) -> Res<Value> {
    m.pay(1)?;
    match &value.0 {
        Kind::Map(map) => {
            let pairs = lists::sort(map.entries.clone(), &mut |a, b| lists::order(&a.0, &b.0, m))?;
            let mut out = Map::default();
            for (key, item) in pairs {
                let _ = out.insert(key, sorted(&item, m)?);
            }
            deep(out.into())
        }
        Kind::List(list) => {
            let items: Res<Vec<Value>> = list.items.iter().map(|i| sorted(i, m)).collect();
            Ok(Value::formed(items?, list.form))
        }
        _ => Ok(value.clone()),
    }
}

/// jinja2's `indent`: every line but the first and the blank ones.
fn indent(
    s: &str,
    width: &str,
    first: bool,
    blank: bool,
    m: &super::machine::Meter,
) -> Res<String> {
    let text = s.to_owned() + "\n";
    m.pay_text(2 * text.len())?;
    let lines = strings::lines(&text);
    m.pay(lines.len())?;
    m.pay_text(
        width
            .len()
            .saturating_mul(lines.len())
            .saturating_add(text.len()),
    )?;
    let mut out = String::new();
    for (i, (line, _)) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if (i > 0 && (blank || !line.is_empty())) || (i == 0 && first) {
            out.push_str(width);
        }
        out.push_str(line);
    }
    Ok(out)
}

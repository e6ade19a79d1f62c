//! Filters: `value|name(args)`.

use super::eval::Machine;
use super::machine::{Args, Res, fail};
use super::methods::{self, owned, whole};
use super::value::{Kind, Value};
use super::{format, json, lists, python};
use minijinja::machinery::ast::Expr;

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
        let Expr::Filter(filter) = expr else {
            return fail("a block's filter is no filter");
        };
        self.enter()?;
        let value = match &filter.expr {
            Some(inner) => self.filter_chain(inner, text)?,
            None => text,
        };
        self.leave();
        let args = self.args(&filter.args)?;
        self.filter(filter.name, value, args)
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
                let [] = Args {
                    positional: Vec::new(),
                    named: args.named,
                }
                .bind(name, [])?;
                let text = python::str(&value, &self.meter)?;
                self.meter.pay(args.positional.len())?;
                let all = self.meter.tuple(args.positional)?;
                let safe = value.is_safe();
                let text = super::value::Text {
                    text: text.into(),
                    safe,
                };
                return format::percent(&text, &all, &self.meter);
            }
            "attr" => {
                let [name] = args.bind(name, ["name"])?;
                let name = methods::text(&name, "attr")?.to_owned();
                return self.attribute(&value, &name);
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
                    return self.meter.list(Vec::new());
                }
                methods::items(&value, &self.meter)
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
                self.meter.list(items)
            }
            "join" => {
                let [glue, attribute] = args.bind(name, ["d", "attribute"])?;
                let m = &self.meter;
                let glue = glue.map_or(Ok(String::new()), |g| python::str(&g, m))?;
                let mut out = String::new();
                for (i, item) in self.iterate(&value)?.into_iter().enumerate() {
                    let item = self.key(&item, attribute.as_ref())?;
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
                let [count, fill] = args.bind(name, ["count", "fill_with"])?;
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
                    size + usize::from(longer > 0 && i >= longer)
                };
                part.resize(full, fill.clone());
            }
            out.push(self.meter.list(part)?);
        }
        self.meter.list(out)
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
                let text = value.as_str().map(str::trim).unwrap_or_default();
                self.meter.pay_text(text.len())?;
                let digits = match base {
                    16 => text.strip_prefix("0x").unwrap_or(text),
                    8 => text.strip_prefix("0o").unwrap_or(text),
                    2 => text.strip_prefix("0b").unwrap_or(text),
                    _ => text,
                };
                let parsed = match (value.as_int(), &value.0) {
                    (Some(n), _) => Some(n),
                    (_, Kind::Float(x)) if x.is_finite() => Some(*x as i128),
                    _ => match u32::try_from(base) {
                        Ok(base @ 2..=36) => {
                            i128::from_str_radix(digits, base).ok().or_else(|| {
                                text.parse::<f64>()
                                    .ok()
                                    .filter(|x| x.is_finite())
                                    .map(|x| x as i128)
                            })
                        }
                        _ => None,
                    },
                };
                Ok(
                    parsed
                        .map_or_else(|| default.unwrap_or(0usize.into()), |n| Value(Kind::Int(n))),
                )
            }
            "float" => {
                let [default] = args.bind(name, ["default"])?;
                let text = value.as_str().map(str::trim).unwrap_or_default();
                self.meter.pay_text(text.len())?;
                let parsed = value.as_float().or_else(|| text.parse().ok());
                Ok(parsed.map_or_else(|| default.unwrap_or(0.0.into()), Value::from))
            }
            _ => {
                let [digits, method] = args.bind(name, ["precision", "method"])?;
                let digits = whole(&digits, 0, name)?.clamp(-300, 300) as i32;
                let Some(x) = value.as_float() else {
                    return fail(format!("round of '{}'", value.kind()));
                };
                if value.as_int().is_some() && method.is_none() && digits >= 0 {
                    return Ok(value);
                }
                let scale = libm::pow(10.0, f64::from(digits));
                let scaled = x * scale;
                let rounded = match method.as_ref().and_then(Value::as_str) {
                    Some("ceil") => libm::ceil(scaled),
                    Some("floor") => libm::floor(scaled),
                    _ => libm::rint(scaled),
                };
                Ok(if scaled.is_finite() {
                    rounded / scale
                } else {
                    x
                }
                .into())
            }
        }
    }

    /// Filters that read the value as a text.
    fn textual(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        let m = &self.meter;
        let s = python::str(&value, m)?;
        // Upper and lower case may have three times the bytes.
        m.pay_text(3 * s.len())?;
        let back = |text: &str| lists::marked(text, value.is_safe(), m);
        match name {
            "trim" => {
                let [chars] = args.bind(name, ["chars"])?;
                let set = chars.as_ref().and_then(Value::as_str);
                m.pay(s.len().saturating_mul(set.map_or(0, str::len) / 16) / 16)?;
                return back(methods::strip(&s, set, true, true));
            }
            "replace" => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
                let old = python::str(&old.unwrap_or(Value::UNDEFINED), m)?;
                let new = python::str(&new.unwrap_or(Value::UNDEFINED), m)?;
                return back(&methods::replace(
                    &s,
                    &old,
                    &new,
                    whole(&count, -1, name)?,
                    m,
                )?);
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
                return back(&format::pad(&s, width, ' ', '^', m)?);
            }
            "truncate" => {
                let [length, kill, end, leeway] =
                    args.bind(name, ["length", "killwords", "end", "leeway"])?;
                let length = usize::try_from(whole(&length, 255, name)?).unwrap_or(0);
                let leeway = usize::try_from(whole(&leeway, 5, name)?).unwrap_or(0);
                let end = end.map_or(Ok("...".to_owned()), |e| python::str(&e, m))?;
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
            "capitalize" => back(&methods::capitalize(&s)),
            "title" => back(&methods::title(&s, |c| {
                c.is_whitespace() || "-({[<".contains(c)
            })),
            "safe" => Ok(Value::safe(&s)),
            "e" | "escape" if value.is_safe() => Ok(value.clone()),
            "e" | "escape" | "forceescape" => Ok(Value::safe(&lists::escape(&s, m)?)),
            "wordcount" => Ok(s
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|w| !w.is_empty())
                .count()
                .into()),
            "urlencode" => {
                let mut out = String::with_capacity(3 * s.len());
                for b in s.bytes() {
                    if b.is_ascii_alphanumeric() || b"_.-~/".contains(&b) {
                        out.push(char::from(b));
                    } else {
                        out.push_str(&format!("%{b:02X}"));
                    }
                }
                m.text(&out)
            }
            _ => {
                let mut out = String::new();
                python::write(&value, &mut out, m)?;
                Ok(owned(out))
            }
        }
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
    let lines = methods::lines(&text);
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

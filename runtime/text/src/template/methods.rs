//! Methods of Python's str, list and dict that change nothing, and the attributes of a loop.

use super::eval::Machine;
use super::machine::{Args, Meter, Res, deep, fail};
use super::value::{Form, Kind, Loop, Value};
use super::{lists, percent, strings};
use std::sync::Arc;

const OF_STR: [&str; 40] = [
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
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
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
/// Methods that change a dict: they hide its items of these names, and cannot be called.
pub(super) const CHANGES_DICT: [&str; 6] = [
    "clear",
    "fromkeys",
    "pop",
    "popitem",
    "setdefault",
    "update",
];

/// The method of that name, if the value has it.
pub(super) fn find(value: &Value, name: &str) -> Option<&'static str> {
    let of = |names: &'static [&'static str]| names.iter().find(|n| **n == name).copied();
    match &value.0 {
        Kind::Text(_) => of(&OF_STR).or(of(&MORE_OF_STR)),
        Kind::Map(_) => of(&OF_DICT),
        Kind::List(list) if list.form == Form::List => of(&OF_LIST),
        Kind::List(list) if !list.form.is_view() => of(&OF_LIST[1..]),
        Kind::Loop(_) => of(&["cycle", "changed"]),
        Kind::Cycler(_) => of(&["next", "reset"]),
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

impl Machine<'_> {
    /// Calls a method of a value that has it.
    pub(super) fn method(&mut self, value: &Value, name: &'static str, args: Args) -> Res<Value> {
        let m = &self.meter;
        match &value.0 {
            Kind::Text(t) if name == "join" => {
                let [parts] = args.positional(name, 1)?;
                let parts = self.iterate(&parts.unwrap_or(Value::UNDEFINED))?;
                strings::join(t, &parts, m)
            }
            Kind::Text(t) if name == "format" => {
                let text = percent::braces(self, &t.text, args)?;
                Ok(if t.safe {
                    Value::safe(&text)
                } else {
                    owned(text)
                })
            }
            Kind::Text(t) => strings::of_str(t, name, args, m),
            Kind::Map(map) => match name {
                "get" => {
                    let [key, default] = args.positional(name, 1)?;
                    let key = key.unwrap_or(Value::UNDEFINED);
                    m.pay_text(key.as_str().map_or(0, str::len))?;
                    match map.get(&key) {
                        Ok(found) => Ok(found.cloned().or(default).unwrap_or_default()),
                        Err(()) => fail(format!(
                            "a '{}' as a key, which is not supported",
                            key.kind()
                        )),
                    }
                }
                name => {
                    let [] = args.positional(name, 0)?;
                    match name {
                        "items" => items(value, m),
                        "copy" => Ok(value.clone()),
                        _ => {
                            m.pay(map.entries.len())?;
                            let keys = name == "keys";
                            let pick = |(k, v): &(Value, Value)| if keys { k } else { v }.clone();
                            let form = if keys { Form::Keys } else { Form::Values };
                            let items = map.entries.iter().map(pick).collect();
                            deep(Value::formed(items, form))
                        }
                    }
                }
            },
            Kind::List(list) => {
                if name == "copy" {
                    let [] = args.positional(name, 0)?;
                    return Ok(value.clone());
                }
                let [item, start, stop] = args.positional(name, 1)?;
                let item = item.unwrap_or(Value::UNDEFINED);
                if name == "count" && start.is_some() {
                    return fail("count takes 1 argument");
                }
                let window = strings::window(&start, &stop, list.items.len(), name)?;
                let mut count = 0usize;
                for (i, element) in list.items.iter().enumerate() {
                    let inside = window.contains(&i);
                    if inside && lists::equal(element, &item, m)? {
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
            Kind::Loop(l) if name == "cycle" => {
                let items = args.all_positional("loop.cycle()")?;
                match items.len() {
                    0 => fail("loop.cycle() needs an argument"),
                    n => Ok(items[l.index % n].clone()),
                }
            }
            Kind::Loop(l) => {
                let items = args.all_positional("loop.changed()")?;
                m.pay(items.len())?;
                let seen = m.tuple(items)?;
                let same = match &self.changed[l.changed] {
                    Some(last) => lists::equal(last, &seen, m)?,
                    None => false,
                };
                self.changed[l.changed] = Some(seen);
                Ok((!same).into())
            }
            Kind::Cycler(index) => {
                let [] = args.positional(name, 0)?;
                let (items, at) = &mut self.cyclers[*index];
                if name == "reset" {
                    *at = 0;
                    return Ok(Value::default());
                }
                let found = items.get(*at).cloned();
                *at = (*at + 1) % items.len().max(1);
                Ok(found.unwrap_or(Value::UNDEFINED))
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
    let pairs = map
        .entries
        .iter()
        .map(|(k, v)| Value::tuple(vec![k.clone(), v.clone()]));
    deep(Value::formed(pairs.collect(), Form::Items))
}

/// A str value of an owned text.
pub(super) fn owned(text: String) -> Value {
    Value::from(Arc::<str>::from(text))
}

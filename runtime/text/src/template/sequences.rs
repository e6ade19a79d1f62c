//! Filters that go through a sequence by a key, a filter or a test.

use super::eval::Machine;
use super::lists;
use super::machine::{Args, Res, deep, fail, text};
use super::methods::{self, owned};
use super::value::{Form, Map, Value};

impl Machine<'_> {
    /// An element, or what it has under a path as `function.name`, with a default where it has nothing.
    pub(super) fn key(
        &self,
        item: &Value,
        path: Option<&Value>,
        default: Option<&Value>,
    ) -> Res<Value> {
        let default = default.filter(|d| !d.is_none());
        let Some(path) = path.filter(|p| !p.is_none()) else {
            return Ok(item.clone());
        };
        let Some(path) = path.as_str() else {
            if item.is_undefined() {
                return fail("an item of what is undefined");
            }
            let found = self.item(item, path)?;
            return Ok(match default {
                Some(default) if found.is_undefined() => default.clone(),
                _ => found,
            });
        };
        let mut found = item.clone();
        for part in path.split('.') {
            if found.is_undefined() {
                return fail(format!(
                    "there is nothing that could have '{part}' of '{path}'"
                ));
            }
            let number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let key = match part.parse::<i64>() {
                Ok(i) if number => i.into(),
                _ => self.meter.text(part)?,
            };
            found = self.item(&found, &key)?;
            if let Some(default) = default
                && found.is_undefined()
            {
                found = default.clone();
            }
        }
        Ok(found)
    }

    /// What an element is sorted by: a text in small letters, unless capitals count.
    fn sort_key(
        &self,
        item: &Value,
        path: Option<&Value>,
        default: Option<&Value>,
        sensitive: bool,
    ) -> Res<Value> {
        let key = self.key(item, path, default)?;
        match key.as_str() {
            Some(text) if !sensitive => {
                self.meter.pay_text(4 * text.len())?;
                Ok(owned(text.to_lowercase()))
            }
            _ => Ok(key),
        }
    }

    /// `map(filter, …)` or `map(attribute=…)`.
    pub(super) fn map(&mut self, value: Value, mut args: Args) -> Res<Value> {
        // What is false, as None, has no elements.
        let items = match value.truth() {
            true => self.iterate(&value)?,
            false => Vec::new(),
        };
        let attribute = args.named.iter().position(|(n, _)| **n == *"attribute");
        let mut out = Vec::with_capacity(items.len());
        if let (Some(at), true) = (attribute, args.positional.is_empty()) {
            let path = args.named.remove(at).1;
            let at = args.named.iter().position(|(n, _)| **n == *"default");
            let default = at.map(|at| args.named.remove(at).1);
            let [] = args.positional("map", 0)?;
            for item in items {
                out.push(self.key(&item, Some(&path), default.as_ref())?);
            }
        } else {
            if args.positional.is_empty() {
                return fail("map requires a filter argument");
            }
            let name = text(&Some(args.positional.remove(0)), "map")?.to_owned();
            for item in items {
                let args = self.copy(&args)?;
                out.push(self.filter(&name, item, args)?);
            }
        }
        self.generator(out)
    }

    fn copy(&self, args: &Args) -> Res<Args> {
        self.meter
            .pay(args.positional.len() + 2 * args.named.len())?;
        Ok(Args {
            positional: args.positional.clone(),
            named: args.named.clone(),
        })
    }

    /// `select`, `reject`, `selectattr` and `rejectattr`.
    pub(super) fn select(&mut self, name: &str, value: Value, mut args: Args) -> Res<Value> {
        let items = match value.truth() {
            true => self.iterate(&value)?,
            false => Vec::new(),
        };
        let keep = name.starts_with("select");
        let path = if name.ends_with("attr") {
            if args.positional.is_empty() {
                return fail(format!("{name} needs an attribute"));
            }
            Some(args.positional.remove(0))
        } else {
            None
        };
        let test = if args.positional.is_empty() {
            None
        } else {
            Some(text(&Some(args.positional.remove(0)), name)?.to_owned())
        };
        let mut out = Vec::new();
        for item in items {
            let key = self.key(&item, path.as_ref(), None)?;
            let passed = match &test {
                Some(test) => {
                    let args = self.copy(&args)?;
                    self.check(test, &key, args)?
                }
                None => key.truth(),
            };
            if passed == keep {
                out.push(item);
            }
        }
        self.generator(out)
    }

    /// Filters that compare elements by a key.
    pub(super) fn ordered(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        let flag = |v: Option<Value>| v.is_some_and(|v| v.truth());
        let (mut reverse, mut sensitive, mut path, mut by, mut start, mut default) =
            (false, false, None, None, None, None);
        match name {
            "sort" => {
                let [r, c, a] = args.bind(name, ["reverse", "case_sensitive", "attribute"])?;
                (reverse, sensitive, path) = (flag(r), flag(c), a);
            }
            "dictsort" => {
                let [c, b, r] = args.bind(name, ["case_sensitive", "by", "reverse"])?;
                (sensitive, by, reverse) = (flag(c), b, flag(r));
            }
            "groupby" => {
                let [a, d, c] = args.bind(name, ["attribute", "default", "case_sensitive"])?;
                if a.is_none() {
                    return fail("groupby needs an attribute");
                }
                (path, default, sensitive) = (a, d, flag(c));
            }
            "sum" => {
                let [a, s] = args.bind(name, ["attribute", "start"])?;
                (path, start) = (a, s);
            }
            _ => {
                let [c, a] = args.bind(name, ["case_sensitive", "attribute"])?;
                (sensitive, path) = (flag(c), a);
            }
        }
        let items = if name == "dictsort" {
            let column = match by.as_ref().map(Value::as_str) {
                Some(Some("value")) => 1usize,
                None | Some(Some("key")) => 0,
                _ => return fail("dictsort sorts by 'key' or 'value'"),
            };
            path = Some(column.into());
            self.iterate(&methods::items(&value, &self.meter)?)?
        } else {
            self.iterate(&value)?
        };
        // Sorting holds three more copies of keys and elements.
        self.meter.pay(items.len().saturating_mul(8))?;
        let mut keyed = Vec::with_capacity(items.len());
        // What is sorted by is a list of attributes, which are separated by commas.
        let parts: Vec<Value> = match path.as_ref().map(Value::as_str) {
            _ if name != "sort" => Vec::new(),
            Some(Some(text)) => text.split(',').map(Value::from).collect(),
            _ => vec![path.clone().unwrap_or_default()],
        };
        for item in items {
            let sensitive = sensitive || name == "sum";
            let default = default.as_ref();
            let key = if parts.is_empty() {
                self.sort_key(&item, path.as_ref(), default, sensitive)?
            } else {
                let keys = parts
                    .iter()
                    .map(|p| self.sort_key(&item, Some(p), default, sensitive));
                self.meter.pay(2 * parts.len())?;
                self.meter.list(keys.collect::<Res<_>>()?)?
            };
            keyed.push((key, item));
        }
        let m = &self.meter;
        let mut order = |a: &(Value, Value), b: &(Value, Value)| lists::order(&a.0, &b.0, m);
        match name {
            "sum" => {
                let mut sum = start.unwrap_or(0usize.into());
                if sum.as_str().is_some() {
                    return fail("sum of texts; join them");
                }
                for (key, _) in keyed {
                    sum = lists::arithmetic('+', &sum, &key, m)?;
                }
                Ok(sum)
            }
            "unique" => {
                let mut seen = Map::default();
                let mut out = Vec::new();
                for (key, item) in keyed {
                    m.pay_text(key.as_str().map_or(0, str::len))?;
                    match seen.get(&key) {
                        Ok(None) => self.insert(&mut seen, key, Value::default())?,
                        Ok(Some(_)) => continue,
                        Err(()) => return fail(format!("unhashable type: '{}'", key.kind())),
                    }
                    out.push(item);
                }
                self.generator(out)
            }
            "min" | "max" => {
                let mut best: Option<(Value, Value)> = None;
                for pair in keyed {
                    let better = match &best {
                        None => true,
                        Some(b) => {
                            let found = order(&pair, b)?;
                            found.is_some_and(|o| if name == "min" { o.is_lt() } else { o.is_gt() })
                        }
                    };
                    if better {
                        best = Some(pair);
                    }
                }
                Ok(best.map_or(Value::UNDEFINED, |b| b.1))
            }
            "groupby" => {
                let sorted = lists::sort(keyed, &mut order)?;
                let mut out: Vec<Value> = Vec::new();
                let mut rest = sorted.as_slice();
                while let Some((first, _)) = rest.first() {
                    let mut n = 1;
                    while n < rest.len() && lists::equal(first, &rest[n].0, m)? {
                        n += 1;
                    }
                    m.pay(8 + n)?;
                    let group = m.list(rest[..n].iter().map(|p| p.1.clone()).collect())?;
                    // The key as it is spelled by the group's first element.
                    let spelled = self.key(&rest[0].1, path.as_ref(), default.as_ref())?;
                    out.push(deep(Value::formed(vec![spelled, group], Form::Group))?);
                    rest = &rest[n..];
                }
                m.list(out)
            }
            _ => {
                let sorted = if reverse {
                    // Python's reverse keeps the order of equal elements.
                    lists::sort(keyed, &mut |a, b| order(b, a))?
                } else {
                    lists::sort(keyed, &mut order)?
                };
                deep(sorted.into_iter().map(|p| p.1).collect::<Vec<_>>().into())
            }
        }
    }
}

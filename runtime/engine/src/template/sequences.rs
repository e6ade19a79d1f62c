//! Filters that go through a sequence by a key, a filter or a test.

use super::eval::Machine;
use super::lists;
use super::machine::{Args, Res, deep, fail};
use super::methods::{self, owned};
use super::value::{Map, Value};

impl Machine<'_> {
    /// An element, or what it has under a path as `function.name`.
    pub(super) fn key(&self, item: &Value, path: Option<&Value>) -> Res<Value> {
        let Some(path) = path.filter(|p| !p.is_none()) else {
            return Ok(item.clone());
        };
        let Some(path) = path.as_str() else {
            return self.item(item, path);
        };
        let mut found = item.clone();
        for part in path.split('.') {
            found = match part.parse::<i64>() {
                Ok(i) => self.item(&found, &i.into())?,
                Err(_) => {
                    let key = self.meter.text(part)?;
                    self.item(&found, &key)?
                }
            };
        }
        Ok(found)
    }

    /// `map(filter, …)` or `map(attribute=…)`.
    pub(super) fn map(&mut self, value: Value, mut args: Args) -> Res<Value> {
        let items = self.iterate(&value)?;
        let attribute = args.named.iter().position(|(n, _)| **n == *"attribute");
        let mut out = Vec::with_capacity(items.len());
        if let Some(at) = attribute {
            let path = args.named.swap_remove(at).1;
            let [default] = args.bind("map", ["default"])?;
            for item in items {
                let found = self.key(&item, Some(&path))?;
                out.push(match &default {
                    Some(default) if found.is_undefined() => default.clone(),
                    _ => found,
                });
            }
        } else {
            if args.positional.is_empty() {
                return fail("map requires a filter argument");
            }
            let name = methods::text(&Some(args.positional.remove(0)), "map")?.to_owned();
            for item in items {
                let args = self.copy(&args)?;
                out.push(self.filter(&name, item, args)?);
            }
        }
        self.meter.list(out)
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
        let items = self.iterate(&value)?;
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
            Some(methods::text(&Some(args.positional.remove(0)), name)?.to_owned())
        };
        let mut out = Vec::new();
        for item in items {
            let key = self.key(&item, path.as_ref())?;
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
        self.meter.list(out)
    }

    /// Filters that compare elements by a key.
    pub(super) fn ordered(&mut self, name: &str, value: Value, args: Args) -> Res<Value> {
        let flag = |v: Option<Value>| v.is_some_and(|v| v.truth());
        let (mut reverse, mut sensitive, mut path, mut by, mut start) =
            (false, false, None, None, None);
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
                let [a, _, c] = args.bind(name, ["attribute", "default", "case_sensitive"])?;
                (path, sensitive) = (a, flag(c));
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
            let column = match by.as_ref().and_then(Value::as_str) {
                Some("value") => 1usize,
                _ => 0,
            };
            path = Some(column.into());
            self.iterate(&methods::items(&value, &self.meter)?)?
        } else {
            self.iterate(&value)?
        };
        // Sorting holds three more copies of keys and elements.
        self.meter.pay(items.len().saturating_mul(8))?;
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            let mut key = self.key(&item, path.as_ref())?;
            if let (Some(text), false) = (key.as_str(), sensitive || name == "sum") {
                self.meter.pay_text(4 * text.len())?;
                key = owned(text.to_lowercase());
            }
            keyed.push((key, item));
        }
        let m = &self.meter;
        let mut order = |a: &(Value, Value), b: &(Value, Value)| lists::order(&a.0, &b.0, m);
        match name {
            "sum" => {
                let mut sum = start.unwrap_or(0usize.into());
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
                m.list(out)
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
                    let spelled = self.key(&rest[0].1, path.as_ref())?;
                    out.push(m.tuple(vec![spelled, group])?);
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

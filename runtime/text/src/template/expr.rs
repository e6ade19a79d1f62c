//! Expressions.

use super::eval::Machine;
use super::input::Clock;
use super::lists;
use super::machine::{Args, Res, deep, fail};
use super::tree::{Arg, Comparison, Expr, Node};
use super::value::{Form, Kind, Map, Text, Value};
use super::{methods, percent, python, strftime};
use std::cmp::Ordering;
use std::sync::Arc;

/// Functions of every template.
const FUNCTIONS: [&str; 9] = [
    "cycler",
    "dict",
    "joiner",
    "lipsum",
    "namespace",
    "raise_exception",
    "range",
    "self",
    "strftime_now",
];

/// How an undefined value came about.
fn missing(expr: &Expr) -> String {
    match &*expr.node {
        Node::Name(name) => format!("'{name}' is undefined"),
        Node::Attribute(_, name) => format!("there is no attribute '{name}'"),
        _ => "a value is undefined".into(),
    }
}

impl<'t> Machine<'t> {
    /// The value of an expression.
    pub(super) fn eval(&mut self, expr: &'t Expr<'t>) -> Res<Value> {
        self.line = expr.line;
        self.enter()?;
        let value = match &*expr.node {
            Node::Name(name) => self.variable(name)?,
            Node::Const(value) => {
                self.meter.pay_text(value.as_str().map_or(0, str::len))?;
                value.clone()
            }
            Node::Binary(..) | Node::And(..) | Node::Or(..) => self.chain(expr)?,
            Node::Not(inner) => (!self.eval(inner)?.truth()).into(),
            Node::Negative(inner) => self.signed(inner, true)?,
            Node::Positive(inner) => self.signed(inner, false)?,
            Node::Compare(first, rest) => self.compare(first, rest)?,
            Node::If {
                test,
                then,
                otherwise,
            } => {
                if self.eval(test)?.truth() {
                    self.eval(then)?
                } else {
                    match otherwise {
                        Some(other) => self.eval(other)?,
                        None => Value::UNDEFINED,
                    }
                }
            }
            Node::Filter { name, value, args } => {
                let Some(inner) = value else {
                    return fail("a filter of nothing");
                };
                let value = self.eval(inner)?;
                let args = self.args(args)?;
                self.filter(name, value, args)?
            }
            Node::Test { name, value, args } => {
                let value = self.eval(value)?;
                let args = self.args(args)?;
                self.check(name, &value, args)?.into()
            }
            Node::Attribute(of, name) => {
                let value = self.eval(of)?;
                if value.is_undefined() {
                    return fail(missing(of));
                }
                self.attribute(&value, name)?
            }
            Node::Item(of, key) => {
                let value = self.eval(of)?;
                if value.is_undefined() {
                    return fail(missing(of));
                }
                let key = self.eval(key)?;
                self.item(&value, &key)?
            }
            Node::Slice(of, bounds) => self.slice(of, bounds)?,
            Node::Call(callee, args) => self.call(callee, args, None)?,
            Node::List(items) => {
                let items = self.all(items)?;
                self.meter.list(items)?
            }
            Node::Tuple(items) => {
                let items = self.all(items)?;
                self.meter.tuple(items)?
            }
            Node::Dict(pairs) => {
                let mut out = Map::default();
                for (key, value) in pairs {
                    let (key, value) = (self.eval(key)?, self.eval(value)?);
                    self.insert(&mut out, key, value)?;
                }
                deep(out.into())?
            }
        };
        self.leave();
        Ok(value)
    }

    fn all(&mut self, items: &'t [Expr<'t>]) -> Res<Vec<Value>> {
        items.iter().map(|e| self.eval(e)).collect()
    }

    /// Puts an entry into a dict under construction, paid for.
    pub(super) fn insert(&self, map: &mut Map, key: Value, value: Value) -> Res<()> {
        self.meter.pay(5)?;
        self.meter.pay_text(key.as_str().map_or(0, str::len))?;
        let kind = key.kind();
        match map.insert(key, value) {
            Some(()) => Ok(()),
            None => fail(format!("a '{kind}' as a key, which is not supported")),
        }
    }

    fn variable(&self, name: &str) -> Res<Value> {
        if let Some(value) = self.name(name)? {
            return Ok(value);
        }
        let function = FUNCTIONS.into_iter().find(|f| *f == name);
        Ok(function.map_or(Value::UNDEFINED, |f| Value(Kind::Function(f))))
    }

    /// Arguments of a call, a filter or a test.
    pub(super) fn args(&mut self, given: &'t [Arg<'t>]) -> Res<Args> {
        let mut args = Args::default();
        for arg in given {
            self.meter.pay(2)?;
            match arg {
                Arg::Positional(e) => args.positional.push(self.eval(e)?),
                Arg::Named(name, e) => {
                    self.meter.pay_text(name.len())?;
                    args.named.push(((*name).into(), self.eval(e)?));
                }
                Arg::List(e) => {
                    let items = self.eval(e)?;
                    args.positional.extend(self.iterate(&items)?);
                }
                Arg::Dict(e) => {
                    let Kind::Map(map) = self.eval(e)?.0 else {
                        return fail("** needs a dict");
                    };
                    self.meter.pay(2 * map.entries.len())?;
                    for (key, value) in &map.entries {
                        let Kind::Text(key) = &key.0 else {
                            return fail("keywords must be strings");
                        };
                        args.named.push((key.text.clone(), value.clone()));
                    }
                }
            }
        }
        Ok(args)
    }

    /// A chain of operators from its left end, so that a long one takes no depth.
    fn chain(&mut self, expr: &'t Expr<'t>) -> Res<Value> {
        let mut open = Vec::new();
        let mut first = expr;
        while let Node::Binary(_, left, _) | Node::And(left, _) | Node::Or(left, _) = &*first.node {
            self.meter.pay(1)?;
            open.push(first);
            first = left;
        }
        let mut value = self.eval(first)?;
        while let Some(step) = open.pop() {
            value = match &*step.node {
                Node::And(_, right) if value.truth() => self.eval(right)?,
                Node::Or(_, right) if !value.truth() => self.eval(right)?,
                Node::Binary(op, left, right) => {
                    let found = self.eval(right)?;
                    self.line = right.line;
                    self.binary(*op, value, found, left, right)?
                }
                _ => value,
            };
        }
        Ok(value)
    }

    fn binary(
        &mut self,
        op: char,
        left: Value,
        right: Value,
        of_left: &'t Expr<'t>,
        of_right: &'t Expr<'t>,
    ) -> Res<Value> {
        let m = &self.meter;
        if op == '~' {
            let mut text = python::str(&left, m)?;
            let more = python::str(&right, m)?;
            m.pay_text(more.len())?;
            text.push_str(&more);
            return m.text(&text);
        }
        // '%' of a text takes what is undefined as empty, as printing does.
        let formats = op == '%' && left.as_str().is_some();
        for (value, expr) in [(&left, of_left), (&right, of_right)] {
            if value.is_undefined() && !formats {
                return fail(missing(expr));
            }
        }
        match (op, &left.0) {
            ('%', Kind::Text(t)) => percent::percent(t, &right, m),
            _ => lists::arithmetic(op, &left, &right, m),
        }
    }

    fn signed(&mut self, inner: &'t Expr<'t>, negative: bool) -> Res<Value> {
        let value = self.eval(inner)?;
        let sign = if negative { '-' } else { '+' };
        match (&value.0, value.as_int()) {
            (Kind::Float(x), _) if negative => Ok((-x).into()),
            (Kind::Float(_), _) => Ok(value),
            (_, Some(n)) if !negative => Ok(Value(Kind::Int(n))),
            (_, Some(n)) if n != i128::MIN => Ok(Value(Kind::Int(-n))),
            _ if value.is_undefined() => fail(missing(inner)),
            _ => fail(format!(
                "bad operand type for unary {sign}: '{}'",
                value.kind()
            )),
        }
    }

    fn compare(&mut self, first: &'t Expr<'t>, rest: &'t [(Comparison, Expr<'t>)]) -> Res<Value> {
        let mut left = self.eval(first)?;
        for (op, expr) in rest {
            let right = self.eval(expr)?;
            let m = &self.meter;
            let holds = match op {
                Comparison::Equal => lists::equal(&left, &right, m)?,
                Comparison::NotEqual => !lists::equal(&left, &right, m)?,
                Comparison::In => self.contains(&right, &left)?,
                Comparison::NotIn => !self.contains(&right, &left)?,
                // Not a number is in no order with anything.
                kind => lists::order(&left, &right, m)?.is_some_and(|o| match kind {
                    Comparison::Less => o == Ordering::Less,
                    Comparison::LessOrEqual => o != Ordering::Greater,
                    Comparison::Greater => o == Ordering::Greater,
                    _ => o != Ordering::Less,
                }),
            };
            if !holds {
                return Ok(false.into());
            }
            left = right;
        }
        Ok(true.into())
    }

    /// `item in container`.
    pub(super) fn contains(&self, container: &Value, item: &Value) -> Res<bool> {
        match (&container.0, &item.0) {
            (Kind::Undefined, _) => Ok(false),
            (Kind::Text(text), Kind::Text(part)) => {
                self.meter.pay_text(text.text.len() + part.text.len())?;
                Ok(text.text.contains(&*part.text))
            }
            (Kind::Text(_), _) => fail(format!(
                "'in <string>' requires a string, not {}",
                item.kind()
            )),
            (Kind::List(list), Kind::List(_) | Kind::Map(_)) if list.form == Form::Keys => {
                fail(format!("a '{}' in the keys of a dict", item.kind()))
            }
            (Kind::List(list), _) => {
                for element in &list.items {
                    if lists::equal(element, item, &self.meter)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Kind::Generator(index), _) => {
                while let Some(element) = self.next(*index) {
                    if lists::equal(&element, item, &self.meter)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Kind::Map(_), Kind::Undefined) => Ok(false),
            (Kind::Map(map), _) => {
                self.meter.pay_text(item.as_str().map_or(0, str::len))?;
                match map.get(item) {
                    Ok(found) => Ok(found.is_some()),
                    Err(()) => fail(format!("unhashable type: '{}'", item.kind())),
                }
            }
            _ => fail(format!(
                "'{}' in '{}' is not defined",
                item.kind(),
                container.kind()
            )),
        }
    }

    /// What Python's `getattr` finds: a method or an attribute.
    pub(super) fn own_attribute(&self, value: &Value, name: &str) -> Res<Option<Value>> {
        self.meter.pay_text(name.len())?;
        if let Some(method) = methods::find(value, name) {
            let bound = Value(Kind::Method(Arc::new((value.clone(), method))));
            return deep(bound).map(Some);
        }
        Ok(match (&value.0, name) {
            (Kind::Map(_), name) if methods::CHANGES_DICT.contains(&name) => Some(Value::UNDEFINED),
            (Kind::Namespace(i), name) => self.namespaces[*i].get(name).cloned(),
            (Kind::Loop(l), name) => Some(methods::of_loop(l, name)),
            (Kind::List(list), "grouper") if list.form == Form::Group => {
                list.items.first().cloned()
            }
            (Kind::List(list), "list") if list.form == Form::Group => list.items.get(1).cloned(),
            (Kind::Macro(i), "name") => Some(self.macro_name(*i).into()),
            (Kind::Cycler(i), "current") => {
                let (items, at) = &self.cyclers[*i];
                items.get(*at).cloned()
            }
            _ => None,
        })
    }

    /// `value.name`: a method or an attribute first, then an item.
    pub(super) fn attribute(&self, value: &Value, name: &str) -> Res<Value> {
        if let Some(found) = self.own_attribute(value, name)? {
            return Ok(found);
        }
        Ok(match &value.0 {
            Kind::Map(map) => map.get_text(name).cloned().unwrap_or(Value::UNDEFINED),
            _ => Value::UNDEFINED,
        })
    }

    /// `value[key]`: an item first, then a method or an attribute.
    pub(super) fn item(&self, value: &Value, key: &Value) -> Res<Value> {
        self.meter.pay_text(key.as_str().map_or(0, str::len))?;
        match (&value.0, &key.0) {
            (Kind::Map(map), _) => {
                if let Ok(Some(found)) = map.get(key) {
                    return Ok(found.clone());
                }
            }
            (Kind::List(list), _) if !list.form.is_view() => {
                if let Some(i) = key.as_int() {
                    let found = lists::index(i, list.items.len()).map(|i| list.items[i].clone());
                    return Ok(found.unwrap_or(Value::UNDEFINED));
                }
            }
            (Kind::Text(t), _) => {
                if let Some(i) = key.as_int() {
                    self.meter.pay_text(t.text.len())?;
                    let chars = t.text.chars().count();
                    let found = lists::index(i, chars).and_then(|i| t.text.chars().nth(i));
                    let Some(c) = found else {
                        return Ok(Value::UNDEFINED);
                    };
                    return lists::marked(c.encode_utf8(&mut [0; 4]), t.safe, &self.meter);
                }
            }
            _ => {}
        }
        match &key.0 {
            Kind::Text(name) => self.attribute(value, &name.text),
            _ => Ok(Value::UNDEFINED),
        }
    }

    fn slice(&mut self, of: &'t Expr<'t>, bounds: &'t [Option<Expr<'t>>; 3]) -> Res<Value> {
        let value = self.eval(of)?;
        if value.is_undefined() {
            return fail(missing(of));
        }
        let mut given = [None; 3];
        for (bound, expr) in given.iter_mut().zip(bounds) {
            let Some(expr) = expr else { continue };
            let found = self.eval(expr)?;
            *bound = match found.as_int() {
                Some(n) => Some(n),
                None if found.is_none() => None,
                None => return fail("slice indices must be integers or None"),
            };
        }
        lists::slice(&value, given, &self.meter)
    }

    /// A call as it is written; `caller` is the block of a `{% call %}`.
    pub(super) fn call(
        &mut self,
        callee: &'t Expr<'t>,
        args: &'t [Arg<'t>],
        caller: Option<Value>,
    ) -> Res<Value> {
        let found = self.eval(callee)?;
        if found.is_undefined() {
            return fail(missing(callee));
        }
        let mut args = self.args(args)?;
        if let Some(caller) = caller {
            args.named.push(("caller".into(), caller));
        }
        self.line = callee.line;
        self.call_value(&found, args)
    }

    fn call_value(&mut self, callee: &Value, args: Args) -> Res<Value> {
        match &callee.0 {
            Kind::Macro(index) => self.call_macro(*index, args),
            Kind::Loop(state) => self.call_loop(state, args),
            Kind::Method(bound) => self.method(&bound.0, bound.1, args),
            Kind::Function(name) => self.function(name, args),
            Kind::Joiner(index) => {
                let [] = args.bind("joiner", [])?;
                let (separator, used) = &mut self.joiners[*index];
                Ok(match std::mem::replace(used, true) {
                    true => separator.clone(),
                    false => "".into(),
                })
            }
            _ => fail(format!("'{}' object is not callable", callee.kind())),
        }
    }

    fn function(&mut self, name: &str, args: Args) -> Res<Value> {
        match name {
            "range" => lists::range(args, &self.meter),
            "raise_exception" => {
                let [message] = args.bind(name, ["message"])?;
                let message = python::str(&message.unwrap_or(Value::UNDEFINED), &self.meter)?;
                Err(super::machine::Fault::Refused(message))
            }
            "strftime_now" => {
                let [format] = args.bind(name, ["format"])?;
                let Some(format) = format.as_ref().and_then(Value::as_str) else {
                    return fail("strftime_now() takes a format, which is a text");
                };
                let text = match self.clock {
                    Clock::Text(text) => text.clone(),
                    Clock::Unix(seconds) => {
                        // A field of two letters makes at most 24.
                        self.meter.pay_text(12 * format.len())?;
                        strftime::strftime(*seconds, format)?
                    }
                };
                self.meter.text(&text)
            }
            "joiner" => {
                let [separator] = args.bind(name, ["sep"])?;
                self.meter.pay(3)?;
                self.joiners
                    .push((separator.unwrap_or_else(|| ", ".into()), false));
                Ok(Value(Kind::Joiner(self.joiners.len() - 1)))
            }
            "cycler" => {
                let items = args.all_positional(name)?;
                if items.is_empty() {
                    return fail("cycler() needs at least one item");
                }
                self.meter.pay(3 + items.len())?;
                self.cyclers.push((items, 0));
                Ok(Value(Kind::Cycler(self.cyclers.len() - 1)))
            }
            "lipsum" => fail("lipsum() is not supported: it makes up text"),
            "self" => fail("'self' is not callable"),
            _ => {
                let mut map = Map::default();
                for given in &args.positional {
                    let pairs = self.pairs(given)?;
                    for (key, value) in pairs {
                        self.insert(&mut map, key, value)?;
                    }
                }
                for (key, value) in args.named {
                    self.insert(&mut map, key.into(), value)?;
                }
                if name == "dict" {
                    return deep(map.into());
                }
                self.meter.pay(3)?;
                let mut names = std::collections::BTreeMap::new();
                for (key, value) in map.entries {
                    if let Kind::Text(Text { text, .. }) = key.0 {
                        names.insert(text, value);
                    }
                }
                self.namespaces.push(names);
                Ok(Value(Kind::Namespace(self.namespaces.len() - 1)))
            }
        }
    }

    /// Entries of a dict or of a list of pairs.
    fn pairs(&self, value: &Value) -> Res<Vec<(Value, Value)>> {
        if let Kind::Map(map) = &value.0 {
            self.meter.pay(2 * map.entries.len())?;
            return Ok(map.entries.clone());
        }
        let mut pairs = Vec::new();
        for pair in self.iterate(value)? {
            match self.iterate(&pair)?.as_slice() {
                [key, value] => pairs.push((key.clone(), value.clone())),
                _ => return fail("a dict is made of pairs"),
            }
        }
        Ok(pairs)
    }
}

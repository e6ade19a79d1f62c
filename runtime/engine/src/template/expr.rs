//! Expressions.

use super::eval::Machine;
use super::machine::{Args, Res, deep, fail};
use super::value::{Kind, Map, Text, Value};
use super::{format, lists, methods, python};
use minijinja::machinery::ast::{self, BinOpKind, CallArg, CompareOpKind, Expr, UnaryOpKind};
use minijinja::value::ValueKind;
use std::cmp::Ordering;
use std::sync::Arc;

/// Functions of every template.
const FUNCTIONS: [&str; 5] = [
    "dict",
    "namespace",
    "raise_exception",
    "range",
    "strftime_now",
];

/// How an undefined value came about.
fn missing(expr: &Expr) -> String {
    match expr {
        Expr::Var(name) => format!("'{}' is undefined", name.id),
        Expr::GetAttr(a) => format!("there is no attribute '{}'", a.name),
        _ => "a value is undefined".into(),
    }
}

impl<'t> Machine<'t> {
    /// The value of an expression.
    pub(super) fn eval(&mut self, expr: &'t Expr<'t>) -> Res<Value> {
        self.line = expr.span().start_line as usize;
        self.enter()?;
        let value = match expr {
            Expr::Var(name) => self.variable(name.id)?,
            Expr::Const(constant) => self.constant(&constant.value)?,
            Expr::BinOp(_) => self.chain(expr)?,
            Expr::UnaryOp(op) => self.unary(op)?,
            Expr::Compare(compare) => self.compare(compare)?,
            Expr::IfExpr(cond) => {
                if self.eval(&cond.test_expr)?.truth() {
                    self.eval(&cond.true_expr)?
                } else {
                    match &cond.false_expr {
                        Some(other) => self.eval(other)?,
                        None => Value::UNDEFINED,
                    }
                }
            }
            Expr::Filter(filter) => {
                let Some(inner) = &filter.expr else {
                    return fail("a filter of nothing");
                };
                let value = self.eval(inner)?;
                let args = self.args(&filter.args)?;
                self.filter(filter.name, value, args)?
            }
            Expr::Test(test) => {
                let value = self.eval(&test.expr)?;
                let args = self.args(&test.args)?;
                self.check(test.name, &value, args)?.into()
            }
            Expr::GetAttr(get) => {
                let value = self.eval(&get.expr)?;
                if value.is_undefined() {
                    return fail(missing(&get.expr));
                }
                self.attribute(&value, get.name)?
            }
            Expr::GetItem(get) => {
                let value = self.eval(&get.expr)?;
                if value.is_undefined() {
                    return fail(missing(&get.expr));
                }
                let key = self.eval(&get.subscript_expr)?;
                self.item(&value, &key)?
            }
            Expr::Slice(slice) => self.slice(slice)?,
            Expr::Call(call) => self.call(call, None)?,
            Expr::List(list) => {
                let items = self.all(&list.items)?;
                self.meter.list(items)?
            }
            Expr::Tuple(tuple) => {
                let items = self.all(&tuple.items)?;
                self.meter.tuple(items)?
            }
            Expr::Map(map) => {
                let mut out = Map::default();
                for (key, value) in map.keys.iter().zip(&map.values) {
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
            None => fail(format!("unhashable type: '{kind}' as a key")),
        }
    }

    fn variable(&self, name: &str) -> Res<Value> {
        if let Some(value) = self.name(name)? {
            return Ok(value);
        }
        let function = FUNCTIONS.into_iter().find(|f| *f == name);
        Ok(function.map_or(Value::UNDEFINED, |f| Value(Kind::Function(f))))
    }

    fn constant(&self, value: &minijinja::Value) -> Res<Value> {
        Ok(match value.kind() {
            ValueKind::Bool => value.is_true().into(),
            ValueKind::Number if value.is_integer() => match i128::try_from(value.clone()) {
                Ok(n) => Value(Kind::Int(n)),
                Err(_) => return fail("a number of more than 127 bits"),
            },
            ValueKind::Number => match f64::try_from(value.clone()) {
                Ok(x) => x.into(),
                Err(_) => return fail("a number that is not understood"),
            },
            ValueKind::String => self.meter.text(value.as_str().unwrap_or_default())?,
            _ => Value::default(),
        })
    }

    /// Arguments of a call, a filter or a test.
    pub(super) fn args(&mut self, given: &'t [CallArg<'t>]) -> Res<Args> {
        let mut args = Args::default();
        for arg in given {
            self.meter.pay(2)?;
            match arg {
                CallArg::Pos(e) => args.positional.push(self.eval(e)?),
                CallArg::Kwarg(name, e) => {
                    self.meter.pay_text(name.len())?;
                    args.named.push(((*name).into(), self.eval(e)?));
                }
                CallArg::PosSplat(e) => {
                    let items = self.eval(e)?;
                    args.positional.extend(self.iterate(&items)?);
                }
                CallArg::KwargSplat(e) => {
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
        let mut left = expr;
        while let Expr::BinOp(op) = left {
            self.meter.pay(1)?;
            open.push(op);
            left = &op.left;
        }
        let mut value = self.eval(left)?;
        while let Some(op) = open.pop() {
            value = match op.op {
                BinOpKind::ScAnd if !value.truth() => value,
                BinOpKind::ScOr if value.truth() => value,
                BinOpKind::ScAnd | BinOpKind::ScOr => self.eval(&op.right)?,
                kind => {
                    let right = self.eval(&op.right)?;
                    self.line = op.right.span().start_line as usize;
                    self.binary(kind, value, right, op)?
                }
            };
        }
        Ok(value)
    }

    fn binary(
        &mut self,
        kind: BinOpKind,
        left: Value,
        right: Value,
        op: &'t ast::BinOp<'t>,
    ) -> Res<Value> {
        let m = &self.meter;
        let arithmetic = match kind {
            BinOpKind::Eq => return Ok(lists::equal(&left, &right, m)?.into()),
            BinOpKind::Ne => return Ok((!lists::equal(&left, &right, m)?).into()),
            BinOpKind::In => return Ok(self.contains(&right, &left)?.into()),
            BinOpKind::Concat => {
                let mut text = python::str(&left, m)?;
                let more = python::str(&right, m)?;
                m.pay_text(more.len())?;
                text.push_str(&more);
                return m.text(&text);
            }
            BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte => {
                // Not a number is in no order with anything.
                let order = lists::order(&left, &right, m)?;
                return Ok(order
                    .is_some_and(|o| match kind {
                        BinOpKind::Lt => o == Ordering::Less,
                        BinOpKind::Lte => o != Ordering::Greater,
                        BinOpKind::Gt => o == Ordering::Greater,
                        _ => o != Ordering::Less,
                    })
                    .into());
            }
            BinOpKind::Add => '+',
            BinOpKind::Sub => '-',
            BinOpKind::Mul => '*',
            BinOpKind::Div => '/',
            BinOpKind::FloorDiv => 'd',
            BinOpKind::Rem => '%',
            BinOpKind::Pow => '^',
            BinOpKind::ScAnd | BinOpKind::ScOr => return Ok(right),
        };
        for (value, expr) in [(&left, &op.left), (&right, &op.right)] {
            if value.is_undefined() {
                return fail(missing(expr));
            }
        }
        match (arithmetic, &left.0) {
            ('%', Kind::Text(t)) => format::percent(t, &right, m),
            _ => lists::arithmetic(arithmetic, &left, &right, m),
        }
    }

    fn unary(&mut self, op: &'t ast::UnaryOp<'t>) -> Res<Value> {
        let value = self.eval(&op.expr)?;
        match (&op.op, &value.0) {
            (UnaryOpKind::Not, _) => Ok((!value.truth()).into()),
            (UnaryOpKind::Neg, Kind::Float(x)) => Ok((-x).into()),
            (UnaryOpKind::Neg, _) => match value.as_int().and_then(i128::checked_neg) {
                Some(n) => Ok(Value(Kind::Int(n))),
                None => fail(format!("bad operand type for unary -: '{}'", value.kind())),
            },
        }
    }

    fn compare(&mut self, compare: &'t ast::Compare<'t>) -> Res<Value> {
        let mut left = self.eval(&compare.expr)?;
        for op in &compare.ops {
            let right = self.eval(&op.expr)?;
            let m = &self.meter;
            let holds = match op.op {
                CompareOpKind::Eq => lists::equal(&left, &right, m)?,
                CompareOpKind::Ne => !lists::equal(&left, &right, m)?,
                CompareOpKind::In => self.contains(&right, &left)?,
                CompareOpKind::NotIn => !self.contains(&right, &left)?,
                kind => lists::order(&left, &right, m)?.is_some_and(|o| match kind {
                    CompareOpKind::Lt => o == Ordering::Less,
                    CompareOpKind::Lte => o != Ordering::Greater,
                    CompareOpKind::Gt => o == Ordering::Greater,
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
            (Kind::Text(_), Kind::Undefined) => {
                fail("'in <string>' requires a string, not Undefined")
            }
            (Kind::List(list), _) => {
                for element in &list.items {
                    if lists::equal(element, item, &self.meter)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Kind::Map(map), Kind::Undefined) => {
                let _ = map;
                Ok(false)
            }
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

    /// `value.name`: a method or an attribute first, then an item.
    pub(super) fn attribute(&self, value: &Value, name: &str) -> Res<Value> {
        self.meter.pay_text(name.len())?;
        if let Some(method) = methods::find(value, name) {
            let bound = Value(Kind::Method(Arc::new((value.clone(), method))));
            return deep(bound);
        }
        Ok(match &value.0 {
            Kind::Map(map) => map.get_text(name).cloned().unwrap_or(Value::UNDEFINED),
            Kind::Namespace(i) => self.namespaces[*i]
                .get(name)
                .cloned()
                .unwrap_or(Value::UNDEFINED),
            Kind::Loop(l) => methods::of_loop(l, name),
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
            (Kind::List(list), _) => {
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
                    return Ok(found.map_or(Value::UNDEFINED, |c| {
                        Value::from(&*c.encode_utf8(&mut [0; 4]))
                    }));
                }
            }
            _ => {}
        }
        match &key.0 {
            Kind::Text(name) => self.attribute(value, &name.text),
            _ => Ok(Value::UNDEFINED),
        }
    }

    fn slice(&mut self, slice: &'t ast::Slice<'t>) -> Res<Value> {
        let value = self.eval(&slice.expr)?;
        let mut bounds = [None; 3];
        for (bound, expr) in bounds
            .iter_mut()
            .zip([&slice.start, &slice.stop, &slice.step])
        {
            let Some(expr) = expr else { continue };
            let given = self.eval(expr)?;
            *bound = match given.as_int() {
                Some(n) => Some(n),
                None if given.is_none() => None,
                None => return fail("slice indices must be integers or None"),
            };
        }
        lists::slice(&value, bounds, &self.meter)
    }

    /// A call as it is written; `caller` is the block of a `{% call %}`.
    pub(super) fn call(&mut self, call: &'t ast::Call<'t>, caller: Option<Value>) -> Res<Value> {
        let callee = self.eval(&call.expr)?;
        if callee.is_undefined() {
            return fail(missing(&call.expr));
        }
        let mut args = self.args(&call.args)?;
        if let Some(caller) = caller {
            args.named.push(("caller".into(), caller));
        }
        self.line = call.expr.span().start_line as usize;
        self.call_value(&callee, args)
    }

    fn call_value(&mut self, callee: &Value, args: Args) -> Res<Value> {
        match &callee.0 {
            Kind::Macro(index) => self.call_macro(*index, args),
            Kind::Loop(state) => self.call_loop(state, args),
            Kind::Method(bound) => self.method(&bound.0, bound.1, args),
            Kind::Function(name) => self.function(name, args),
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
                let format = format.unwrap_or(Value::UNDEFINED);
                let text = match self.clock {
                    super::Clock::Text(text) => text.clone(),
                    super::Clock::Unix(seconds) => {
                        let format = format.as_str().unwrap_or_default();
                        // A field makes at most ten letters of two.
                        self.meter.pay_text(10 * format.len())?;
                        python::strftime(*seconds, format)
                    }
                };
                self.meter.text(&text)
            }
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

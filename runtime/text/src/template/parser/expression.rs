//! Expressions: from conditions down to names, literals and calls.

use super::{Parser, Res, expr};
use crate::template::lexer::TokenKind;
use crate::template::tree::{Arg, Comparison, Expr, Node};
use crate::template::value::{Kind, Value};

impl<'s> Parser<'s> {
    /// Items with commas between them until `ended` or no comma follows, and whether there was a comma: one item with a comma
    /// behind it is a tuple.
    pub(super) fn separated<T>(
        &mut self,
        ended: impl Fn(&Self) -> bool,
        mut item: impl FnMut(&mut Self) -> Res<T>,
    ) -> Res<(Vec<T>, bool)> {
        let (mut items, mut tuple) = (Vec::new(), false);
        loop {
            if !items.is_empty() {
                self.expect(",")?;
            }
            if ended(self) {
                break;
            }
            items.push(item(self)?);
            if !self.is(",") {
                break;
            }
            tuple = true;
        }
        Ok((items, tuple))
    }

    /// An expression, or several with commas between them.
    pub(super) fn tuple(&mut self, conditions: bool) -> Res<Expr<'s>> {
        self.tuple_until(conditions, &[])
    }

    pub(super) fn tuple_until(&mut self, conditions: bool, ends: &[&str]) -> Res<Expr<'s>> {
        let line = self.line();
        let ended = |p: &Self| {
            matches!(
                p.kind(),
                None | Some(TokenKind::PrintEnd | TokenKind::BlockEnd)
            ) || p.is(")")
                || ends.iter().any(|e| p.is_name(e))
        };
        let (mut items, tuple) = self.separated(ended, |p| match conditions {
            true => p.expression(),
            false => p.deeper(|p| p.binary(0)),
        })?;
        match items.pop() {
            None => self.fail(format!("expected an expression, found {}", self.shown())),
            Some(one) if !tuple => Ok(one),
            Some(last) => {
                items.push(last);
                Ok(expr(line, Node::Tuple(items)))
            }
        }
    }

    /// An expression with `if` and `else`.
    pub(super) fn expression(&mut self) -> Res<Expr<'s>> {
        self.deeper(|p| {
            let line = p.line();
            let mut then = p.binary(0)?;
            while p.skip_name("if") {
                let test = p.binary(0)?;
                let otherwise = match p.skip_name("else") {
                    true => Some(p.expression()?),
                    false => None,
                };
                let node = Node::If {
                    test,
                    then,
                    otherwise,
                };
                then = expr(line, node);
            }
            Ok(then)
        })
    }

    /// Operators from a level up: `or`, `and`, `not`, comparisons, `+ -`, `~`, `* / // %`, `**`.
    fn binary(&mut self, level: usize) -> Res<Expr<'s>> {
        const MATH: [&[(&str, char)]; 4] = [
            &[("+", '+'), ("-", '-')],
            &[("~", '~')],
            &[("*", '*'), ("/", '/'), ("//", 'd'), ("%", '%')],
            &[("**", '^')],
        ];
        let line = self.line();
        match level {
            0 => {
                let mut left = self.binary(1)?;
                while self.skip_name("or") {
                    left = expr(line, Node::Or(left, self.binary(1)?));
                }
                Ok(left)
            }
            1 => {
                let mut left = self.negated()?;
                while self.skip_name("and") {
                    left = expr(line, Node::And(left, self.negated()?));
                }
                Ok(left)
            }
            2 => self.comparison(),
            _ => {
                let Some(operators) = MATH.get(level - 3) else {
                    return self.unary(true);
                };
                let mut left = self.binary(level + 1)?;
                while let Some((_, op)) = operators.iter().find(|o| self.is(o.0)) {
                    self.at += 1;
                    let right = self.binary(level + 1)?;
                    left = expr(line, Node::Binary(*op, left, right));
                }
                Ok(left)
            }
        }
    }

    fn negated(&mut self) -> Res<Expr<'s>> {
        let line = self.line();
        let mut count = 0;
        while self.skip_name("not") {
            count += 1;
        }
        let mut value = self.binary(2)?;
        for _ in 0..count {
            value = expr(line, Node::Not(value));
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Res<Expr<'s>> {
        const OPERATORS: [(&str, Comparison); 6] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<", Comparison::Less),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            (">=", Comparison::GreaterOrEqual),
        ];
        let line = self.line();
        let first = self.binary(3)?;
        let mut rest = Vec::new();
        loop {
            let next = self.tokens.get(self.at + 1).map(|t| &t.kind);
            let not_in = self.is_name("not") && next == Some(&TokenKind::Name("in"));
            let found = if let Some((_, op)) = OPERATORS.iter().find(|o| self.is(o.0)) {
                self.at += 1;
                *op
            } else if self.skip_name("in") {
                Comparison::In
            } else if not_in {
                self.at += 2;
                Comparison::NotIn
            } else {
                break;
            };
            rest.push((found, self.binary(3)?));
        }
        Ok(match rest.is_empty() {
            true => first,
            false => expr(line, Node::Compare(first, rest)),
        })
    }

    /// A value with signs in front, and what stands behind it.
    fn unary(&mut self, filters: bool) -> Res<Expr<'s>> {
        let line = self.line();
        let mut signs = Vec::new();
        loop {
            if self.skip("-") {
                signs.push(true);
            } else if self.skip("+") {
                signs.push(false);
            } else {
                break;
            }
        }
        let mut value = self.primary()?;
        value = self.postfix(value)?;
        for negative in signs.into_iter().rev() {
            let node = match negative {
                true => Node::Negative(value),
                false => Node::Positive(value),
            };
            value = expr(line, node);
        }
        match filters {
            true => self.filters(value),
            false => Ok(value),
        }
    }

    fn primary(&mut self) -> Res<Expr<'s>> {
        let line = self.line();
        let Some(token) = self.tokens.get(self.at) else {
            return self.fail(format!("expected a value, found {}", self.shown()));
        };
        let node = match &token.kind {
            TokenKind::Name(name) => {
                let name = *name;
                for reads in &mut self.macros {
                    match name {
                        "varargs" => reads.varargs = true,
                        "kwargs" => reads.kwargs = true,
                        "caller" => reads.caller = true,
                        _ => {}
                    }
                }
                match name {
                    "true" | "True" => Node::Const(true.into()),
                    "false" | "False" => Node::Const(false.into()),
                    "none" | "None" => Node::Const(Value::default()),
                    name => Node::Name(name),
                }
            }
            TokenKind::Text(text) => {
                let mut all = text.clone();
                while let Some(TokenKind::Text(more)) =
                    self.tokens.get(self.at + 1).map(|t| &t.kind)
                {
                    all.push_str(more);
                    self.at += 1;
                }
                Node::Const(all.as_str().into())
            }
            TokenKind::Int(n) => Node::Const(Value(Kind::Int(*n))),
            TokenKind::Float(x) => Node::Const((*x).into()),
            TokenKind::Operator("(") => return self.deeper(Self::parenthesis),
            TokenKind::Operator("[") => return self.deeper(Self::list),
            TokenKind::Operator("{") => return self.deeper(Self::dict),
            _ => return self.fail(format!("expected a value, found {}", self.shown())),
        };
        self.at += 1;
        Ok(expr(line, node))
    }

    fn parenthesis(&mut self) -> Res<Expr<'s>> {
        let line = self.line();
        self.expect("(")?;
        if self.skip(")") {
            return Ok(expr(line, Node::Tuple(Vec::new())));
        }
        let inner = self.tuple(true)?;
        self.expect(")")?;
        Ok(inner)
    }

    fn list(&mut self) -> Res<Expr<'s>> {
        let line = self.line();
        self.expect("[")?;
        let mut items = Vec::new();
        while !self.is("]") {
            if !items.is_empty() {
                self.expect(",")?;
                if self.is("]") {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        self.expect("]")?;
        Ok(expr(line, Node::List(items)))
    }

    fn dict(&mut self) -> Res<Expr<'s>> {
        let line = self.line();
        self.expect("{")?;
        let mut items = Vec::new();
        while !self.is("}") {
            if !items.is_empty() {
                self.expect(",")?;
                if self.is("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect(":")?;
            items.push((key, self.expression()?));
        }
        self.expect("}")?;
        Ok(expr(line, Node::Dict(items)))
    }

    /// Attributes, items and calls.
    fn postfix(&mut self, mut value: Expr<'s>) -> Res<Expr<'s>> {
        loop {
            let line = self.line();
            if self.skip(".") {
                match self.kind() {
                    Some(TokenKind::Name(name)) => {
                        let name = *name;
                        value = expr(line, Node::Attribute(value, name));
                    }
                    Some(TokenKind::Int(n)) => {
                        let index = expr(line, Node::Const(Value(Kind::Int(*n))));
                        value = expr(line, Node::Item(value, index));
                    }
                    _ => {
                        return self.fail(format!(
                            "expected a name or a number, found {}",
                            self.shown()
                        ));
                    }
                }
                self.at += 1;
            } else if self.is("[") {
                value = self.deeper(|p| p.subscript(line, value))?;
            } else if self.is("(") {
                let args = self.args()?;
                value = expr(line, Node::Call(value, args));
            } else {
                return Ok(value);
            }
        }
    }

    fn subscript(&mut self, line: usize, value: Expr<'s>) -> Res<Expr<'s>> {
        self.expect("[")?;
        let mut parts = Vec::new();
        let mut slice = None;
        while !self.is("]") {
            if !parts.is_empty() {
                self.expect(",")?;
            }
            let start = match self.is(":") {
                true => None,
                false => Some(self.expression()?),
            };
            if !self.is(":") {
                parts.extend(start);
                continue;
            }
            if !parts.is_empty() || slice.is_some() {
                return self.fail("a slice among several indices");
            }
            let mut bounds = [start, None, None];
            for bound in &mut bounds[1..] {
                if self.skip(":") && !self.is("]") && !self.is(":") && !self.is(",") {
                    *bound = Some(self.expression()?);
                }
            }
            if !self.is("]") {
                return self.fail(format!("expected ']', found {}", self.shown()));
            }
            slice = Some(bounds);
        }
        self.expect("]")?;
        if let Some(bounds) = slice {
            return Ok(expr(line, Node::Slice(value, bounds)));
        }
        let index = match parts.pop() {
            None => return self.fail("an index without a value"),
            Some(one) if parts.is_empty() => one,
            Some(last) => {
                parts.push(last);
                expr(line, Node::Tuple(parts))
            }
        };
        Ok(expr(line, Node::Item(value, index)))
    }

    /// Filters, tests and calls of what they give.
    fn filters(&mut self, mut value: Expr<'s>) -> Res<Expr<'s>> {
        loop {
            let line = self.line();
            if self.skip("|") {
                value = self.filter(line, Some(value))?;
            } else if self.skip_name("is") {
                value = self.test(line, value)?;
            } else if self.is("(") {
                let args = self.args()?;
                value = expr(line, Node::Call(value, args));
            } else {
                return Ok(value);
            }
        }
    }

    fn test(&mut self, line: usize, value: Expr<'s>) -> Res<Expr<'s>> {
        let negated = self.skip_name("not");
        let name = self.name()?;
        let operand = match self.kind() {
            Some(TokenKind::Name(n)) => !["else", "or", "and"].contains(n),
            Some(TokenKind::Text(_) | TokenKind::Int(_) | TokenKind::Float(_)) => true,
            Some(TokenKind::Operator(o)) => ["[", "{"].contains(o),
            _ => false,
        };
        let args = if self.is("(") {
            self.args()?
        } else if operand {
            if self.is_name("is") {
                return self.fail("a test of a test; put the first one in parentheses");
            }
            let arg = self.primary()?;
            vec![Arg::Positional(self.postfix(arg)?)]
        } else {
            Vec::new()
        };
        let found = expr(line, Node::Test { name, value, args });
        Ok(match negated {
            true => expr(line, Node::Not(found)),
            false => found,
        })
    }

    pub(super) fn args(&mut self) -> Res<Vec<Arg<'s>>> {
        self.deeper(|p| {
            let mut args = Vec::new();
            let (mut named, mut list, mut dict) = (false, false, false);
            p.expect("(")?;
            while !p.is(")") {
                if !args.is_empty() {
                    p.expect(",")?;
                    if p.is(")") {
                        break;
                    }
                }
                let next = p.tokens.get(p.at + 1).map(|t| &t.kind);
                let assigns = next == Some(&TokenKind::Operator("="));
                let fits;
                if p.skip("*") {
                    fits = !list && !dict;
                    list = true;
                    args.push(Arg::List(p.expression()?));
                } else if p.skip("**") {
                    fits = !dict;
                    dict = true;
                    args.push(Arg::Dict(p.expression()?));
                } else if assigns && matches!(p.kind(), Some(TokenKind::Name(_))) {
                    fits = !dict;
                    named = true;
                    let name = p.name()?;
                    p.at += 1;
                    args.push(Arg::Named(name, p.expression()?));
                } else {
                    fits = !named && !list && !dict;
                    args.push(Arg::Positional(p.expression()?));
                }
                if !fits {
                    return p.fail("arguments of a call in a wrong order");
                }
            }
            p.expect(")")?;
            Ok(args)
        })
    }
}

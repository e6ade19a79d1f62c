//! From tokens to a tree, by the grammar of jinja2 with loop controls and `{% generation %}`.

use super::error::TemplateError;
use super::lexer::{self, Token, TokenKind};
use super::tree::{Arg, Body, Comparison, Expr, For, Macro, Node, Reads, Stmt, StmtNode, Target};
use super::value::{Kind, Value};

/// Deepest nesting of tags, brackets and conditions.
const MAX_DEPTH: usize = 150;
/// Names that are values.
const KEYWORDS: [&str; 6] = ["true", "false", "none", "True", "False", "None"];

type Res<T> = Result<T, TemplateError>;

struct Parser<'s> {
    tokens: Vec<Token<'s>>,
    at: usize,
    depth: usize,
    /// Whether `break` has a loop to end.
    in_loop: bool,
    /// What the bodies of the macros around read of their special names.
    macros: Vec<Reads>,
    blocks: Vec<&'s str>,
}

/// The tree of a normalized source.
pub(super) fn parse(source: &str) -> Res<Body<'_>> {
    let mut parser = Parser {
        tokens: lexer::tokens(source)?,
        at: 0,
        depth: 0,
        in_loop: false,
        macros: Vec::new(),
        blocks: Vec::new(),
    };
    parser.body(&[])
}

/// Whether a template has a name anywhere.
pub(super) fn mentions(source: &str, name: &str) -> Res<bool> {
    let source = lexer::normalized(source)?;
    let tokens = lexer::tokens(&source)?;
    Ok(tokens.iter().any(|t| t.kind == TokenKind::Name(name)))
}

fn expr(line: usize, node: Node<'_>) -> Expr<'_> {
    Expr {
        line,
        node: Box::new(node),
    }
}

impl<'s> Parser<'s> {
    fn line(&self) -> usize {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        token.map_or(1, |t| t.line)
    }

    fn fail<T>(&self, detail: impl Into<String>) -> Res<T> {
        Err(TemplateError::Syntax {
            line: self.line(),
            detail: detail.into(),
        })
    }

    /// The next token in words.
    fn shown(&self) -> String {
        match self.tokens.get(self.at).map(|t| &t.kind) {
            None => "the end of the template".into(),
            Some(TokenKind::Data(_)) => "text".into(),
            Some(TokenKind::PrintBegin) => "'{{'".into(),
            Some(TokenKind::PrintEnd) => "'}}'".into(),
            Some(TokenKind::BlockBegin) => "'{%'".into(),
            Some(TokenKind::BlockEnd) => "'%}'".into(),
            Some(TokenKind::Name(name)) => format!("'{name}'"),
            Some(TokenKind::Text(_)) => "a text".into(),
            Some(TokenKind::Int(_) | TokenKind::Float(_)) => "a number".into(),
            Some(TokenKind::Operator(o)) => format!("'{o}'"),
        }
    }

    fn kind(&self) -> Option<&TokenKind<'s>> {
        self.tokens.get(self.at).map(|t| &t.kind)
    }

    fn is(&self, operator: &str) -> bool {
        matches!(self.kind(), Some(TokenKind::Operator(o)) if *o == operator)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.kind(), Some(TokenKind::Name(n)) if *n == name)
    }

    fn skip(&mut self, operator: &str) -> bool {
        let found = self.is(operator);
        self.at += usize::from(found);
        found
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, operator: &str) -> Res<()> {
        match self.skip(operator) {
            true => Ok(()),
            false => self.fail(format!("expected '{operator}', found {}", self.shown())),
        }
    }

    fn expect_name(&mut self, name: &str) -> Res<()> {
        match self.skip_name(name) {
            true => Ok(()),
            false => self.fail(format!("expected '{name}', found {}", self.shown())),
        }
    }

    fn expect_kind(&mut self, kind: &TokenKind<'s>, shown: &str) -> Res<()> {
        if self.kind() == Some(kind) {
            self.at += 1;
            return Ok(());
        }
        self.fail(format!("expected {shown}, found {}", self.shown()))
    }

    fn name(&mut self) -> Res<&'s str> {
        match self.kind() {
            Some(TokenKind::Name(name)) => {
                let name = *name;
                self.at += 1;
                Ok(name)
            }
            _ => self.fail(format!("expected a name, found {}", self.shown())),
        }
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TemplateError::Intricate { line: self.line() });
        }
        let found = work(self)?;
        self.depth -= 1;
        Ok(found)
    }

    /// Statements up to a tag of one of these names, which is the next token then; up to the end of the
    /// template where there is none.
    fn body(&mut self, ends: &[&str]) -> Res<Body<'s>> {
        let start = self.line();
        let mut out = Body::new();
        while let Some(token) = self.tokens.get(self.at) {
            let line = token.line;
            match token.kind {
                TokenKind::Data(text) => {
                    self.at += 1;
                    let node = StmtNode::Data(text);
                    out.push(Stmt { line, node });
                }
                TokenKind::PrintBegin => {
                    self.at += 1;
                    let node = StmtNode::Print(vec![self.tuple(true)?]);
                    self.expect_kind(&TokenKind::PrintEnd, "'}}'")?;
                    out.push(Stmt { line, node });
                }
                _ => {
                    self.at += 1;
                    if ends.iter().any(|e| self.is_name(e)) {
                        return Ok(out);
                    }
                    let node = self.deeper(Self::statement)?;
                    self.expect_kind(&TokenKind::BlockEnd, "'%}'")?;
                    out.push(Stmt { line, node });
                }
            }
        }
        match ends.last() {
            None => Ok(out),
            Some(end) => Err(TemplateError::Syntax {
                line: start,
                detail: format!("there is no '{end}' for what begins here"),
            }),
        }
    }

    /// The rest of a tag and the body behind it.
    fn block(&mut self, ends: &[&str]) -> Res<Body<'s>> {
        self.skip(":");
        self.expect_kind(&TokenKind::BlockEnd, "'%}'")?;
        self.body(ends)
    }

    /// A body and its end.
    fn block_to(&mut self, end: &str) -> Res<Body<'s>> {
        let body = self.block(&[end])?;
        self.at += 1;
        Ok(body)
    }

    fn statement(&mut self) -> Res<StmtNode<'s>> {
        let name = self.name()?;
        Ok(match name {
            "if" => {
                let mut branches = Vec::new();
                let mut otherwise = Body::new();
                loop {
                    let test = self.tuple(false)?;
                    let body = self.block(&["elif", "else", "endif"])?;
                    branches.push((test, body));
                    match self.name()? {
                        "elif" => continue,
                        "else" => otherwise = self.block_to("endif")?,
                        _ => {}
                    }
                    break StmtNode::If {
                        branches,
                        otherwise,
                    };
                }
            }
            "for" => StmtNode::For(Box::new(self.loop_statement()?)),
            "set" => {
                let target = self.target(&[], true)?;
                if self.skip("=") {
                    return Ok(StmtNode::Set(target, self.tuple(true)?));
                }
                let filter = match self.is("|") {
                    true => Some(self.block_filter(false)?),
                    false => None,
                };
                let body = self.outside_loop(|p| p.block_to("endset"))?;
                StmtNode::SetBlock {
                    target,
                    filter,
                    body,
                }
            }
            "with" => {
                let mut pairs = Vec::new();
                while self.kind() != Some(&TokenKind::BlockEnd) {
                    if !pairs.is_empty() {
                        self.expect(",")?;
                    }
                    let target = self.target(&[], false)?;
                    self.expect("=")?;
                    pairs.push((target, self.expression()?));
                }
                let body = self.block_to("endwith")?;
                StmtNode::With { pairs, body }
            }
            "filter" => {
                let filter = self.block_filter(true)?;
                let body = self.outside_loop(|p| p.block_to("endfilter"))?;
                StmtNode::Filter { filter, body }
            }
            "macro" => {
                let name = self.target_name()?;
                let (args, defaults) = self.signature()?;
                StmtNode::Macro(self.macro_body(name, args, defaults, "endmacro")?)
            }
            "call" => {
                let (args, defaults) = match self.is("(") {
                    true => self.signature()?,
                    false => (Vec::new(), Vec::new()),
                };
                let Node::Call(callee, given) = *self.expression()?.node else {
                    return self.fail("'call' needs a call of a macro");
                };
                let block = self.macro_body("caller", args, defaults, "endcall")?;
                StmtNode::Call {
                    callee,
                    args: given,
                    block,
                }
            }
            "generation" => StmtNode::Scope(self.outside_loop(|p| p.block_to("endgeneration"))?),
            "block" => {
                let name = self.name()?;
                let scoped = self.skip_name("scoped");
                if self.is_name("required") {
                    return self.fail("a required block, which only another template could fill");
                }
                if self.blocks.contains(&name) {
                    return self.fail(format!("block '{name}' defined twice"));
                }
                self.blocks.push(name);
                let body = self.outside_loop(|p| p.block_to("endblock"))?;
                self.skip_name(name);
                StmtNode::Block { scoped, body }
            }
            "print" => {
                let mut all = Vec::new();
                while self.kind() != Some(&TokenKind::BlockEnd) {
                    if !all.is_empty() {
                        self.expect(",")?;
                    }
                    all.push(self.expression()?);
                }
                StmtNode::Print(all)
            }
            "break" | "continue" if !self.in_loop => {
                return self.fail(format!("'{name}' outside of a loop"));
            }
            "break" => StmtNode::Break,
            "continue" => StmtNode::Continue,
            "include" | "import" | "from" | "extends" => {
                return self.fail(format!(
                    "'{name}' reads another template, and a chat template has none"
                ));
            }
            "autoescape" => return self.fail("'autoescape' is not supported"),
            name => return self.fail(format!("there is no tag '{name}'")),
        })
    }

    /// A body that is a function of its own in Python, where a loop around cannot be ended.
    fn outside_loop<T>(&mut self, work: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let before = std::mem::replace(&mut self.in_loop, false);
        let found = work(self)?;
        self.in_loop = before;
        Ok(found)
    }

    fn loop_statement(&mut self) -> Res<For<'s>> {
        let target = self.target(&["in"], false)?;
        if mentions_loop(&target) {
            return self.fail("a loop cannot assign to 'loop'");
        }
        self.expect_name("in")?;
        let over = self.tuple_until(false, &["recursive"])?;
        let filter = match self.skip_name("if") {
            true => Some(self.expression()?),
            false => None,
        };
        let recursive = self.skip_name("recursive");
        let before = std::mem::replace(&mut self.in_loop, true);
        let body = self.block(&["endfor", "else"])?;
        self.in_loop = before;
        let otherwise = match self.name()? {
            "else" => self.block_to("endfor")?,
            _ => Body::new(),
        };
        Ok(For {
            target,
            over,
            filter,
            recursive,
            body,
            otherwise,
        })
    }

    fn signature(&mut self) -> Res<(Vec<&'s str>, Vec<Expr<'s>>)> {
        let (mut args, mut defaults) = (Vec::new(), Vec::new());
        self.expect("(")?;
        while !self.is(")") {
            if !args.is_empty() {
                self.expect(",")?;
            }
            let name = self.target_name()?;
            if args.contains(&name) {
                return self.fail(format!("the argument '{name}' is there twice"));
            }
            args.push(name);
            if self.skip("=") {
                defaults.push(self.expression()?);
            } else if !defaults.is_empty() {
                return self.fail("an argument without a default behind one with a default");
            }
        }
        self.expect(")")?;
        Ok((args, defaults))
    }

    fn macro_body(
        &mut self,
        name: &'s str,
        args: Vec<&'s str>,
        defaults: Vec<Expr<'s>>,
        end: &str,
    ) -> Res<Macro<'s>> {
        let must = args.len() - defaults.len();
        if args[..must].contains(&"caller") {
            return self
                .fail("an argument 'caller' needs a default, since it is what a call block is");
        }
        self.macros.push(Reads::default());
        let body = self.outside_loop(|p| p.block_to(end))?;
        let reads = self.macros.pop().unwrap_or_default();
        Ok(Macro {
            name,
            args,
            defaults,
            body,
            reads,
        })
    }

    /// The filters of a block, the first of which may have no `|`.
    fn block_filter(&mut self, inline: bool) -> Res<Expr<'s>> {
        let line = self.line();
        if !inline {
            self.expect("|")?;
        }
        let mut filter = self.filter(line, None)?;
        while self.is("|") {
            self.at += 1;
            filter = self.filter(line, Some(filter))?;
        }
        Ok(filter)
    }

    fn filter(&mut self, line: usize, value: Option<Expr<'s>>) -> Res<Expr<'s>> {
        let name = self.name()?;
        if self.is(".") {
            return self.fail(format!("there is no filter '{name}.…'"));
        }
        let args = match self.is("(") {
            true => self.args()?,
            false => Vec::new(),
        };
        Ok(expr(line, Node::Filter { name, value, args }))
    }

    fn target_name(&mut self) -> Res<&'s str> {
        let name = self.name()?;
        if KEYWORDS.contains(&name) {
            return self.fail(format!("'{name}' cannot be assigned to"));
        }
        Ok(name)
    }

    /// What is assigned to: names, tuples of them, with `attributes` also those of a namespace.
    fn target(&mut self, ends: &[&str], attributes: bool) -> Res<Target<'s>> {
        let ended = |p: &Self| {
            matches!(p.kind(), Some(TokenKind::BlockEnd))
                || p.is(")")
                || p.is("=")
                || ends.iter().any(|e| p.is_name(e))
        };
        let (mut items, tuple) = self.separated(ended, |p| {
            if p.skip("(") {
                let inner = p.deeper(|p| p.target(&[], attributes))?;
                p.expect(")")?;
                return Ok(inner);
            }
            let name = p.target_name()?;
            match attributes && p.skip(".") {
                true => Ok(Target::Attribute(name, p.name()?)),
                false => Ok(Target::Name(name)),
            }
        })?;
        match items.pop() {
            None => self.fail(format!("expected a name, found {}", self.shown())),
            Some(one) if !tuple => Ok(one),
            Some(last) => {
                items.push(last);
                Ok(Target::Tuple(items))
            }
        }
    }

    /// Items with commas between them until `ended` or no comma follows, and whether there was a comma: one item with a comma
    /// behind it is a tuple.
    fn separated<T>(
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
    fn tuple(&mut self, conditions: bool) -> Res<Expr<'s>> {
        self.tuple_until(conditions, &[])
    }

    fn tuple_until(&mut self, conditions: bool, ends: &[&str]) -> Res<Expr<'s>> {
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
    fn expression(&mut self) -> Res<Expr<'s>> {
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

    fn args(&mut self) -> Res<Vec<Arg<'s>>> {
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

fn mentions_loop(target: &Target<'_>) -> bool {
    match target {
        Target::Name(name) => *name == "loop",
        Target::Attribute(..) => false,
        Target::Tuple(items) => items.iter().any(mentions_loop),
    }
}

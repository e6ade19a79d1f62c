//! From tokens to a tree, by the grammar of jinja2 with loop controls and `{% generation %}`.

mod expression;

use super::error::TemplateError;
use super::lexer::{self, Token, TokenKind};
use super::tree::{Body, Expr, For, Macro, Node, Reads, Stmt, StmtNode, Target};
use std::collections::HashSet;

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

/// Names and texts of a template: all that it can ask of what it is given.
pub(super) struct Mentions(HashSet<String>);

impl Mentions {
    pub(super) fn of(source: &str) -> Res<Self> {
        let source = lexer::normalized(source)?;
        let words = lexer::tokens(&source)?
            .into_iter()
            .filter_map(|t| match t.kind {
                TokenKind::Name(name) => Some(name.to_owned()),
                TokenKind::Text(text) => Some(text),
                _ => None,
            });
        Ok(Self(words.collect()))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Whether it may read whatever a dict has.
    pub(super) fn wholes(&self) -> bool {
        ["items", "values", "dictsort", "tojson", "pprint"]
            .iter()
            .any(|n| self.has(n))
    }
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
}

fn mentions_loop(target: &Target<'_>) -> bool {
    match target {
        Target::Name(name) => *name == "loop",
        Target::Attribute(..) => false,
        Target::Tuple(items) => items.iter().any(mentions_loop),
    }
}

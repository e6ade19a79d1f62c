//! Statements: from the parsed tree to the prompt.

use super::error::TemplateError;
use super::input::{Clock, Input};
use super::limits::{Limits, MAX_NESTING, STEP_BYTES};
use super::machine::{Args, Fault, Meter, Res, deep, fail};
use super::tree::{For, Macro, Node, Stmt, StmtNode, Target};
use super::value::{Kind, Loop, Map, Value};
use super::{lexer, parser, python};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Deepest that a caller may let a template nest: the stack has 16 KiB for each.
const MAX_RECURSION: usize = 1000;

/// Names of one block.
#[derive(Default)]
struct Scope<'t> {
    names: BTreeMap<&'t str, Value>,
    parent: Option<usize>,
    /// No two scopes have the same.
    serial: u64,
}

/// A scope that something was defined in, which may have ended since.
#[derive(Clone, Copy)]
struct Place {
    scope: usize,
    serial: u64,
}

/// How a block ends.
enum Flow {
    Next,
    Break,
    Continue,
}

/// One rendering.
pub(super) struct Machine<'t> {
    pub(super) meter: Meter,
    pub(super) clock: &'t Clock,
    pub(super) line: usize,
    limits: Limits,
    depth: usize,
    scopes: Vec<Scope<'t>>,
    scope: usize,
    /// Scopes made so far.
    serial: u64,
    /// Texts that are collected; the first is the prompt.
    out: Vec<String>,
    /// Macros and the scopes that they were defined in.
    macros: Vec<(&'t Macro<'t>, Place)>,
    /// Recursive loops and their scopes.
    recursive: Vec<(&'t For<'t>, Place)>,
    pub(super) namespaces: Vec<BTreeMap<Arc<str>, Value>>,
    pub(super) changed: Vec<Option<Value>>,
    /// What generators still have to give.
    generators: RefCell<Vec<VecDeque<Value>>>,
    /// Separators of `joiner`s that were not asked yet: those give nothing the first time.
    pub(super) joiners: Vec<(Value, bool)>,
    /// Items of `cycler`s, and which one is next.
    pub(super) cyclers: Vec<(Vec<Value>, usize)>,
}

/// Renders on the stack of the caller.
pub(super) fn render(text: &str, input: &Input, limits: &Limits) -> Result<String, TemplateError> {
    let text = lexer::normalized(text)?;
    let tree = parser::parse(&text)?;
    let names = names(input);
    if names.values().any(|v| v.depth() > MAX_NESTING) {
        return Err(TemplateError::Nesting { line: 0 });
    }
    let mut machine = Machine {
        meter: Meter(Cell::new(limits.fuel)),
        clock: &input.clock,
        line: 1,
        limits: Limits {
            recursion: limits.recursion.min(MAX_RECURSION),
            ..*limits
        },
        depth: 0,
        scopes: vec![Scope {
            names,
            parent: None,
            serial: 0,
        }],
        scope: 0,
        serial: 0,
        out: vec![String::new()],
        macros: Vec::new(),
        recursive: Vec::new(),
        namespaces: Vec::new(),
        changed: Vec::new(),
        generators: RefCell::default(),
        joiners: Vec::new(),
        cyclers: Vec::new(),
    };
    match machine.block(&tree) {
        Ok(_) => Ok(machine.out.swap_remove(0)),
        Err(fault) => Err(machine.explain(fault)),
    }
}

fn names(input: &Input) -> BTreeMap<&str, Value> {
    let mut names: BTreeMap<&str, Value> = BTreeMap::new();
    // What `transformers` passes always, None or not.
    names.insert("documents", Value::default());
    for (name, value) in &input.variables {
        names.insert(name, value.clone());
    }
    names.insert("messages", input.messages.clone());
    names.insert("tools", input.tools.clone().unwrap_or_default());
    names.insert("add_generation_prompt", input.add_generation_prompt.into());
    for (name, token) in [
        ("bos_token", &input.bos_token),
        ("eos_token", &input.eos_token),
    ] {
        if !token.is_none() {
            names.insert(name, token.clone());
        }
    }
    names
}

impl<'t> Machine<'t> {
    fn explain(&self, fault: Fault) -> TemplateError {
        let line = self.line;
        match fault {
            Fault::Failed(detail) => TemplateError::Failed { line, detail },
            Fault::Refused(message) => TemplateError::Refused { message },
            Fault::Nesting => TemplateError::Nesting { line },
            Fault::Fuel => TemplateError::OutOfFuel {
                fuel: self.limits.fuel,
                line,
            },
            Fault::Recursion => TemplateError::Recursion {
                limit: self.limits.recursion,
                line,
            },
            Fault::Output => TemplateError::OutputTooLong {
                limit: self.limits.output,
                line,
            },
        }
    }

    /// Before a block, an expression or a call.
    pub(super) fn enter(&mut self) -> Res<()> {
        self.meter.pay(1)?;
        self.depth += 1;
        if self.depth > self.limits.recursion {
            return Err(Fault::Recursion);
        }
        Ok(())
    }

    /// After it. A fault ends the rendering, so only success leaves.
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The value of a name, `None` where it has none.
    pub(super) fn name(&self, name: &str) -> Res<Option<Value>> {
        let mut at = Some(self.scope);
        while let Some(i) = at {
            self.meter.pay(1)?;
            if let Some(value) = self.scopes[i].names.get(name) {
                return Ok(Some(value.clone()));
            }
            at = self.scopes[i].parent;
        }
        Ok(None)
    }

    fn define(&mut self, name: &'t str, value: Value) -> Res<()> {
        self.meter.pay(3)?;
        self.scopes[self.scope].names.insert(name, value);
        Ok(())
    }

    /// Runs `work` in a scope of its own inside of `parent`.
    fn scoped<T>(&mut self, parent: usize, work: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        self.meter.pay(2)?;
        let (outer, new) = (self.scope, self.scopes.len());
        self.serial += 1;
        self.scopes.push(Scope {
            names: BTreeMap::new(),
            parent: Some(parent),
            serial: self.serial,
        });
        self.scope = new;
        let result = work(self);
        self.scopes.truncate(new);
        self.scope = outer;
        result
    }

    /// The text that `work` prints.
    fn collected(&mut self, work: impl FnOnce(&mut Self) -> Res<()>) -> Res<Value> {
        self.meter.pay(1)?;
        self.out.push(String::new());
        work(self)?;
        let text = self.out.pop().unwrap_or_default();
        self.meter.text(&text)
    }

    fn print(&mut self, text: &str) -> Res<()> {
        self.meter.pay_text(text.len())?;
        let limit = self.limits.output;
        let Some(out) = self.out.last_mut() else {
            return Err(Fault::Output);
        };
        if text.len() > limit.saturating_sub(out.len()) {
            return Err(Fault::Output);
        }
        out.push_str(text);
        Ok(())
    }

    fn print_value(&mut self, value: &Value) -> Res<()> {
        match value.as_str() {
            Some(text) => self.print(text),
            None => {
                let text = python::str(value, &self.meter)?;
                self.print(&text)
            }
        }
    }

    fn block(&mut self, body: &'t [Stmt<'t>]) -> Res<Flow> {
        self.enter()?;
        for statement in body {
            match self.statement(statement)? {
                Flow::Next => {}
                end => {
                    self.leave();
                    return Ok(end);
                }
            }
        }
        self.leave();
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &'t Stmt<'t>) -> Res<Flow> {
        self.meter.pay(1)?;
        self.line = statement.line;
        match &statement.node {
            StmtNode::Data(text) => self.print(text)?,
            StmtNode::Print(all) => {
                for expr in all {
                    let value = self.eval(expr)?;
                    self.print_value(&value)?;
                }
            }
            StmtNode::If {
                branches,
                otherwise,
            } => {
                for (test, body) in branches {
                    self.meter.pay(1)?;
                    if self.eval(test)?.truth() {
                        return self.block(body);
                    }
                }
                return self.block(otherwise);
            }
            StmtNode::For(l) => {
                let mut items = self.eval(&l.over)?;
                // Tools that are not there are None, as with transformers, which fails here. Templates that
                // were written for tools that are undefined then mean that there is nothing to go through.
                if items.is_none() && matches!(&*l.over.node, Node::Name("tools")) {
                    items = Value::UNDEFINED;
                }
                let index = if l.recursive {
                    self.meter.pay(1)?;
                    self.recursive.push((l, self.place()));
                    Some(self.recursive.len() - 1)
                } else {
                    None
                };
                self.run_loop(l, &items, 0, index)?;
            }
            StmtNode::Set(target, expr) => {
                let value = self.eval(expr)?;
                self.assign(target, value)?;
            }
            StmtNode::SetBlock {
                target,
                filter,
                body,
            } => {
                let text = self.body(body)?;
                let value = match filter {
                    Some(filter) => self.filter_chain(filter, text)?,
                    None => text,
                };
                self.assign(target, value)?;
            }
            StmtNode::Filter { filter, body } => {
                let text = self.body(body)?;
                let value = self.filter_chain(filter, text)?;
                self.print_value(&value)?;
            }
            StmtNode::With { pairs, body } => {
                // None of the values sees a name that another one is given.
                let mut values = Vec::with_capacity(pairs.len());
                for (_, expr) in pairs {
                    values.push(self.eval(expr)?);
                }
                return self.scoped(self.scope, |m| {
                    for ((target, _), value) in pairs.iter().zip(values) {
                        m.assign(target, value)?;
                    }
                    m.block(body)
                });
            }
            StmtNode::Macro(decl) => {
                let value = self.macro_value(decl)?;
                self.define(decl.name, value)?;
            }
            StmtNode::Call {
                callee,
                args,
                block,
            } => {
                let caller = self.macro_value(block)?;
                let value = self.call(callee, args, Some(caller))?;
                self.print_value(&value)?;
            }
            StmtNode::Scope(body) => return self.scoped(self.scope, |m| m.block(body)),
            StmtNode::Block { scoped, body } => {
                let parent = if *scoped { self.scope } else { 0 };
                return self.scoped(parent, |m| m.block(body));
            }
            StmtNode::Continue => return Ok(Flow::Continue),
            StmtNode::Break => return Ok(Flow::Break),
        }
        Ok(Flow::Next)
    }

    fn macro_value(&mut self, decl: &'t Macro<'t>) -> Res<Value> {
        self.meter.pay(1)?;
        self.macros.push((decl, self.place()));
        Ok(Value(Kind::Macro(self.macros.len() - 1)))
    }

    fn place(&self) -> Place {
        Place {
            scope: self.scope,
            serial: self.scopes[self.scope].serial,
        }
    }

    /// The scope of a place, while it lasts.
    fn lasting(&self, place: Place, what: &str) -> Res<usize> {
        match self.scopes.get(place.scope) {
            Some(scope) if scope.serial == place.serial => Ok(place.scope),
            _ => fail(format!(
                "{what} is called outside of the block that it was defined in, which is not supported"
            )),
        }
    }

    /// The name of a macro.
    pub(super) fn macro_name(&self, index: usize) -> &'t str {
        self.macros[index].0.name
    }

    /// The text of a block with names of its own.
    fn body(&mut self, body: &'t [Stmt<'t>]) -> Res<Value> {
        self.collected(|m| m.scoped(m.scope, |m| m.block(body).map(|_| ())))
    }

    fn run_loop(
        &mut self,
        l: &'t For<'t>,
        items: &Value,
        depth: usize,
        recursive: Option<usize>,
    ) -> Res<()> {
        let mut items = self.iterate(items)?;
        if let Some(filter) = &l.filter {
            let mut kept = Vec::new();
            for item in items {
                let keep = self.scoped(self.scope, |m| {
                    m.assign(&l.target, item.clone())?;
                    Ok(m.eval(filter)?.truth())
                })?;
                if keep {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            return self.scoped(self.scope, |m| m.block(&l.otherwise).map(|_| ()));
        }
        let count = items.len();
        let items = self.meter.list(items)?;
        self.meter.pay(1)?;
        self.changed.push(None);
        let changed = self.changed.len() - 1;
        for index in 0..count {
            let item = items.items().map_or(Value::UNDEFINED, |i| i[index].clone());
            let state = deep(Value(Kind::Loop(Arc::new(Loop {
                items: items.clone(),
                index,
                depth,
                recursive,
                changed,
            }))))?;
            let flow = self.scoped(self.scope, |m| {
                m.assign(&l.target, item)?;
                m.define("loop", state)?;
                m.block(&l.body)
            })?;
            if let Flow::Break = flow {
                break;
            }
        }
        Ok(())
    }

    /// `loop(items)` inside of a recursive loop.
    pub(super) fn call_loop(&mut self, state: &Loop, args: Args) -> Res<Value> {
        let Some((index, (l, place))) = state.recursive.map(|i| (i, self.recursive[i])) else {
            return fail("loop() is called in a loop that is not recursive");
        };
        let scope = self.lasting(place, "loop()")?;
        let [items] = args.bind("loop", ["iterable"])?;
        let items = items.unwrap_or(Value::UNDEFINED);
        let depth = state.depth + 1;
        self.collected(|m| {
            m.scoped(scope, |m| {
                m.enter()?;
                m.run_loop(l, &items, depth, Some(index))?;
                m.leave();
                Ok(())
            })
        })
    }

    pub(super) fn call_macro(&mut self, index: usize, args: Args) -> Res<Value> {
        let (decl, place) = self.macros[index];
        let scope = self.lasting(place, "a macro")?;
        let count = decl.args.len();
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        self.collected(|m| {
            m.scoped(scope, |m| {
                for (i, name) in decl.args.iter().enumerate() {
                    m.meter.pay(1 + named.len())?;
                    let given = named.iter().position(|(n, _)| **n == **name);
                    let value = match (positional.next(), given) {
                        (Some(_), Some(_)) if !decl.reads.kwargs => {
                            return fail(format!("macro '{}' is given '{name}' twice", decl.name));
                        }
                        (Some(value), _) => value,
                        (None, Some(at)) => named.remove(at).1,
                        // Defaults belong to the last arguments.
                        (None, None) => match (i + decl.defaults.len()).checked_sub(count) {
                            Some(at) => m.eval(&decl.defaults[at])?,
                            None => Value::UNDEFINED,
                        },
                    };
                    m.define(name, value)?;
                }
                if decl.reads.caller && !decl.args.contains(&"caller") {
                    let at = named.iter().position(|(n, _)| **n == *"caller");
                    let caller = at.map_or(Value::UNDEFINED, |at| named.remove(at).1);
                    m.define("caller", caller)?;
                }
                if decl.reads.kwargs {
                    let mut map = Map::default();
                    for (name, value) in named {
                        m.insert(&mut map, name.into(), value)?;
                    }
                    m.define("kwargs", deep(map.into())?)?;
                } else if let Some((name, _)) = named.first() {
                    return fail(format!("macro '{}' has no argument '{name}'", decl.name));
                }
                let rest: Vec<Value> = positional.collect();
                if decl.reads.varargs {
                    m.meter.pay(rest.len())?;
                    let rest = m.meter.tuple(rest)?;
                    m.define("varargs", rest)?;
                } else if !rest.is_empty() {
                    return fail(format!(
                        "macro '{}' takes not more than {count} arguments",
                        decl.name
                    ));
                }
                m.enter()?;
                m.block(&decl.body)?;
                m.leave();
                Ok(())
            })
        })
    }

    /// A generator of values that are paid for: what is taken of it is gone.
    pub(super) fn generator(&self, items: Vec<Value>) -> Res<Value> {
        self.meter.pay(2)?;
        let mut generators = self.generators.borrow_mut();
        generators.push(items.into());
        Ok(Value(Kind::Generator(generators.len() - 1)))
    }

    /// The next value of a generator.
    pub(super) fn next(&self, index: usize) -> Option<Value> {
        self.generators.borrow_mut()[index].pop_front()
    }

    /// The elements that a `for` runs over; a generator has none of them any more.
    pub(super) fn iterate(&self, value: &Value) -> Res<Vec<Value>> {
        match &value.0 {
            Kind::Undefined => Ok(Vec::new()),
            Kind::List(list) => {
                self.meter.pay(list.items.len())?;
                Ok(list.items.clone())
            }
            Kind::Map(map) => {
                self.meter.pay(map.entries.len())?;
                Ok(map.entries.iter().map(|(k, _)| k.clone()).collect())
            }
            Kind::Text(text) => {
                // Each letter is a text of its own.
                self.meter.pay(2 * text.text.len())?;
                Ok(text
                    .text
                    .char_indices()
                    .map(|(i, c)| Value::from(&text.text[i..i + c.len_utf8()]))
                    .collect())
            }
            Kind::Generator(index) => {
                let items = std::mem::take(&mut self.generators.borrow_mut()[*index]);
                Ok(items.into())
            }
            _ => fail(format!("'{}' object is not iterable", value.kind())),
        }
    }

    fn assign(&mut self, target: &'t Target<'t>, value: Value) -> Res<()> {
        match target {
            Target::Name(name) => self.define(name, value),
            Target::Tuple(targets) => {
                let items = self.iterate(&value)?;
                if items.len() != targets.len() {
                    return fail(format!(
                        "{} values for {} names",
                        items.len(),
                        targets.len()
                    ));
                }
                self.enter()?;
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item)?;
                }
                self.leave();
                Ok(())
            }
            Target::Attribute(of, name) => {
                let Some(Value(Kind::Namespace(index))) = self.name(of)? else {
                    return fail("cannot assign attribute on non-namespace object");
                };
                self.meter.pay_text(4 * STEP_BYTES + name.len())?;
                self.namespaces[index].insert((*name).into(), value);
                Ok(())
            }
        }
    }
}

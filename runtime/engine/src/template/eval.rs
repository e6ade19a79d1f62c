//! Statements: from the parsed tree to the prompt.

use super::machine::{Args, Fault, Meter, Res, deep, fail};
use super::value::{Kind, Loop, Value};
use super::{Clock, Input, Limits, MAX_NESTING, TemplateError, python, source};
use minijinja::machinery::ast::{self, Expr, Stmt};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Deepest that a caller may let a template nest: the stack has 16 KiB for each.
const MAX_RECURSION: usize = 1000;

/// Names of one block.
#[derive(Default)]
struct Scope<'t> {
    names: BTreeMap<&'t str, Value>,
    parent: Option<usize>,
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
    /// Texts that are collected; the first is the prompt.
    out: Vec<String>,
    /// Macros and the scopes that they were defined in.
    macros: Vec<(&'t ast::Macro<'t>, usize)>,
    /// Recursive loops and their scopes.
    recursive: Vec<(&'t ast::ForLoop<'t>, usize)>,
    pub(super) namespaces: Vec<BTreeMap<Arc<str>, Value>>,
    pub(super) changed: Vec<Option<Value>>,
}

/// Renders on the stack of the caller.
pub(super) fn render(text: &str, input: &Input, limits: &Limits) -> Result<String, TemplateError> {
    let text = source::prepare(text)?;
    let tree = source::tree(&text)?;
    let Stmt::Template(template) = &tree else {
        return Err(TemplateError::Broken);
    };
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
        }],
        scope: 0,
        out: vec![String::new()],
        macros: Vec::new(),
        recursive: Vec::new(),
        namespaces: Vec::new(),
        changed: Vec::new(),
    };
    match machine.block(&template.children) {
        Ok(_) => Ok(machine.out.swap_remove(0)),
        Err(fault) => Err(machine.explain(fault)),
    }
}

fn names(input: &Input) -> BTreeMap<&str, Value> {
    let mut names: BTreeMap<&str, Value> = BTreeMap::new();
    for (name, value) in &input.variables {
        names.insert(name, value.clone());
    }
    names.insert("messages", input.messages.clone());
    names.insert("tools", input.tools.clone().unwrap_or_default());
    names.insert("add_generation_prompt", input.add_generation_prompt.into());
    names.insert("bos_token", input.bos_token.as_str().into());
    names.insert("eos_token", input.eos_token.as_str().into());
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
        self.scopes.push(Scope {
            names: BTreeMap::new(),
            // A macro that outlived the block it was defined in sees the template's names.
            parent: Some(if parent < new { parent } else { 0 }),
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
        match statement {
            Stmt::EmitRaw(raw) => {
                self.line = raw.span().start_line as usize;
                self.print(raw.raw)?;
            }
            Stmt::EmitExpr(emit) => {
                let value = self.eval(&emit.expr)?;
                self.print_value(&value)?;
            }
            Stmt::IfCond(condition) => return self.condition(condition),
            Stmt::ForLoop(l) => {
                let items = self.eval(&l.iter)?;
                let index = if l.recursive {
                    self.meter.pay(1)?;
                    self.recursive.push((l, self.scope));
                    Some(self.recursive.len() - 1)
                } else {
                    None
                };
                self.run_loop(l, &items, 0, index)?;
            }
            Stmt::Set(set) => {
                let value = self.eval(&set.expr)?;
                self.assign(&set.target, value)?;
            }
            Stmt::SetBlock(set) => {
                let text = self.body(&set.body)?;
                let value = match &set.filter {
                    Some(filter) => self.filter_chain(filter, text)?,
                    None => text,
                };
                self.assign(&set.target, value)?;
            }
            Stmt::FilterBlock(block) => {
                let text = self.body(&block.body)?;
                let value = self.filter_chain(&block.filter, text)?;
                self.print_value(&value)?;
            }
            Stmt::WithBlock(with) => {
                return self.scoped(self.scope, |m| {
                    for (target, expr) in &with.assignments {
                        let value = m.eval(expr)?;
                        m.assign(target, value)?;
                    }
                    m.block(&with.body)
                });
            }
            Stmt::Macro(decl) => {
                self.meter.pay(1)?;
                self.macros.push((decl, self.scope));
                let value = Value(Kind::Macro(self.macros.len() - 1));
                self.define(decl.name, value)?;
            }
            Stmt::CallBlock(block) => {
                self.meter.pay(1)?;
                self.macros.push((&block.macro_decl, self.scope));
                let caller = Value(Kind::Macro(self.macros.len() - 1));
                let value = self.call(&block.call, Some(caller))?;
                self.print_value(&value)?;
            }
            Stmt::Do(statement) => {
                self.call(&statement.call, None)?;
            }
            Stmt::Continue(_) => return Ok(Flow::Continue),
            Stmt::Break(_) => return Ok(Flow::Break),
            Stmt::AutoEscape(_) | Stmt::Template(_) => {
                return fail("a statement that no chat template has");
            }
        }
        Ok(Flow::Next)
    }

    /// Branches one after the other, so that a long chain of them takes no depth.
    fn condition(&mut self, mut condition: &'t ast::IfCond<'t>) -> Res<Flow> {
        loop {
            if self.eval(&condition.expr)?.truth() {
                return self.block(&condition.true_body);
            }
            match condition.false_body.as_slice() {
                [] => return Ok(Flow::Next),
                [Stmt::IfCond(next)] => condition = next,
                body => return self.block(body),
            }
        }
    }

    /// The text of a block with names of its own.
    fn body(&mut self, body: &'t [Stmt<'t>]) -> Res<Value> {
        self.collected(|m| m.scoped(m.scope, |m| m.block(body).map(|_| ())))
    }

    fn run_loop(
        &mut self,
        l: &'t ast::ForLoop<'t>,
        items: &Value,
        depth: usize,
        recursive: Option<usize>,
    ) -> Res<()> {
        let mut items = self.iterate(items)?;
        if let Some(filter) = &l.filter_expr {
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
            return self.scoped(self.scope, |m| m.block(&l.else_body).map(|_| ()));
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
        let Some((index, (l, scope))) = state.recursive.map(|i| (i, self.recursive[i])) else {
            return fail("loop() is called in a loop that is not recursive");
        };
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
        let (decl, scope) = self.macros[index];
        let count = decl.args.len();
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        self.collected(|m| {
            m.scoped(scope, |m| {
                for (i, arg) in decl.args.iter().enumerate() {
                    let Expr::Var(name) = arg else {
                        return fail("an argument of a macro is no name");
                    };
                    m.meter.pay(1 + named.len())?;
                    let given = named.iter().position(|(n, _)| **n == *name.id);
                    let value = match (positional.next(), given) {
                        (Some(_), Some(_)) => {
                            return fail(format!(
                                "macro '{}' is given '{}' twice",
                                decl.name, name.id
                            ));
                        }
                        (Some(value), None) => value,
                        (None, Some(at)) => named.swap_remove(at).1,
                        // Defaults belong to the last arguments.
                        (None, None) => match (i + decl.defaults.len()).checked_sub(count) {
                            Some(at) => m.eval(&decl.defaults[at])?,
                            None => Value::UNDEFINED,
                        },
                    };
                    m.define(name.id, value)?;
                }
                if let Some(at) = named.iter().position(|(n, _)| **n == *"caller") {
                    let caller = named.swap_remove(at).1;
                    m.define("caller", caller)?;
                }
                if let Some((name, _)) = named.first() {
                    return fail(format!("macro '{}' has no argument '{name}'", decl.name));
                }
                let rest: Vec<Value> = positional.collect();
                m.meter.pay(rest.len())?;
                let rest = m.meter.tuple(rest)?;
                m.define("varargs", rest)?;
                m.enter()?;
                m.block(&decl.body)?;
                m.leave();
                Ok(())
            })
        })
    }

    /// The elements that a `for` runs over.
    pub(super) fn iterate(&self, value: &Value) -> Res<Vec<Value>> {
        match &value.0 {
            // Python refuses None here; templates that are written for "no tools" as undefined then fail.
            Kind::Undefined | Kind::None => Ok(Vec::new()),
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
            _ => fail(format!("'{}' object is not iterable", value.kind())),
        }
    }

    fn assign(&mut self, target: &'t Expr<'t>, value: Value) -> Res<()> {
        match target {
            Expr::Var(name) => self.define(name.id, value),
            Expr::List(list) => {
                let items = self.iterate(&value)?;
                if items.len() != list.items.len() {
                    return fail(format!(
                        "{} values for {} names",
                        items.len(),
                        list.items.len()
                    ));
                }
                self.enter()?;
                for (target, item) in list.items.iter().zip(items) {
                    self.assign(target, item)?;
                }
                self.leave();
                Ok(())
            }
            Expr::GetAttr(attribute) => {
                let Kind::Namespace(index) = self.eval(&attribute.expr)?.0 else {
                    return fail("cannot assign attribute on non-namespace object");
                };
                self.meter
                    .pay_text(4 * super::STEP_BYTES + attribute.name.len())?;
                self.namespaces[index].insert(attribute.name.into(), value);
                Ok(())
            }
            _ => fail("cannot assign to this"),
        }
    }
}

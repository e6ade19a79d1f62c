//! Tests: `value is name(args)`.

use super::eval::Machine;
use super::lists;
use super::machine::{Args, Res, fail};
use super::value::{Kind, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// Tests of a value alone.
const ALONE: [&str; 21] = [
    "boolean",
    "callable",
    "defined",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "integer",
    "iterable",
    "lower",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// Tests that compare it with an argument.
const COMPARING: [&str; 18] = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "divisibleby",
    "eq",
    "equalto",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "le",
    "lessthan",
    "lt",
    "ne",
    "sameas",
];

fn exists(name: &str) -> bool {
    ALONE.contains(&name) || COMPARING.contains(&name)
}

impl Machine<'_> {
    /// Whether the value passes the test of that name.
    pub(super) fn check(&mut self, name: &str, value: &Value, args: Args) -> Res<bool> {
        let m = &self.meter;
        m.pay(1)?;
        if !exists(name) {
            return fail(format!("there is no test '{name}'"));
        }
        let [other] = args.positional(name, 0)?;
        let other = other.as_ref();
        if other.is_some() && ALONE.contains(&name) {
            return fail(format!("the test '{name}' takes no argument"));
        }
        let needs = || match other {
            Some(other) => Ok(other),
            None => fail(format!("the test '{name}' needs an argument")),
        };
        let ordered = |test: fn(Ordering) -> bool| -> Res<bool> {
            Ok(lists::order(value, needs()?, m)?.is_some_and(test))
        };
        let remainder = |by: i128| match value.as_int().map(|n| n.checked_rem(by)) {
            Some(Some(n)) => Ok(n),
            Some(None) => fail("division by zero"),
            None => fail(format!(
                "the test '{name}' takes an int, found '{}'",
                value.kind()
            )),
        };
        let text = |test: fn(char) -> bool, not: fn(char) -> bool| -> Res<bool> {
            let text = super::python::str(value, m)?;
            m.pay_text(text.len())?;
            Ok(text.chars().any(test) && !text.chars().any(not))
        };
        Ok(match name {
            "defined" => !value.is_undefined(),
            "undefined" => value.is_undefined(),
            "none" => value.is_none(),
            "boolean" => value.as_bool().is_some(),
            "true" => value.as_bool() == Some(true),
            "false" => value.as_bool() == Some(false),
            "integer" => matches!(value.0, Kind::Int(_)),
            "float" => matches!(value.0, Kind::Float(_)),
            "number" => value.as_float().is_some(),
            "string" => value.as_str().is_some(),
            "mapping" => matches!(value.0, Kind::Map(_)),
            "sequence" => match &value.0 {
                Kind::List(list) => !list.form.is_view(),
                Kind::Map(_) | Kind::Text(_) | Kind::Undefined => true,
                _ => false,
            },
            "iterable" => matches!(
                value.0,
                Kind::List(_)
                    | Kind::Map(_)
                    | Kind::Text(_)
                    | Kind::Undefined
                    | Kind::Generator(_)
                    | Kind::Loop(_)
            ),
            "callable" => matches!(
                value.0,
                Kind::Function(_)
                    | Kind::Method(_)
                    | Kind::Macro(_)
                    | Kind::Loop(_)
                    | Kind::Joiner(_)
                    | Kind::Undefined
            ),
            "escaped" => value.is_safe(),
            "lower" => text(char::is_lowercase, char::is_uppercase)?,
            "upper" => text(char::is_uppercase, char::is_lowercase)?,
            "even" => remainder(2)? == 0,
            "odd" => remainder(2)?.abs() == 1,
            "divisibleby" => match needs()?.as_int() {
                Some(by) => remainder(by)? == 0,
                None => return fail("divisibleby takes an int"),
            },
            "eq" | "==" | "equalto" => lists::equal(value, needs()?, m)?,
            "ne" | "!=" => !lists::equal(value, needs()?, m)?,
            "sameas" => {
                let other = needs()?;
                match (&value.0, &other.0) {
                    (Kind::List(a), Kind::List(b)) => Arc::ptr_eq(a, b),
                    (Kind::Map(a), Kind::Map(b)) => Arc::ptr_eq(a, b),
                    // Each time that a name is looked for, another one is made.
                    (Kind::Undefined, _) => false,
                    _ => value.kind() == other.kind() && lists::equal(value, other, m)?,
                }
            }
            "lt" | "<" | "lessthan" => ordered(Ordering::is_lt)?,
            "le" | "<=" => ordered(Ordering::is_le)?,
            "gt" | ">" | "greaterthan" => ordered(Ordering::is_gt)?,
            "ge" | ">=" => ordered(Ordering::is_ge)?,
            "in" => self.contains(needs()?, value)?,
            "test" => value.as_str().is_some_and(exists),
            // "filter": whether a filter of that name exists.
            _ => value.as_str().is_some_and(super::filters::exists),
        })
    }
}

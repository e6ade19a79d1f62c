//! What every part of the evaluation shares: fuel, faults, arguments.

use super::limits::{MAX_NESTING, STEP_BYTES};
use super::value::Value;
use std::cell::Cell;
use std::sync::Arc;

/// Why an evaluation ends early; the line is added where it leaves the machine.
#[derive(Debug)]
pub(super) enum Fault {
    Failed(String),
    Refused(String),
    Fuel,
    Recursion,
    Nesting,
    Output,
}

pub(super) type Res<T> = Result<T, Fault>;

/// A failure in words.
pub(super) fn fail<T>(detail: impl Into<String>) -> Res<T> {
    Err(Fault::Failed(detail.into()))
}

/// The fuel that is left.
pub(super) struct Meter(pub(super) Cell<u64>);

impl Meter {
    /// Pays for work that is about to be done.
    pub(super) fn pay(&self, steps: usize) -> Res<()> {
        let left = self.0.get();
        match left.checked_sub(steps as u64) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => {
                self.0.set(0);
                Err(Fault::Fuel)
            }
        }
    }

    /// Pays for text that is about to be read or made.
    pub(super) fn pay_text(&self, bytes: usize) -> Res<()> {
        self.pay(1 + bytes / STEP_BYTES)
    }

    /// Makes a text.
    pub(super) fn text(&self, text: &str) -> Res<Value> {
        self.pay_text(text.len())?;
        Ok(Value::from(text))
    }

    /// Makes a list of values that are paid for.
    pub(super) fn list(&self, items: Vec<Value>) -> Res<Value> {
        deep(Value::from(items))
    }

    /// Makes a tuple of values that are paid for.
    pub(super) fn tuple(&self, items: Vec<Value>) -> Res<Value> {
        deep(Value::tuple(items))
    }
}

/// A value that was just made, unless it is nested too deep.
pub(super) fn deep(value: Value) -> Res<Value> {
    if value.depth() > MAX_NESTING {
        return Err(Fault::Nesting);
    }
    Ok(value)
}

/// Arguments of a call.
#[derive(Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Arc<str>, Value)>,
}

impl Args {
    /// The arguments, none of which has a name.
    pub(super) fn all_positional(self, of: &str) -> Res<Vec<Value>> {
        match self.named.first() {
            None => Ok(self.positional),
            Some((name, _)) => fail(format!("{of} has no argument '{name}'")),
        }
    }

    /// Arguments without names, at least `least` and at most `N` of them.
    pub(super) fn positional<const N: usize>(
        self,
        of: &str,
        least: usize,
    ) -> Res<[Option<Value>; N]> {
        let given = self.all_positional(of)?;
        if given.len() < least || given.len() > N {
            let expected = match least == N {
                true => format!("{N}"),
                false => format!("{least} to {N}"),
            };
            return fail(format!(
                "{of} takes {expected} arguments, found {}",
                given.len()
            ));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(given) {
            *slot = Some(value);
        }
        Ok(bound)
    }

    /// The arguments in the order of `names`; what is not given is `None`.
    pub(super) fn bind<const N: usize>(
        self,
        of: &str,
        names: [&str; N],
    ) -> Res<[Option<Value>; N]> {
        if self.positional.len() > N {
            return fail(format!(
                "{of} takes at most {N} arguments, found {}",
                self.positional.len()
            ));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let Some(i) = names.iter().position(|n| **n == *name) else {
                return fail(format!("{of} has no argument '{name}'"));
            };
            if bound[i].replace(value).is_some() {
                return fail(format!("{of} is given '{name}' twice"));
            }
        }
        Ok(bound)
    }
}

/// A text argument.
pub(super) fn text<'a>(value: &'a Option<Value>, of: &str) -> Res<&'a str> {
    match value {
        Some(v) => match v.as_str() {
            Some(text) => Ok(text),
            None => fail(format!("{of} takes a str, found '{}'", v.kind())),
        },
        None => fail(format!("{of} needs an argument")),
    }
}

/// A number of the arguments that has a default.
pub(super) fn whole(value: &Option<Value>, default: i128, of: &str) -> Res<i128> {
    match value {
        None => Ok(default),
        Some(v) => match v.as_int() {
            Some(n) => Ok(n),
            None if v.is_none() => Ok(default),
            None => fail(format!("{of} takes an int, found '{}'", v.kind())),
        },
    }
}

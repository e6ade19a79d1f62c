//! One rendering, from the environment to the prompt.

use super::error::TemplateError;
use super::{Clock, Input, Limits, json, python};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use std::io::{self, Write};

/// Deepest value that is printed, compared or serialized by the functions of this module.
pub(super) const MAX_NESTING: usize = 100;

/// Stack of a rendering in bytes. Dropping a value recurses through its levels, of which the default fuel
/// pays for some 300,000; the system commits only pages that are touched.
#[cfg(not(target_arch = "wasm32"))]
const STACK: usize = 512 << 20;

/// Runs on a stack that any value fits which fuel can make.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn with_stack<T: Send>(
    work: impl FnOnce() -> Result<T, TemplateError> + Send,
) -> Result<T, TemplateError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("chat template".into())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(TemplateError::Thread)?
            .join()
            .unwrap_or(Err(TemplateError::Broken))
    })
}

/// WebAssembly has one stack.
#[cfg(target_arch = "wasm32")]
pub(super) fn with_stack<T>(
    work: impl FnOnce() -> Result<T, TemplateError>,
) -> Result<T, TemplateError> {
    work()
}

/// A fault that keeps its kind on its way through the interpreter.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Refused(String),
    #[error("a value is nested too deep")]
    Nesting,
    #[error("the output is too long")]
    OutputTooLong,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new(ErrorKind::InvalidOperation, fault.to_string()).with_source(fault)
    }
}

/// Renders on the stack of the caller.
pub(super) fn render(
    source: &str,
    input: &Input,
    limits: &Limits,
) -> Result<String, TemplateError> {
    let source = without_generation(source);
    let environment = environment(input, limits).map_err(|e| explain(&e, limits))?;
    let template = environment
        .template_from_str(&source)
        .map_err(|e| explain(&e, limits))?;
    let mut out = Capped {
        bytes: Vec::new(),
        limit: limits.output,
    };
    template
        .render_captured_to(context(input), &mut out)
        .map_err(|e| explain(&e, limits))?;
    String::from_utf8(out.bytes).map_err(|_| TemplateError::Broken)
}

fn environment(input: &Input, limits: &Limits) -> Result<Environment<'static>, Error> {
    let mut e = Environment::new();
    e.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    e.set_fuel(Some(limits.fuel));
    e.set_recursion_limit(limits.recursion);
    e.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    e.set_formatter(print);
    e.set_unknown_method_callback(python::method);
    e.add_filter("tojson", json::tojson);
    e.add_filter("string", python::string);
    // Prints the interpreter's own notation, at any size.
    e.remove_filter("pprint");
    e.remove_function("debug");
    e.add_function("raise_exception", |message: String| -> Result<(), Error> {
        Err(Fault::Refused(message).into())
    });
    let clock = input.clock.clone();
    e.add_function("strftime_now", move |format: &str| match &clock {
        Clock::Text(text) => text.clone(),
        Clock::Unix(seconds) => python::strftime(*seconds, format),
    });
    Ok(e)
}

/// The variables. What the caller names beside those of every template comes first, so it cannot hide them.
fn context(input: &Input) -> Value {
    let own = [
        ("messages", input.messages.clone()),
        ("tools", input.tools.clone().unwrap_or(Value::from(()))),
        (
            "add_generation_prompt",
            Value::from(input.add_generation_prompt),
        ),
        ("bos_token", Value::from(input.bos_token.as_str())),
        ("eos_token", Value::from(input.eos_token.as_str())),
    ];
    input
        .variables
        .iter()
        .map(|(name, value)| (Value::from(name.as_str()), value.clone()))
        .chain(own.map(|(name, value)| (Value::from(name), value)))
        .collect::<Vec<_>>()
        .into_iter()
        .collect::<minijinja::value::ValueMap>()
        .into()
}

/// `{{ value }}`: as Python prints it.
fn print(out: &mut Output, state: &State, value: &Value) -> Result<(), Error> {
    check(state, value)?;
    match value.kind() {
        ValueKind::Number if !value.is_integer() => {
            let text = f64::try_from(value.clone()).map_or(value.to_string(), python::float);
            out.write_str(&text).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// Pays for every element of a value.
///
/// Errors: out of fuel; a value nested deeper than [`MAX_NESTING`].
pub(super) fn check(state: &State, value: &Value) -> Result<(), Error> {
    if value.as_object().is_none() {
        return match value.as_str() {
            Some(text) => state.consume_fuel(text.len() as u64 / 64),
            None => Ok(()),
        };
    }
    let mut open = vec![(value.clone(), 0usize)];
    while let Some((value, depth)) = open.pop() {
        state.consume_fuel(1 + value.as_str().map_or(0, str::len) as u64 / 64)?;
        if depth > MAX_NESTING {
            return Err(Fault::Nesting.into());
        }
        let Some(object) = value.as_object() else {
            continue;
        };
        if value.kind() == ValueKind::Map {
            for (key, item) in object.try_iter_pairs().into_iter().flatten() {
                state.consume_fuel(1)?;
                open.extend([(key, depth + 1), (item, depth + 1)]);
            }
        } else if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
            for item in object.try_iter().into_iter().flatten() {
                state.consume_fuel(1)?;
                open.push((item, depth + 1));
            }
        }
    }
    Ok(())
}

/// A buffer that takes so much and no more.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Capped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > self.limit - self.bytes.len() {
            return Err(io::Error::other(Fault::OutputTooLong));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `{% generation %}` marks what a training loss counts; a prompt takes its content as it is.
fn without_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let inner = &tag[..end];
        match inner.trim_matches(['-', '+']).trim() {
            "generation" => out.push_str(&inner.replace("generation", "if true")),
            "endgeneration" => out.push_str(&inner.replace("endgeneration", "endif")),
            _ => {
                rest = tag;
                continue;
            }
        }
        rest = &tag[end..];
    }
    out.push_str(rest);
    out
}

/// The error of the interpreter in this crate's terms.
fn explain(error: &Error, limits: &Limits) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut line = 0;
    while let Some(e) = cause {
        let inner = e
            .downcast_ref::<io::Error>()
            .and_then(|e| e.get_ref())
            .and_then(|e| e.downcast_ref::<Fault>());
        if let Some(fault) = e.downcast_ref::<Fault>().or(inner) {
            return match fault {
                Fault::Refused(message) => TemplateError::Refused {
                    message: message.clone(),
                },
                Fault::Nesting => TemplateError::Nesting { limit: MAX_NESTING },
                Fault::OutputTooLong => TemplateError::OutputTooLong {
                    limit: limits.output,
                },
            };
        }
        if let Some(e) = e.downcast_ref::<Error>() {
            if e.kind() == ErrorKind::OutOfFuel {
                return TemplateError::OutOfFuel { fuel: limits.fuel };
            }
            if e.detail() == Some("recursion limit exceeded") {
                return TemplateError::Recursion {
                    limit: limits.recursion,
                };
            }
            line = e.line().unwrap_or(line);
        }
        cause = e.source();
    }
    let detail = error.detail().map_or(error.kind().to_string(), |d| {
        format!("{}: {d}", error.kind())
    });
    match error.kind() {
        ErrorKind::SyntaxError => TemplateError::Syntax { line, detail },
        _ => TemplateError::Failed { line, detail },
    }
}

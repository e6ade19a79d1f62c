//! A rendering, on a stack that is large enough.

use super::error::TemplateError;
use super::eval;
use super::input::Input;
use super::limits::Limits;

/// Renders a template.
///
/// # Errors
/// The template is not Jinja, refuses the conversation, fails on it, or takes more than a limit.
pub fn render(source: &str, input: &Input, limits: &Limits) -> Result<String, TemplateError> {
    with_stack(|| eval::render(source, input, limits))
}

/// Stack of a rendering in bytes, 16 KiB for each of the deepest thousand levels; the system commits only
/// pages that are touched.
#[cfg(not(target_arch = "wasm32"))]
const STACK: usize = 16 << 20;

/// Runs on a stack of known size, and turns a panic of the parser into an error.
#[cfg(not(target_arch = "wasm32"))]
fn with_stack<T: Send>(
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
fn with_stack<T>(work: impl FnOnce() -> Result<T, TemplateError>) -> Result<T, TemplateError> {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WebAssembly's usual stack holds whatever the checks let through.
    #[test]
    fn a_stack_of_one_mebibyte_is_enough() {
        let nested =
            |a: &str, b: &str, n: usize| format!("{{{{ {}1{} }}}}", a.repeat(n), b.repeat(n));
        let sources = [
            "{% macro m(x) %}{{ [[[m([x])]]]|map('first')|list }}{% endmacro %}{{ m(1) }}".to_owned(),
            "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}".into(),
            "{% for x in [[1]] recursive %}{% if x %}{{ loop([x])|upper }}{% endif %}{% endfor %}".into(),
            "{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = [ns.x] %}{% endfor %}\
             {{ ns.x == [ns.x] }}{{ ns.x }}{{ ns.x|tojson }}"
                .into(),
            nested("not ", "", 990),
            nested("-", "", 990),
            nested("", ".a", 490),
            nested("", "+1", 490),
            nested("", "|list", 490),
            nested("", "[0]", 330),
            nested("", " if 1 else 1", 240),
            nested("[", "]", 490),
            nested("(", ")", 70),
            nested("x(", ")", 70),
            nested("{1:", "}", 70),
            format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(99)),
            format!("{}{}", "{% if 1 %}".repeat(140), "{% endif %}".repeat(140)),
            format!("{}{}", "{% for x in 'a' %}".repeat(140), "{% endfor %}".repeat(140)),
            format!("{}{}", "{% set a %}".repeat(140), "{% endset %}".repeat(140)),
        ];
        let work = move || {
            for source in sources {
                let _ = eval::render(&source, &Input::default(), &Limits::default());
            }
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        thread.spawn(work).unwrap().join().unwrap();
    }
}

//! Hostile templates: each ends in bounded time, memory and stack, with a prompt or an error of its own.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

#[path = "../../../tests/tests/counting/mod.rs"]
mod counting;

use carat_text::template::{Input, Limits, MAX_SOURCE, TemplateError, Value, render};
use std::time::{Duration, Instant};

/// Most memory of a rendering with the default limits: two million steps of 32 bytes, of which some values
/// take twice, and buffers that grow by doubling.
const MEMORY: usize = 256 << 20;
/// A tenth of it is enough on an idle machine.
const TIME: Duration = Duration::from_secs(20);

/// Renders and checks what it took.
#[track_caller]
fn bounded(source: &str) -> Result<String, TemplateError> {
    let input = Input {
        messages: serde_json::from_str(r#"[{"role":"user","content":"Hello"}]"#).unwrap(),
        ..Input::default()
    };
    let start = Instant::now();
    let (found, peak, _) = counting::measured(|| render(source, &input, &Limits::default()));
    let took = start.elapsed();
    let shown: String = source.chars().take(200).collect();
    assert!(took < TIME, "{shown}: {took:?}");
    assert!(peak < MEMORY, "{shown}: {} MiB", peak >> 20);
    assert!(!matches!(found, Err(TemplateError::Broken)), "{shown}");
    if took > TIME / 20 || peak > MEMORY / 2 {
        eprintln!(
            "{shown}: {took:?}, {} MiB: {:?}",
            peak >> 20,
            found.as_ref().err()
        );
    }
    found
}

const SETUP: &str = "{% set ns = namespace(x=[1], s='aaaaaaaa', n=0, d={}) %}";
/// A value of 2^60 leaves made of 60 shared lists.
const BUSH: &str = "{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
/// The same of dicts.
const TREE: &str = "{% for i in range(60) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}";
/// A value nested some 100,000 deep.
const DEEP: &str = "{% for j in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}";
/// A list of 2^60 elements.
const LONG: &str = "{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";

/// One test, since the counters are those of the process.
#[test]
fn hostile_templates_end() {
    endless_work_ends();
    values_without_end_end();
    depth_without_end_ends();
    many_small_things_end();
    sources_without_end_end();
    prompts_have_a_longest_length();
}

fn endless_work_ends() {
    let long = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    for body in [
        long,
        "{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s|length }}",
        "{% for i in range(60) %}{% set ns.s = ns.s * 9 %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = ns.s|replace('a', 'aa') %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = ns.s.replace('a', 'aaa') %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|list|length }}",
        "{% for i in range(60) %}{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
        "{% set ns.s = ns.s * 1000000 %}{% for i in range(99999) %}{% set ns.n = ns.s.count('b') %}{% endfor %}",
        "{% set ns.s = ns.s * 1000000 %}{% for i in range(99999) %}{% set ns.n = ns.s|length %}{% set ns.n = ns.s.find('b') %}{% endfor %}",
        "{{ 'a' * 999999999999 }}",
        "{{ [1] * 999999999 }}",
        "{{ 'a'|indent(9999999999) }}",
        "{{ 'a'|center(9999999999) }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '%9999999999d'|format(1) }}",
        "{{ '{:9999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 9999999999) }}",
        "{{ [1]|tojson(indent=9999999999) }}",
        "{{ range(99999999999)|list }}",
        "{{ 2 ** 99999999999 }}",
        "{% for i in range(60) %}{% set ns.s = ns.s|e %}{% set ns.s = '<<<<' ~ ns.s|forceescape ~ ns.s|forceescape %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = '%s%s'|format(ns.s, ns.s) %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = '{0}{0}'.format(ns.s) %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = [ns.s, ns.s]|join(ns.s) %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = ns.s.join([ns.s, ns.s]) %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = (ns.s ~ '\n' ~ ns.s)|indent(99) %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = (ns.s ~ '\n' ~ ns.s)|indent(ns.s) %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = [ns.s, ns.s]|string %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = [ns.s, ns.s]|tojson(indent=9) %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s = (ns.s ~ ns.s)|urlencode %}{% endfor %}",
        "{% for i in range(60) %}{% set ns.s | upper %}{{ ns.s }}ﬀ{{ ns.s }}{% endset %}{% endfor %}",
        "{% macro m(s) %}{{ s }}{{ s }}{% endmacro %}{% for i in range(60) %}{% set ns.s = m(ns.s) %}{% endfor %}",
        "{% macro m(s) %}{{ s }}{{ caller() }}{% endmacro %}{% for i in range(60) %}{% set ns.s %}{% call m(ns.s) %}{{ ns.s }}{% endcall %}{% endset %}{% endfor %}",
        "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% macro m(n) %}{% if n < 60 %}{% set a = m(n + 1) %}{% set b = m(n + 1) %}{% endif %}{% endmacro %}{{ m(0) }}",
        "{% set ns.s = ns.s * 1000000 %}{% for i in range(99999) %}{% set ns.n = ns.s[:-1] %}{% set ns.n = ns.s[i] %}{% endfor %}",
        "{% set ns.s = ns.s * 1000000 %}{% set ns.d = ns.s|list %}",
        "{% set ns.s = ns.s * 1000000 %}{% set ns.d = ns.s.split('a') %}",
        "{% set ns.s = 'a\n' * 1000000 %}{% set ns.d = ns.s.splitlines() %}{% set ns.e = ns.s.splitlines() %}{{ ns.d == ns.e }}",
        "{% set ns.s = 'a' * 100000 %}{{ (ns.s * 100).strip('b' * 100000 ~ 'a') }}{% for i in range(99999) %}{% set ns.n = ns.s.strip(ns.s) %}{% endfor %}",
        "{{ [1]|batch(99999999999, 1)|list }}",
        "{{ [1]|slice(99999999999)|list }}",
        "{{ range(99999)|batch(1)|list|batch(1)|list|batch(1)|list|length }}{% for i in range(99999) %}{{ range(99999)|slice(3)|list|length }}{% endfor %}",
        "{% for i in range(99999) %}{{ range(99999)|sort(reverse=true)|length }}{% endfor %}",
        "{% for i in range(99999) %}{{ range(99999)|map('string')|unique|list|length }}{% endfor %}",
        "{% for i in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
        "{% for i in range(99999) %}{{ -1 in range(99999) }}{% endfor %}",
        "{% for i in range(99999) recursive %}{{ loop(range(99999)) }}{% endfor %}",
        "{{ 'a'.ljust(9999999999) }}",
        "{{ 'a'.zfill(9999999999) }}",
        "{{ '\t'.expandtabs(9999999999) * 999999999 }}",
        "{{ '%.9999999999f' % 1.0 }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ range(0, 999999999999999999999, 99999999999999999)|list|length * 99 }}{{ range(0, 170141183460469231731687303715884105727, -170141183460469231731687303715884105727)|list }}{{ [][99999999999999999999999999:] }}{{ 1 // 0 }}",
        "{% for i in range(99999) %}{% set ns.d = dict(ns.d, **{i|string: i}) %}{% endfor %}",
        "{% macro m() %}{{ varargs|length }}{% endmacro %}{% for i in range(99999) %}{{ m(*range(99999)) }}{% endfor %}",
    ] {
        let error = bounded(&format!("{SETUP}{body}"));
        assert!(
            matches!(
                error,
                Err(TemplateError::OutOfFuel { .. }
                    | TemplateError::Failed { .. }
                    | TemplateError::Recursion { .. }
                    | TemplateError::OutputTooLong { .. })
            ),
            "{body}: {error:?}"
        );
    }
    let error = bounded(long).unwrap_err().to_string();
    assert!(error.contains("loops without end"), "{error}");
}

fn values_without_end_end() {
    for make in [BUSH, TREE, DEEP, LONG] {
        for body in [
            "{{ ns.x }}",
            "{{ ns.x|tojson }}",
            "{{ ns.x|string }}",
            "{{ ns.x ~ '' }}",
            "{{ ns.x|join }}",
            "{{ ''.join(ns.x) }}",
            "{{ '{}'.format(ns.x) }}",
            "{{ '%s' % ns.x }}",
            "{{ '%s'|format(ns.x) }}",
            "{{ ns.x == [ns.x] }}",
            "{{ ns.x < [ns.x] }}",
            "{{ ns.x in [[ns.x]] }}",
            "{{ {ns.x: 1} }}",
            "{{ [ns.x, ns.x]|sort|length }}",
            "{{ [ns.x, [ns.x]]|unique|list|length }}",
            "{{ ns.x|pprint }}",
            "{{ ns.x|upper }}",
            "{{ ns.x|urlencode }}",
            "{{ ns.x|replace('a', 'b') }}",
            "{{ ns.x|first|trim }}",
            "{{ [ns.x]|map('string')|list|length }}",
            "{{ [ns.x, ns.x]|map('length')|sum }}",
            "{{ [ns.x]|groupby(0)|list|length }}",
            "{{ {'a': ns.x}|dictsort(by='value')|length }}",
            "{{ [ns.x].count([ns.x]) }}",
            "{% set y %}{{ ns.x }}{% endset %}{{ y|length }}",
            "{{ raise_exception(ns.x) }}",
            "{{ debug() }}",
            "{{ ns }}",
            "{{ ns.x + 1 }}",
            "{{ 1|default(ns.x) }}",
            "{{ ns.x|list|length }}",
            "{{ ns.x|tojson(indent=3)|length }}",
            "{{ ns.x == ns.x }}",
            "{{ [ns.x] != [[ns.x]] }}",
            "{{ ns.x is eq(ns.x) }}",
            "{{ ns.x is sameas(ns.x) }}",
            "{{ ns.x in [ns.x] }}",
            "{{ [ns.x, ns.x]|select('equalto', ns.x)|list|length }}",
            "{{ {1: ns.x} == {1: ns.x} }}",
            "{{ [ns.x, ns.x]|max|length }}",
            "{{ [ns.x]|index(ns.x) }}",
            "{{ [ns.x, ns.x].index(ns.x) }}",
            "{{ ns.x|items|list|length }}{{ ns.x == 1 }}{{ ns.x|string|length }}",
            "{{ '%r' % (ns.x,) }}",
            "{{ ns.x ~ ns.x }}",
            "{{ ns.x|e }}",
            "{{ ns.x * 99999 == 1 }}{{ ns.x|string|length }}",
            "{% for i in ns.x %}{{ loop.changed(ns.x) }}{% endfor %}{{ ns.x|string|length }}",
            "{% set ns.y = ns %}{{ ns.y == ns }}{{ ns.x|string|length }}",
        ] {
            let found = bounded(&format!("{SETUP}{make}{body}"));
            assert!(
                found.is_err() || found.as_ref().unwrap().len() < 100,
                "{make} {body}"
            );
        }
    }
}

fn depth_without_end_ends() {
    let repeat = |a: &str, b: &str| format!("{}{}", a.repeat(10_000), b.repeat(10_000));
    for source in [
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}".to_owned(),
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}"
            .into(),
        "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}".into(),
        "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}".into(),
        repeat("{% if true %}", "{% endif %}"),
        repeat("{% for x in [1] %}", "{% endfor %}"),
        format!("{{{{ {} }}}}", repeat("[", "]")),
        format!("{{{{ {} }}}}", repeat("(", ")")),
        format!("{{{{ {}1 }}}}", "not ".repeat(50_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(50_000)),
        format!("{{{{ a{} }}}}", ".a".repeat(50_000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(50_000)),
        format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(50_000)),
        format!("{{{{ 1{} }}}}", "|list".repeat(50_000)),
        format!(
            "{{% set ns = namespace(x=[]) %}}{}",
            "{% set ns.x = [ns.x] %}".repeat(40_000)
        ),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(10_000)),
        format!("{{% filter {} %}}x{{% endfilter %}}", ["upper"; 10_000].join("|")),
        format!("{{{{ 1{} }}}}", " is defined".repeat(10_000)),
        format!("{{{{ 1{} }}}}", "[0]".repeat(10_000)),
        format!("{{{{ a{} }}}}", "()".repeat(10_000)),
        format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(10_000)),
        format!("{{{{ {}1{} }}}}", "{1:".repeat(10_000), "}".repeat(10_000)),
        format!("{{% set {}a{} = 1 %}}", "(".repeat(10_000), ",)".repeat(10_000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(400)),
        format!("{{{{ {}1 }}}}", "not ".repeat(900)),
        format!("{{{{ {}1 }}}}", "-".repeat(900)),
        format!("{{{{ a{} }}}}", ".a".repeat(490)),
        format!("{{{{ {} }}}}", "[".repeat(140) + &"]".repeat(140)),
        repeat("{% macro m() %}", "{% endmacro %}"),
        repeat("{% call a() %}", "{% endcall %}"),
        repeat("{% set x %}", "{% endset %}"),
        repeat("{% with a = 1 %}", "{% endwith %}"),
        repeat("{% filter upper %}", "{% endfilter %}"),
        "{% macro m(x=m()) %}{% endmacro %}{{ m() }}".into(),
        "{% for i in range(9) recursive %}{{ loop([1]) }}{% endfor %}".into(),
        "{% set ns = namespace() %}{% set ns.f %}{% endset %}{% macro m() %}{{ ns.m() }}{% endmacro %}{% set ns.m = m %}{{ m() }}".into(),
    ] {
        let found = bounded(&source);
        let shown: String = source.chars().take(60).collect();
        assert!(
            found.is_err() || found.as_ref().unwrap().len() < 10,
            "{shown}"
        );
    }
    let own = bounded("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}").unwrap_err();
    assert!(
        matches!(own, TemplateError::Recursion { limit: 250, .. }),
        "{own}"
    );
}

/// Every kind of small value that can be kept: what it takes is paid for.
fn many_small_things_end() {
    for body in [
        "{% for a in range(99999) %}{% set ns.x = [ns.x, a] %}{% endfor %}",
        "{% set x = range(99999)|map('string')|list %}{% set y = x|map('upper')|list %}{% set z = x|map('list')|list %}{% for i in range(99) %}{% set ns.x = [ns.x, x|map('list')|list] %}{% endfor %}",
        "{% for i in range(9) %}{% set ns.x = [ns.x, range(99999)|batch(1)|list] %}{% endfor %}",
        "{% for i in range(90) %}{% set ns.x = [ns.x, range(99999)|list] %}{% endfor %}",
        "{% for i in range(90) %}{% set ns.x = [ns.x, ('a' * 99999)|list] %}{% endfor %}",
        "{% for i in range(90) %}{% set ns.x = [ns.x, ('a ' * 99999).split()] %}{% endfor %}",
        "{% for i in range(90) %}{% set ns.x = [ns.x, ('a\n' * 99999).splitlines()] %}{% endfor %}",
        "{% set d = range(9999)|map('string')|list %}{% for i in range(99) %}{% for k in d %}{% set ns.x = [namespace(a=1), namespace(b=2)] %}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{% for k in range(99) %}{% set n = namespace(x=k) %}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{% for k in range(99) %}{% macro m() %}{% endmacro %}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{% for k in range(99) recursive %}{{ loop.changed(i) }}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{% for k in range(9) %}{% set ns.d = {1: i, 2: k, 'a': 1, 'b': 2} %}{% set ns.x = ns.d|items|list %}{% endfor %}{% endfor %}",
        "{% set ns.l = [] %}{% for i in range(90) %}{% set ns.l = [ns.l, range(999)|map('string')|groupby(0)|list, ['a','b']|map('attr','upper')|list] %}{% endfor %}{% for i in range(99999) %}{% set ns.n = range(99)|list %}{% endfor %}",
    ] {
        // Some of them end well within the fuel.
        let _ = bounded(&format!("{SETUP}{body}"));
    }
}

fn sources_without_end_end() {
    assert!(matches!(
        bounded(&" ".repeat(10 << 20)),
        Err(TemplateError::TooLong { .. })
    ));
    assert!(matches!(
        bounded(&"{#".repeat(99_999)),
        Err(TemplateError::Syntax { line: 1, .. })
    ));
    // The longest sources of the shortest parts of each kind.
    for (start, part, end) in [
        ("", "{{x}}", ""),
        ("", "{%if x%}{%endif%}", ""),
        ("", "{%for x in y%}{%endfor%}", ""),
        ("", "{%set x=1%}", ""),
        ("", "{%macro x()%}{%endmacro%}", ""),
        ("", "{{[]}}", ""),
        ("", "{{{}}}", ""),
        ("", "{#", ""),
        ("", "{", ""),
        ("{{", "'a'", "}}"),
        ("{{ [", "1,", "] }}"),
        ("{{ x(", "1,", ") }}"),
        ("{{", "9", "}}"),
        ("{{ '", "\\\\", "' }}"),
        ("{% raw %}", "{{", "{% endraw %}"),
    ] {
        let _ = bounded(&format!("{start}{}{end}", part.repeat(59_900 / part.len())));
        let part = &format!("{}\n", part.repeat(100));
        let times = (MAX_SOURCE - start.len() - end.len()) / part.len();
        let _ = bounded(&format!("{start}{}{end}", part.repeat(times)));
    }
}

fn prompts_have_a_longest_length() {
    let input = Input::default();
    let limits = Limits {
        output: 1000,
        ..Limits::default()
    };
    let at = |n: usize| render(&format!("{{{{ 'a' * {n} }}}}"), &input, &limits);
    assert_eq!(at(1000).unwrap().len(), 1000);
    assert!(matches!(
        at(1001),
        Err(TemplateError::OutputTooLong { limit: 1000, .. })
    ));
    let little = Limits {
        fuel: 100,
        ..Limits::default()
    };
    let error = render(
        "{% for i in range(99) %}{{ i }}{% endfor %}",
        &input,
        &little,
    );
    assert!(matches!(
        error,
        Err(TemplateError::OutOfFuel { fuel: 100, .. })
    ));
    // Nesting of the conversation itself.
    let mut deep = Value::from(vec![]);
    for _ in 0..200 {
        deep = Value::from(vec![deep]);
    }
    let input = Input {
        messages: deep,
        ..Input::default()
    };
    assert!(matches!(
        render("", &input, &Limits::default()),
        Err(TemplateError::Nesting { line: 0 })
    ));
}

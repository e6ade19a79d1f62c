//! A JSON schema as llguidance takes it: what it would read inexactly, or run into at work, is written in other
//! words first, or refused by name.

use super::error::GrammarError;
use super::formats;
use crate::template::wide_int;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most bytes of a JSON schema.
pub const MAX_SCHEMA: usize = 1 << 20;
/// Ints up to this size are floats without loss, as llguidance holds bounds.
const EXACT: i128 = 1 << 53;
/// Most names that a pattern of names is taken apart into.
const MAX_NAMES: usize = 1000;
/// Longest of them in bytes.
const MAX_NAME: usize = 200;
/// Keywords whose values are no schemas, whatever they look like.
const DATA: [&str; 5] = ["const", "default", "enum", "example", "examples"];
/// Keywords whose values are schemas under names.
const NAMED: [&str; 5] = [
    "$defs",
    "definitions",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

fn refused(reason: String, hint: &'static str) -> GrammarError {
    GrammarError::Refused {
        what: "JSON schema",
        reason,
        hint,
    }
}

/// Reads a schema. Errors: not JSON, a number that JSON's readers round.
pub(super) fn read(text: &str) -> Result<Value, GrammarError> {
    let value = serde_json::from_str(text).map_err(|e| GrammarError::Json {
        reason: e.to_string(),
    })?;
    if let Some(number) = wide_int(text) {
        let shown: String = number.chars().take(30).collect();
        return Err(refused(
            format!("the number {shown} has more than 64 bits"),
            "give numbers of at most 64 bits",
        ));
    }
    wrapped(&value)?;
    Ok(value)
}

/// Refuses the wrapping that APIs put around a schema: it has no keyword, so that it would constrain nothing.
fn wrapped(root: &Value) -> Result<(), GrammarError> {
    const OUTER: [&str; 5] = ["name", "strict", "schema", "description", "json_schema"];
    let Value::Object(root) = root else {
        return Ok(());
    };
    let inner = ["schema", "json_schema"]
        .into_iter()
        .find(|k| root.get(*k).is_some_and(Value::is_object));
    match inner {
        Some(inner) if root.keys().all(|k| OUTER.contains(&k.as_str())) => Err(refused(
            format!("the schema is within '{inner}' of an object that is none itself"),
            "give the inner object",
        )),
        _ => Ok(()),
    }
}

/// The schema in words that llguidance reads exactly.
pub(super) fn rewritten(mut root: Value) -> Result<Value, GrammarError> {
    let mut pointers = BTreeMap::new();
    visit(&mut root, &mut |schema| {
        bounds(schema)?;
        formats(schema);
        named_properties(schema);
        if let Some(Value::String(pointer)) = schema.get_mut("$ref")
            && pointer.starts_with("#/")
            && pointer.contains(['~', '%'])
        {
            let next = pointers.len();
            let name: &mut String = pointers
                .entry(pointer.clone())
                .or_insert_with(|| format!("carat-{next}"));
            *pointer = format!("#/$defs/{name}");
        }
        Ok(())
    })?;
    aliases(&mut root, pointers)?;
    Ok(root)
}

type Schema = Map<String, Value>;

/// Calls `work` with every schema in a schema.
fn visit(
    value: &mut Value,
    work: &mut dyn FnMut(&mut Schema) -> Result<(), GrammarError>,
) -> Result<(), GrammarError> {
    match value {
        Value::Object(schema) => {
            // What is inside first: what is written anew contains it.
            for (key, value) in schema.iter_mut() {
                match value {
                    _ if DATA.contains(&key.as_str()) => {}
                    Value::Object(named) if NAMED.contains(&key.as_str()) => {
                        for value in named.values_mut() {
                            visit(value, work)?;
                        }
                    }
                    value => visit(value, work)?,
                }
            }
            work(schema)
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| visit(item, work)),
        _ => Ok(()),
    }
}

/// Refuses numbers that llguidance would round.
fn bounds(schema: &Map<String, Value>) -> Result<(), GrammarError> {
    const KEYS: [&str; 5] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ];
    for key in KEYS {
        let Some(n) = schema.get(key).and_then(int) else {
            continue;
        };
        let inclusive = ["minimum", "maximum"].contains(&key)
            && schema.get("exclusiveMinimum") != Some(&Value::Bool(true))
            && schema.get("exclusiveMaximum") != Some(&Value::Bool(true));
        if n.abs() > EXACT && !(inclusive && is_float(n)) {
            return Err(inexact(key, n));
        }
    }
    if let Some(value) = schema.get("const") {
        constants("const", value)?;
    }
    if let Some(value) = schema.get("enum") {
        constants("enum", value)?;
    }
    Ok(())
}

fn constants(key: &str, value: &Value) -> Result<(), GrammarError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|v| constants(key, v)),
        Value::Object(map) => map.values().try_for_each(|v| constants(key, v)),
        value => match int(value) {
            Some(n) if n.abs() > EXACT && !is_float(n) => Err(inexact(key, n)),
            _ => Ok(()),
        },
    }
}

fn int(value: &Value) -> Option<i128> {
    let signed = value.as_i64().map(i128::from);
    signed.or_else(|| value.as_u64().map(i128::from))
}

/// Whether an int is a float of the same value, and far enough from the ends of 64 bits.
fn is_float(n: i128) -> bool {
    n.abs() < 1_000_000_000_000_000_000 && (n as f64) as i128 == n
}

fn inexact(key: &str, n: i128) -> GrammarError {
    refused(
        format!("'{key}' has {n}, and ints beyond 2^53 would be rounded"),
        "give one of at most 9007199254740992, or leave it out",
    )
}

/// Formats that llguidance does not know, or takes too widely, as patterns.
fn formats(schema: &mut Map<String, Value>) {
    let Some(Value::String(format)) = schema.get("format") else {
        return;
    };
    let text = match schema.get("type") {
        None => true,
        Some(Value::String(one)) => one == "string",
        Some(Value::Array(several)) => several.iter().any(|t| t == "string"),
        Some(_) => false,
    };
    let Some(found) = formats::find(format).filter(|_| text) else {
        return;
    };
    schema.remove("format");
    let Some(pattern) = found else { return };
    let pattern = Value::String(format!("^({pattern})$"));
    if schema.contains_key("pattern") {
        let all = schema.entry("allOf").or_insert_with(|| json!([]));
        if let Value::Array(all) = all {
            all.push(json!({ "pattern": pattern, "type": "string" }));
        }
    } else {
        schema.insert("pattern".into(), pattern);
    }
}

/// A pattern of names that only matches names which are properties already is taken out: nothing is left of it, and
/// a text that went on to a further name would find none. What it says of those properties is said there.
fn named_properties(schema: &mut Map<String, Value>) {
    let mut taken: Vec<String> = Vec::new();
    if let Some(Value::Object(properties)) = schema.get("properties") {
        taken.extend(properties.keys().cloned());
    }
    if let Some(Value::Array(required)) = schema.get("required") {
        taken.extend(
            required
                .iter()
                .filter_map(|r| r.as_str())
                .map(str::to_owned),
        );
    }
    let Some(Value::Object(patterns)) = schema.get("patternProperties") else {
        return;
    };
    let mut gone = Vec::new();
    for pattern in patterns.keys() {
        if let Some(names) = names(pattern)
            && names.iter().all(|n| taken.contains(n))
        {
            gone.push((pattern.clone(), names));
        }
    }
    for (pattern, names) in gone {
        let Some(Value::Object(patterns)) = schema.get_mut("patternProperties") else {
            return;
        };
        let Some(more) = patterns.remove(&pattern) else {
            continue;
        };
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        let Value::Object(properties) = properties else {
            return;
        };
        for name in names {
            // In place: the order of properties is that of the text.
            let own = properties.entry(name).or_insert(Value::Bool(true));
            *own = match own.take() {
                Value::Bool(true) => more.clone(),
                own => json!({ "allOf": [own, more] }),
            };
        }
    }
}

/// All names that a pattern matches, where they are few.
fn names(pattern: &str) -> Option<Vec<String>> {
    let hir = ParserBuilder::new()
        .unicode(!pattern.is_ascii())
        .utf8(false)
        .nest_limit(100)
        .build()
        .parse(pattern)
        .ok()?;
    let all = words(&hir)?;
    // What is not held at an end goes on there.
    let held = all.iter().all(|w| w.starts && w.ends);
    held.then(|| all.into_iter().map(|w| w.text).collect())
}

/// A text that an expression matches, and whether it is the start and the end of the whole.
#[derive(Clone, Default)]
struct Word {
    text: String,
    starts: bool,
    ends: bool,
}

impl Word {
    fn new(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    /// Both in a row, where they can be.
    fn then(&self, next: &Self) -> Option<Self> {
        let free = |word: &Self| word.text.is_empty();
        if (self.ends && !free(next)) || (next.starts && !free(self)) {
            return None;
        }
        Some(Self {
            text: format!("{}{}", self.text, next.text),
            starts: self.starts || (free(self) && next.starts),
            ends: next.ends || (free(next) && self.ends),
        })
    }
}

fn product(starts: &[Word], ends: &[Word]) -> Option<Vec<Word>> {
    let longest = |words: &[Word]| words.iter().map(|w| w.text.len()).max();
    let length = longest(starts).unwrap_or(0) + longest(ends).unwrap_or(0);
    if starts.len().checked_mul(ends.len())? > MAX_NAMES || length > MAX_NAME {
        return None;
    }
    let pairs = starts
        .iter()
        .flat_map(|s| ends.iter().filter_map(|e| s.then(e)));
    Some(pairs.collect())
}

/// All texts of an expression, where they are few and short.
fn words(hir: &Hir) -> Option<Vec<Word>> {
    let mut out = Vec::new();
    match hir.kind() {
        HirKind::Empty => out.push(Word::default()),
        HirKind::Literal(text) => {
            out.push(Word::new(String::from_utf8(text.0.to_vec()).ok()?));
        }
        HirKind::Class(Class::Unicode(class)) => {
            for c in class.iter().flat_map(|r| r.start()..=r.end()) {
                out.push(Word::new(c.to_string()));
                if out.len() > MAX_NAMES {
                    return None;
                }
            }
        }
        HirKind::Class(Class::Bytes(class)) => {
            for b in class.iter().flat_map(|r| r.start()..=r.end()) {
                if !b.is_ascii() {
                    return None;
                }
                out.push(Word::new(char::from(b).to_string()));
            }
        }
        HirKind::Look(look @ (Look::Start | Look::End)) => out.push(Word {
            starts: *look == Look::Start,
            ends: *look == Look::End,
            ..Word::default()
        }),
        HirKind::Look(_) => return None,
        HirKind::Repetition(repeat) => {
            let most = repeat.max.filter(|m| *m <= 64)?;
            let one = words(&repeat.sub)?;
            let mut now = vec![Word::default()];
            for times in 0..=most {
                if times >= repeat.min {
                    out.extend(now.iter().cloned());
                }
                if out.len() > MAX_NAMES {
                    return None;
                }
                if times < most {
                    now = product(&now, &one)?;
                }
            }
        }
        HirKind::Capture(group) => return words(&group.sub),
        HirKind::Concat(parts) => {
            out.push(Word::default());
            for part in parts {
                out = product(&out, &words(part)?)?;
            }
        }
        HirKind::Alternation(parts) => {
            for part in parts {
                out.extend(words(part)?);
                if out.len() > MAX_NAMES {
                    return None;
                }
            }
        }
    }
    Some(out)
}

/// Puts what references with escapes point to under plain names. The sum of copies is at most the largest schema.
fn aliases(root: &mut Value, pointers: BTreeMap<String, String>) -> Result<(), GrammarError> {
    let mut size = 0;
    let mut found = Vec::new();
    for (pointer, name) in pointers {
        let missing = || {
            refused(
                format!("the reference '{pointer}' leads nowhere"),
                "references must point into the schema itself, like \"#/$defs/name\"",
            )
        };
        let path = percent_decoded(&pointer[1..]).ok_or_else(missing)?;
        let target = root.pointer(&path).ok_or_else(missing)?;
        size += target.to_string().len();
        if size > MAX_SCHEMA {
            return Err(refused(
                "its references with '~' or '%' lead to too much".into(),
                "give what they lead to names without '/' and '~'",
            ));
        }
        found.push((name, target.clone()));
    }
    if let (false, Value::Object(root)) = (found.is_empty(), root) {
        let named = root.entry("$defs").or_insert_with(|| json!({}));
        if let Value::Object(named) = named {
            named.extend(found);
        }
    }
    Ok(())
}

/// A part of an address without `%20` and the like.
fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let code = digit()? * 16 + digit()?;
        out.push(u8::try_from(code).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_patterns() {
        for (pattern, expected) in [
            ("^a$", Some(vec!["a"])),
            ("^(a|bc?)$", Some(vec!["a", "b", "bc"])),
            ("^a$|^b$", Some(vec!["a", "b"])),
            ("^[ab]{1,2}$", Some(vec!["a", "b", "aa", "ab", "ba", "bb"])),
            ("^é[a-b]$", Some(vec!["éa", "éb"])),
            ("a", None),
            ("^a", None),
            ("^a*$", None),
            ("^a$|b", None),
            ("^[a-z]{9}$", None),
        ] {
            let found = names(pattern);
            let found = found
                .as_ref()
                .map(|f| f.iter().map(String::as_str).collect());
            assert_eq!(found, expected, "{pattern}");
        }
    }
}

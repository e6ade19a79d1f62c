//! The description against itself and against the paths.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::routes;
use serde_json::Value;
use std::collections::BTreeSet;

fn described(keys: bool) -> Value {
    let config = crate::Config::default();
    serde_json::to_value(description(&routes::table(&config), keys)).unwrap()
}

/// Every value with its path within the document.
fn each(value: &Value, at: &str, see: &mut dyn FnMut(&str, &Value)) {
    see(at, value);
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(k, v)| each(v, &format!("{at}/{k}"), see)),
        Value::Array(list) => list.iter().for_each(|v| each(v, at, see)),
        _ => {}
    }
}

#[test]
fn every_path_is_there_once() {
    let all = described(false);
    assert_eq!(all["openapi"], "3.1.0");
    let table = routes::table(&crate::Config::default());
    let (mut unique, mut verbs) = (BTreeSet::new(), BTreeSet::new());
    for route in &table {
        for path in route.paths {
            unique.insert(*path);
            // One that is asked, and one that is told something.
            let told = route.told.body.is_some();
            assert!(verbs.insert((*path, told)), "{path} occurs twice");
        }
    }
    let told: BTreeSet<&str> = all["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(|k| k.as_str())
        .collect();
    assert_eq!(told, unique);
    let mut names = BTreeSet::new();
    for (path, item) in all["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(
                names.insert(name.to_owned()),
                "{verb} {path}: {name} occurs twice"
            );
            assert!(!operation["summary"].as_str().unwrap().is_empty());
            let parameters = operation["parameters"].as_array();
            let of_path = |p: &&Value| p["in"] == "path";
            let parameters = parameters.map_or(0, |all| all.iter().filter(of_path).count());
            assert_eq!(parameters, path.matches('{').count(), "{path}");
            assert_eq!(
                verb == "post",
                operation.get("requestBody").is_some(),
                "{path}"
            );
        }
    }
    assert!(names.len() > 20);
}

#[test]
fn references_lead_somewhere_and_nothing_is_left_over() {
    let all = described(true);
    let mut used = BTreeSet::new();
    each(&all, "", &mut |at, value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(all.pointer(pointer).is_some(), "{at}: {target}");
            used.insert(pointer.rsplit('/').next().unwrap().to_owned());
        }
    });
    let schemas = all["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(used.contains(name), "nothing refers to {name}");
        let plain = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        assert!(
            plain,
            "{name}: a key of components has letters, digits, '.', '_' and '-'"
        );
    }
    assert!(schemas.len() > 40);
}

#[test]
fn no_two_types_share_a_name() {
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for route in routes::table(&crate::Config::default()) {
        let told = &route.told;
        let types = [&told.body, &told.answer, &told.events];
        for (name, schema) in types.into_iter().flatten().flat_map(|t| &t.all) {
            let schema = serde_json::to_value(schema).unwrap();
            let before = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*before, schema, "two types are called {name}");
        }
    }
}

#[test]
fn required_fields_are_properties() {
    each(&described(false), "", &mut |at, value| {
        let Some(required) = value.get("required").and_then(Value::as_array) else {
            return;
        };
        for name in required {
            let property = &value["properties"][name.as_str().unwrap()];
            assert!(property.is_object(), "{at}: {name}");
        }
    });
}

#[test]
fn keys_are_asked_for_where_they_are_needed() {
    let with = described(true);
    let security =
        |all: &Value, path: &str, verb: &str| all["paths"][path][verb]["security"].clone();
    let chat = security(&with, "/v1/chat/completions", "post");
    assert_eq!(chat.as_array().unwrap().len(), 2);
    assert!(security(&with, "/health", "get").is_null());
    assert!(security(&described(false), "/v1/chat/completions", "post").is_null());
    for name in [BEARER, KEY] {
        assert!(with["components"]["securitySchemes"][name].is_object());
    }
}

#[test]
fn streams_and_errors_are_described() {
    let all = described(false);
    for (path, event, error) in [
        ("/v1/chat/completions", "ChatChunk", "OpenAiError"),
        ("/v1/messages", "MessageEvent", "AnthropicError"),
        ("/v1/responses", "NumberedEvent", "OpenAiError"),
    ] {
        let responses = &all["paths"][path]["post"]["responses"];
        let of =
            |status: &str, mime: &str| responses[status]["content"][mime]["schema"]["$ref"].clone();
        assert_eq!(
            of("200", "text/event-stream"),
            format!("#/components/schemas/{event}")
        );
        assert_eq!(of("4XX", JSON), format!("#/components/schemas/{error}"));
        assert!(responses["200"]["headers"]["X-Carat-Logits-Hash"].is_object());
    }
    // What is read from one object is described as one.
    let body = all["components"]["schemas"]["ChatBody"].to_string();
    assert!(
        body.contains("SamplingFields") && body.contains("ChatRequest"),
        "{body}"
    );
}

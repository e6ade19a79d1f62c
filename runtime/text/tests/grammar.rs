//! Schemas and grammars over a vocabulary of single bytes: what they let through, where they end, and
//! what they refuse. Hostile ones end in bounded time with an error that says what to try.
#![cfg(feature = "grammar")]
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_text::constraint::{Constraint, ConstraintError};
use carat_text::grammar::{Guide, Kind, MAX_GRAMMAR, MAX_SCHEMA, MAX_SECONDS, Vocabulary};
use carat_text::tokenizer::{Model, TokenType, Tokenizer, TokenizerData};
use std::time::{Duration, Instant};

const END: u32 = 256;

/// Every byte, and an end.
fn vocabulary() -> Vocabulary {
    let mut tokens: Vec<String> = (0..=255u8).map(|b| format!("<0x{b:02X}>")).collect();
    tokens.push("</s>".into());
    let mut data = TokenizerData::new(Model::Llama, tokens);
    data.scores = vec![0.0; 257];
    data.token_types = vec![TokenType::Byte as i32; 256];
    data.token_types.push(TokenType::Control as i32);
    data.eos = Some(END);
    Vocabulary::new(&Tokenizer::new(&data).unwrap()).unwrap()
}

fn guide(kind: Kind, text: &str) -> Guide {
    Guide::new(&vocabulary(), kind, text).unwrap()
}

/// Whether all of `text` is let through, and whether it is complete then.
fn takes(guide: &Guide, text: &str) -> (bool, bool) {
    let mut guide = guide.fresh().unwrap();
    for byte in text.bytes() {
        match guide.mask().unwrap() {
            Some(mask) if mask.allows(byte.into()) => guide.accept(byte.into()).unwrap(),
            _ => return (false, false),
        }
    }
    let complete = guide.is_complete();
    // The end is offered exactly where the text may end.
    let ends = guide.mask().unwrap().is_none_or(|m| m.allows(END));
    assert_eq!(complete, ends, "{text}");
    (true, complete)
}

#[test]
fn a_schema_lets_through_what_it_describes() {
    let schema = r##"{"type": "object", "required": ["name", "tags"], "additionalProperties": false,
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 4},
                       "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
                       "next": {"$ref": "#"}}}"##;
    let guide = guide(Kind::JsonSchema, schema);
    let whole = (true, true);
    assert_eq!(takes(&guide, r#"{"name":"x","tags":[]}"#), whole);
    assert_eq!(
        takes(
            &guide,
            "{ \"name\": \"\u{e4}\u{20ac}\",\n  \"tags\": [\"a\", \"b\"] }"
        ),
        whole
    );
    let inner = r#"{"name":"x","tags":["b"],"next":{"name":"y","tags":[]}}"#;
    assert_eq!(takes(&guide, inner), whole);
    assert_eq!(takes(&guide, r#"{"name":"x""#), (true, false));
    for wrong in [
        " {",
        "{  \"name\"",
        "{\n\n\n",
        r#"{"tags""#,
        r#"{"name":"""#,
        r#"{"name":"xxxxx"#,
        r#"{"name":"x"}"#,
        r#"{"name":"x","tags":["c""#,
        r#"{"name":"x","tags":["a","b","#,
        r#"{"name":"x","tags":[]} "#,
        "{\"name\":\"\u{7}",
    ] {
        assert!(!takes(&guide, wrong).0, "{wrong}");
    }
    // No byte outside UTF-8.
    let mut open = guide.fresh().unwrap();
    for byte in br#"{"name":""# {
        open.mask().unwrap();
        open.accept((*byte).into()).unwrap();
    }
    let mask = open.mask().unwrap().unwrap();
    assert!(mask.allows(0xC3) && !mask.allows(0xFF) && !mask.allows(0x80) && !mask.allows(END));
}

#[test]
fn a_grammar_lets_through_its_sentences() {
    let text = "start: move (\" \" move)*\nmove: \"north\" | \"south\" | /[1-9][0-9]?/";
    let guide = guide(Kind::Lark, text);
    for whole in ["north", "12 south 3", "9"] {
        assert_eq!(takes(&guide, whole), (true, true), "{whole}");
    }
    assert_eq!(takes(&guide, "nor"), (true, false));
    for wrong in ["0", "123", "north  ", "west"] {
        assert!(!takes(&guide, wrong).0, "{wrong}");
    }
    // Where nothing can follow, the text ends without a token for it.
    let mut once = Guide::new(&vocabulary(), Kind::Lark, "start: \"x\"").unwrap();
    assert_eq!(once.mask().unwrap().unwrap().len(), 1);
    once.accept(u32::from(b'x')).unwrap();
    assert!(once.mask().unwrap().is_none() && once.is_complete());
    // Control tokens are named.
    let mut named = Guide::new(&vocabulary(), Kind::Lark, "start: \"x\" </s>").unwrap();
    named.mask().unwrap();
    named.accept(u32::from(b'x')).unwrap();
    assert!(named.mask().unwrap().unwrap().allows(END));
}

#[test]
fn a_token_outside_the_mask_is_refused() {
    let mut guide = guide(Kind::Lark, "start: \"xy\"");
    guide.mask().unwrap();
    let refused = Err(ConstraintError::Refused {
        what: "grammar",
        id: 65,
    });
    assert_eq!(guide.accept(65), refused);
}

#[test]
fn a_character_without_tokens_is_a_dead_end() {
    let mut data = TokenizerData::new(Model::Llama, vec!["a".into(), "b".into()]);
    data.scores = vec![0.0; 2];
    data.token_types = vec![TokenType::Normal as i32; 2];
    data.unk = Some(0);
    let vocabulary = Vocabulary::new(&Tokenizer::new(&data).unwrap()).unwrap();
    let mut guide = Guide::new(&vocabulary, Kind::Lark, "start: \"ac\"").unwrap();
    guide.mask().unwrap();
    guide.accept(0).unwrap();
    let error = guide.mask().unwrap_err();
    assert!(
        matches!(error, ConstraintError::DeadEnd { at: 1, .. }),
        "{error}"
    );
}

/// Compiles, then takes the first token allowed up to 30 times.
fn walk(kind: Kind, text: &str) -> Result<(), String> {
    let mut guide = Guide::new(&vocabulary(), kind, text).map_err(|e| e.to_string())?;
    for _ in 0..30 {
        let Some(mask) = guide.mask().map_err(|e| e.to_string())? else {
            break;
        };
        let id = (0..=END).find(|id| mask.allows(*id)).unwrap();
        guide.accept(id).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// A part of the error, or that there is none.
type Case = (String, Option<&'static str>);

fn check(kind: Kind, cases: Vec<Case>) {
    for (text, expected) in cases {
        let start = Instant::now();
        let result = walk(kind, &text);
        let shown: String = text.chars().take(100).collect();
        assert!(
            start.elapsed() < Duration::from_secs(MAX_SECONDS + 20),
            "{shown}"
        );
        match (result, expected) {
            (Ok(()), None) => {}
            (Err(e), Some(part)) if e.contains(part) => {
                assert!(!e.contains('\n') && e.chars().count() < 600, "{e}");
                assert!(e.contains(';'), "what to try: {e}");
            }
            (result, expected) => panic!("{shown}: {result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn hostile_schemas() {
    let definitions = |n: usize, body: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..n)
            .map(|i| format!("\"a{i}\":{}", body(i + 1)))
            .collect();
        let all = all.join(",");
        format!(r##"{{"$ref":"#/$defs/a0","$defs":{{{all},"a{n}":{{"type":"string"}}}}}}"##)
    };
    let plain = |i: usize| format!(r##"{{"$ref":"#/$defs/a{i}"}}"##);
    let merged =
        |i: usize| format!(r##"{{"allOf":[{{"$ref":"#/$defs/a{i}"}},{{"minLength":1}}]}}"##);
    let options: Vec<String> = (0..12).map(|i| format!("{{\"minLength\":{i}}}")).collect();
    let any = format!("{{\"anyOf\":[{}]}}", options.join(","));
    let product = format!("{{\"allOf\":[{}]}}", vec![any; 12].join(","));
    let values: Vec<String> = (0..20_000)
        .map(|i| format!("\"v{}\"", i * 7919 % 100_003))
        .collect();
    let deep = format!("{}true{}", "{\"items\":".repeat(9999), "}".repeat(9999));
    let parens = format!(r#"{{"type":"string","pattern":"{}"}}"#, "(".repeat(5000));
    let mut cases: Vec<Case> = vec![
        (deep, Some("recursion limit")),
        (" ".repeat(MAX_SCHEMA + 1), Some("at most 1048576")),
        (parens, Some("error: ")),
        (definitions(3000, &plain), None),
        (definitions(20_000, &plain), None),
        (definitions(10_000, &merged), Some("too large")),
        (product, Some("too large")),
        (format!("{{\"enum\":[{}]}}", values.join(",")), None),
        (
            format!("{{\"type\":\"{}\"}}", "\u{e4}".repeat(900)),
            Some("Invalid type"),
        ),
    ];
    for (text, expected) in [
        ("", Some("EOF")),
        ("5", Some("a number; expected an object")),
        ("true", None),
        ("false", Some("schema is false")),
        (r#"{"not": {}}"#, Some("Unimplemented keys")),
        (r#"{"type": 5}"#, Some("type must be")),
        (r#"{"properties": [1]}"#, Some("must be an object")),
        (r#"{"enum": []}"#, Some("Unsatisfiable")),
        (
            r#"{"type": "integer", "minimum": 5, "maximum": 4}"#,
            Some("Unsatisfiable"),
        ),
        (
            r#"{"type": "integer", "minimum": 1e300}"#,
            Some("integer range"),
        ),
        (
            r#"{"type": "number", "multipleOf": 1e-300}"#,
            Some("too many digits"),
        ),
        (
            r#"{"allOf": [{"type": "integer", "multipleOf": 999983}, {"multipleOf": 1000003},
            {"multipleOf": 998244353}]}"#,
            Some("overflow"),
        ),
        (
            r#"{"type": "string", "format": "colour"}"#,
            Some("Unknown format"),
        ),
        (
            r#"{"type": "string", "pattern": "(?=a)b"}"#,
            Some("look-around"),
        ),
        (r#"{"type": "string", "pattern": "[a"}"#, Some("unclosed")),
        (
            r#"{"type": "string", "pattern": "^((a{1000}){1000}){1000}$"}"#,
            None,
        ),
        (
            r#"{"type": "string", "pattern": "(a|b)*a(a|b){40}$"}"#,
            None,
        ),
        (r#"{"type": "string", "minLength": 1000000000}"#, None),
        (
            r#"{"type": "string", "maxLength": 10000000000000000000}"#,
            Some("invalid"),
        ),
        (
            r#"{"type": "array", "minItems": 18446744073709551615}"#,
            None,
        ),
        (r#"{"type": "object", "minProperties": 1000000000}"#, None),
        (
            r#"{"oneOf": [{"type": "string"}, {"maxLength": 3, "type": "string"}]}"#,
            Some("coerce_one_of\": true"),
        ),
        (r##"{"$ref": "#"}"##, Some("no text that fits")),
        (
            r##"{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}"##,
            Some("no text that fits"),
        ),
        (
            r##"{"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}}}"##,
            Some("circular"),
        ),
        (
            r##"{"type": "array", "minItems": 1, "items": {"$ref": "#"}}"##,
            None,
        ),
        (
            r#"{"$ref": "https://example.com/a.json"}"#,
            Some("into the schema itself"),
        ),
        (r##"{"$ref": "#/$defs/no"}"##, Some("not found")),
        (r#"{"x-guidance": {"nonsense": 1}}"#, Some("unknown field")),
        (r#"{"x-guidance": 5}"#, Some("invalid type")),
    ] {
        cases.push((text.into(), expected));
    }
    check(Kind::JsonSchema, cases);
}

/// What llguidance would round, or has no words for, is refused by name or written in other words.
#[test]
fn schemas_are_exact_or_refused() {
    let whole = (true, true);
    let refused = |schema: &str, part: &str| {
        let error = Guide::new(&vocabulary(), Kind::JsonSchema, schema).unwrap_err();
        assert!(error.to_string().contains(part), "{schema}: {error}");
    };
    for schema in [
        r#"{"type": "integer", "minimum": 9007199254740993}"#,
        r#"{"items": {"anyOf": [{"type": "number", "exclusiveMaximum": -9007199254740994}]}}"#,
        r#"{"enum": [1, [9007199254740993]]}"#,
        r#"{"properties": {"const": {"const": {"a": 9007199254740993}}}}"#,
        r#"{"type": "integer", "maximum": 18446744073709551615}"#,
    ] {
        refused(schema, "2^53");
    }
    refused(r#"{"const": 18446744073709551616}"#, "more than 64 bits");
    for (wrapped, inner) in [
        (
            r#"{"name": "x", "strict": true, "schema": {"type": "object"}}"#,
            "within 'schema'",
        ),
        (
            r#"{"json_schema": {"name": "x", "schema": {}}}"#,
            "within 'json_schema'",
        ),
    ] {
        refused(wrapped, inner);
    }
    let big = r#"{"type": "integer", "minimum": 9007199254740990, "maximum": 9007199254740992}"#;
    let big = guide(Kind::JsonSchema, big);
    assert_eq!(takes(&big, "9007199254740991"), whole);
    assert!(!takes(&big, "9007199254740993").0 && !takes(&big, "9007199254740989").0);
    // What is no schema may have any numbers.
    guide(
        Kind::JsonSchema,
        r#"{"type": "null", "default": 9007199254740993}"#,
    );

    // A pattern that is used up by properties: nothing follows them.
    let used = r#"{"type": "object", "properties": {"n": {"type": "integer", "maximum": 50}}, "required": ["n", "m"],
        "additionalProperties": false, "patternProperties": {"^[nm]$": {"minimum": 10, "type": "integer"}}}"#;
    let used = guide(Kind::JsonSchema, used);
    assert_eq!(takes(&used, r#"{"n":20,"m":99}"#), whole);
    for wrong in [
        r#"{"n":9,"#,
        r#"{"n":51"#,
        r#"{"n":20,"m":10,"#,
        r#"{"n":20,"m":9}"#,
    ] {
        assert!(!takes(&used, wrong).0, "{wrong}");
    }
    // A pattern that is not: its other names follow.
    let more = r#"{"type": "object", "properties": {"a1": {"const": 1}}, "required": ["a1"],
        "additionalProperties": false, "patternProperties": {"^a[0-9]$": {"type": "integer"}}}"#;
    let more = guide(Kind::JsonSchema, more);
    assert_eq!(takes(&more, r#"{"a1":1,"a2":5}"#), whole);
    assert!(!takes(&more, r#"{"a1":1,"a1""#).0 && !takes(&more, r#"{"a1":2"#).0);

    // References with escapes, in circles too.
    let escaped = r##"{"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "array", "maxItems": 1,
        "items": {"anyOf": [{"const": 7}, {"$ref": "#/$defs/a~1b"}, {"$ref": "#/definitions/x%20y"}]}}},
        "definitions": {"x y": {"const": 8}}}"##;
    let escaped = guide(Kind::JsonSchema, escaped);
    for text in ["[7]", "[[[8]]]", "[]"] {
        assert_eq!(takes(&escaped, text), whole, "{text}");
    }
    assert!(!takes(&escaped, "[9").0);
    refused(
        r##"{"$ref": "#/$defs/a~1c", "$defs": {}}"##,
        "leads nowhere",
    );
    refused(r##"{"$ref": "#/%zz"}"##, "leads nowhere");

    // A mark of the byte order.
    guide(Kind::JsonSchema, "\u{feff}{\"type\": \"null\"}");
}

#[test]
fn formats_of_texts() {
    for (format, good, bad) in [
        (
            "date",
            &["2024-02-29", "2000-02-29", "0001-12-31"][..],
            &["2023-02-29", "1900-02-29", "0000-01-01", "2024-04-31"][..],
        ),
        (
            "date-time",
            &["2024-07-26T13:01:02Z", "2024-07-26T13:01:02.5+02:00"],
            &["2023-02-29T", "2024-07-26 ", "2024-07-26T24"],
        ),
        ("time", &["13:01:02Z"], &["24:"]),
        (
            "uuid",
            &["123e4567-e89b-12d3-a456-426614174000"],
            &["123e4567e"],
        ),
        (
            "uuid4",
            &["123e4567-e89b-42d3-a456-426614174000"],
            &["123e4567-e89b-12d3", "123e4567-e89b-42d3-c"],
        ),
        ("email", &["a.b@c-d.org"], &["@", "a@@", "a b"]),
        ("ipv4", &["192.168.0.1"], &["256"]),
        (
            "ipvanyaddress",
            &["10.0.0.255", "fe80:0:0:0:0:0:0:1"],
            &["300.", "g"],
        ),
        ("ipvanynetwork", &["10.0.0.1/32"], &["10.0.0.1/8"]),
        ("base64url", &["", "YQ==", "YWI=", "YWJj-_8="], &["+", "Y="]),
        ("duration", &["P1DT2H"], &["1D"]),
        ("binary", &["any \u{e4}"], &[]),
        ("path", &["/a/b"], &[]),
        ("uri", &["https://a.org/b?c=d"], &["a b"]),
        ("name-email", &["A B <a@b.cd>"], &["<"]),
        ("decimal", &["-1.50"], &["01"]),
    ] {
        let guide = guide(
            Kind::JsonSchema,
            &format!(r#"{{"type": "string", "format": "{format}"}}"#),
        );
        for text in good {
            let found = takes(&guide, &format!("\"{text}\""));
            assert_eq!(found, (true, true), "{format}: {text}");
        }
        for text in bad {
            assert!(!takes(&guide, &format!("\"{text}")).0, "{format}: {text}");
        }
    }
    // Beside a pattern both hold.
    let both = r#"{"type": "string", "format": "uuid4", "pattern": "^[0-9]"}"#;
    let both = guide(Kind::JsonSchema, both);
    assert!(takes(&both, "\"123e4567-e89b-42d3-a456-426614174000\"").1);
    assert!(!takes(&both, "\"a").0);
}

#[test]
fn hostile_grammars() {
    let chain = |name: &str| {
        let links = (0..7000).map(|i| format!("{name}{i}: {name}{}\n", i + 1));
        let links: String = links.collect();
        format!("start: {name}0\n{links}{name}7000: \"x\"\n")
    };
    let mut cases: Vec<Case> = vec![
        (
            format!("start: {}", "(".repeat(100_000)),
            Some("more than 200 brackets"),
        ),
        (format!("start: {}", "[".repeat(190)), Some("nested")),
        (" ".repeat(MAX_GRAMMAR + 1), Some("at most 131072")),
        (chain("a"), None),
        (chain("A"), None),
        (
            format!("start: {}", "\"a\"? ".repeat(5000)),
            Some("items; max is"),
        ),
    ];
    for (text, expected) in [
        ("", Some("no start rule")),
        ("start: start", Some("no text that fits")),
        ("start: A\nA: /a/ & /b/", Some("no text that fits")),
        ("start: A\nA: B\nB: A", Some("circular")),
        ("start: nothing", Some("unknown name")),
        ("start: start start | \"a\"", None),
        ("start: x\nx: x x x | x x | \"a\" | ", None),
        ("start: \"a\"{1000000000}", None),
        ("start: y{0,1000000}\ny: \"a\" z\nz: \"b\"", None),
        ("start: /((a{1000}){1000}){1000}/", None),
        (
            "start: X\nX: /(.*a.{20})/ & /(.*b.{21})/ & ~/(.*c.{22}d)/",
            Some("fuel"),
        ),
        ("start: \"\0\"\u{0}", Some("lexer error")),
        ("%import no.INT\nstart: INT", Some("Unknown common")),
        ("start: %json { \"type\": \"object\" ", Some("EOF")),
        ("start: <|foo|>", Some("unknown special token")),
        ("start: <[99999999]>", Some("too large")),
        ("start: @foo", Some("unknown grammar")),
        ("{\"grammars\":[]}", Some("expecting rule")),
    ] {
        cases.push((text.into(), expected));
    }
    check(Kind::Lark, cases);
}

//! Token metrics, logit bias, and text that follows a schema or grammar.

use crate::support::{carat, failure, json, model};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn run(extra: &[&str]) -> assert_cmd::Command {
    let mut c = carat();
    c.arg("run")
        .arg(model())
        .args(["-p", "The old house", "--device", "cpu", "--json"])
        .args(extra);
    c
}

fn ids(value: &Value) -> Vec<u64> {
    let list = value.as_array().unwrap();
    list.iter().map(|v| v.as_u64().unwrap()).collect()
}

#[test]
fn metrics_are_a_line_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.jsonl");
    let path = file.to_str().unwrap();
    fs::write(&file, "old\n").unwrap();
    let plain = json(&mut run(&["-n", "6"]));
    assert!(plain.get("logprobs").is_none() && plain.get("complete").is_none());
    let v = json(&mut run(&["-n", "6", "--metrics", path, "--logprobs", "3"]));
    assert_eq!(
        (&v["ids"], &v["text"]),
        (&plain["ids"], &plain["text"]),
        "a report changes nothing"
    );
    assert_eq!(v["logits_hash"], plain["logits_hash"]);
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(v["logprobs"], json!(lines));
    assert_eq!(lines.len(), 6);
    let prompt = ids(&v["prompt_ids"]).len();
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line["position"], prompt + i);
        assert_eq!(line["id"], v["ids"][i]);
        assert!(line["logprob"].as_f64().unwrap() <= 0.0);
        assert!((0.0..8.4).contains(&line["entropy"].as_f64().unwrap()));
        let top = line["top"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        let of = |a: &Value| a["logprob"].as_f64().unwrap();
        assert!(top.windows(2).all(|w| of(&w[0]) >= of(&w[1])));
        let rank = line["rank"].as_u64().unwrap();
        if rank <= 3 {
            let own = &top[rank as usize - 1];
            assert_eq!((&own["id"], &own["text"]), (&line["id"], &line["text"]));
            assert_eq!(own["logprob"], line["logprob"]);
        }
    }
    let joined: String = lines.iter().map(|l| l["text"].as_str().unwrap()).collect();
    assert_eq!(joined, v["text"].as_str().unwrap());
    // Greedy takes rank 1.
    let greedy = json(&mut run(&["-n", "4", "--temp", "0", "--logprobs", "0"]));
    let entries = greedy["logprobs"].as_array().unwrap();
    assert!(
        entries
            .iter()
            .all(|e| e["rank"] == 1 && e["top"] == json!([]))
    );

    let error = failure(
        run(&["--metrics", model().to_str().unwrap()]).args(["-n", "1"]),
        2,
    );
    assert!(error.contains("is read by the command"), "{error}");
    failure(&mut run(&["-n", "1", "--metrics", "/nowhere/m.jsonl"]), 1);
    failure(
        carat()
            .args(["run"])
            .arg(model())
            .args(["-p", "a", "--logprobs", "3"]),
        2,
    );
    #[cfg(target_os = "linux")]
    {
        let error = failure(&mut run(&["-n", "3", "--metrics", "/dev/full"]), 1);
        assert!(error.contains("/dev/full"), "{error}");
    }
}

#[test]
fn biases_forbid_and_force() {
    let greedy = |extra: &[&str]| json(run(&["-n", "6", "--temp", "0"]).args(extra));
    let free = greedy(&[]);
    let first = ids(&free["ids"])[0];
    for forbid in [
        format!("{first}=-inf"),
        format!("{first}=false"),
        format!("{first}-inf"),
    ] {
        let v = greedy(&["-l", &forbid]);
        assert!(!ids(&v["ids"]).contains(&first), "{forbid}");
    }
    assert_eq!(
        greedy(&["--logit-bias", "77+1000"])["ids"],
        json!(vec![77; 6])
    );
    assert_eq!(
        greedy(&["-l", "77+1000", "-l", "77-1000"])["ids"],
        free["ids"]
    );
    // By its text, exactly.
    let report = greedy(&["--logprobs", "1"]);
    let text = report["logprobs"][0]["text"].as_str().unwrap();
    let v = greedy(&["-l", &format!("'{text}'=-inf")]);
    assert!(!ids(&v["ids"]).contains(&first));
    let seeded = json(&mut run(&["-n", "6", "-l", "77+1000", "--seed", "4"]));
    assert_eq!(seeded["ids"], json!(vec![77; 6]));

    let error = failure(run(&["-n", "1"]).args(["-l", "4096=1"]), 2);
    assert!(error.contains("vocabulary of 4096"), "{error}");
    let error = failure(run(&["-n", "1"]).args(["-l", "xylophones of 7=1"]), 2);
    assert!(error.contains("by its id"), "{error}");
    for wrong in ["7", "7=inf", "7=x", "=1"] {
        failure(run(&["-n", "1"]).args(["-l", wrong]), 2);
    }
}

fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().into()
}

/// Whether `value` is what the schemas below describe, by their meaning and not by their text.
fn check_tale(v: &Value) {
    let object = v.as_object().unwrap();
    assert!(
        object
            .keys()
            .all(|k| ["name", "mood", "age", "tags", "home"].contains(&k.as_str()))
    );
    let name = v["name"].as_str().unwrap().chars().count();
    assert!((1..=12).contains(&name), "{v}");
    assert!(["calm", "grim", "merry"].contains(&v["mood"].as_str().unwrap()));
    let age = v["age"].as_i64().unwrap();
    assert!((1..=99).contains(&age) && v["age"].is_i64());
    let tags = v["tags"].as_array().unwrap();
    assert!((1..=3).contains(&tags.len()));
    assert!(
        tags.iter()
            .all(|t| t.as_str().unwrap().chars().count() <= 8)
    );
    let code = v["home"]["code"].as_str().unwrap();
    let (letters, digits) = code.split_at(2);
    assert!(letters.bytes().all(|b| b.is_ascii_uppercase()) && digits.len() == 4);
    assert!(digits.starts_with('-') && digits[1..].bytes().all(|b| b.is_ascii_digit()));
    let size = v["home"]["size"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&size));
    assert!(v["home"]["lit"].is_boolean() || v["home"].get("lit").is_none());
    assert!(v["home"].as_object().unwrap().len() <= 3);
}

const TALE: &str = r#"{"type": "object", "additionalProperties": false,
  "required": ["name", "mood", "age", "tags", "home"],
  "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 12},
    "mood": {"enum": ["calm", "grim", "merry"]},
    "age": {"type": "integer", "minimum": 1, "maximum": 99},
    "tags": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string", "maxLength": 8}},
    "home": {"type": "object", "additionalProperties": false, "required": ["code", "size"],
      "properties": {
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
        "size": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.001},
        "lit": {"type": "boolean"}}}}}"#;

#[test]
fn json_under_a_schema() {
    let directory = tempfile::tempdir().unwrap();
    let tale = file(directory.path(), "tale.json", TALE);
    for settings in [
        ["--temp", "0"],
        ["--seed", "1"],
        ["--seed", "2"],
        ["--temp", "2"],
    ] {
        let v = json(run(&["-n", "300", "--json-schema", &tale]).args(settings));
        assert_eq!(v["complete"], true, "{v}");
        assert!(["complete", "end"].contains(&v["stop_reason"].as_str().unwrap()));
        check_tale(&serde_json::from_str(v["text"].as_str().unwrap()).unwrap());
        let again =
            json(run(&["-n", "300", "--json-schema", &tale, "--threads", "1"]).args(settings));
        assert_eq!(
            (&v["ids"], &v["logits_hash"]),
            (&again["ids"], &again["logits_hash"])
        );
    }
    let list = r#"{"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": ["integer", "null"]}}"#;
    let list = file(directory.path(), "list.json", list);
    let v = json(&mut run(&[
        "-n",
        "200",
        "--json-schema",
        &list,
        "--ignore-eos",
    ]));
    let items: Vec<Option<f64>> = serde_json::from_str(v["text"].as_str().unwrap()).unwrap();
    assert!(items.len() == 2 && v["complete"] == true, "{v}");

    // Too few tokens, a stop string inside: incomplete, and said.
    for (extra, reason) in [(["-n", "5"], "length"), (["--stop", ":"], "stop")] {
        let output = run(&["--json-schema", &tale]).args(extra).output().unwrap();
        let v: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&v["complete"], &v["stop_reason"]),
            (&json!(false), &json!(reason))
        );
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("warning: the text is incomplete"),
            "{stderr}"
        );
    }
}

#[test]
fn text_under_a_grammar() {
    let directory = tempfile::tempdir().unwrap();
    let grammar = "start: line{2,3}\nline: WHO \" \" DEED \".\\n\"\nWHO: \"The fox\" | \"A crow\" | \"She\"\n\
                   DEED: \"sleeps\" | \"sings\" | /counts to [1-9][0-9]{0,2}/";
    let path = file(directory.path(), "fable.lark", grammar);
    for settings in [["--temp", "0"], ["--seed", "3"]] {
        let v = json(run(&["-n", "120", "--grammar", &path]).args(settings));
        assert_eq!(v["complete"], true, "{v}");
        let text = v["text"].as_str().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            (2..=3).contains(&lines.len()) && text.ends_with(".\n"),
            "{text:?}"
        );
        for line in lines {
            let deed = ["The fox ", "A crow ", "She "]
                .iter()
                .find_map(|who| line.strip_prefix(who))
                .unwrap();
            let number = deed
                .strip_prefix("counts to ")
                .and_then(|n| n.strip_suffix('.'));
            let counts = number.is_some_and(|n| (1..=999).contains(&n.parse::<u32>().unwrap()));
            assert!(counts || ["sleeps.", "sings."].contains(&deed), "{line}");
        }
    }
}

#[test]
fn faults_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| file(directory.path(), name, text);
    for (name, text, part) in [
        ("no.json", "{\"type\": ", "line 1 column"),
        (
            "ref.json",
            r#"{"$ref": "https://example.com/s.json"}"#,
            "into the schema itself",
        ),
        ("not.json", r#"{"not": {}}"#, "Unimplemented keys"),
        ("list.json", "[]", "an array; expected an object"),
        ("big.json", &" ".repeat((1 << 20) + 1), "at most 1048576"),
    ] {
        let path = at(name, text);
        let error = failure(&mut run(&["-n", "4", "--json-schema", &path]), 1);
        assert!(error.contains(&path) && error.contains(part), "{error}");
    }
    let path = at("g.lark", "start: nothing");
    let error = failure(&mut run(&["-n", "4", "--grammar", &path]), 1);
    assert!(
        error.contains(&path) && error.contains("unknown name"),
        "{error}"
    );
    let error = failure(&mut run(&["-n", "4", "--grammar", "/nowhere.lark"]), 1);
    assert!(error.contains("/nowhere.lark"), "{error}");
    failure(&mut run(&["--grammar", &path, "--json-schema", &path]), 2);
    // What the grammar asks for, a bias forbids.
    let path = at("x.lark", "start: \"x\"");
    let x = json(&mut run(&["-n", "1", "--grammar", &path]));
    let forbid = format!("{}=-inf", x["ids"][0]);
    let error = failure(&mut run(&["-n", "1", "--grammar", &path, "-l", &forbid]), 1);
    assert!(error.contains("no token may be chosen"), "{error}");
}

/// A schema on the command line is the same as one in a file.
#[test]
fn a_schema_as_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("schema.json");
    let schema = r#"{"type": "array", "items": {"type": "boolean"}, "maxItems": 3}"#;
    fs::write(&file, schema).unwrap();
    let of = |given: &str| json(&mut run(&["-n", "20", "--json-schema", given]));
    let (a, b) = (of(schema), of(file.to_str().unwrap()));
    assert_eq!((&a["ids"], &a["complete"]), (&b["ids"], &b["complete"]));
    let error = failure(&mut run(&["--json-schema", r#"{"type": 1}"#]), 1);
    assert!(error.contains(r#"{"type": 1}"#), "{error}");
}

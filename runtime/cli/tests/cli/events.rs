//! Lines of JSON, an event each, and failures as JSON: what docs/json.md says.

use crate::support::{carat, json, model, text};
use serde_json::Value;

fn events(command: &mut assert_cmd::Command) -> (Vec<Value>, i32) {
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout.lines().map(|l| serde_json::from_str(l).unwrap());
    (lines.collect(), output.status.code().unwrap())
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == name).collect()
}

fn text_of(events: &[Value]) -> String {
    let tokens = of(events, "token");
    tokens.iter().map(|t| t["text"].as_str().unwrap()).collect()
}

#[test]
fn run_streams() {
    let run = |flags: &[&str]| {
        let mut c = carat();
        c.arg("run")
            .arg(model())
            .args(["The old house", "-n", "8", "--device", "cpu"]);
        c.args(flags);
        c
    };
    let (found, code) = events(&mut run(&["--stream-json"]));
    assert_eq!(code, 0);
    assert_eq!(found[0]["event"], "start");
    assert_eq!(
        (&found[0]["seed"], &found[0]["model"]),
        (&0.into(), &model().to_str().unwrap().into())
    );
    assert!(found[0]["context"].as_u64().unwrap() > 0 && found[0]["device"].is_string());
    let end = found.last().unwrap();
    assert_eq!(end["event"], "end");
    assert_eq!(end["text"], text_of(&found));
    let whole = json(&mut run(&["--json"]));
    for key in [
        "ids",
        "text",
        "stop_reason",
        "logits_hash",
        "seed",
        "prompt_ids",
    ] {
        assert_eq!(end[key], whole[key], "{key}");
    }
    let ids: Vec<&Value> = of(&found, "token")
        .iter()
        .map(|t| &t["id"])
        .filter(|id| !id.is_null())
        .collect();
    assert_eq!(
        ids,
        end["ids"].as_array().unwrap().iter().collect::<Vec<_>>()
    );
    assert!(found.iter().all(|e| e.get("logprobs").is_none()));

    let (found, _) = events(&mut run(&["--stream-json", "--logprobs", "2"]));
    let first = of(&found, "token")[0];
    assert_eq!(first["logprobs"]["top"].as_array().unwrap().len(), 2);
    assert_eq!(first["logprobs"]["id"], first["id"]);

    let (found, code) = events(&mut run(&[
        "--stream-json",
        "--device",
        "gpu:no such adapter",
    ]));
    assert_eq!((found.len(), code), (1, 1));
    assert_eq!(
        (&found[0]["event"], &found[0]["error"]["code"]),
        (&"error".into(), &"device".into())
    );
}

#[test]
fn chat_streams() {
    let chat = |lines: &str| {
        let mut c = carat();
        c.arg("chat").arg(model()).args([
            "--json", "-n", "6", "--temp", "0", "--device", "cpu", "--seed", "5",
        ]);
        c.write_stdin(lines);
        events(&mut c)
    };
    let (found, code) = chat("Who came in?\nAnd then?\n/undo\n/stats\n/quit\n");
    assert_eq!(code, 0);
    assert_eq!(
        (&found[0]["event"], &found[0]["seed"]),
        (&"start".into(), &5.into())
    );
    let ends = of(&found, "end");
    assert_eq!(ends.len(), 2);
    for (i, end) in ends.iter().enumerate() {
        assert_eq!(end["seed"], 5 + i as u64);
        assert_eq!(
            end["timings"]["generated_tokens"].as_u64().unwrap() as usize,
            end["ids"].as_array().unwrap().len()
        );
        assert!(
            end["stop_reason"].is_string()
                && end["logits_hash"].is_string()
                && end["device"].is_string()
        );
    }
    let both = ends
        .iter()
        .map(|e| e["text"].as_str().unwrap())
        .collect::<String>();
    assert_eq!(both, text_of(&found));
    assert_eq!(ends[0]["cached_tokens"], 0);
    assert!(ends[1]["cached_tokens"].as_u64().unwrap() > 0);
    let notes: Vec<&str> = of(&found, "note")
        .iter()
        .map(|n| n["text"].as_str().unwrap())
        .collect();
    assert!(
        notes.iter().any(|n| n.contains("taken back: And then?")),
        "{notes:?}"
    );
    // The last answer's.
    assert!(
        notes
            .iter()
            .any(|n| n.contains("answer: ") && n.contains("kept of before")),
        "{notes:?}"
    );

    let (found, code) = chat("/load missing.json\nnever\n");
    assert_eq!(code, 1);
    let last = found.last().unwrap();
    assert_eq!(
        (&last["event"], &last["error"]["code"]),
        (&"error".into(), &"not_found".into())
    );
    assert!(of(&found, "end").is_empty());
}

/// `/stats` without JSON: on stderr, after each answer, until it is said again.
#[test]
fn speeds_are_shown_on_demand() {
    let mut c = carat();
    c.arg("chat")
        .arg(model())
        .args(["-n", "4", "--temp", "0", "--device", "cpu"]);
    c.write_stdin("a\n/stats\nb\nc\n/stats\nd\n");
    let notes = String::from_utf8(c.output().unwrap().stderr).unwrap();
    // The last answer before it was asked for, and two after.
    assert_eq!(notes.matches("tokens/s, ").count(), 3, "{notes}");
    assert_eq!(notes.matches("kept of before").count(), 3, "{notes}");
}

#[test]
fn failures_are_json_where_json_is_asked_for() {
    let text = text();
    let text = text.to_str().unwrap();
    for args in [
        "run missing hi",
        "convert missing -o out.gguf",
        "eval missing --text TEXT",
        "compare missing --text TEXT",
        "logits missing --tokens 1",
        "inspect missing",
        "bench missing",
        "doctor missing",
        "embed missing --text TEXT",
        "chat missing",
        "template missing --messages TEXT",
        "tokenize missing --text TEXT",
        "demo missing",
    ] {
        let mut c = carat();
        c.args(args.split(' ').map(|a| if a == "TEXT" { text } else { a }))
            .arg("--json");
        let (found, code) = events(&mut c);
        assert_eq!((found.len(), code), (1, 1), "{args}");
        let error = found[0]["error"].as_object().unwrap();
        let mut keys: Vec<&String> = error.keys().collect();
        keys.sort();
        assert_eq!(keys, ["cause", "code", "hint", "message"], "{args}");
        assert_eq!(error["code"], "not_found", "{args}");
        assert!(
            error["message"].as_str().unwrap().contains("missing"),
            "{args}"
        );
        assert_eq!(error["hint"], "is the path right?", "{args}");
        assert_eq!(found[0].get("event").is_some(), args.starts_with("chat"));
    }
    let (found, code) = events(carat().args(["inspect", "m", "--json", "--tensor"]));
    assert_eq!((found.len(), code), (1, 2));
    let error = &found[0]["error"];
    assert_eq!(error["code"], "usage");
    assert!(
        error["message"].as_str().unwrap().contains("'--tensor'"),
        "{error}"
    );
    assert!(
        error["hint"].as_str().unwrap().contains("--tensors"),
        "{error}"
    );
    // A usage error that the model shows.
    let (found, code) =
        events(
            carat()
                .arg("run")
                .arg(model())
                .args(["a", "--json", "--logit-bias", "99999=1"]),
        );
    assert_eq!(
        (found.len(), code, &found[0]["error"]["code"]),
        (1, 2, &"usage".into())
    );
}

//! Texts that turn in a circle: what is done against them without being asked, and how to leave it out.

use crate::support::{carat, failure, json, model};
use serde_json::Value;

fn run(flags: &[&str]) -> Value {
    let mut c = carat();
    c.arg("run").arg(model());
    json(
        c.args(["The old house", "--temp", "0", "--json", "--device", "cpu"])
            .args(flags),
    )
}

/// A token that every other one loses to.
fn stuck(flags: &[&str]) -> Vec<u64> {
    let stuck = ["-n", "90", "--logit-bias", "300=40"];
    let v = run(&[&stuck[..], flags].concat());
    v["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap())
        .collect()
}

#[test]
fn a_loop_ends() {
    let others = |ids: &[u64]| ids.iter().filter(|id| **id != 300).count();
    assert!(others(&stuck(&[])) >= 2);
    // However it is left out.
    for flags in [&["--dry-multiplier", "0"], &["--repeat-penalty", "1"]] {
        assert_eq!(others(&stuck(flags)), 0, "{flags:?}");
    }
    let both = stuck(&[
        "--repeat-penalty",
        "1",
        "--dry-multiplier",
        "1",
        "--dry-allowed-length",
        "3",
    ]);
    let first = both.iter().position(|id| *id != 300).unwrap();
    assert!(first < 20, "{first}");
}

#[test]
fn no_loop_goes_over_a_breaker() {
    let without = ["-n", "2", "--logit-bias", "300=40"];
    let text = run(&without)["text"].as_str().unwrap().to_string();
    let token = &text[..text.len() / 2];
    assert_eq!(token.repeat(2), text, "the token's text, twice");
    let breaker = |text| stuck(&["--dry-sequence-breaker", text]);
    assert_eq!(breaker(token), [300; 90]);
    assert_eq!(breaker("none"), stuck(&[]));
    assert_eq!(stuck(&["--dry-penalty-last-n", "0"]), [300; 90]);
    let mut c = carat();
    c.arg("run").arg(model());
    let text = "no token is so long";
    let said = failure(c.args(["a", "--dry-sequence-breaker", text]), 2);
    assert!(said.contains(text), "{said}");
}

#[test]
fn what_the_text_has_gets_less_likely() {
    for flag in ["--presence-penalty", "--frequency-penalty"] {
        let ids = stuck(&["--dry-multiplier", "0", flag, "1000"]);
        let again = ids.iter().filter(|id| **id == 300).count();
        assert_eq!(again, 1, "{flag}");
    }
}

#[test]
fn what_does_not_repeat_itself_stays() {
    let short = ["-n", "24"];
    let (with, without) = (
        run(&short),
        run(&[&short[..], &["--dry-multiplier", "0"]].concat()),
    );
    for key in ["ids", "text", "logits_hash"] {
        assert_eq!(with[key], without[key], "{key}");
    }
}

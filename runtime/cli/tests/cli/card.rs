//! The quality card: printed, measured again, and wrong where the checkpoint is another.

use crate::support::{carat, checkpoint, failure, json, model, text};

#[test]
fn the_card_is_stated_and_measured_again() {
    let stated = json(carat().arg("inspect").arg(model()).arg("--json"))["card"].clone();
    assert_eq!(stated["tokens"], 512);
    assert!(stated["kl_mean"].as_f64().unwrap() > 0.0);
    let shown = carat().arg("inspect").arg(model()).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let line = format!("KL {:.6} nats", stated["kl_mean"].as_f64().unwrap());
    assert!(shown.contains(&line), "{shown}");
    assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");

    let eval = |extra: &[&std::ffi::OsStr]| {
        let mut command = carat();
        command.arg("eval").arg(model()).arg("--card").args(extra);
        command
    };
    let source = checkpoint();
    let reference = ["--reference".as_ref(), source.as_os_str()];
    let again = json(eval(&reference).arg("--json"));
    assert_eq!(again["equal"], true);
    assert_eq!(again["stated"], stated);
    assert_eq!(again["measured"]["kl_p99"], stated["kl_p99"]);
    let alone = json(eval(&[]).args(["--json", "--device", "cpu", "--threads", "1"]));
    assert_eq!(alone["equal"], true);
    assert_eq!(alone["measured"].as_object().unwrap().len(), 1);

    // Its own decoded weights are not what it was made from.
    let own = ["--reference".as_ref(), model().as_os_str()];
    let output = eval(&own).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.stdout.is_empty(), "both columns are of use");
    assert!(error.contains("carat.card.reference_ppl"), "{error}");
    failure(carat().arg("eval").arg(&source).arg("--card"), 2);
    failure(eval(&[]).arg("--text").arg(text()), 2);
    failure(carat().arg("eval").arg(model()), 2);
}

#[test]
fn a_file_may_do_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plain.gguf");
    let mut convert = carat();
    convert
        .arg("convert")
        .arg(checkpoint())
        .arg("-o")
        .arg(&file);
    json(convert.args(["--method", "none", "--card-tokens", "0", "--json"]));
    let inspect = json(carat().arg("inspect").arg(&file).arg("--json"));
    assert!(inspect["card"].is_null());
    let error = failure(carat().arg("eval").arg(&file).arg("--card"), 2);
    assert!(error.contains("--card-tokens"), "{error}");
}

//! Keys and types of every JSON object, and what the numbers in them mean.

use crate::support::{carat, checkpoint, failure, json, model, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn ids(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap())
        .collect()
}

fn is_hash(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|h| h.len() == 64 && h.chars().all(|c| c.is_ascii_hexdigit()))
}

#[test]
fn run_reports() {
    let run = |extra: &[&str]| {
        json(
            carat()
                .arg("run")
                .arg(model())
                .args([
                    "-p",
                    "The old house",
                    "-n",
                    "8",
                    "--device",
                    "cpu",
                    "--json",
                ])
                .args(extra),
        )
    };
    let a = run(&[]);
    assert_eq!(ids(&a["prompt_ids"])[0], 0, "BOS in front");
    assert_eq!(ids(&a["ids"]).len(), 8);
    assert!(!a["text"].as_str().unwrap().is_empty());
    assert_eq!(a["stop_reason"], "length");
    assert!(is_hash(&a["logits_hash"]));
    assert_eq!(a["seed"], 0);
    assert_eq!(a["saturations"], 0);
    assert!(a["device"].as_str().unwrap().contains("cpu"));
    let shares = a["devices"].as_array().unwrap();
    assert_eq!(shares.len(), 1);
    assert_eq!(
        (&shares[0]["device"], &shares[0]["tokens"]),
        (&a["device"], &Value::from(8))
    );
    assert_eq!(a["device_reason"], "it was asked for");
    for key in [
        "load_ms",
        "prompt_ms",
        "prompt_tps",
        "generate_ms",
        "generate_tps",
    ] {
        assert!(a["timings"][key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert_eq!(a["timings"]["prompt_tokens"], ids(&a["prompt_ids"]).len());
    assert_eq!(a["timings"]["generated_tokens"], 8);

    let same = |x: &Value, y: &Value| {
        (&x["ids"], &x["text"], &x["logits_hash"]) == (&y["ids"], &y["text"], &y["logits_hash"])
    };
    assert!(same(&a, &run(&["--threads", "1"])), "one seed, one text");
    assert!(!same(&a, &run(&["--seed", "5"])));
    let greedy = run(&["--temp", "0"]);
    assert!(
        same(&greedy, &run(&["--temp", "0", "--seed", "9"])),
        "greedy needs no seed"
    );
}

/// `--stop` names a control token, which no text of an answer spells: a token of the answer is made one in a copy of the
/// model.
#[test]
fn a_control_token_stops_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let run = |model: &Path, extra: &[&str]| {
        let line = [
            "-p",
            "The old house",
            "--temp",
            "0",
            "-n",
            "12",
            "--device",
            "cpu",
            "--json",
        ];
        json(carat().arg("run").arg(model).args(line).args(extra))
    };
    let free = run(model(), &[]);
    let found = ids(&free["ids"]);
    let tokenizer = fs::read(checkpoint().join("tokenizer.json")).unwrap();
    let tokenizer: Value = serde_json::from_slice(&tokenizer).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let name = |id: u64| {
        vocabulary
            .iter()
            .find(|t| t.1.as_u64() == Some(id))
            .unwrap()
            .0
    };
    // A long one: no merge of the prompt goes through it.
    let at = (3..found.len())
        .max_by_key(|i| name(found[*i]).len())
        .unwrap();
    let at = found.iter().position(|id| *id == found[at]).unwrap();
    let name = name(found[at]);

    let mut bytes = fs::read(model()).unwrap();
    let key = b"tokenizer.ggml.token_type";
    let place = bytes.windows(key.len()).position(|w| w == key).unwrap();
    // Behind the key: the type of the value, of its elements, and their number.
    let entry = place + key.len() + 16 + 4 * usize::try_from(found[at]).unwrap();
    assert_eq!(bytes[entry..entry + 4], 1i32.to_le_bytes());
    bytes[entry..entry + 4].copy_from_slice(&3i32.to_le_bytes());
    fs::write(&path, bytes).unwrap();

    let silent = run(&path, &[]);
    assert_eq!(
        (ids(&silent["ids"]), &silent["stop_reason"]),
        (found.clone(), &free["stop_reason"])
    );
    assert!(silent["text"].as_str().unwrap().len() < free["text"].as_str().unwrap().len());
    let stopped = run(&path, &["--stop", name]);
    assert_eq!(stopped["stop_reason"], "stop");
    assert!(
        free["text"]
            .as_str()
            .unwrap()
            .starts_with(stopped["text"].as_str().unwrap())
    );
    assert!(ids(&stopped["ids"]).len() <= at + 1);
}

#[test]
fn run_ends_where_asked() {
    let run = |extra: &[&str]| {
        json(
            carat()
                .arg("run")
                .arg(model())
                .args([
                    "-p",
                    "The old house",
                    "--temp",
                    "0",
                    "--device",
                    "cpu",
                    "--json",
                ])
                .args(extra),
        )
    };
    let free = run(&["-n", "24"]);
    let text = free["text"].as_str().unwrap();
    let stop = text.split_whitespace().nth(5).unwrap();
    let stopped = run(&["-n", "24", "--stop", stop]);
    assert_eq!(stopped["stop_reason"], "stop");
    assert_eq!(
        stopped["text"].as_str().unwrap(),
        &text[..text.find(stop).unwrap()]
    );

    let prompt = ids(&free["prompt_ids"]).len();
    for n in ["-1", "unlimited", "24"] {
        let full = run(&["-n", n, "--ctx", "20"]);
        assert_eq!(full["stop_reason"], "context");
        assert_eq!(ids(&full["ids"]).len(), 20 - prompt + 1);
    }
    let nothing = run(&["-n", "0"]);
    assert!(ids(&nothing["ids"]).is_empty() && nothing["timings"]["generate_tps"].is_null());
}

#[test]
fn prompts_from_anywhere_are_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prompt.txt");
    fs::write(&file, "Ein Müller, <|end_of_text|>\n").unwrap();
    let run = || {
        let mut c = carat();
        c.arg("run")
            .arg(model())
            .args(["-n", "1", "--device", "cpu", "--json"]);
        c
    };
    let prompt = |v: Value| ids(&v["prompt_ids"]);
    let a = prompt(json(run().args(["-p", "Ein Müller, <|end_of_text|>\n"])));
    assert_eq!(a, prompt(json(run().arg("-f").arg(&file))));
    assert_eq!(
        a,
        prompt(json(run().arg("-").write_stdin(fs::read(&file).unwrap())))
    );
    assert!(!a.contains(&1), "text cannot spell a control token");
    assert_eq!(prompt(json(run().args(["-p", ""]))), [0], "the BOS alone");
    // A prompt that looks like a flag.
    assert!(prompt(json(run().args(["-p", "--json"]))).len() > 1);
}

#[test]
fn logits_of_both_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = [0u32, 487, 202, 4095];
    let list = tokens.map(|t| t.to_string()).join(",");
    let dump = |name: &str| directory.path().join(name);
    let ask = |from: &std::path::Path, name: &str| {
        json(
            carat()
                .arg("logits")
                .arg(from)
                .args(["--tokens", &list, "--json", "--device", "cpu", "-o"])
                .arg(dump(name)),
        )
    };
    let carat_file = ask(model(), "a");
    let reference = ask(&checkpoint(), "b");

    let exponent = carat_file["exponent"].as_i64().unwrap();
    assert!(is_hash(&carat_file["hash"]));
    assert!(reference["exponent"].is_null() && reference["hash"].is_null());
    for (report, name) in [(&carat_file, "a"), (&reference, "b")] {
        assert_eq!(ids(&report["ids"]), tokens.map(u64::from));
        let rows = report["logits"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        assert!(rows.iter().all(|r| r.as_array().unwrap().len() == 4096));
        // u32 tokens, u32 vocabulary, i32 ids, f32 rows.
        let bytes = fs::read(dump(name)).unwrap();
        let word = |i: usize| <[u8; 4]>::try_from(&bytes[4 * i..4 * i + 4]).unwrap();
        assert_eq!(bytes.len(), 4 * (2 + 4 + 4 * 4096));
        assert_eq!(
            [0, 1, 2, 5].map(|i| u32::from_le_bytes(word(i))),
            [4, 4096, 0, 4095]
        );
        let last = rows[3][4095].as_f64().unwrap();
        let real = if name == "a" {
            last * f64::from(exponent as i32).exp2()
        } else {
            last
        };
        assert_eq!(f32::from_le_bytes(word(6 + 4 * 4096 - 1)), real as f32);
    }
    assert!(
        carat_file["logits"][0]
            .as_array()
            .unwrap()
            .iter()
            .all(Value::is_i64)
    );
    let again = json(carat().arg("logits").arg(model()).args([
        "--tokens",
        &list,
        "--json",
        "--threads",
        "1",
    ]));
    assert_eq!(again["hash"], carat_file["hash"]);
    let top = |r: &Value| {
        let row = r["logits"][0].as_array().unwrap();
        (0..4096)
            .max_by(|a, b| {
                row[*a]
                    .as_f64()
                    .unwrap()
                    .total_cmp(&row[*b].as_f64().unwrap())
            })
            .unwrap()
    };
    assert_eq!(top(&carat_file), top(&reference));
}

#[test]
fn inspect_every_format() {
    let inspect = |path: &std::path::Path| json(carat().arg("inspect").arg(path).arg("--json"));
    let ours = inspect(model());
    let theirs = inspect(&checkpoint());
    assert_eq!(ours["weights"], theirs["weights"]);
    assert_eq!(ours["bytes"], fs::metadata(model()).unwrap().len());
    assert!((4.2..4.4).contains(&ours["payload_bpw"].as_f64().unwrap()));
    assert!(ours["file_bpw"].as_f64().unwrap() > ours["payload_bpw"].as_f64().unwrap());
    assert!((16.0..16.1).contains(&theirs["file_bpw"].as_f64().unwrap()));
    assert_eq!(ours["model"]["block_count"], 6);
    assert_eq!(
        (&ours["format"], &theirs["format"]),
        (&"carat".into(), &"huggingface".into())
    );
    let tensors = ours["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 56);
    let of = |name: &str| tensors.iter().find(|t| t["name"] == name).unwrap();
    let q = of("blk.0.attn_k.weight");
    assert_eq!(q["shape"], serde_json::json!([128, 256]));
    assert_eq!(
        (&q["encoding"], &q["bits"], &q["group"]),
        (&"pow4".into(), &4.0.into(), &32.into())
    );
    assert!(
        (0.5..4.0).contains(&q["exponent"].as_f64().unwrap())
            && q["bytes"].as_u64().unwrap() > 128 * 256 / 2
    );
    let norm = of("output_norm.weight");
    assert!(norm["exponent"].is_null() && norm["group"].is_null() && norm["encoding"] == "i32");

    let directory = tempfile::tempdir().unwrap();
    let foreign = directory.path().join("foreign.gguf");
    crate::support::foreign(&foreign);
    let foreign = inspect(&foreign);
    assert_eq!(
        (&foreign["weights"], &foreign["payload_bpw"]),
        (&8.into(), &32.0.into())
    );
    assert_eq!(foreign["tensors"][0]["shape"], serde_json::json!([2, 4]));
    assert!(foreign["model"].is_null());
}

#[test]
fn tables_fit_a_terminal() {
    for path in [model(), &checkpoint()] {
        let output = carat()
            .arg("inspect")
            .arg(path)
            .arg("--tensors")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("blk.5.ffn_down.weight") && text.contains("bits/weight"));
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        assert!(!text.contains('\x1b'));
    }
    carat()
        .arg("inspect")
        .arg(model())
        .arg("--verify")
        .assert()
        .success();
}

#[test]
fn convert_reports() {
    let directory = tempfile::tempdir().unwrap();
    let (out, report) = (
        directory.path().join("m.gguf"),
        directory.path().join("report.json"),
    );
    let v = json(
        carat()
            .arg("convert")
            .arg(checkpoint())
            .arg("-o")
            .arg(&out)
            .args(["--bits", "2", "--method", "none"])
            .args(["--threads", "2", "--json", "--report"])
            .arg(&report),
    );
    assert_eq!((&v["weights"], &v["bits"]), (&5_770_496.into(), &2.into()));
    assert_eq!(v["bytes"], fs::metadata(&out).unwrap().len());
    assert!(v["seconds"].as_f64().unwrap() > 0.0 && v["payload_bpw"].as_f64().unwrap() < 2.5);
    let quality = &v["quality"];
    assert_eq!(
        (&quality["verdict"], &quality["predictions"]),
        (&"fair".into(), &254.into())
    );
    assert!(quality["kl_mean"].as_f64() < quality["kl_p99"].as_f64());
    assert!(quality["reference_ppl"].as_f64() < quality["ppl"].as_f64());
    let advice = quality["advice"].as_str().unwrap();
    assert!(
        advice.contains("--method none") && advice.contains("--bits 3"),
        "{advice}"
    );
    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["tensors"].as_array().unwrap().len(), 56);
    let names: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
}

#[test]
fn a_conversion_calibrates_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("m.gguf");
    let convert = |extra: &[&str]| {
        let mut c = carat();
        c.arg("convert").arg(checkpoint()).arg("-o").arg(&out);
        c.args(["--bits", "2", "--force", "--json"]).args(extra);
        json(&mut c)["quality"].clone()
    };
    let (plain, fitted) = (
        convert(&["--method", "none"]),
        convert(&["--calib-tokens", "4096"]),
    );
    let kl = |v: &Value| v["kl_mean"].as_f64().unwrap();
    assert!(kl(&fitted) < 0.8 * kl(&plain), "{fitted} {plain}");
    let advice = fitted["advice"].as_str().unwrap();
    assert!(!advice.contains("--method"), "{advice}");
}

#[test]
fn a_useless_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let convert = |extra: &[&str]| {
        let mut c = carat();
        c.arg("convert").arg(checkpoint()).arg("-o");
        c.arg(directory.path().join("m.gguf"));
        c.args(["--bits", "1", "--group", "128", "--method", "none"]);
        c.args(extra);
        c
    };
    let error = failure(&mut convert(&[]), 1);
    for part in ["useless", "--bits 1.6", "--method none", "--force"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    let output = convert(&["--force"]).output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("\nquality: KL "), "{stdout}");
    assert!(
        stderr.contains("warning: the file is useless") && stderr.contains("--bits 1.6"),
        "{stderr}"
    );
    let quality = json(convert(&["--force", "--card-tokens", "0"]).arg("--json"));
    assert!(quality["quality"].is_null());
}

#[test]
fn single_tensors_get_other_bits_and_groups() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("m.gguf");
    let convert = |rule: &str| {
        let mut c = carat();
        c.arg("convert").arg(checkpoint()).arg("-o").arg(&out);
        c.args(["--bits", "1", "--group", "128", "--json", "--tensor", rule]);
        // What is useless here is of use to the test.
        c.args(["--method", "none", "--force"]);
        c.args(["--tensor", "token_embd=4,g32"]);
        c
    };
    let error = failure(&mut convert("fnn_down=4"), 1);
    assert!(
        error.contains("'fnn_down=4'") && error.contains("ffn_down.weight"),
        "{error}"
    );
    let v = json(&mut convert("ffn_(up|down)=2"));
    assert_eq!((&v["bits"], &v["group"]), (&1.into(), &128.into()));
    let inspect = json(carat().arg("inspect").arg(&out).arg("--json"));
    for t in inspect["tensors"].as_array().unwrap() {
        let name = t["name"].as_str().unwrap();
        let expected: (Value, Value) = if name.contains("norm") {
            (32.0.into(), Value::Null)
        } else if name.contains("ffn_up") || name.contains("ffn_down") {
            (2.0.into(), 128.into())
        } else if name.starts_with("token_embd") {
            (4.0.into(), 32.into())
        } else {
            (1.0.into(), 128.into())
        };
        assert_eq!(
            (&t["bits"], &t["group"]),
            (&expected.0, &expected.1),
            "{name}"
        );
    }
    let table = carat()
        .arg("inspect")
        .arg(&out)
        .arg("--tensors")
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains(" group "), "{table}");
    assert!(table.lines().all(|l| l.chars().count() <= 80), "{table}");
}

#[test]
fn eval_against_itself_and_the_original() {
    let eval = |m: &std::path::Path, r: Option<&std::path::Path>| {
        let mut c = carat();
        c.arg("eval")
            .arg(m)
            .arg("--text")
            .arg(text())
            .args(["--ctx", "64", "--chunks", "2", "--json", "--device", "cpu"]);
        if let Some(r) = r {
            c.arg("--reference").arg(r);
        }
        json(&mut c)
    };
    let plain = eval(model(), None);
    assert_eq!(plain["tokens"], 2 * 31);
    assert!(plain.get("kl_mean").is_none());
    let original = eval(&checkpoint(), Some(&checkpoint()));
    assert!(original["kl_mean"].as_f64().unwrap().abs() < 1e-9 && original["top1"] == 1.0);
    let ratio = plain["ppl"].as_f64().unwrap() / original["ppl"].as_f64().unwrap();
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
    let against = eval(model(), Some(&checkpoint()));
    assert_eq!(against["ppl"], plain["ppl"]);
    let kl = |v: &Value| ["kl_mean", "kl_median", "kl_p99"].map(|k| v[k].as_f64().unwrap());
    assert!(kl(&against)[0] < 0.05 && kl(&against)[1] <= kl(&against)[2]);
    // Integers cost nothing: the same file's decoded weights in f32.
    let own = eval(model(), Some(model()));
    assert!(
        kl(&own)[0] < 5e-4 && own["top1"].as_f64().unwrap() > 0.95,
        "{own}"
    );
}

#[test]
fn demo_goes_all_the_way() {
    let v = json(carat().args(["demo", "--device", "cpu", "--json"]));
    assert!(v["bytes"].as_u64().unwrap() * 3 < v["source_bytes"].as_u64().unwrap());
    assert!(v["kl_mean"].as_f64().unwrap() < 0.05);
    assert!(v["text"].as_str().unwrap().len() > 200);
}

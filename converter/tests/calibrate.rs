//! Calibrated conversions of the bundled model on the bundled text: the same bytes whatever the threads, less
//! divergence than free of data, every fault of the text by its name, nothing left behind.
#![allow(clippy::unwrap_used)]

mod common;

use carat_converter::budget::Target;
use carat_converter::calibrate::{Calibration, CalibrationError, Methods, Text};
use carat_converter::convert::{ConvertError, Options, convert};
use carat_converter::eval::{self, ReferenceLogits};
use carat_converter::hf_tokenizer::HfTokenizer;
use carat_converter::progress::{Progress, Silent};
use carat_converter::reference::Reference;
use carat_converter::source::Checkpoint;
use carat_converter::text::TextError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("texts/demo.txt")
}

fn options(output: &Path, text: Option<PathBuf>) -> Options {
    Options {
        source: common::facet(),
        output: output.into(),
        bits: 3.0,
        calibration: text.map(|text| Calibration {
            text: Text::File(text),
            tokens: 512,
            seed: 0,
            methods: Methods::default(),
        }),
        ..Default::default()
    }
}

fn divergence(file: &Path) -> f64 {
    let text = fs::read_to_string(demo()).unwrap();
    let data = HfTokenizer::load(&common::facet()).unwrap().data;
    let tokens = carat_text::tokenizer::Tokenizer::new(&data)
        .unwrap()
        .encode_prompt(&text, false);
    let (model, original) = (
        Checkpoint::open(file).unwrap(),
        Checkpoint::open(common::facet()).unwrap(),
    );
    let open = |c| Reference::open(c, 1 << 30).unwrap();
    let (model, original) = (open(&model), open(&original));
    let options = eval::Options {
        ctx: 256,
        chunks: None,
        bos: data.bos,
    };
    let mut reference = ReferenceLogits::new(&original);
    let quality = eval::evaluate(
        &mut ReferenceLogits::new(&model),
        Some(&mut reference),
        &tokens,
        &options,
        &Silent,
    );
    quality.unwrap().divergence.unwrap().kl_mean
}

#[test]
fn calibrated_files_diverge_less_and_do_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain.gguf");
    convert(&options(&plain, None), &Silent).unwrap();
    let mut first: Option<Vec<u8>> = None;
    for threads in [1, 2] {
        let path = dir.path().join(format!("{threads}.gguf"));
        let options = Options {
            threads: Some(threads),
            ..options(&path, Some(demo()))
        };
        let summary = convert(&options, &Silent).unwrap();
        assert_eq!(summary.report.tensors.len(), 56);
        assert_eq!(summary.report.tensors[0].name, "token_embd.weight");
        let bytes = fs::read(&path).unwrap();
        match &first {
            None => first = Some(bytes),
            Some(first) => assert!(first == &bytes, "{threads} threads"),
        }
    }
    let (free, fitted) = (divergence(&plain), divergence(&dir.path().join("1.gguf")));
    eprintln!("mean KL at 3 bits: {free:.5} free of data, {fitted:.5} calibrated");
    assert!(fitted < 0.75 * free, "{fitted}, free of data {free}");
}

#[test]
fn faults_of_the_text_have_names_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (out, texts) = (dir.path().join("out"), dir.path().join("texts"));
    fs::create_dir(&out).unwrap();
    fs::create_dir(&texts).unwrap();
    let text = |name: &str, bytes: &[u8]| {
        let path = texts.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let fault = |text: PathBuf| {
        let error = convert(&options(&out.join("o.gguf"), Some(text.clone())), &Silent);
        let error = error.unwrap_err();
        assert!(
            error.to_string().contains(&text.display().to_string()),
            "{error}"
        );
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        match error {
            ConvertError::Calibration(error) => error,
            other => panic!("{other}"),
        }
    };
    assert!(matches!(
        fault(texts.join("missing.txt")),
        CalibrationError::Text(TextError::Read { .. })
    ));
    assert!(matches!(
        fault(text("short.txt", b"It was a dark night.")),
        CalibrationError::Short { expected: 256, .. }
    ));
    assert!(matches!(
        fault(text("empty.txt", b"")),
        CalibrationError::Short { expected: 256, .. }
    ));
    assert!(matches!(
        fault(text("latin1.txt", b"caf\xe9")),
        CalibrationError::Text(TextError::NotUtf8 { at: 3, .. })
    ));
}

/// Cancels once some weights are done.
struct Impatient(AtomicU64);

impl Progress for Impatient {
    fn step(&self, done: u64, _: u64) {
        self.0.store(done, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1 << 20
    }
}

#[test]
fn cancelling_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir.path().join("out.gguf"), Some(demo()));
    let error = convert(&options, &Impatient(AtomicU64::new(0))).unwrap_err();
    assert!(matches!(error, ConvertError::Cancelled), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Cancels at the first question after some blocks were quantized; counts how often it was told of progress.
struct After {
    weights: u64,
    done: AtomicU64,
    steps: AtomicU64,
}

impl After {
    fn new(weights: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            weights,
            done: zero(),
            steps: zero(),
        }
    }
}

impl Progress for After {
    fn step(&self, done: u64, _: u64) {
        self.done.fetch_max(done, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.done.load(Ordering::Relaxed) > self.weights
    }
}

#[test]
fn a_conversion_that_ended_early_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, path) = (dir.path().join("whole.gguf"), dir.path().join("out.gguf"));
    let counted = After::new(u64::MAX);
    convert(&options(&whole, Some(demo())), &counted).unwrap();
    let (whole, all) = (fs::read(whole).unwrap(), counted.steps.into_inner());
    let options = Options {
        save_every: Duration::ZERO,
        ..options(&path, Some(demo()))
    };
    let folder = dir.path().join("out.gguf.partial");
    let pause = || {
        let error = convert(&options, &After::new(4 << 20)).unwrap_err();
        assert!(
            matches!(&error, ConvertError::Paused { path } if *path == folder),
            "{error}"
        );
        assert!(folder.join("state.json").exists() && !path.exists());
    };
    pause();
    // Another run of it is refused meanwhile.
    let lock = fs::File::open(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let busy = convert(&options, &Silent).unwrap_err();
    assert!(matches!(busy, ConvertError::Busy { .. }), "{busy}");
    drop(lock);

    let counted = After::new(u64::MAX);
    let summary = convert(&options, &counted).unwrap();
    assert!(summary.resumed.is_some_and(|blocks| blocks >= 2));
    assert!(counted.steps.into_inner() < all);
    assert!(fs::read(&path).unwrap() == whole);
    assert_eq!(summary.report.tensors.len(), 56);
    assert!(!folder.exists());
    fs::remove_file(&path).unwrap();

    // What does not fit begins anew: streams cut short, a state that is none, another request.
    pause();
    for name in ["values-0", "values-1"] {
        if let Ok(file) = fs::OpenOptions::new().write(true).open(folder.join(name)) {
            file.set_len(1000).unwrap();
        }
    }
    assert_eq!(convert(&options, &Silent).unwrap().resumed, None);
    assert!(fs::read(&path).unwrap() == whole);
    fs::remove_file(&path).unwrap();
    pause();
    fs::write(folder.join("state.json"), "{\"key\":7").unwrap();
    let other = Options {
        bits: 2.0,
        ..options.clone()
    };
    assert_eq!(convert(&other, &Silent).unwrap().resumed, None);
    assert!(!folder.exists());
}

/// The same while the options of matrices are measured: what is measured once is not measured again.
#[test]
fn a_measurement_that_ended_early_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, path) = (dir.path().join("whole.gguf"), dir.path().join("out.gguf"));
    let divided = |path: &Path| Options {
        target: Some(Target::BitsPerWeight(3.0)),
        ..options(path, Some(demo()))
    };
    let counted = After::new(u64::MAX);
    convert(&divided(&whole), &counted).unwrap();
    let (whole, all) = (fs::read(whole).unwrap(), counted.steps.into_inner());
    let options = Options {
        save_every: Duration::ZERO,
        ..divided(&path)
    };
    let folder = dir.path().join("out.gguf.partial");
    let state = || -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.join("state.json")).unwrap()).unwrap()
    };
    let pause = |part: u64| {
        // A part of the whole, in the steps that all parts together count.
        let error = convert(&options, &After::new((1 << 20) / 100 * part)).unwrap_err();
        assert!(matches!(error, ConvertError::Paused { .. }), "{error}");
        state()["measured"]["found"].as_array().map_or(0, Vec::len)
    };
    let measure = carat_converter::convert::parts(&options);
    let shares: u64 = measure.iter().map(|p| p.1).sum();
    let part = measure[0].1 * 100 / shares;
    let first = pause(part / 2);
    assert!((7..42).contains(&first), "{first}");
    let second = pause(part * 3 / 4);
    assert!(second > first, "{second} after {first}");

    let counted = After::new(u64::MAX);
    convert(&options, &counted).unwrap();
    assert!(counted.steps.into_inner() < all);
    assert!(fs::read(&path).unwrap() == whole);
    fs::remove_file(&path).unwrap();

    // What does not fit is measured anew.
    pause(part / 2);
    let mut damaged = state();
    damaged["measured"]["found"][0][0] = "blk.9.attn_q.weight".into();
    fs::write(folder.join("state.json"), damaged.to_string()).unwrap();
    convert(&options, &Silent).unwrap();
    assert!(fs::read(&path).unwrap() == whole);
}

#[test]
fn the_built_in_text_serves_any_model() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for entry in fs::read_dir(common::facet()).unwrap().flatten() {
        fs::copy(entry.path(), source.join(entry.file_name())).unwrap();
    }
    let change = |name: &str, key: &str, value: Option<serde_json::Value>| {
        let path = source.join(name);
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        match value {
            Some(value) => json[key] = value,
            None => drop(json.as_object_mut().unwrap().remove(key)),
        }
        fs::write(&path, json.to_string()).unwrap();
    };
    let bytes = |tokens: usize, seed: u64| {
        let path = dir.path().join("out.gguf");
        let options = Options {
            source: source.clone(),
            output: path.clone(),
            bits: 2.0,
            force: true,
            calibration: Some(Calibration {
                tokens,
                seed,
                methods: Methods {
                    descent: false,
                    exponent: false,
                    ..Methods::default()
                },
                ..Calibration::default()
            }),
            ..Default::default()
        };
        convert(&options, &Silent).unwrap();
        // Codes and scales, without the header, which has the template.
        let bytes = fs::read(path).unwrap();
        bytes[bytes.len() - (1 << 20)..].to_vec()
    };
    // A short context cuts short chunks, of which the fourth is of dialogues.
    change("config.json", "max_position_embeddings", Some(64.into()));
    let first = bytes(256, 0);
    assert!(first == bytes(256, 0));
    assert!(first != bytes(256, 1));
    assert!(first != bytes(1, 0));
    // Without a template, or with one that fails, dialogues are texts.
    change("tokenizer_config.json", "chat_template", None);
    let plain = bytes(256, 0);
    assert!(plain != first);
    let fails = "{{ raise_exception('never') }}";
    change("tokenizer_config.json", "chat_template", Some(fails.into()));
    assert!(bytes(256, 0) == plain);
}

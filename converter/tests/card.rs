//! The quality card: its figures come out again, whatever the threads.
#![allow(clippy::unwrap_used)]

use carat::internals::{DeviceChoice, Model, Session, SessionOptions, Verify};
use carat_converter::convert::quality::{self, Verdict};
use carat_converter::convert::{CardText, ConvertError, Options, convert};
use carat_converter::eval::{self, Quality};
use carat_converter::progress::Silent;
use carat_converter::source::Checkpoint;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn facet() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/facet-6m")
}

fn options(output: &Path, card: CardText, threads: usize) -> Options {
    Options {
        source: facet(),
        output: output.into(),
        bits: 3.0,
        card: Some(card),
        threads: Some(threads),
        ..Options::default()
    }
}

/// Measures a file's card again, in batches of so many positions.
fn again(path: &Path, source: &Path, batch: u32) -> Quality {
    let model = Arc::new(Model::open(path, Verify::Hashes).unwrap());
    let card = model.card().unwrap().unwrap();
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: card.ctx,
        batch: Some(batch),
        outputs: batch,
        threads: Some(1),
        ..SessionOptions::default()
    };
    let session = pollster::block_on(Session::new(model, &options)).unwrap();
    let source = Checkpoint::open(source).unwrap();
    eval::card(session, &card, Some(&source), &Silent).unwrap()
}

#[test]
fn the_figures_come_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let text = CardText::default();
    let card = convert(&options(&a, text.clone(), 2), &Silent)
        .unwrap()
        .card;
    convert(&options(&b, text, 1), &Silent).unwrap();
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());

    let card = card.unwrap();
    let model = Model::open(&a, Verify::Hashes).unwrap();
    assert_eq!(model.card().unwrap(), Some(card.clone()));
    assert_eq!((card.text.as_str(), card.ctx), ("built-in", 256));
    assert_eq!(
        (card.tokens.len(), card.tokens[0], card.tokens[256]),
        (512, 0, 0)
    );
    let f = card.figures;
    assert!(f.reference_ppl > 20.0 && f.ppl > f.reference_ppl, "{f:?}");
    assert!(
        f.kl_mean > 0.02 && f.kl_mean < 0.2 && f.kl_mean < f.kl_p99,
        "{f:?}"
    );
    for batch in [7, 64] {
        assert_eq!(again(&a, &facet(), batch).figures(), Some(f));
    }
    // The file is not its own reference.
    assert_ne!(again(&a, &a, 64).figures(), Some(f));
}

#[test]
fn a_text_of_ones_own_may_be_short() {
    let folder = tempfile::tempdir().unwrap();
    let (file, text) = (folder.path().join("a"), folder.path().join("own.txt"));
    let card = |content: &str| {
        fs::write(&text, content).unwrap();
        let path = Some(text.clone());
        let card = CardText { path, tokens: 64 };
        let options = Options {
            force: true,
            ..options(&file, card, 2)
        };
        convert(&options, &Silent).unwrap().card
    };
    let short = card("The river had risen in the night.").unwrap();
    assert_eq!(short.text, "own.txt");
    assert_eq!(short.tokens.len(), short.ctx as usize);
    assert_eq!(again(&file, &facet(), 4).figures(), Some(short.figures));
    assert_eq!(card("a"), None, "nothing to predict");

    fs::remove_file(&file).unwrap();
    let path = Some(folder.path().join("missing.txt"));
    let error = convert(&options(&file, CardText { path, tokens: 64 }, 2), &Silent).unwrap_err();
    assert!(matches!(error, ConvertError::CardText(_)));
    assert!(error.to_string().contains("missing.txt"), "{error}");
    assert!(!file.exists());
}

#[test]
fn a_useless_file_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    let useless = Options {
        bits: 1.0,
        group: carat_format::ScaleGroup::W128,
        ..options(&file, CardText::default(), 2)
    };
    match convert(&useless, &Silent).unwrap_err() {
        ConvertError::Useless { kl, .. } => assert!(kl >= quality::USELESS_FROM, "{kl}"),
        other => panic!("{other}"),
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let accepted = Options {
        accept_useless: true,
        ..useless.clone()
    };
    let summary = convert(&accepted, &Silent).unwrap();
    assert_eq!(summary.quality().unwrap().verdict, Verdict::Useless);
    // Without a card nothing is known.
    let unknown = Options {
        card: None,
        force: true,
        ..useless
    };
    assert_eq!(convert(&unknown, &Silent).unwrap().quality(), None);
}

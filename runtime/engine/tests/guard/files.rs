//! Models whose files are shortened.

use super::{Case, MODEL};
use carat::internals::{self, Verification, Verify};
use carat::{Device, Error, ErrorCode, Load, Model, Sampling, guard_maps};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use tempfile::TempDir;

pub const LIVE: &[Case] = &[
    ("a_text", a_text),
    ("a_text_that_compares_hashes", a_text_that_compares_hashes),
    ("an_embedding", an_embedding),
    ("a_comparison_with_hashes", a_comparison_with_hashes),
    ("a_header", a_header),
    ("a_map_that_was_there_before", a_map_that_was_there_before),
    ("many_threads", many_threads),
    ("more_maps_than_places", more_maps_than_places),
];

pub const DIE: &[Case] = &[
    ("nobody_guards", nobody_guards),
    ("no_place_is_left", no_place_is_left),
];

const PROMPT: &str = "Once upon a";

fn bundled() -> PathBuf {
    std::env::var_os(MODEL).unwrap().into()
}

/// A copy of the bundled model.
pub struct Copy {
    _directory: TempDir,
    pub path: PathBuf,
    len: u64,
}

impl Copy {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy.gguf");
        let len = std::fs::copy(bundled(), &path).unwrap();
        Self {
            _directory: directory,
            path,
            len,
        }
    }

    pub fn shorten(&self, len: u64) {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.set_len(len).unwrap();
    }

    /// Lengths that cut the header, the weights, the last pages, and one byte that is not zero.
    pub fn lengths(&self) -> Vec<u64> {
        let bytes = std::fs::read(&self.path).unwrap();
        let last = bytes.iter().rposition(|b| *b != 0).unwrap() as u64;
        vec![0, 5000, self.len / 2, self.len - 70_000, last]
    }

    /// The error is of this file, and in one line.
    pub fn expect(&self, error: &Error) {
        assert_eq!(error.code(), ErrorCode::Damaged, "{error}");
        let text = error.to_string();
        let path = self.path.display().to_string();
        assert!(
            text.starts_with(&path) && text.contains("shortened"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }
}

fn load() -> Load {
    Load::new().device(Device::Cpu).context(256).threads(2)
}

fn sampling() -> Sampling {
    Sampling::new().max_tokens(100).seed(3)
}

/// The text of the whole file.
fn expected() -> String {
    let model = load().open(bundled()).unwrap();
    let text = model.generate(PROMPT).sampling(sampling()).text();
    text.unwrap()
}

/// Pieces until the error.
fn until_lost(model: &Model, copy: &Copy, shorten: impl Fn(usize)) -> String {
    let mut text = String::new();
    let pieces = model.generate(PROMPT).sampling(sampling()).into_iter();
    for (i, piece) in pieces.enumerate() {
        match piece {
            Ok(piece) => text += &piece,
            Err(e) => {
                copy.expect(&e);
                return text;
            }
        }
        shorten(i);
    }
    panic!("no error, but '{text}'");
}

fn a_text() {
    guard_maps().unwrap();
    guard_maps().unwrap();
    let expected = expected();
    for len in Copy::new().lengths() {
        let copy = Copy::new();
        let model = load().verify(false).open(&copy.path).unwrap();
        let text = until_lost(&model, &copy, |i| {
            if i == 3 {
                copy.shorten(len);
            }
        });
        // No token was computed from what is lost.
        assert!(!text.is_empty() && expected.starts_with(&text), "{text}");
        assert!(text.len() < expected.len() / 2, "{text}");
        // The model stays lost, and is alone in that.
        let again = model.generate(PROMPT).sampling(sampling()).text();
        copy.expect(&again.unwrap_err());
    }
    assert_eq!(self::expected(), expected);
}

fn a_text_that_compares_hashes() {
    guard_maps().unwrap();
    for len in Copy::new().lengths() {
        let copy = Copy::new();
        let model = load().open(&copy.path).unwrap();
        copy.shorten(len);
        until_lost(&model, &copy, |_| ());
        copy.expect(&model.verify().unwrap_err());
    }
}

fn an_embedding() {
    guard_maps().unwrap();
    for len in Copy::new().lengths() {
        let copy = Copy::new();
        let model = load().verify(false).open(&copy.path).unwrap();
        let before = model.embed(PROMPT).unwrap();
        assert!(!before.integers.is_empty());
        copy.shorten(len);
        copy.expect(&model.embed(PROMPT).unwrap_err());
    }
}

fn open(path: &Path) -> internals::Model {
    internals::Model::open(path, Verify::Structure).unwrap()
}

fn a_comparison_with_hashes() {
    guard_maps().unwrap();
    for len in Copy::new().lengths() {
        let copy = Copy::new();
        let model = Arc::new(open(&copy.path));
        model.verify().unwrap();
        let paused = Verification::start(model.clone(), 2, 0).unwrap();
        copy.shorten(len);
        copy.expect(&model.verify().unwrap_err().into());
        copy.expect(&paused.finish().unwrap_err().into());
    }
}

fn a_header() {
    guard_maps().unwrap();
    let copy = Copy::new();
    let model = open(&copy.path);
    model.intact().unwrap();
    copy.shorten(100);
    let errors = [
        model.header().map(|_| ()).unwrap_err(),
        model.identity().map(|_| ()).unwrap_err(),
        model.tokenizer().map(|_| ()).unwrap_err(),
        model.card().map(|_| ()).unwrap_err(),
        model.intact().unwrap_err(),
    ];
    for error in errors {
        copy.expect(&error.into());
    }
}

fn a_map_that_was_there_before() {
    let copy = Copy::new();
    let model = load().verify(false).open(&copy.path).unwrap();
    guard_maps().unwrap();
    copy.shorten(copy.len / 2);
    until_lost(&model, &copy, |_| ());
}

/// Texts of several models, all of whose files go while they are read.
fn many_threads() {
    guard_maps().unwrap();
    let expected = expected();
    for round in 0..5 {
        let copies: Vec<_> = (0..4).map(|_| Copy::new()).collect();
        let begun = Barrier::new(copies.len() + 1);
        std::thread::scope(|scope| {
            for copy in &copies {
                let (begun, expected) = (&begun, &expected);
                scope.spawn(move || {
                    let model = load().verify(false).open(&copy.path).unwrap();
                    let text = model.generate(PROMPT).sampling(sampling());
                    let mut text = text.into_iter();
                    let first = text.next().unwrap().unwrap();
                    begun.wait();
                    let all = text.try_fold(first, |all, piece| Ok(all + &piece?));
                    match all {
                        Ok(all) => assert_eq!(&all, expected),
                        Err(e) => copy.expect(&e),
                    }
                    let again = model.generate(PROMPT).sampling(sampling()).text();
                    copy.expect(&again.unwrap_err());
                });
            }
            begun.wait();
            copies.iter().for_each(|c| c.shorten(c.len / 7 * round));
        });
    }
}

/// Every place of the table, over and over.
fn more_maps_than_places() {
    guard_maps().unwrap();
    let kept = Copy::new();
    for _ in 0..3 {
        let models: Vec<_> = (0..300).map(|_| open(&kept.path)).collect();
        models.iter().for_each(|m| m.intact().unwrap());
    }
    a_header();
}

fn nobody_guards() {
    let copy = Copy::new();
    let model = load().verify(false).open(&copy.path).unwrap();
    until_lost(&model, &copy, |_| copy.shorten(copy.len / 2));
}

fn no_place_is_left() {
    guard_maps().unwrap();
    let (kept, copy) = (Copy::new(), Copy::new());
    let models: Vec<_> = (0..256).map(|_| open(&kept.path)).collect();
    let model = load().verify(false).open(&copy.path).unwrap();
    until_lost(&model, &copy, |_| copy.shorten(copy.len / 2));
    drop(models);
}

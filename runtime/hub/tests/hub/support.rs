//! What the tests share.

use crate::server::{COMMIT, Kept, NAME, Played, large, noise, sha256, small};
use carat_hub::{Error, Hub, Note, Observer, Patience, Plan, Pulled, Reference, Settings, Token};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A hub that is played, and a cache that goes with the test.
pub struct Stage {
    pub played: Played,
    pub cache: TempDir,
}

impl Stage {
    pub fn new(played: Played) -> Self {
        let cache = tempfile::tempdir().unwrap();
        Self { played, cache }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            endpoint: self.played.hub.url.clone(),
            patience: Patience {
                tries: 4,
                pause: Duration::from_millis(1),
                longest: Duration::from_secs(3),
                silence: Duration::from_secs(2),
                connect: Duration::from_secs(2),
            },
            ..Settings::new(self.cache.path())
        }
    }

    pub fn pull(&self, name: &str) -> Result<Pulled, Error> {
        self.watched(name, &Watch::default())
    }

    pub fn watched(&self, name: &str, watch: &Watch) -> Result<Pulled, Error> {
        pull(self.settings(), name, watch)
    }

    pub fn with_token(&self, name: &str) -> Result<Pulled, Error> {
        let settings = Settings {
            token: Some(Token::new("hf_secret").unwrap()),
            ..self.settings()
        };
        pull(settings, name, &Watch::default())
    }

    pub fn repository(&self) -> PathBuf {
        self.cache.path().join("models--owner--model")
    }

    pub fn blobs(&self) -> PathBuf {
        self.repository().join("blobs")
    }

    pub fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }

    /// Where a large file's bytes are while they come.
    pub fn incomplete(&self, bytes: &[u8]) -> PathBuf {
        self.blobs().join(format!("{}.incomplete", sha256(bytes)))
    }

    /// Leaves the beginning of a large file, as an interrupted pull does.
    pub fn leave(&self, bytes: &[u8], there: &[u8]) {
        std::fs::create_dir_all(self.blobs()).unwrap();
        std::fs::write(self.incomplete(bytes), there).unwrap();
    }

    /// Names in the folder of blobs.
    pub fn kept(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.blobs()).into_iter().flatten();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

pub fn pull(settings: Settings, name: &str, watch: &Watch) -> Result<Pulled, Error> {
    let model: Reference = name.parse()?;
    Hub::new(settings)?.pull(&model, watch)
}

/// Keeps what it is told.
#[derive(Default)]
pub struct Watch {
    pub notes: Mutex<Vec<Note>>,
    pub plans: Mutex<Vec<Plan>>,
    pub most: AtomicU64,
    /// Stops when so many bytes are there.
    pub until: Option<u64>,
    /// Stops at the first note.
    pub until_note: bool,
}

impl Watch {
    pub fn retries(&self) -> usize {
        let notes = self.notes.lock().unwrap();
        notes
            .iter()
            .filter(|n| matches!(n, Note::Retry { .. }))
            .count()
    }

    pub fn has(&self, wanted: impl Fn(&Note) -> bool) -> bool {
        self.notes.lock().unwrap().iter().any(wanted)
    }
}

impl Observer for Watch {
    fn plan(&self, plan: &Plan) {
        self.plans.lock().unwrap().push(plan.clone());
    }

    fn advance(&self, done: u64, total: u64) {
        assert!(done <= total, "{done} of {total}");
        self.most.fetch_max(done, Ordering::SeqCst);
    }

    fn note(&self, note: &Note) {
        self.notes.lock().unwrap().push(note.clone());
    }

    fn cancelled(&self) -> bool {
        if self.until_note && self.has(|_| true) {
            return true;
        }
        self.until
            .is_some_and(|until| self.most.load(Ordering::SeqCst) >= until)
    }
}

/// A checkpoint of a few files.
pub fn checkpoint() -> Vec<Kept> {
    vec![
        small(".gitattributes", "*.safetensors filter=lfs\n"),
        small("README.md", "# A model\n"),
        small("config.json", "{\"model_type\": \"llama\"}"),
        small("generation_config.json", ""),
        large("model.safetensors", noise(300_000)),
        large("tokenizer.json", noise(20_000)),
    ]
}

/// One GGUF file.
pub fn gguf(bytes: &[u8]) -> Vec<Kept> {
    vec![large("model-Q8_0.gguf", bytes)]
}

/// The file has these bytes, and nothing else is in the folder of blobs.
pub fn is_whole(stage: &Stage, bytes: &[u8]) {
    assert_eq!(stage.kept(), [sha256(bytes)]);
    let path = stage.snapshot().join("model-Q8_0.gguf");
    assert!(std::fs::read(path).unwrap() == bytes);
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

pub const MODEL: &str = NAME;

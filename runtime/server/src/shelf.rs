//! The models of a server: which there are, and which are in memory.

use crate::hosted::Hosted;
use crate::refusal::{Kind, Refusal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

/// Loads a model by its name, on a thread that may wait. Errors: a sentence.
pub type Opener = Box<dyn Fn(&str) -> Result<Hosted, String> + Send + Sync>;

/// Models by their names. One that is asked for is loaded; where memory does not suffice, those that were not asked for the longest
/// time are put away.
pub struct Shelf {
    names: Vec<String>,
    opener: Opener,
    /// Bytes that all loaded models may take together.
    limit: Option<u64>,
    /// Most loaded models.
    most: usize,
    loaded: Mutex<Loaded>,
    /// One is loaded at a time.
    loading: AsyncMutex<()>,
}

#[derive(Default)]
struct Loaded {
    models: BTreeMap<String, (Arc<Hosted>, u64)>,
    clock: u64,
}

impl Shelf {
    /// Of models that are loaded when they are asked for. `limit` has the bytes that they may take together.
    pub fn new(names: Vec<String>, most: usize, limit: Option<u64>, opener: Opener) -> Self {
        Self {
            names,
            opener,
            limit,
            most: most.max(1),
            loaded: Mutex::default(),
            loading: AsyncMutex::new(()),
        }
    }

    /// Their names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The error of a name that is none.
    pub fn unknown(&self, name: &str) -> Refusal {
        let names = self.names.join("', '");
        Refusal::new(
            Kind::NotFound,
            format!("there is no model '{name}'; there are '{names}'"),
        )
        .at("model")
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A model that is in memory.
    pub fn loaded(&self, name: &str) -> Option<Arc<Hosted>> {
        let loaded = self.lock();
        loaded.models.get(name).map(|(hosted, _)| hosted.clone())
    }

    /// All that are in memory.
    pub fn all_loaded(&self) -> Vec<Arc<Hosted>> {
        let loaded = self.lock();
        loaded.models.values().map(|(h, _)| h.clone()).collect()
    }

    fn used(&self, name: &str) -> Option<Arc<Hosted>> {
        let mut loaded = self.lock();
        loaded.clock += 1;
        let clock = loaded.clock;
        let (hosted, used) = loaded.models.get_mut(name)?;
        *used = clock;
        Some(hosted.clone())
    }

    /// The model of that name; without one the first. Where there is one model every name is its name: clients have names of
    /// other models built in.
    ///
    /// Errors: no such model, one that cannot be loaded.
    pub async fn get(self: &Arc<Self>, name: Option<&str>) -> Result<Arc<Hosted>, Refusal> {
        let known = |name: &&str| self.names.iter().any(|n| n == name);
        let name = match (name.filter(|n| !n.is_empty()), self.names.as_slice()) {
            (Some(name), _) if known(&name) => name.to_owned(),
            (_, [only]) => only.clone(),
            (Some(name), _) => return Err(self.unknown(name)),
            (None, [first, ..]) => first.clone(),
            (None, []) => return Err(self.unknown("")),
        };
        if let Some(hosted) = self.used(&name) {
            return Ok(hosted);
        }
        let _one = self.loading.lock().await;
        if let Some(hosted) = self.used(&name) {
            return Ok(hosted);
        }
        // What goes out is dropped off this thread: its own thread ends first.
        let this = self.clone();
        let load = move || {
            this.make_room(0);
            let hosted = (this.opener)(&name)?;
            let memory = hosted.memory;
            this.make_room(memory);
            let hosted = Arc::new(hosted);
            let mut loaded = this.lock();
            loaded.clock += 1;
            let clock = loaded.clock;
            loaded.models.insert(name, (hosted.clone(), clock));
            Ok(hosted)
        };
        match tokio::task::spawn_blocking(load).await {
            Ok(loaded) => loaded.map_err(|e: String| Refusal::new(Kind::Engine, e)),
            Err(e) => Err(Refusal::new(
                Kind::Engine,
                format!("loading the model ended by a panic: {e}"),
            )),
        }
    }

    /// Puts models away until one more of `bytes` has room. Texts that are under way keep theirs until they end.
    fn make_room(&self, bytes: u64) {
        loop {
            let out = {
                let mut loaded = self.lock();
                let taken: u64 = loaded.models.values().map(|(h, _)| h.memory).sum();
                let fits = self.limit.is_none_or(|l| taken.saturating_add(bytes) <= l);
                if loaded.models.is_empty() || (fits && loaded.models.len() < self.most) {
                    return;
                }
                let oldest = loaded.models.iter().min_by_key(|(_, (_, used))| *used);
                let oldest = oldest.map(|(name, _)| name.clone());
                oldest.and_then(|name| loaded.models.remove(&name))
            };
            drop(out);
        }
    }

    /// Puts all models away.
    pub fn clear(&self) {
        let models = std::mem::take(&mut self.lock().models);
        drop(models);
    }
}

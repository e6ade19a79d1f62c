//! What a calibrated conversion has done so far, kept beside its target, so that one that was killed goes on where
//! it was.
//!
//! In the folder `TARGET.partial`: the file as far as it is written, the residual streams before the next block (while
//! options are measured: the gradients before the last one that is done), and `state.json`, which names all else and
//! replaces its predecessor by one rename after what it names is on the disk. Only a conversion of the same source,
//! options and version goes on with it.

use super::file::{Output, write_error};
use super::header::Plan;
use super::{ConvertError, Options};
use crate::budget::{Allocation, Keep, Kept, Measured};
use crate::calibrate::{Text, fingerprint};
use crate::source::Checkpoint;
use carat_format::{Coding, Encoding, ScaleGroup, Table, Tensor};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

const STATE: &str = "state.json";
const LOCK: &str = "lock";
const DATA: &str = "data";
/// The values of two states in turn, gradients or residual streams, so that those in use are never overwritten.
const VALUES: [&str; 2] = ["values-0", "values-1"];
/// Most bytes of a state that are read.
const MOST_STATE: u64 = 1 << 30;

/// The state's folder.
pub(super) struct Resume {
    folder: PathBuf,
    /// Held as long as this conversion runs.
    _lock: File,
    state: State,
    saved: bool,
    last: Instant,
    interval: Duration,
}

#[derive(Serialize, Deserialize, Default)]
struct State {
    /// Hash of all that the file's bytes depend on.
    key: String,
    sequences: Option<Vec<Vec<u32>>>,
    /// Name, encoding and weights a scale of each matrix.
    allocation: Option<Vec<(String, String, u32)>>,
    /// The divergence that was foretold of it.
    #[serde(default)]
    predicted: f64,
    /// What is measured for it so far.
    measured: Option<Measurement>,
    matrices: Vec<Done>,
    streams: Option<Streams>,
}

#[derive(Serialize, Deserialize)]
struct Measurement {
    /// Name, sensitivity and the divergence of each option of each matrix; bits of f64.
    found: Vec<(String, u64, Vec<u64>)>,
    gradients: Values,
}

#[derive(Serialize, Deserialize)]
struct Streams {
    /// Blocks that are done.
    blocks: u32,
    values: Values,
}

/// Numbers in a file of the folder.
#[derive(Serialize, Deserialize)]
struct Values {
    file: String,
    hash: String,
}

/// A matrix whose payload is in the file.
#[derive(Serialize, Deserialize, Clone)]
struct Done {
    name: String,
    offset: u64,
    exponent: i32,
    /// Bits of the f32.
    power: u32,
    /// Bits of the f32.
    error: u32,
    table: [i8; 16],
    seconds: f64,
}

/// Where a conversion goes on.
pub(super) struct Position {
    /// The next block.
    pub block: u32,
    /// The streams' values, one stream after the other.
    pub streams: Vec<f32>,
    /// The matrices that are done, and how long each took.
    pub matrices: Vec<(Tensor, f64)>,
}

impl Resume {
    /// Opens the folder of the target, or makes it; a state of another conversion is dropped.
    pub fn open(options: &Options, source: &Checkpoint) -> Result<Self, ConvertError> {
        let mut name = options.output.clone().into_os_string();
        name.push(".partial");
        let folder = PathBuf::from(name);
        let fault = |error| ConvertError::TargetDirectory {
            path: folder.clone(),
            error,
        };
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(fault(e)),
            _ => {}
        }
        let mut open = OpenOptions::new();
        let open = open.write(true).create(true).truncate(false);
        let lock = open.open(folder.join(LOCK)).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ConvertError::Busy { path: folder }),
            // Where files cannot be locked, two conversions of one target are the user's to avoid.
            Err(TryLockError::Error(_)) => {}
        }
        let key = key(options, source);
        let state = read_state(&folder).filter(|s| s.key == key);
        let saved = state.is_some();
        let state = state.unwrap_or(State {
            key,
            ..State::default()
        });
        Ok(Self {
            folder,
            _lock: lock,
            state,
            saved,
            last: Instant::now(),
            interval: options.save_every,
        })
    }

    /// The file being written.
    pub fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is a state to go on from.
    pub fn saved(&self) -> bool {
        self.saved
    }

    /// The sampled text.
    pub fn sequences(&self) -> Option<Vec<Vec<u32>>> {
        self.state.sequences.clone()
    }

    /// Keeps the sampled text.
    pub fn keep_sequences(&mut self, sequences: &[Vec<u32>]) -> Result<(), ConvertError> {
        self.state.sequences = Some(sequences.to_vec());
        self.save_in_time()
    }

    /// The division of the bytes among these matrices, and the divergence that was foretold of it.
    pub fn allocation(&self, matrices: &[Tensor]) -> Option<(Allocation, f64)> {
        let stored = self.state.allocation.as_ref()?;
        let coding = |tensor: &Tensor| {
            let name = tensor.name();
            let (_, encoding, group) = stored.iter().find(|(n, _, _)| *n == name)?;
            Some(Coding {
                encoding: Encoding::from_name(encoding)?,
                group: ScaleGroup::from_weights(*group)?,
            })
        };
        let found = matrices.iter().map(|t| Some((*t, coding(t)?)));
        Some((found.collect::<Option<_>>()?, self.state.predicted))
    }

    /// Keeps the division of the bytes.
    pub fn keep_allocation(
        &mut self,
        allocation: &Allocation,
        predicted: f64,
    ) -> Result<(), ConvertError> {
        self.state.predicted = predicted;
        let entry = |(t, c): (&Tensor, &Coding)| {
            let group = c.group.weights() as u32;
            (t.name(), c.encoding.name().to_string(), group)
        };
        self.state.allocation = Some(allocation.iter().map(entry).collect());
        self.state.measured = None;
        self.save_in_time()
    }

    /// Where to go on, with the results of the matrices that are done entered into the plan; `values` are in the
    /// streams. `None` where there is nothing or not all of it.
    pub fn position(&self, plan: &mut Plan, values: usize) -> Option<Position> {
        let wanted = self.state.streams.as_ref()?;
        let streams = self.read(&wanted.values, values)?;
        let mut matrices = Vec::new();
        let entries = &mut plan.directory.matrices;
        for done in &self.state.matrices {
            let e = entries.iter_mut().find(|e| e.tensor.name() == done.name)?;
            e.offset = done.offset;
            e.exponent = done.exponent;
            e.power = f32::from_bits(done.power);
            e.error = f32::from_bits(done.error);
            e.table = Table(done.table);
            matrices.push((e.tensor, done.seconds));
        }
        Some(Position {
            block: wanted.blocks,
            streams,
            matrices,
        })
    }

    /// Whether it is time to save.
    pub fn due(&self) -> bool {
        self.last.elapsed() >= self.interval
    }

    /// Saves what is done after `blocks` blocks: the matrices with how long each took, and the streams.
    pub fn save<'a>(
        &mut self,
        output: &Output,
        plan: &Plan,
        blocks: u32,
        matrices: impl Iterator<Item = (Tensor, f64)>,
        streams: impl Iterator<Item = &'a [f32]>,
    ) -> Result<(), ConvertError> {
        output.sync()?;
        let values = self.write(streams)?;
        self.state.streams = Some(Streams { blocks, values });
        let done = |(tensor, seconds): (Tensor, f64)| {
            let e = plan.directory.matrix(tensor)?;
            Some(Done {
                name: tensor.name(),
                offset: e.offset,
                exponent: e.exponent,
                power: e.power.to_bits(),
                error: e.error.to_bits(),
                table: e.table.0,
                seconds,
            })
        };
        self.state.matrices = matrices.filter_map(done).collect();
        self.write_state()
    }

    /// `n` values that a state names.
    fn read(&self, values: &Values, n: usize) -> Option<Vec<f32>> {
        if !VALUES.contains(&values.file.as_str()) {
            return None;
        }
        let mut found = vec![0f32; n];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut found);
        let mut file = File::open(self.folder.join(&values.file)).ok()?;
        file.read_exact(bytes).ok()?;
        let same = blake3::hash(bytes).to_hex().as_str() == values.hash;
        same.then_some(found)
    }

    /// Writes values beside those of the state in use.
    fn write<'a>(&self, parts: impl Iterator<Item = &'a [f32]>) -> Result<Values, ConvertError> {
        let streams = self.state.streams.as_ref().map(|s| &s.values);
        let measured = self.state.measured.as_ref().map(|m| &m.gradients);
        let used = streams.or(measured).map(|v| v.file.as_str());
        let name = VALUES[usize::from(used == Some(VALUES[0]))];
        let mut hasher = blake3::Hasher::new();
        let written = (|| {
            let mut file = File::create(self.folder.join(name))?;
            for part in parts {
                let bytes: &[u8] = bytemuck::cast_slice(part);
                hasher.update(bytes);
                file.write_all(bytes)?;
            }
            file.sync_all()
        })();
        written.map_err(|e| write_error(self.folder.clone(), 0, e))?;
        Ok(Values {
            file: name.into(),
            hash: hasher.finalize().to_hex().to_string(),
        })
    }

    fn save_in_time(&mut self) -> Result<(), ConvertError> {
        if self.due() {
            self.write_state()
        } else {
            Ok(())
        }
    }

    fn write_state(&mut self) -> Result<(), ConvertError> {
        let written = (|| {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            serde_json::to_writer(io::BufWriter::new(&mut file), &self.state)?;
            file.as_file().sync_all()?;
            file.persist(self.folder.join(STATE)).map_err(|e| e.error)
        })();
        written.map_err(|e| write_error(self.folder.clone(), 0, e))?;
        self.saved = true;
        self.last = Instant::now();
        Ok(())
    }

    /// Forgets all of it.
    pub fn remove(&self) {
        // What cannot be removed is of no harm: a conversion of another key drops it.
        for name in [STATE, DATA, LOCK].into_iter().chain(VALUES) {
            fs::remove_file(self.folder.join(name)).ok();
        }
        fs::remove_dir(&self.folder).ok();
    }
}

impl Keep for Resume {
    fn kept(&self, values: usize) -> Option<Kept> {
        let Measurement { found, gradients } = self.state.measured.as_ref()?;
        let entry = |(name, sensitivity, costs): &(String, u64, Vec<u64>)| {
            let costs = costs.iter().map(|c| f64::from_bits(*c)).collect();
            (name.clone(), f64::from_bits(*sensitivity), costs)
        };
        Some(Kept {
            found: found.iter().map(entry).collect(),
            gradients: self.read(gradients, values)?,
        })
    }

    fn due(&self) -> bool {
        Self::due(self)
    }

    fn keep(&mut self, found: &[Measured], gradients: &[Vec<f32>]) -> Result<(), ConvertError> {
        let gradients = self.write(gradients.iter().map(Vec::as_slice))?;
        let entry = |m: &Measured| {
            let costs = m.choices.iter().map(|c| c.cost.to_bits()).collect();
            (m.tensor.name(), m.sensitivity.to_bits(), costs)
        };
        let found = found.iter().map(entry).collect();
        self.state.measured = Some(Measurement { found, gradients });
        self.write_state()
    }
}

/// Whether a conversion is at work with this folder of what it has done ([`ConvertError::Busy`] names it).
pub fn is_busy(folder: &Path) -> bool {
    let lock = File::open(folder.join(LOCK));
    lock.is_ok_and(|f| matches!(f.try_lock(), Err(TryLockError::WouldBlock)))
}

fn read_state(folder: &Path) -> Option<State> {
    let file = File::open(folder.join(STATE)).ok()?;
    serde_json::from_reader(io::BufReader::new(file.take(MOST_STATE))).ok()
}

/// Hash of all that the file's bytes depend on. Of the source's files name, length and time of change stand for
/// their content.
fn key(options: &Options, source: &Checkpoint) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(super::VERSION);
    add(std::env::consts::ARCH);
    for place in source.places() {
        let whole = place.canonicalize().unwrap_or_else(|_| place.into());
        add(&format!("{whole:?}"));
        if let Ok(meta) = fs::metadata(place) {
            let changed = meta.modified().ok();
            let changed = changed.and_then(|t| t.duration_since(UNIX_EPOCH).ok());
            add(&format!("{} {changed:?}", meta.len()));
        }
    }
    add(&format!(
        "{} {:?} {:?} {:?}",
        options.bits, options.group, options.rules, options.target
    ));
    // Its tokens are in the header, behind which the data lies.
    if let Some(card) = &options.card {
        let text = card.path.as_ref().and_then(|p| fs::read(p).ok());
        let text = text.map(|t| blake3::hash(&t));
        add(&format!("{:?} {} {text:?}", card.path, card.tokens));
    }
    if let Some(c) = &options.calibration {
        add(&format!("{} {} {:?}", c.tokens, c.seed, c.methods));
        match &c.text {
            Text::BuiltIn => add(&fingerprint()),
            Text::File(path) => {
                let text = fs::read(path).unwrap_or_default();
                add(blake3::hash(&text).to_hex().as_str());
            }
            Text::Own => {}
        }
    }
    hasher.finalize().to_hex().to_string()
}

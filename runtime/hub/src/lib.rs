//! Models of the Hugging Face hub, fetched by name into the cache that huggingface_hub and other programs share.
//!
//! ```no_run
//! use carat_hub::{Hub, Quiet, Reference, Settings};
//!
//! let hub = Hub::new(Settings::from_env()?)?;
//! let model: Reference = "HuggingFaceTB/SmolLM2-135M-Instruct".parse()?;
//! println!("{}", hub.pull(&model, &Quiet)?.path.display());
//! # Ok::<(), carat_hub::Error>(())
//! ```
//!
//! What a hub sends is hostile until its hash is right: names, sizes, ranges, redirects and bodies are checked, and the
//! token goes to the endpoint alone. A file appears under its name when its bytes have the hash that the listing states.
#![forbid(unsafe_code)]

mod api;
mod cache;
mod choose;
mod digest;
mod download;
mod error;
mod http;
mod name;
mod near;
mod observe;
mod pull;
mod retry;
mod settings;
mod single;

pub use error::{Error, TokenState};
pub use name::{Reference, Repository};
pub use observe::{Note, Observer, Plan, Quiet};
pub use pull::{Hub, Pulled, PulledFile};
pub use retry::Patience;
pub use settings::{Settings, Token};
pub use single::{Fetched, fetch};

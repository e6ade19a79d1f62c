//! The API of Anthropic.
use crate::refusal::{Kind, Refusal};
pub async fn create() -> Refusal {
    Refusal::new(Kind::Unsupported, "not yet")
}
pub async fn count() -> Refusal {
    Refusal::new(Kind::Unsupported, "not yet")
}

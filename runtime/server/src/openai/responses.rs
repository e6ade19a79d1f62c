//! `/v1/responses`.
use crate::refusal::{Kind, Refusal};
pub async fn create() -> Refusal {
    Refusal::new(Kind::Unsupported, "not yet")
}

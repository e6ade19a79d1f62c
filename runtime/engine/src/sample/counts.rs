//! Presence and frequency penalties.

use super::params::Params;

/// Counts the tokens of a text; keeps its memory from call to call.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    sorted: Vec<u32>,
}

impl Counts {
    /// `(token, nats to take)` of every token of `text`, by ascending id: the presence penalty once, the frequency penalty
    /// as often as it came. The definition is that of OpenAI's interface, where the text is what was generated.
    pub fn penalties(
        &mut self,
        params: &Params,
        text: &[u32],
    ) -> impl Iterator<Item = (u32, f64)> + '_ {
        self.sorted.clear();
        if params.counts() {
            self.sorted.extend_from_slice(text);
            self.sorted.sort_unstable();
        }
        let (once, each) = (params.presence_penalty, params.frequency_penalty);
        self.sorted.chunk_by(|a, b| a == b).map(move |same| {
            let nats = f64::from(once) + f64::from(each) * same.len() as f64;
            (same[0], nats)
        })
    }
}

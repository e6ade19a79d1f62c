//! Locally typical sampling.

use super::filters::{Candidates, prefix, rank, share, weight};
use super::spread::{Spread, strangeness};

impl Candidates {
    /// Keeps the fewest candidates that together have the share `p` of the probability, those first whose surprise
    /// `-ln p(token)` is nearest to the entropy; of equally near ones the more probable first. At least one stays; `p >= 1`
    /// keeps all. The most probable token may go. (Meister, Pimentel, Wiher, Cotterell 2022: "Locally Typical Sampling".)
    pub fn typical(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let Some(spread) = Spread::of(self, 1.0) else {
            return;
        };
        let p = share(p);
        let keep = prefix(
            &mut self.items,
            &mut 0,
            |a, b| {
                let near = strangeness(&spread, a).total_cmp(&strangeness(&spread, b));
                near.then(rank(a, b))
            },
            |c| weight(c.logit - spread.max),
            |sum| sum << 32 >= p * spread.total,
        );
        self.items.truncate(keep);
        self.ranked = 0;
    }
}

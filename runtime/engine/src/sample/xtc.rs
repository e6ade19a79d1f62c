//! XTC, "exclude top choices".

use super::filters::{Candidate, Candidates, share, weight};

impl Candidates {
    /// Of the candidates with a probability of at least `threshold` keeps only the least probable one. One or none with it
    /// changes nothing, so a threshold above 0.5 never does. Whether it acts on a token is drawn before.
    /// (p-e-w 2024, pull request 6335 of text-generation-webui.)
    pub fn exclude_top(&mut self, threshold: f32) {
        let Some(best) = self.best() else { return };
        let weight = |c: &Candidate| weight(c.logit - best.logit);
        let least = share(threshold) * self.total(weight);
        let reaches = |c: &&Candidate| u128::from(weight(c)) << 32 >= least;
        let top = self.items.iter().filter(reaches).count();
        if top > 1 {
            // Weights fall along the ranking, so the first are those that reach it.
            self.rank_first(top);
            self.items.drain(..top - 1);
            self.ranked -= top - 1;
        }
    }
}

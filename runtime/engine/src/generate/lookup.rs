//! Tokens proposed in advance, because the text said the same before: prompt look-up (Saxena 2023).
//!
//! The model computes the proposed tokens in one pass with the pending one, and each is checked as if it had been chosen alone: a
//! proposal can never change a token, only save a pass. How many are proposed follows from the text alone.

/// Tokens at the end of the text that are looked for, at most.
const LONGEST: usize = 12;
/// And at least, as long as proposals are right.
const SHORTEST: usize = 2;
/// And at least, when none is.
const CAUTIOUS: usize = 6;
/// How far back is looked.
const REACH: usize = 4096;

/// Proposes tokens, and learns how often it was right.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    /// Most tokens of a proposal; 0 proposes none.
    most: usize,
    /// Tokens that must have come before in the same order.
    least: usize,
    /// Tokens of the proposal under way that were right.
    right: usize,
}

impl Lookup {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            least: SHORTEST + 1,
            right: 0,
        }
    }

    /// At most `most` tokens that may follow `history` and `pending`: what followed the last time that the text said what it says at
    /// its end. As many as the common part has at most: the longer it is, the likelier it goes on.
    pub fn drafts(&mut self, history: &[u32], pending: &[u32], most: usize) -> Vec<u32> {
        let most = most.min(self.most);
        let len = history.len() + pending.len();
        if most == 0 || len <= self.least {
            return Vec::new();
        }
        let at = |i: usize| match i.checked_sub(history.len()) {
            Some(i) => pending[i],
            None => history[i],
        };
        let mut best = (0, 0);
        for end in (len.saturating_sub(REACH).max(1)..len).rev() {
            // Tokens before `end` that are those at the end of the text.
            let longest = LONGEST.min(end);
            let same = (1..=longest)
                .take_while(|k| at(end - k) == at(len - k))
                .count();
            if same > best.0 {
                best = (same, end);
                if same == LONGEST {
                    break;
                }
            }
        }
        let (same, from) = best;
        if same < self.least {
            return Vec::new();
        }
        let count = most.min(same + 1).min(len - from);
        self.right = 0;
        (from..from + count).map(at).collect()
    }

    /// The next token of the proposal is the one that was chosen.
    pub fn was_right(&mut self) {
        self.right += 1;
        self.least = self.least.saturating_sub(1).max(SHORTEST);
    }

    /// The proposal has ended, with so many tokens left.
    pub fn was_wrong(&mut self, left: usize) {
        if left > 0 && self.right == 0 {
            self.least = (self.least + 1).min(CAUTIOUS);
        }
        self.right = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafts(lookup: &mut Lookup, history: &[u32], pending: &[u32], most: usize) -> String {
        format!("{:?}", lookup.drafts(history, pending, most))
    }

    #[test]
    fn what_was_said_before_is_proposed() {
        let mut lookup = Lookup::new(8);
        let text = [1, 2, 3, 4, 5, 6, 9, 9, 1, 2, 3];
        let (history, pending) = text.split_at(10);
        assert_eq!(drafts(&mut lookup, history, pending, 100), "[4, 5, 6, 9]");
        assert_eq!(drafts(&mut lookup, history, pending, 2), "[4, 5]");
        assert_eq!(drafts(&mut lookup, history, pending, 0), "[]");
        // Two tokens alone are not enough, unless proposals were right.
        let text = [1, 2, 4, 5, 9, 1, 2];
        assert_eq!(drafts(&mut lookup, &text, &[], 100), "[]");
        lookup.was_right();
        assert_eq!(drafts(&mut lookup, &text, &[], 100), "[4, 5, 9]");
        for _ in 0..9 {
            lookup.was_wrong(3);
        }
        let text = [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5];
        assert_eq!(drafts(&mut lookup, &text, &[], 100), "[]");
        assert_eq!(drafts(&mut Lookup::new(0), &text, &[], 100), "[]");
    }

    #[test]
    fn a_loop_is_proposed_as_far_as_it_is_there() {
        let mut lookup = Lookup::new(8);
        // The last place where the same stands before is one token back.
        assert_eq!(drafts(&mut lookup, &[7; 20], &[], 100), "[7]");
        assert_eq!(drafts(&mut lookup, &[], &[7], 100), "[]");
        assert_eq!(drafts(&mut lookup, &[], &[], 100), "[]");
    }
}

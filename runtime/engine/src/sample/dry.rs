//! DRY ("don't repeat yourself") against loops: what would go on with a loop gets less likely, the longer the loop lasts.
//!
//! A loop is a part of the text that came twice in a row and begins a third time. Other programs' DRY knows every repeat,
//! near or far: that breaks code that an answer shows twice, and refrains. The tokens are those of the text that is
//! being generated, not the prompt's, and none of them ends a repeat unless it is named as a breaker: a loop of short lines
//! is one too.

use super::params::Params;

/// As many of the last tokens are searched without allocating, in which a loop's part is at most half.
const WINDOW: usize = 4096;
/// Most that is taken from a logit, in nats.
const MOST: f64 = 1e6;

/// Finds loops; keeps its memory from call to call.
#[derive(Clone, Debug, Default)]
pub(super) struct Loops {
    /// For each distance back from the end: how many tokens before there are those before the end.
    lengths: Vec<u32>,
    /// (token that would go on with a loop, tokens of the loop that came too many times already).
    found: Vec<(u32, usize)>,
    /// Tokens over which no loop goes, in ascending order.
    breakers: Vec<u32>,
}

/// More tokens at once do not go on with loops of one text.
const MOST_FOUND: usize = 64;

impl Loops {
    /// With all the memory that they take, if the parameters need them.
    pub fn new(params: &Params) -> Self {
        if !params.avoids_loops() {
            return Self::default();
        }
        let mut breakers = params.dry_breakers.clone();
        breakers.sort_unstable();
        Self {
            lengths: Vec::with_capacity(params.dry_penalty_last_n.min(WINDOW)),
            found: Vec::with_capacity(MOST_FOUND),
            breakers,
        }
    }

    /// `(token, nats to take)` of every token that would go on with a loop at `text`'s end.
    pub fn penalties(
        &mut self,
        params: &Params,
        text: &[u32],
    ) -> impl Iterator<Item = (u32, f64)> + '_ {
        self.found.clear();
        let least = params.dry_allowed_length as usize;
        if params.avoids_loops() && text.len() > least {
            let text = &text[text.len().saturating_sub(params.dry_penalty_last_n)..];
            // A loop that goes over no breaker is behind the last one: both of its parts are.
            let breaks = |id: &u32| self.breakers.binary_search(id).is_ok();
            let start = text.iter().rposition(breaks).map_or(0, |at| at + 1);
            self.search(&text[start..], least);
        }
        let (first, base) = (params.dry_multiplier, params.dry_base);
        let nats = move |more: usize| {
            let mut nats = f64::from(first);
            for _ in 0..more {
                if nats >= MOST || base == 1.0 {
                    break;
                }
                nats *= f64::from(base);
            }
            nats.min(MOST)
        };
        self.found.iter().map(move |(id, more)| (*id, nats(*more)))
    }

    fn search(&mut self, text: &[u32], least: usize) {
        let n = text.len();
        let back = |i: usize| text[n - 1 - i];
        let Self { lengths, found, .. } = self;
        lengths.clear();
        lengths.resize(n, 0);
        // The Z function of the text read backwards: (start, end) is the match that reaches farthest.
        let (mut start, mut end) = (0, 0);
        for i in 1..n {
            let mut length = match i < end {
                true => (lengths[i - start] as usize).min(end - i),
                false => 0,
            };
            while i + length < n && back(length) == back(i + length) {
                length += 1;
            }
            if i + length > end {
                (start, end) = (i, i + length);
            }
            // At most the window.
            lengths[i] = length as u32;
            // The last `length` tokens repeat what is `i` tokens back: a part of `i` tokens, twice if they are as many.
            if let Some(more) = length.checked_sub(least.max(i)) {
                let next = text[n - i];
                match found.iter().position(|f| f.0 == next) {
                    Some(at) => found[at].1 = found[at].1.max(more),
                    None if found.len() < MOST_FOUND => found.push((next, more)),
                    None => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(least: u32, text: &[u32]) -> Vec<(u32, usize)> {
        found_between(least, text, WINDOW, &[])
    }

    fn found_between(least: u32, text: &[u32], last: usize, breakers: &[u32]) -> Vec<(u32, usize)> {
        let params = Params {
            dry_multiplier: 1.0,
            dry_base: 1.0,
            dry_allowed_length: least,
            dry_penalty_last_n: last,
            dry_breakers: breakers.to_vec(),
            ..Params::greedy()
        };
        let mut loops = Loops::new(&params);
        loops.penalties(&params, text).for_each(drop);
        loops.found.sort_unstable();
        loops.found
    }

    #[test]
    fn a_part_that_came_twice_in_a_row() {
        assert_eq!(found(1, &[1, 2, 3, 1, 2, 3]), [(1, 0)]);
        assert_eq!(found(1, &[9, 1, 2, 3, 1, 2, 3, 1]), [(2, 1)]);
        assert_eq!(found(4, &[1, 2, 3, 1, 2, 3]), []);
        assert_eq!(found(1, &[1, 2, 3, 1, 2]), [], "not yet twice");
        assert_eq!(found(1, &[1, 2, 3, 9, 1, 2, 3]), [], "not in a row");
        assert_eq!(found(2, &[7, 7, 7, 7]), [(7, 1)]);
        // Two loops at once.
        assert_eq!(found(1, &[1, 1, 2, 1, 1, 2, 1, 1]), [(1, 0), (2, 2)]);
        assert_eq!(found(1, &[]), []);
        let part: Vec<u32> = (0..WINDOW as u32).collect();
        assert_eq!(
            found(1, &part[1..].repeat(2)),
            [],
            "longer than is looked for"
        );
        assert_eq!(found(1, &part[..WINDOW / 2].repeat(2)), [(0, 0)]);
    }

    #[test]
    fn no_loop_goes_over_a_breaker_or_beyond_the_window() {
        let text = [1, 2, 1, 2, 1, 2, 1, 2];
        assert_eq!(found_between(1, &text, 8, &[]), [(1, 4)]);
        assert_eq!(found_between(1, &text, 4, &[]), [(1, 0)]);
        assert_eq!(found_between(1, &text, 3, &[]), []);
        assert_eq!(found_between(1, &text, 0, &[]), [], "off");
        assert_eq!(found_between(1, &text, 8, &[7, 2, 5]), []);
        // The loop behind the last breaker counts, with what came since.
        assert_eq!(found_between(1, &[1, 1, 9, 1, 1, 1], 8, &[9]), [(1, 1)]);
        assert_eq!(found_between(1, &[1, 9, 1, 1, 9], 8, &[9]), []);
    }

    #[test]
    fn the_longer_the_more() {
        let params = Params {
            dry_multiplier: 0.5,
            dry_base: 2.0,
            dry_allowed_length: 2,
            ..Params::greedy()
        };
        let mut loops = Loops::default();
        let mut of = |text: &[u32]| loops.penalties(&params, text).collect::<Vec<_>>();
        assert_eq!(of(&[1, 2, 1, 2]), [(1, 0.5)]);
        assert_eq!(of(&[1, 2, 1, 2, 1, 2]), [(1, 2.0)]);
        assert_eq!(of(&[4; 900]), [(4, MOST)]);
    }

    proptest! {
        #[test]
        fn as_a_comparison_token_by_token_finds(text in prop::collection::vec(0u32..3, 0..60), least in 1u32..6) {
            let mut expected = std::collections::BTreeMap::new();
            for part in 1..text.len() {
                let repeats = (part..text.len()).rev().take_while(|i| text[*i] == text[i - part]).count();
                if let Some(more) = repeats.checked_sub(part.max(least as usize)) {
                    let most = expected.entry(text[text.len() - part]).or_insert(0);
                    *most = more.max(*most);
                }
            }
            prop_assert_eq!(found(least, &text), expected.into_iter().collect::<Vec<_>>());
        }
    }
}

//! Whose turn it is in a pass.

use crate::plan::PAGE;

/// What a text waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// Its next token, after so many that are to be computed.
    Token(usize),
    /// So many tokens of its prompt.
    Prompt(usize),
}

/// What a pass takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Tokens of each text.
    pub tokens: Vec<usize>,
    /// Rows that nobody waits for.
    pub rows: usize,
    /// Outputs that nobody waits for.
    pub outputs: usize,
}

/// Whether there are pages for texts that come to so many positions each. `kinds` has of each kind of pages those of a text at most, and
/// those of all.
pub fn have_pages(kinds: impl IntoIterator<Item = (u32, u32)>, reaches: &[usize]) -> bool {
    kinds.into_iter().all(|(kept, count)| {
        let of = |reach: &usize| reach.div_ceil(PAGE as usize).min(kept as usize);
        reaches.iter().map(of).sum::<usize>() <= count as usize
    })
}

/// How many tokens of each text a pass takes, of at most `batch` rows and `outputs` rows that give logits. `waits` is in the order of
/// arrival.
///
/// Texts that choose tokens come first, each with all that it waits for; where they are too many, those that came first. Prompts have
/// the rest, in their order: beside texts that choose tokens at most `piece` rows in all, so that those need not wait for long.
pub fn turns(waits: &[Turn], batch: u32, outputs: u32, piece: usize) -> Shares {
    let mut shares = vec![0; waits.len()];
    let (mut rows, mut outputs) = (batch as usize, outputs as usize);
    for (share, wait) in shares.iter_mut().zip(waits) {
        if let Turn::Token(n) = *wait
            && n <= rows
            && outputs > 0
        {
            (*share, rows, outputs) = (n, rows - n, outputs - 1);
        }
    }
    let beside = match shares.iter().any(|s| *s > 0) {
        true => rows.saturating_sub(piece),
        false => 0,
    };
    rows -= beside;
    for (share, wait) in shares.iter_mut().zip(waits) {
        let Turn::Prompt(n) = *wait else { continue };
        // The end of a prompt gives logits.
        let most = match outputs {
            0 => n.saturating_sub(1),
            _ => n,
        };
        *share = most.min(rows);
        rows -= *share;
        outputs -= usize::from(*share == n && n > 0);
    }
    Shares {
        tokens: shares,
        rows: rows + beside,
        outputs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Turn::{None, Prompt, Token};

    fn turns(waits: &[Turn], batch: u32, outputs: u32, piece: usize) -> Vec<usize> {
        super::turns(waits, batch, outputs, piece).tokens
    }

    #[test]
    fn what_nobody_waits_for_is_left() {
        let left = |waits: &[Turn]| {
            let shares = super::turns(waits, 256, 8, 64);
            (shares.rows, shares.outputs)
        };
        assert_eq!(left(&[]), (256, 8));
        assert_eq!(left(&[Token(1), Token(1)]), (254, 6));
        assert_eq!(left(&[Token(1), Prompt(300)]), (191, 7));
        assert_eq!(left(&[Prompt(300)]), (0, 8));
        assert_eq!(left(&[Prompt(10)]), (246, 7));
    }

    #[test]
    fn pages_of_every_kind_are_counted() {
        let kinds = [(8, 10), (2, 5)];
        assert!(have_pages(kinds, &[]));
        assert!(have_pages(kinds, &[8 * 256, 2 * 256]));
        assert!(!have_pages(kinds, &[8 * 256, 2 * 256 + 1]));
        // A window keeps few pages of a long text, of which there are fewer.
        assert!(have_pages([(8, 100), (2, 5)], &[2048, 2048, 1]));
        assert!(!have_pages([(8, 100), (2, 5)], &[2048, 2048, 257]));
    }

    #[test]
    fn tokens_come_before_prompts() {
        let waits = [Prompt(300), Token(1), None, Token(1), Prompt(9)];
        assert_eq!(turns(&waits, 256, 8, 64), [64, 1, 0, 1, 0]);
        assert_eq!(turns(&waits, 3, 8, 64), [1, 1, 0, 1, 0]);
        assert_eq!(turns(&waits, 256, 1, 64), [64, 1, 0, 0, 0]);
    }

    #[test]
    fn prompts_alone_have_all_rows() {
        let waits = [Prompt(100), Prompt(100), Prompt(100)];
        assert_eq!(turns(&waits, 256, 8, 64), [100, 100, 56]);
        // No more ends than outputs.
        assert_eq!(turns(&waits, 256, 1, 64), [100, 99, 57]);
    }

    #[test]
    fn nothing_is_more_than_there_is() {
        for batch in [1, 2, 7] {
            for outputs in [1, 2] {
                let waits = [Token(2), Prompt(3), Token(1), Prompt(1)];
                let shares = turns(&waits, batch, outputs, 2);
                assert!(shares.iter().sum::<usize>() <= batch as usize);
                assert!(shares.iter().any(|s| *s > 0));
            }
        }
    }
}

//! Finds special tokens in a text: the leftmost first, the longest of those.

/// A set of texts to find.
pub(super) struct Matcher {
    /// Texts with their ids, sorted by text.
    texts: Vec<(Box<str>, u32)>,
    /// For each text the index of the longest other text that it begins with.
    shorter: Vec<Option<usize>>,
    /// Whether a text begins with a byte.
    first: [bool; 256],
}

impl Matcher {
    /// A matcher of non-empty texts.
    pub(super) fn new(texts: impl Iterator<Item = (Box<str>, u32)>) -> Self {
        let mut texts: Vec<_> = texts.filter(|t| !t.0.is_empty()).collect();
        texts.sort_unstable();
        let mut first = [false; 256];
        let mut shorter: Vec<Option<usize>> = Vec::with_capacity(texts.len());
        for (i, (text, _)) in texts.iter().enumerate() {
            first[text.as_bytes()[0] as usize] = true;
            // Sorted: whatever the text begins with is its predecessor or one that begins it.
            let mut candidate = i.checked_sub(1);
            while let Some(c) = candidate {
                if text.starts_with(&*texts[c].0) {
                    break;
                }
                candidate = shorter[c];
            }
            shorter.push(candidate);
        }
        Self {
            texts,
            shorter,
            first,
        }
    }

    /// The leftmost longest match at or behind byte `from`: its start, its end, its id.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<(usize, usize, u32)> {
        let bytes = text.as_bytes();
        (from..bytes.len())
            .filter(|&at| self.first[bytes[at] as usize])
            .find_map(|at| {
                let (len, id) = self.at(&bytes[at..])?;
                Some((at, at + len, id))
            })
    }

    /// The longest text that `rest` begins with: its length and id.
    pub(super) fn at(&self, rest: &[u8]) -> Option<(usize, u32)> {
        let mut candidate = self
            .texts
            .partition_point(|t| t.0.as_bytes() <= rest)
            .checked_sub(1);
        while let Some(c) = candidate {
            let (text, id) = &self.texts[c];
            if rest.starts_with(text.as_bytes()) {
                return Some((text.len(), *id));
            }
            candidate = self.shorter[c];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_trying_everything(
            texts in prop::collection::btree_set("[ab]{1,5}", 0..12),
            text in "[abc]{0,40}",
        ) {
            let matcher = Matcher::new(texts.iter().zip(0u32..).map(|(t, id)| (t.as_str().into(), id)));
            let mut from = 0;
            loop {
                let naive = (from..text.len()).find_map(|at| {
                    let best = texts.iter().zip(0u32..).filter(|(t, _)| text[at..].starts_with(t.as_str()));
                    best.max_by_key(|(t, _)| t.len()).map(|(t, id)| (at, at + t.len(), id))
                });
                let got = matcher.find(&text, from);
                prop_assert_eq!(got, naive);
                let Some((_, end, _)) = got else { break };
                from = end;
            }
        }
    }
}

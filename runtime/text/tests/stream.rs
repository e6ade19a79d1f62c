//! Streamed text: UTF-8 that is never split, stop strings.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_text::stop::{StopError, StopStrings};
use carat_text::utf8::Utf8Stream;
use proptest::prelude::*;

/// Bytes rich in starts, middles and ends of characters.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        any::<char>().prop_map(|c| {
            let mut b = c.to_string().into_bytes();
            b.pop();
            b
        }),
        prop::sample::select(vec![
            0x41u8, 0x80, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xA0, 0xF0, 0x90, 0xF4, 0xF5, 0xFF
        ])
        .prop_map(|b| vec![b]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|p| p.concat())
}

/// Cuts a slice at sorted places.
fn cut<T>(all: &[T], places: &[prop::sample::Index]) -> Vec<Vec<T>>
where
    T: Clone,
{
    let mut at: Vec<usize> = places.iter().map(|p| p.index(all.len() + 1)).collect();
    at.push(0);
    at.push(all.len());
    at.sort_unstable();
    at.windows(2).map(|w| all[w[0]..w[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn any_split_of_any_bytes_gives_the_lossy_whole(
        bytes in bytes(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let mut stream = Utf8Stream::new();
        let mut text = String::new();
        let mut seen = 0;
        for part in cut(&bytes, &places) {
            text += &stream.push(&part);
            seen += part.len();
            // Everything but an incomplete character has come out.
            let whole = String::from_utf8_lossy(&bytes[..seen]);
            prop_assert!(whole.starts_with(text.as_str()));
            prop_assert!(whole[text.len()..].chars().count() <= 1);
            prop_assert_eq!(stream.is_pending(), whole.len() != text.len());
        }
        text += &stream.flush();
        prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        prop_assert_eq!(stream.flush(), "");
    }

    #[test]
    fn stops_agree_with_looking_at_the_whole_text(
        text in "[abcé]{0,40}",
        stops in prop::collection::vec("[abcé]{1,4}", 0..4),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        let expected = ends
            .filter_map(|end| {
                let found = stops.iter().enumerate().filter(|(_, s)| text[..end].ends_with(s.as_str()));
                let (index, stop) = found.rev().max_by_key(|(_, s)| s.len())?;
                Some((end - stop.len(), Some(index)))
            })
            .next()
            .unwrap_or((text.len(), None));
        let mut search = StopStrings::new(stops.clone()).unwrap();
        let mut out = String::new();
        let mut fed = String::new();
        for part in cut(&text.chars().collect::<Vec<_>>(), &places) {
            let part = String::from_iter(part);
            fed += &part;
            out += &search.push(&part);
            // What is held back could still become a stop string.
            if search.hit().is_none() {
                let held = &fed[out.len()..];
                prop_assert!(held.is_empty() || stops.iter().any(|s| s.starts_with(held)));
            }
        }
        if search.hit().is_none() {
            out += &search.flush();
        }
        prop_assert_eq!((out.as_str(), search.hit()), (&text[..expected.0], expected.1));
        if search.hit().is_some() {
            prop_assert_eq!(search.push("abc") + &search.flush(), "");
        }
    }
}

#[test]
fn stop_strings_hold_back_no_more_than_they_must() {
    assert_eq!(
        StopStrings::new(vec!["x".into(), String::new()]).unwrap_err(),
        StopError::Empty { index: 1 }
    );
    let mut s = StopStrings::new(vec!["\n\nUser:".into(), "</s>".into()]).unwrap();
    assert_eq!(s.push("Hello.\n"), "Hello.");
    assert_eq!(s.push("New"), "\nNew");
    assert_eq!(s.push("\n\nUse"), "");
    assert_eq!(s.push("d <"), "\n\nUsed ");
    assert_eq!(s.push("/s> and more"), "");
    assert_eq!(
        (s.hit(), s.push("more"), s.flush()),
        (Some(1), String::new(), String::new())
    );
}

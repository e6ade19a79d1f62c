//! Sessions as files: what is saved on one device goes on on every other with the tokens, the text and the hash that it would
//! have had; what is damaged, cut or of another model is refused by name, or costs time alone.
#![allow(clippy::unwrap_used)]

use carat::internals::plan::PAGE;
use carat::internals::sample::Params;
use carat::internals::selftest::Flavour;
use carat::internals::{
    Beside, CacheBits, DeviceChoice, Error, GenerateOptions, Generation, Generator, Model, Place,
    SavedError, Session, SessionOptions, Step, Want,
};
use carat_tests::rng::Rng;
use carat_tests::synth::model;
use pollster::block_on;
use std::sync::Arc;

const BATCH: u32 = 32;
const CONTEXT: u32 = 4 * PAGE;
/// Tokens of a text.
const LENGTH: usize = 40;

fn session(model: &Arc<Model>, device: DeviceChoice, cache: CacheBits, batch: u32) -> Session {
    let options = SessionOptions {
        device,
        context: CONTEXT,
        batch: Some(batch),
        outputs: 4,
        cache,
        ..Default::default()
    };
    block_on(Session::new(model.clone(), &options)).unwrap()
}

fn prompt(model: &Model, seed: u64, len: usize) -> Vec<u32> {
    let mut rng = Rng(seed);
    let vocab = u64::from(model.spec().vocab_size);
    (0..len).map(|_| rng.below(vocab) as u32).collect()
}

/// A model without windows, with some shorter than a batch, with some longer than a page; greedy and drawn; caches of 8 and 4
/// bits. With each the tokens of the prompt.
fn cases() -> Vec<(Flavour, CacheBits, GenerateOptions, usize)> {
    let of = |temperature: f32| GenerateOptions {
        max_tokens: LENGTH,
        ignore_end: true,
        sampling: Params {
            temperature,
            seed: 7,
            repeat_penalty: 1.1,
            mirostat_tau: 4.0,
            mirostat: u32::from(temperature > 1.0) * 2,
            ..Params::default()
        },
        ..GenerateOptions::default()
    };
    vec![
        (Flavour::Plain, CacheBits::ALL[0], of(0.8), 300),
        (Flavour::HeadNorms, CacheBits::ALL[0], of(1.2), 700),
        (Flavour::BranchNorms, CacheBits::ALL[1], of(0.0), 900),
        (Flavour::HeadNorms, CacheBits::ALL[3], of(0.8), 17),
    ]
}

/// Steps until so many tokens are chosen.
fn run(session: &mut Session, generator: &mut Generator, tokens: usize) {
    while generator.ids().len() < tokens {
        let step = block_on(generator.step(session, None)).unwrap();
        assert!(step != Step::End, "{} tokens", generator.ids().len());
    }
}

fn whole(mut session: Session, options: &GenerateOptions, prompt: &[u32]) -> Generation {
    let mut generator = Generator::new(&session, prompt, options, false).unwrap();
    run(&mut session, &mut generator, LENGTH);
    generator.finish(None).0
}

fn save(session: &mut Session, generator: &Generator, note: &[u8]) -> Vec<u8> {
    let (snapshot, pending) = generator.snapshot();
    let beside = Beside {
        pending,
        snapshot: Some(snapshot),
        note: note.to_vec(),
    };
    let mut file = Vec::new();
    block_on(session.save(&beside, &mut file)).unwrap();
    file
}

/// The file of a text that was cut off after so many tokens.
fn saved(
    session: &mut Session,
    options: &GenerateOptions,
    prompt: &[u32],
    tokens: usize,
) -> Vec<u8> {
    let mut generator = Generator::new(session, prompt, options, false).unwrap();
    run(session, &mut generator, tokens);
    save(session, &generator, b"note")
}

fn resumed(session: &mut Session, options: &GenerateOptions, file: &[u8]) -> Generator {
    let beside = session.open_saved(&mut &file[..]).unwrap();
    assert_eq!(beside.note, b"note");
    let snapshot = (beside.snapshot.as_ref().unwrap(), &beside.pending[..]);
    let model = session.model().clone();
    let tokenizer = model.tokenizer().unwrap();
    Generator::resume(Place::of(session), snapshot, options, tokenizer, None).unwrap()
}

fn goes_on(mut session: Session, options: &GenerateOptions, file: &[u8]) -> Generation {
    let mut generator = resumed(&mut session, options, file);
    run(&mut session, &mut generator, LENGTH);
    generator.finish(None).0
}

#[test]
fn a_text_goes_on_where_it_was_saved() {
    let mut rng = Rng(41);
    for (flavour, cache, options, len) in cases() {
        let model = model(flavour, 5 + len as u64);
        let prompt = prompt(&model, 3, len);
        let cpu = |batch| session(&model, DeviceChoice::Cpu, cache, batch);
        let expected = whole(cpu(BATCH), &options, &prompt);
        for _ in 0..3 {
            let tokens = rng.below(LENGTH as u64 - 1) as usize + 1;
            let mut first = cpu(BATCH);
            let file = saved(&mut first, &options, &prompt, tokens);
            // The same state gives the same bytes, whatever lies in the pages behind it.
            let mut second = cpu(BATCH);
            let other = self::prompt(&model, 99, 900);
            block_on(second.forward(&other, Want::Last, &mut |_| ())).unwrap();
            second.truncate(0);
            assert!(saved(&mut second, &options, &prompt, tokens) == file);
            // A batch of another size keeps other pages of a window.
            for batch in [5, BATCH, CONTEXT] {
                let found = goes_on(cpu(batch), &options, &file);
                assert_eq!(found, expected, "{flavour:?}, {tokens} tokens");
            }
            // And once more: what goes on can be saved again.
            let mut generator = resumed(&mut second, &options, &file);
            let more = (tokens + 2).min(LENGTH);
            run(&mut second, &mut generator, more);
            let again = save(&mut second, &generator, b"note");
            assert_eq!(goes_on(cpu(BATCH), &options, &again), expected);
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn it_goes_on_on_each_driver() {
    carat_tests::drivers::on_each_driver("it_goes_on_on_each_driver", |adapter| {
        let mut dispatches = 0;
        // With windows, and with a cache of 4 bits.
        for (flavour, cache, options, len) in cases().drain(1..3) {
            let model = model(flavour, 5 + len as u64);
            let prompt = prompt(&model, 3, len);
            let cpu = || session(&model, DeviceChoice::Cpu, cache, BATCH);
            let gpu = || {
                let device = DeviceChoice::GpuNamed(adapter.into());
                session(&model, device, cache, BATCH)
            };
            let expected = whole(cpu(), &options, &prompt);
            let mut here = cpu();
            let file = saved(&mut here, &options, &prompt, 9);
            let mut there = gpu();
            assert!(saved(&mut there, &options, &prompt, 9) == file);
            let mut generator = resumed(&mut there, &options, &file);
            run(&mut there, &mut generator, LENGTH);
            assert_eq!(generator.finish(None).0, expected, "{flavour:?}");
            dispatches += there.dispatches();
        }
        dispatches
    });
}

#[test]
fn a_file_that_is_cut_costs_time_alone() {
    for (flavour, cache, options, len) in cases() {
        let model = model(flavour, 5 + len as u64);
        let prompt = prompt(&model, 3, len);
        let cpu = || session(&model, DeviceChoice::Cpu, cache, BATCH);
        let expected = whole(cpu(), &options, &prompt);
        let file = saved(&mut cpu(), &options, &prompt, 20);
        let body = u32::from_le_bytes(*file[12..].first_chunk().unwrap()) as usize;
        let header = 48 + body;
        let mut rng = Rng(len as u64);
        for _ in 0..6 {
            let end = header + rng.below((file.len() - header) as u64) as usize;
            let found = goes_on(cpu(), &options, &file[..end]);
            assert_eq!(found, expected, "{flavour:?}, cut at {end}");
        }
        for _ in 0..20 {
            let end = rng.below(header as u64) as usize;
            let mut session = cpu();
            match block_on(async { session.open_saved(&mut &file[..end]) }) {
                Err(Error::Saved(SavedError::Magic)) => assert!(end < 8),
                Err(Error::Saved(SavedError::Cut { expected, found })) => {
                    assert!(found == end as u64 && expected > found);
                }
                other => panic!("cut at {end}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_is_damaged_or_foreign_is_refused() {
    let (flavour, cache, options, len) = cases().swap_remove(1);
    let model = model(flavour, 5 + len as u64);
    let prompt = prompt(&model, 3, len);
    let cpu = |model: &Arc<Model>, cache| session(model, DeviceChoice::Cpu, cache, BATCH);
    let file = saved(&mut cpu(&model, cache), &options, &prompt, 20);
    let open = |model: &Arc<Model>, cache, file: &[u8]| {
        let mut session = cpu(model, cache);
        let opened = session.open_saved(&mut &file[..]);
        // Whatever it was, the session is one that can be used.
        let mut sink = |_: carat::internals::Output<'_>| ();
        block_on(session.forward(&[1], Want::Last, &mut sink)).unwrap();
        match opened {
            Err(Error::Saved(e)) => e,
            other => panic!("{other:?}"),
        }
    };
    let mut rng = Rng(8);
    for _ in 0..60 {
        let mut damaged = file.clone();
        let at = rng.below(file.len() as u64) as usize;
        damaged[at] ^= 1 << rng.below(8);
        let error = open(&model, cache, &damaged);
        let fits = match error {
            SavedError::Magic => at < 8,
            SavedError::Version(_) => (8..12).contains(&at),
            // A length that is too large.
            SavedError::Cut { .. } => (12..16).contains(&at),
            SavedError::Header(_) => at >= 12,
            SavedError::Segment { .. } => at >= 48,
            // The kinds that a segment has say how long it is.
            _ => false,
        };
        assert!(fits, "byte {at}: {error}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(matches!(open(&model, cache, &longer), SavedError::Trailing));
    let other = carat_tests::synth::model(flavour, 1);
    let error = open(&other, cache, &file);
    assert!(matches!(error, SavedError::Foreign { .. }), "{error}");
    let error = open(&model, CacheBits::ALL[3], &file);
    assert!(matches!(error, SavedError::Cache { .. }), "{error}");
    let options = SessionOptions {
        context: PAGE,
        ..SessionOptions::default()
    };
    let mut short = block_on(Session::new(model.clone(), &options)).unwrap();
    match short.open_saved(&mut &file[..]) {
        Err(Error::Saved(SavedError::Context { tokens, context })) => {
            assert_eq!((tokens, context), (719, PAGE));
        }
        other => panic!("{other:?}"),
    }
    let most = (1 << 26) + 1;
    let beside = Beside {
        note: vec![0; most],
        ..Beside::default()
    };
    let long = block_on(short.save(&beside, &mut Vec::new()));
    assert!(matches!(long, Err(Error::Saved(SavedError::Note { found, .. })) if found == most));
}

#[test]
fn a_segment_does_not_take_another_ones_place() {
    let (flavour, cache, options, _) = cases().swap_remove(0);
    let model = model(flavour, 5);
    let cpu = || session(&model, DeviceChoice::Cpu, cache, BATCH);
    let mut file = saved(&mut cpu(), &options, &prompt(&model, 3, 600), 20);
    let body = u32::from_le_bytes(*file[12..].first_chunk().unwrap()) as usize;
    // Three segments with a hash of 32 bytes each.
    let segments = &mut file[48 + body..];
    let position = (segments.len() - 3 * 32) / 619;
    let (first, rest) = segments.split_at_mut(256 * position + 32);
    first.swap_with_slice(&mut rest[..256 * position + 32]);
    match cpu().open_saved(&mut &file[..]) {
        Err(Error::Saved(SavedError::Segment { first, end })) => assert_eq!((first, end), (0, 256)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_prompt_that_was_cut_off_goes_on() {
    let (flavour, cache, options, len) = cases().swap_remove(0);
    let model = model(flavour, 5 + len as u64);
    let prompt = prompt(&model, 3, len);
    let cpu = || session(&model, DeviceChoice::Cpu, cache, BATCH);
    let expected = whole(cpu(), &options, &prompt);
    let mut first = cpu();
    let mut generator = Generator::new(&first, &prompt, &options, false).unwrap();
    for _ in 0..3 {
        block_on(generator.step(&mut first, None)).unwrap();
    }
    assert_eq!(first.tokens().len(), 96);
    let file = save(&mut first, &generator, b"note");
    assert_eq!(goes_on(cpu(), &options, &file), expected);
}

//! Many texts on one loaded model: each has the tokens and logits that it has alone, whatever is beside it, whatever is kept
//! of earlier texts, and wherever it is cut off.
#![allow(clippy::unwrap_used)]

use carat::internals::plan::PAGE;
use carat::internals::sample::Params;
use carat::internals::selftest::Flavour;
use carat::internals::text::constraint::{Constraint, ConstraintError, Mask};
use carat::internals::text::stop::StopReason;
use carat::internals::{
    Batcher, CacheBits, DeviceChoice, Drafter, GenerateOptions, Generation, Generator, Host, JobId,
    Loaded, Model, News, Request, Session, SessionOptions, Step, Verify, generate_constrained,
};
use carat_tests::rng::Rng;
use carat_tests::synth::{Shape, model};
use pollster::block_on;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::channel;

mod proposals;

/// Rows of a pass.
const BATCH: u32 = 32;
/// Texts under way at once.
const SEQUENCES: u32 = 4;
/// Positions of a text.
const CONTEXT: u32 = 4 * PAGE;

fn options(device: DeviceChoice, cache: CacheBits) -> SessionOptions {
    SessionOptions {
        device,
        context: CONTEXT,
        batch: Some(BATCH),
        outputs: 2 * SEQUENCES,
        sequences: SEQUENCES,
        spare: 1,
        cache,
        ..Default::default()
    }
}

fn batcher(model: &Arc<Model>, options: &SessionOptions) -> Batcher {
    Batcher::new(block_on(Loaded::new(model.clone(), options)).unwrap())
}

/// Every third token may not come.
#[derive(Clone)]
struct Thirds {
    vocab: u32,
    seen: u32,
}

impl Constraint for Thirds {
    fn mask(&mut self) -> Result<Option<Mask>, ConstraintError> {
        let allowed = |id: &u32| !(id + self.seen).is_multiple_of(3);
        Ok(Some((0..self.vocab).filter(allowed).collect()))
    }

    fn accept(&mut self, id: u32) -> Result<(), ConstraintError> {
        self.seen += id % 7;
        Ok(())
    }

    fn is_complete(&mut self) -> bool {
        false
    }
}

/// A text, and what comes of it alone.
struct Case {
    prompt: Vec<u32>,
    options: GenerateOptions,
    constraint: Option<Thirds>,
}

impl Case {
    /// One that begins as others do.
    fn new(model: &Model, rng: &mut Rng, stem: &[u32], most: u64) -> Self {
        let vocab = u64::from(model.spec().vocab_size);
        let shared = rng.below(stem.len() as u64 + 1) as usize;
        let mut prompt = stem[..shared].to_vec();
        let own = 1 + rng.below(most);
        prompt.extend((0..own).map(|_| rng.below(vocab) as u32));
        let temperature = [0.0, 0.8][rng.below(2) as usize];
        let options = GenerateOptions {
            max_tokens: 1 + rng.below(40) as usize,
            sampling: Params {
                temperature,
                seed: rng.below(1000),
                ..Params::default()
            },
            ignore_end: true,
            lookup: [0, 6][rng.below(2) as usize],
            ..GenerateOptions::default()
        };
        let constraint = (rng.below(4) == 0).then_some(Thirds {
            vocab: vocab as u32,
            seen: 0,
        });
        Self {
            prompt,
            options,
            constraint,
        }
    }

    fn request(&self) -> Request {
        let constraint = self.constraint.clone();
        Request {
            prompt: self.prompt.clone(),
            options: self.options.clone(),
            constraint: constraint.map(|c| Box::new(c) as Box<dyn Constraint + Send>),
            forcing: None,
            strengths: None,
        }
    }

    fn alone(&self, session: &mut Session, most: usize) -> Generation {
        session.truncate(0);
        let options = GenerateOptions {
            max_tokens: most.min(self.options.max_tokens),
            lookup: 0,
            ..self.options.clone()
        };
        let mut constraint = self.constraint.clone();
        let constraint = constraint.as_mut().map(|c| c as &mut dyn Constraint);
        let mut watch = |_: carat::internals::Event<'_>| ControlFlow::Continue(());
        let done = generate_constrained(session, &self.prompt, &options, constraint, &mut watch);
        block_on(done).unwrap()
    }
}

fn session(model: &Arc<Model>, cache: CacheBits) -> Session {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: CONTEXT,
        cache,
        ..Default::default()
    };
    block_on(Session::new(model.clone(), &options)).unwrap()
}

/// What became of a text.
#[derive(Default)]
struct Heard {
    cached: usize,
    ids: Vec<u32>,
    text: String,
    end: Option<Generation>,
}

impl Heard {
    fn take(&mut self, news: News) {
        assert!(self.end.is_none(), "news after the last");
        match news {
            News::Begun { cached } => self.cached = cached,
            News::Prompt { .. } => {}
            News::Token { id, text, .. } => {
                self.ids.push(id);
                self.text += &text;
            }
            News::End { generation, tail } => {
                self.text += &tail;
                self.end = Some(generation);
            }
            News::Failed(e) => panic!("{e}"),
        }
    }
}

/// Texts that come when chance wants it, of which some are cancelled: what each had. Returns the tokens that were kept of others.
fn texts_in_any_order(
    device: DeviceChoice,
    (flavour, cache): (Flavour, CacheBits),
    seed: u64,
    texts: usize,
    smaller: Option<u64>,
) -> usize {
    let model = model(flavour, 100 + seed);
    let mut rng = Rng(seed);
    let vocab = u64::from(model.spec().vocab_size);
    let stem: Vec<u32> = (0..700).map(|_| rng.below(vocab) as u32).collect();
    let cases: Vec<Case> = (0..texts)
        .map(|_| Case::new(&model, &mut rng, &stem, 60))
        .collect();
    let mut batcher = batcher(&model, &options(device, cache));
    if let Some(seed) = smaller {
        let smaller = carat_tests::synth::model(Flavour::Plain, seed);
        batcher.draft_with(drafter(smaller, &model));
    }
    let mut heard: BTreeMap<JobId, Heard> = BTreeMap::new();
    let mut ids = Vec::new();
    while ids.len() < cases.len() || !batcher.is_empty() {
        while ids.len() < cases.len() && rng.below(3) == 0 {
            let id = batcher.add(cases[ids.len()].request());
            heard.insert(id, Heard::default());
            ids.push(id);
        }
        if rng.below(40) == 0 && !ids.is_empty() {
            batcher.cancel(ids[rng.below(ids.len() as u64) as usize]);
        }
        let mut tell = |id: JobId, news: News| heard.get_mut(&id).unwrap().take(news);
        block_on(batcher.pass(&mut tell)).unwrap();
    }
    let mut alone = session(&model, cache);
    let mut cancelled = 0;
    for (case, id) in cases.iter().zip(&ids) {
        let heard = heard.remove(id).unwrap();
        let found = heard.end.unwrap();
        assert_eq!(heard.ids, found.ids);
        assert_eq!(heard.text, found.text);
        if found.reason == StopReason::Cancelled {
            cancelled += 1;
            if !found.ids.is_empty() {
                let expected = case.alone(&mut alone, found.ids.len());
                assert_eq!(found.ids, expected.ids);
                assert_eq!(found.logits_hash, expected.logits_hash);
            }
            continue;
        }
        assert_eq!(found, case.alone(&mut alone, usize::MAX), "{flavour:?}");
    }
    assert!(cancelled < texts, "{cancelled} of {texts}");
    // No sequence holds a page any more.
    let loaded = batcher.loaded();
    assert!(loaded.pages_in_use().iter().all(|p| p.held == 0));
    let kept = loaded.published();
    loaded.clear_published();
    assert!(loaded.pages_in_use().iter().all(|p| p.held + p.kept == 0));
    assert_eq!(loaded.published(), 0);
    kept
}

/// One model without windows, one whose window is shorter than a batch, one whose window is longer than a page; and caches of 4
/// bits.
const KINDS: [(Flavour, CacheBits); 6] = [
    (Flavour::Plain, CacheBits::ALL[0]),
    (Flavour::HeadNorms, CacheBits::ALL[0]),
    (Flavour::BranchNorms, CacheBits::ALL[0]),
    (Flavour::Plain, CacheBits::ALL[3]),
    (Flavour::HeadNorms, CacheBits::ALL[1]),
    (Flavour::BranchNorms, CacheBits::ALL[2]),
];

#[test]
fn a_text_does_not_know_its_neighbours() {
    for kind in KINDS {
        for seed in [1, 2] {
            let kept = texts_in_any_order(DeviceChoice::Cpu, kind, seed, 40, None);
            assert!(kept > 0);
        }
    }
}

#[cfg(feature = "gpu")]
#[test]
fn nor_does_it_on_any_driver() {
    carat_tests::drivers::on_each_driver("nor_does_it_on_any_driver", |adapter| {
        let device = DeviceChoice::GpuNamed(adapter.to_lowercase());
        let of = |cache| {
            let kind = (Flavour::BranchNorms, cache);
            texts_in_any_order(device.clone(), kind, 3, 6, Some(103)) as u64
        };
        of(CacheBits::default()) + of(CacheBits::ALL[3])
    });
}

fn drafter(smaller: Arc<Model>, model: &Model) -> Drafter {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: CONTEXT,
        batch: Some(BATCH),
        sequences: SEQUENCES,
        ..Default::default()
    };
    block_on(Drafter::new(smaller, model, &options, 5)).unwrap()
}

/// A beginning that is known is not computed again, whole pages and the tokens behind them.
#[test]
fn a_beginning_is_computed_once() {
    for (flavour, cache) in KINDS {
        let model = model(flavour, 7);
        let mut rng = Rng(9);
        let vocab = u64::from(model.spec().vocab_size);
        let mut text = |n: usize| -> Vec<u32> { (0..n).map(|_| rng.below(vocab) as u32).collect() };
        let system = text(600);
        let mut batcher = batcher(&model, &options(DeviceChoice::Cpu, cache));
        let mut alone = session(&model, cache);
        let mut run = |own: Vec<u32>| {
            let mut prompt = system.clone();
            prompt.extend(own);
            let case = Case {
                prompt,
                options: GenerateOptions {
                    max_tokens: 20,
                    ignore_end: true,
                    ..GenerateOptions::default()
                },
                constraint: None,
            };
            batcher.add(case.request());
            let (mut heard, mut passes) = (Heard::default(), 0);
            while !batcher.is_empty() {
                passes += 1;
                block_on(batcher.pass(&mut |_, news| heard.take(news))).unwrap();
            }
            assert_eq!(heard.end.unwrap(), case.alone(&mut alone, usize::MAX));
            let held: Vec<u32> = batcher
                .loaded()
                .pages_in_use()
                .iter()
                .map(|p| p.kept)
                .collect();
            (heard.cached, passes, held)
        };
        let first = run(text(40));
        assert_eq!(first.0, 0);
        let second = run(text(50));
        assert_eq!(second.0, 600, "{flavour:?}");
        assert!(second.1 + 600 / BATCH as usize <= first.1 + 1, "{second:?}");
        // The same again computes its last token alone.
        let own = text(50);
        run(own.clone());
        assert_eq!(run(own).0, 649);
        assert_eq!(run(text(30)).0, 600);
        // A beginning of another one is found in the middle of its pages, if nothing of a window is missing.
        if flavour == Flavour::Plain {
            let mut other = batcher.loaded().begin(&system[..300]).unwrap();
            assert_eq!(other.tokens(), &system[..299]);
            other.truncate(260);
            assert_eq!(other.held(), 260);
        }
    }
}

/// A sequence that goes back into pages which others share writes to copies of them.
#[test]
fn a_shared_page_is_copied_before_it_is_written() {
    for (flavour, cache) in KINDS {
        let model = model(flavour, 17);
        let mut rng = Rng(19);
        let vocab = u64::from(model.spec().vocab_size);
        let text: Vec<u32> = (0..1000).map(|_| rng.below(vocab) as u32).collect();
        let mut loaded = block_on(Loaded::new(
            model.clone(),
            &options(DeviceChoice::Cpu, cache),
        ))
        .unwrap();
        let mut alone = session(&model, cache);
        let mut checksums = |tokens: &[u32]| {
            alone.truncate(0);
            let mut found = 0;
            let want = carat::internals::Want::LastResult;
            block_on(alone.forward(tokens, want, &mut |o| found = o.checksum)).unwrap();
            found
        };
        let mut extend = |loaded: &mut Loaded,
                          sequence: &mut carat::internals::Sequence,
                          tokens: &[u32]| {
            let mut found = 0;
            for tokens in tokens.chunks(BATCH as usize) {
                let part = carat::internals::Part {
                    sequence: &mut *sequence,
                    tokens,
                    outputs: 1,
                };
                block_on(loaded.pass(&mut [part], false, &mut |_, o| found = o.checksum)).unwrap();
            }
            assert_eq!(found, checksums(sequence.tokens()), "{flavour:?}");
        };
        let mut first = loaded.sequence();
        extend(&mut loaded, &mut first, &text[..600]);
        loaded.publish(&mut first, true);
        for back in [590, 520, 512, 511, 300, 256, 3] {
            let mut second = loaded.begin(&text[..601]).unwrap();
            assert_eq!(second.tokens().len(), 600);
            second.truncate(back);
            extend(&mut loaded, &mut second, &text[700..740]);
            loaded.publish(&mut second, true);
        }
        // The first one goes on, then goes back itself; what it published is as it was.
        extend(&mut loaded, &mut first, &text[600..640]);
        first.truncate(530);
        extend(&mut loaded, &mut first, &text[800..900]);
        loaded.publish(&mut first, true);
        let mut third = loaded.begin(&text[..650]).unwrap();
        assert!(
            third.tokens().len() >= 600,
            "{flavour:?} {}",
            third.tokens().len()
        );
        let from = third.tokens().len();
        extend(&mut loaded, &mut third, &text[from..660]);
        drop((first, third));
        assert!(loaded.pages_in_use().iter().all(|p| p.held == 0));
    }
}

/// In a pool that has no page left for a copy nothing is taken over by halves.
#[test]
fn a_pool_without_a_page_for_a_copy_begins_anew() {
    for (flavour, cache) in KINDS {
        let model = model(flavour, 47);
        let mut rng = Rng(49);
        let vocab = u64::from(model.spec().vocab_size);
        let text: Vec<u32> = (0..1000).map(|_| rng.below(vocab) as u32).collect();
        for pages in 4..=5 {
            let options = SessionOptions {
                pool: Some(pages * PAGE),
                sequences: 2,
                spare: 0,
                ..options(DeviceChoice::Cpu, cache)
            };
            let mut loaded = block_on(Loaded::new(model.clone(), &options)).unwrap();
            let mut alone = session(&model, cache);
            let run = |loaded: &mut Loaded, sequence: &mut carat::internals::Sequence| {
                let used = sequence.tokens().len();
                let mut found = 0;
                for tokens in text[used..].chunks(BATCH as usize) {
                    let part = carat::internals::Part {
                        sequence: &mut *sequence,
                        tokens,
                        outputs: 1,
                    };
                    block_on(loaded.pass(&mut [part], false, &mut |_, o| found = o.checksum))
                        .unwrap();
                }
                loaded.publish(sequence, true);
                found
            };
            // The last page of the text is not the first one of the buffer, which a place that was never filled would name.
            let mut order: Vec<_> = (0..4).map(|_| loaded.sequence()).collect();
            for sequence in &mut order {
                let part = carat::internals::Part {
                    sequence,
                    tokens: &text[..1],
                    outputs: 0,
                };
                block_on(loaded.pass(&mut [part], false, &mut |_, _| ())).unwrap();
            }
            order.into_iter().for_each(drop);
            let mut first = loaded.sequence();
            let expected = run(&mut loaded, &mut first);
            alone.truncate(0);
            let want = carat::internals::Want::LastResult;
            let sink = &mut |o: carat::internals::Output<'_>| assert_eq!(o.checksum, expected);
            block_on(alone.forward(&text, want, sink)).unwrap();
            drop(first);
            let mut second = loaded.begin(&text).unwrap();
            assert_eq!(
                run(&mut loaded, &mut second),
                expected,
                "{flavour:?} {pages}"
            );
            drop(second);
            assert!(loaded.pages_in_use().iter().all(|p| p.held == 0));
        }
    }
}

/// What is under way never asks for more pages than there are, whatever the device's buffers hold.
#[test]
fn texts_wait_for_pages_that_are_there() {
    for (flavour, cache) in KINDS {
        let model = model(flavour, 57);
        let mut rng = Rng(59);
        for pages in [4, 6] {
            let options = SessionOptions {
                pool: Some(pages * PAGE),
                spare: 0,
                ..options(DeviceChoice::Cpu, cache)
            };
            let mut batcher = batcher(&model, &options);
            let mut alone = session(&model, cache);
            let stem = vec![7; 600];
            let cases: Vec<Case> = (0..8)
                .map(|_| Case::new(&model, &mut rng, &stem, 300))
                .collect();
            let mut heard: BTreeMap<JobId, Heard> = BTreeMap::new();
            for case in &cases {
                heard.insert(batcher.add(case.request()), Heard::default());
            }
            while !batcher.is_empty() {
                let mut tell = |id: JobId, news: News| heard.get_mut(&id).unwrap().take(news);
                block_on(batcher.pass(&mut tell)).unwrap();
            }
            for (case, heard) in cases.iter().zip(heard.into_values()) {
                assert_eq!(heard.end.unwrap(), case.alone(&mut alone, usize::MAX));
            }
        }
    }
}

/// Texts that are given up when their reader is gone free their pages; those of others go on.
#[test]
fn a_host_serves_many_threads() {
    let model = model(Flavour::Plain, 27);
    let mut rng = Rng(29);
    let cases: Vec<Case> = (0..24)
        .map(|_| Case::new(&model, &mut rng, &[5; 300], 50))
        .collect();
    let mut alone = session(&model, CacheBits::default());
    let expected: Vec<Generation> = cases
        .iter()
        .map(|c| c.alone(&mut alone, usize::MAX))
        .collect();
    let host = Host::start(batcher(
        &model,
        &options(DeviceChoice::Cpu, CacheBits::default()),
    ))
    .unwrap();
    std::thread::scope(|scope| {
        for (i, (case, expected)) in cases.iter().zip(&expected).enumerate() {
            let host = &host;
            scope.spawn(move || {
                let (sender, receiver) = channel();
                // Every third one's reader goes after the first token.
                let leaves = i % 3 == 0;
                let listener = Box::new(move |news: News| sender.send(news).is_ok());
                host.generate(case.request(), listener).unwrap();
                let mut heard = Heard::default();
                for news in receiver {
                    let token = matches!(news, News::Token { .. });
                    heard.take(news);
                    if leaves && token {
                        assert_eq!(heard.ids, expected.ids[..heard.ids.len()]);
                        return;
                    }
                }
                assert_eq!(&heard.end.unwrap(), expected);
            });
        }
    });
    let (sender, receiver) = channel();
    let idle = move |batcher: &mut Batcher| {
        let in_use = batcher.loaded().pages_in_use();
        sender.send((batcher.is_empty(), in_use)).unwrap();
    };
    // Those that nobody hears end with the pass that tells so.
    loop {
        let idle = idle.clone();
        host.task(idle).unwrap();
        let (empty, in_use) = receiver.recv().unwrap();
        if empty {
            assert!(in_use.iter().all(|p| p.held == 0), "{in_use:?}");
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(host.load(), (0, 0));
}

//! Several sequences on one loaded model: weights and pages once, and of each sequence the integers that it has alone.
#![allow(clippy::unwrap_used)]

use carat::internals::exec::{Batch, PageTables};
use carat::internals::plan::{PAGE, Row};
use carat::internals::selftest::Flavour;
use carat::internals::{
    CacheBits, Checksum, DeviceChoice, Error, Loaded, Model, Part, Sequence, Session,
    SessionOptions, Want,
};
use carat_tests::rng::Rng;
use carat_tests::synth::model;
use pollster::block_on;
use std::sync::Arc;

/// Rows of a pass.
const BATCH: u32 = 32;

fn options(device: DeviceChoice, cache: CacheBits) -> SessionOptions {
    SessionOptions {
        device,
        context: 4 * PAGE,
        batch: Some(BATCH),
        outputs: BATCH,
        sequences: 2,
        cache,
        ..Default::default()
    }
}

fn load(model: &Arc<Model>, options: &SessionOptions) -> Loaded {
    block_on(Loaded::new(model.clone(), options)).unwrap()
}

fn text(model: &Model, seed: u64, len: usize) -> Vec<u32> {
    let mut rng = Rng(seed);
    let vocab = u64::from(model.spec().vocab_size);
    (0..len).map(|_| rng.below(vocab) as u32).collect()
}

/// Every token's checksum, on the CPU. A batch of the whole context leaves no window's pages to be written twice.
fn alone(model: &Arc<Model>, cache: CacheBits, tokens: &[u32]) -> Vec<Checksum> {
    let options = SessionOptions {
        batch: Some(4 * PAGE),
        ..options(DeviceChoice::Cpu, cache)
    };
    let mut session = block_on(Session::new(model.clone(), &options)).unwrap();
    let pages = &session.plan().pages;
    assert!(pages.iter().all(|p| p.kept == 4), "{pages:?}");
    checksums(&mut session, tokens)
}

fn checksums(session: &mut Session, tokens: &[u32]) -> Vec<Checksum> {
    let mut found = Vec::new();
    let mut sink = |o: carat::internals::Output<'_>| found.push(o.checksum);
    block_on(session.forward(tokens, Want::From(0), &mut sink)).unwrap();
    found
}

/// Both sequences in passes of one and of both, of lengths that chance gives: every token's checksum.
fn together(loaded: &mut Loaded, texts: [&[u32]; 2]) -> [Vec<Checksum>; 2] {
    let mut rng = Rng(77);
    let mut sequences = [loaded.sequence(), loaded.sequence()];
    let mut found = [Vec::new(), Vec::new()];
    let left = |s: &Sequence, text: &[u32]| text.len() - s.tokens().len();
    while (0..2).any(|i| left(&sequences[i], texts[i]) > 0) {
        let most = match rng.below(3) {
            0 => [BATCH, 0],
            1 => [0, BATCH],
            _ => [BATCH / 2; 2],
        };
        let mut parts = Vec::new();
        for (i, sequence) in sequences.iter_mut().enumerate() {
            let used = sequence.tokens().len();
            let len = rng.below(u64::from(most[i]) + 1) as usize;
            let len = len.min(left(sequence, texts[i]));
            parts.push(Part {
                tokens: &texts[i][used..used + len],
                outputs: len,
                sequence,
            });
        }
        let mut sink = |part: usize, o: carat::internals::Output<'_>| {
            assert_eq!(o.position as usize, found[part].len());
            assert_eq!(carat::internals::sample::argmax(o.logits), Some(o.argmax));
            found[part].push(o.checksum);
        };
        block_on(loaded.pass(&mut parts, true, &mut sink)).unwrap();
    }
    found
}

/// One model without windows, one whose window is shorter than a batch, one whose window is longer than a page; and caches of 4
/// bits.
const KINDS: [(Flavour, CacheBits); 6] = [
    (Flavour::Plain, CacheBits::ALL[0]),
    (Flavour::HeadNorms, CacheBits::ALL[0]),
    (Flavour::BranchNorms, CacheBits::ALL[0]),
    (Flavour::Plain, CacheBits::ALL[3]),
    (Flavour::HeadNorms, CacheBits::ALL[2]),
    (Flavour::BranchNorms, CacheBits::ALL[1]),
];

fn each_has_what_it_has_alone(
    device: &DeviceChoice,
    cases: &[(Flavour, CacheBits, [usize; 2])],
) -> u64 {
    let mut dispatches = 1;
    for (flavour, cache, lengths) in cases {
        let model = model(*flavour, 31 + lengths[0] as u64);
        let (a, b) = (text(&model, 5, lengths[0]), text(&model, 6, lengths[1]));
        let mut loaded = load(&model, &options(device.clone(), *cache));
        let found = together(&mut loaded, [&a, &b]);
        assert_eq!(found[0], alone(&model, *cache, &a), "{flavour:?}");
        assert_eq!(found[1], alone(&model, *cache, &b), "{flavour:?}");
        dispatches += loaded.dispatches();
    }
    dispatches
}

#[test]
fn sequences_do_not_see_each_other() {
    // Beyond the pages that the windows keep.
    let cases = KINDS.map(|(flavour, cache)| (flavour, cache, [900, 420]));
    each_has_what_it_has_alone(&DeviceChoice::Cpu, &cases);
}

#[cfg(feature = "gpu")]
#[test]
fn nor_on_any_driver() {
    carat_tests::drivers::on_each_driver("nor_on_any_driver", |adapter| {
        let [wide, .., narrow] = CacheBits::ALL;
        let cases = [
            (Flavour::Plain, wide, [90, 70]),
            (Flavour::HeadNorms, wide, [540, 100]),
            (Flavour::HeadNorms, narrow, [300, 100]),
        ];
        let device = DeviceChoice::GpuNamed(adapter.to_lowercase());
        each_has_what_it_has_alone(&device, &cases)
    });
}

#[test]
fn weights_are_in_the_account_once() {
    let model = model(Flavour::BranchNorms, 3);
    let of = |sequences| {
        let options = SessionOptions {
            sequences,
            ..options(DeviceChoice::Cpu, CacheBits::default())
        };
        options.memory(&model).unwrap()
    };
    let (one, two) = (of(1), of(2));
    assert_eq!(one.weights, two.weights);
    assert_eq!(2 * one.cache, two.cache);
    assert!(two.work - one.work < 16 << 10);
}

#[cfg(feature = "gpu")]
#[test]
fn weights_are_uploaded_once() {
    use carat::internals::exec::Executor;
    use carat::internals::{Delivery, Loading};
    carat_tests::drivers::on_each_driver("weights_are_uploaded_once", |adapter| {
        let model = model(Flavour::Plain, 3);
        let options = options(
            DeviceChoice::GpuNamed(adapter.to_lowercase()),
            CacheBits::default(),
        );
        let gpu = block_on(options.open_device(&model)).unwrap().unwrap();
        let loading = Arc::new(Loading::default());
        let opened = Delivery::on(model.clone(), &options, gpu, loading.clone());
        let mut delivery = block_on(opened).unwrap();
        block_on(delivery.put_all(&model, false)).unwrap();
        let mut loaded = block_on(delivery.loaded()).unwrap();
        let allocated = |loaded: &Loaded| match loaded.executor() {
            Executor::Gpu(gpu) => gpu.allocated(),
            Executor::Cpu(_) => panic!("not a GPU"),
        };
        together(&mut loaded, [&text(&model, 1, 40), &text(&model, 2, 50)]);
        let weights = options.memory(&model).unwrap().weights;
        assert_eq!(loading.bytes(), (weights, weights));
        let once = weights + loaded.plan().work_bytes();
        assert!((once..once + (1 << 20)).contains(&allocated(&loaded)));
        loaded.dispatches()
    });
}

/// A windowed block keeps its window's pages, whatever the context, and a session goes back as far as they reach without
/// computing anything again. Beyond that the results are the same, too.
#[test]
fn a_window_keeps_its_pages() {
    for (i, (flavour, window)) in [(Flavour::HeadNorms, 3), (Flavour::BranchNorms, 260)]
        .into_iter()
        .cycle()
        .take(2 * CacheBits::ALL.len())
        .enumerate()
    {
        let cache = CacheBits::ALL[i / 2];
        let model = model(flavour, 41 + i as u64 % 2);
        let tokens = text(&model, 8, 1000);
        let options = options(DeviceChoice::Cpu, cache);
        let mut session = block_on(Session::new(model.clone(), &options)).unwrap();
        let plan = session.plan();
        let kept = (window + BATCH).div_ceil(PAGE) + 1;
        let words = |block: u32| {
            let name = format!("blk.{block}.cache");
            plan.buffers.iter().find(|b| b.name == name).unwrap().words
        };
        assert!(kept < 4);
        assert_eq!(words(1) * 4, words(0) * u64::from(kept));
        let caches = plan.buffers.iter().filter(|b| b.name.contains("cache"));
        let caches: u64 = caches.map(|b| b.words * 4).sum();
        assert_eq!(options.memory(&model).unwrap().cache, caches);

        let expected = alone(&model, cache, &tokens);
        assert_eq!(checksums(&mut session, &tokens), expected);
        let stats = block_on(session.residual_stats()).unwrap();
        let batch = BATCH as usize;
        let recent = tokens.len() - batch;
        // A batch's rows are always there.
        for to in [tokens.len() - 1, recent] {
            assert_eq!(session.truncate(to), to, "{flavour:?}");
            assert_eq!(session.tokens(), &tokens[..to]);
            assert_eq!(checksums(&mut session, &tokens[to..]), expected[to..]);
        }
        // Others, or another row's, are computed again, and nobody counts them twice.
        for to in [300, 1, 700] {
            let reached = session.truncate(to);
            assert!(reached == to || reached == 0, "{reached} of {to}");
            assert_eq!(session.tokens(), &tokens[..to]);
            if to == 300 {
                assert_eq!(reached, 0, "{flavour:?}");
                block_on(session.rehearse(900, 1, || ())).unwrap();
            }
            assert_eq!(checksums(&mut session, &tokens[to..]), expected[to..]);
        }
        assert_eq!(session.truncate(0), 0);
        assert_eq!(checksums(&mut session, &tokens), expected);
        assert_eq!(block_on(session.residual_stats()).unwrap().1, stats.1);
    }
}

#[test]
fn a_rehearsal_does_not_show() {
    for (flavour, cache) in KINDS {
        let model = model(flavour, 51);
        let tokens = text(&model, 9, 1000);
        let expected = alone(&model, cache, &tokens);
        let options = options(DeviceChoice::Cpu, cache);
        let mut session = block_on(Session::new(model.clone(), &options)).unwrap();
        let mut found = Vec::new();
        for part in tokens.chunks(64) {
            for used in [0, 500, 5000] {
                block_on(session.rehearse(used, 1, || ())).unwrap();
            }
            found.extend(checksums(&mut session, part));
        }
        assert_eq!(found, expected, "{flavour:?}");
    }
}

#[test]
fn a_pool_that_is_used_up_says_so() {
    for (flavour, cache) in KINDS {
        let model = model(flavour, 61);
        let options = SessionOptions {
            pool: Some(4 * PAGE),
            sequences: 3,
            ..options(DeviceChoice::Cpu, cache)
        };
        let tokens = text(&model, 10, 1024);
        let mut loaded = load(&model, &options);
        let (mut a, mut b) = (loaded.sequence(), loaded.sequence());
        let mut extend = |sequence: &mut Sequence, count: usize| -> Result<(), Error> {
            let end = sequence.tokens().len() + count;
            // In passes that fit; a last one asks for all that is left.
            for tokens in tokens[sequence.tokens().len()..end].chunks(BATCH as usize) {
                let mut parts = [Part {
                    sequence: &mut *sequence,
                    tokens,
                    outputs: 0,
                }];
                block_on(loaded.pass(&mut parts, false, &mut |_, _| ()))?;
            }
            Ok(())
        };
        let full = |result: Result<(), Error>| match result {
            Err(Error::PoolFull { asked, left }) => (asked, left),
            other => panic!("{other:?}"),
        };
        extend(&mut a, 752).unwrap();
        extend(&mut b, 256).unwrap();
        assert_eq!(full(extend(&mut b, 1)), (1, 0));
        assert_eq!(full(extend(&mut a, 17)), (17, 16));
        assert_eq!((a.tokens().len(), b.tokens().len()), (752, 256));
        extend(&mut a, 16).unwrap();
        // What a sequence gives back others can have.
        assert_eq!(b.truncate(0), 0);
        extend(&mut a, 200).unwrap();
        assert_eq!(full(extend(&mut b, 1)), (1, 0));
        drop(a);
        extend(&mut b, 1024).unwrap();
        assert!(matches!(
            extend(&mut loaded_again(&model, &options), 1),
            Err(Error::Batch(_))
        ));
    }
}

/// A sequence of the same model, loaded apart.
fn loaded_again(model: &Arc<Model>, options: &SessionOptions) -> Sequence {
    load(model, options).sequence()
}

#[test]
fn what_is_not_there_is_an_error() {
    let model = model(Flavour::Plain, 71);
    let options = options(DeviceChoice::Cpu, CacheBits::default());
    let mut loaded = load(&model, &options);
    let tokens = text(&model, 11, 64);
    let mut sequences: Vec<Sequence> = (0..3).map(|_| loaded.sequence()).collect();
    let mut pass = |lengths: &[usize], outputs: usize| {
        let of = |(sequence, len): (_, &usize)| Part {
            sequence,
            tokens: &tokens[..*len],
            outputs,
        };
        let mut parts: Vec<Part<'_>> = sequences.iter_mut().zip(lengths).map(of).collect();
        block_on(loaded.pass(&mut parts, true, &mut |_, _| ()))
    };
    // More sequences, more rows than were planned; then a pass that is none the worse.
    assert!(matches!(pass(&[1, 1, 1], 1), Err(Error::Batch(_))));
    assert!(matches!(pass(&[20, 20], 1), Err(Error::Batch(_))));
    pass(&[16, 16], 16).unwrap();
    pass(&[], 0).unwrap();

    let mut session = block_on(Session::new(model.clone(), &options)).unwrap();
    let (executor, plan) = session.executor();
    let tables = PageTables::whole(plan);
    let empty = PageTables::new(plan);
    let mut run = |rows: &[Row], tables: &PageTables| {
        let batch = Batch {
            rows,
            outputs: 1,
            tables,
        };
        block_on(executor.run(plan, batch, 0..plan.steps.len()))
    };
    let row = |position, sequence| Row {
        token: 1,
        position,
        sequence,
    };
    run(&[row(0, 0)], &tables).unwrap();
    for (rows, tables) in [
        (vec![row(0, 1)], &tables),
        (vec![row(0, u32::MAX)], &tables),
        (vec![row(4 * PAGE, 0)], &tables),
        (vec![row(u32::MAX, 0)], &tables),
        (vec![row(0, 0); BATCH as usize + 1], &tables),
        (vec![row(0, 0)], &empty),
        (vec![row(0, 0)], &PageTables::default()),
    ] {
        let result = run(&rows, tables);
        assert!(matches!(result, Err(Error::Batch(_))), "{result:?}");
    }
}

//! Tokens proposed in advance, by the text itself or by a smaller model: they change none.

use super::*;
use carat::internals::Room;

#[test]
fn nor_who_proposes_its_tokens() {
    for kind in KINDS {
        // Its own weights, whose proposals are mostly right, and others.
        for smaller in [101, 7] {
            texts_in_any_order(DeviceChoice::Cpu, kind, 1, 15, Some(smaller));
        }
    }
}

/// A model that proposes for itself is always right where the likeliest token is taken; one that is always wrong is soon asked
/// rarely.
#[test]
fn proposals_follow_what_was_right() {
    let model = model(Flavour::Plain, 3);
    let case = Case {
        prompt: (0..40).collect(),
        options: GenerateOptions {
            max_tokens: 200,
            ignore_end: true,
            ..GenerateOptions::default()
        },
        constraint: None,
    };
    let case = Case {
        options: GenerateOptions {
            sampling: Params {
                temperature: 0.0,
                dry_multiplier: 0.0,
                ..Params::default()
            },
            ..case.options
        },
        ..case
    };
    let expected = case.alone(&mut session(&model, CacheBits::default()), usize::MAX);
    let run = |smaller: Arc<Model>| {
        let mut session = block_on(Session::new(
            model.clone(),
            &SessionOptions {
                outputs: 6,
                context: CONTEXT,
                device: DeviceChoice::Cpu,
                ..Default::default()
            },
        ))
        .unwrap();
        let mut drafter = drafter(smaller, &model);
        let mut draft = drafter.draft();
        let mut generator = Generator::new(&session, &case.prompt, &case.options, false).unwrap();
        loop {
            let room = Room::of(&session);
            let history = session.tokens();
            block_on(drafter.propose(&mut draft, &mut generator, history, room)).unwrap();
            if block_on(generator.step(&mut session, None)).unwrap() == Step::End {
                break;
            }
        }
        let drafted = generator.drafted();
        assert_eq!(generator.finish(None).0, expected);
        drafted
    };
    let (proposed, right) = run(model.clone());
    assert_eq!(proposed, right);
    assert!(right >= 160, "{right}");
    let (proposed, right) = run(carat_tests::synth::model(Flavour::Plain, 4));
    assert!(
        proposed < 60 + 3 * right,
        "{proposed}, {right} of them right"
    );
}

#[test]
fn another_vocabulary_proposes_nothing() {
    let larger = model(Flavour::Plain, 3);
    let shape = Shape {
        vocab: 100,
        ..Default::default()
    };
    let other = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
    let options = options(DeviceChoice::Cpu, CacheBits::default());
    let refused = block_on(Drafter::new(other, &larger, &options, 5));
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("another vocabulary: token 100"), "{error}");
}

/// Tokens that are computed in advance change nothing but the number of passes, with every way to choose.
#[test]
fn a_proposal_changes_no_token() {
    let mut right = 0;
    for (flavour, cache) in KINDS {
        let model = model(flavour, 37);
        let mut rng = Rng(39);
        let options = SessionOptions {
            outputs: 8,
            ..options(DeviceChoice::Cpu, cache)
        };
        let mut ahead = block_on(Session::new(model.clone(), &options)).unwrap();
        let mut alone = session(&model, cache);
        for i in 0..24 {
            let mut case = Case::new(&model, &mut rng, &[3, 1, 4, 1, 5, 9, 2, 6, 5], 5);
            case.options.max_tokens = 60 + i;
            // A text in a circle, and one that is kept out of it.
            case.options.sampling.dry_multiplier = [0.0, 0.8][i % 2];
            case.options.lookup = 7;
            case.options.metrics = (i % 3 == 0).then_some(2);
            let expected = case.alone(&mut alone, usize::MAX);
            ahead.truncate(0);
            let follows = case.constraint.is_some();
            let mut generator =
                Generator::new(&ahead, &case.prompt, &case.options, follows).unwrap();
            let mut constraint = case.constraint.clone();
            let mut metrics = Vec::new();
            loop {
                let follow = constraint.as_mut().map(|c| c as &mut dyn Constraint);
                match block_on(generator.step(&mut ahead, follow)).unwrap() {
                    Step::Token { metrics: of, .. } => metrics.extend(of),
                    Step::Prompt { .. } => {}
                    Step::End => break,
                }
            }
            right += generator.drafted().1;
            if case.options.metrics.is_some() {
                assert_eq!(metrics.len(), expected.ids.len());
                assert!(metrics.iter().zip(&expected.ids).all(|(m, id)| m.id == *id));
            }
            let follow = constraint.as_mut().map(|c| c as &mut dyn Constraint);
            assert_eq!(generator.finish(follow).0, expected, "{flavour:?} {i}");
            // The session holds what it would hold.
            assert_eq!(ahead.tokens(), alone.tokens());
        }
    }
    assert!(right > 100, "{right}");
}

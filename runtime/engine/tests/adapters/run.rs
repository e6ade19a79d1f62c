//! What adapters compute.

use super::files;
use carat::internals::adapter::{Adapter, AdapterFile, Applied, Strength};
use carat::internals::selftest::{self, Flavour, Shape};
use carat::internals::{
    Beside, DeviceChoice, Error, Loaded, LogitsHash, Model, Part, Session, SessionOptions, Verify,
    Want,
};
use pollster::block_on;
use std::path::Path;
use std::sync::Arc;

const TOKENS: [u32; 9] = [5, 77, 3, 3, 120, 0, 64, 9, 31];

fn model(shape: Shape) -> Arc<Model> {
    Arc::new(Model::from_bytes(&shape.bytes(), Verify::Structure).unwrap())
}

fn applied(adapter: Adapter, strength: f64) -> Applied {
    Applied {
        adapter: Arc::new(adapter),
        strength: Strength::new(strength).unwrap(),
    }
}

fn options(device: DeviceChoice, adapters: &[Applied]) -> SessionOptions {
    SessionOptions {
        device,
        context: 512,
        batch: Some(4),
        sequences: 4,
        outputs: 4,
        threads: Some(2),
        adapters: adapters.to_vec(),
        ..SessionOptions::default()
    }
}

fn session(model: &Arc<Model>, adapters: &[Applied]) -> Session {
    let options = options(DeviceChoice::Cpu, adapters);
    block_on(Session::new(model.clone(), &options)).unwrap()
}

/// The hash of the logits of every token.
fn hash(session: &mut Session, tokens: &[u32]) -> String {
    session.truncate(0);
    let mut hash = LogitsHash::new(session.logits_exponent());
    let mut sink = |o: carat::internals::Output<'_>| hash.push(o.checksum);
    block_on(session.forward(tokens, Want::FromResult(0), &mut sink)).unwrap();
    hash.hex()
}

#[test]
fn both_kinds_of_files_give_the_same_logits() {
    let shape = Shape::default();
    let mut spec = shape.spec();
    let model = model(shape);
    let terms = selftest::terms(&spec, 4, 0.5, 7);
    let of_peft = files::peft(&terms).fit(&spec).unwrap();
    let plain = hash(&mut session(&model, &[]), &TOKENS);
    let expected = hash(&mut session(&model, &[applied(of_peft, 1.0)]), &TOKENS);
    assert_ne!(plain, expected);
    for architecture in ["synthetic", "llama"] {
        spec.source_architecture = architecture.into();
        let bytes = files::gguf(&terms, architecture, shape.head_dim as usize);
        let file = AdapterFile::from_gguf(Path::new("a.gguf"), bytes).unwrap();
        let adapter = file.fit(&spec).unwrap();
        assert_eq!(
            adapter.hash(),
            files::peft(&terms).fit(&spec).unwrap().hash()
        );
        let found = hash(&mut session(&model, &[applied(adapter, 1.0)]), &TOKENS);
        assert_eq!(found, expected, "{architecture}");
    }
}

#[test]
fn fused_matrices_are_ranges_of_rows() {
    let spec = Shape::default().spec();
    let mut terms = selftest::terms(&spec, 4, 0.5, 7);
    // Matrices that are fused share A.
    for block in terms.chunks_mut(7) {
        let (q, gate) = (block[0].a.clone(), block[4].a.clone());
        (block[1].a, block[2].a) = (q.clone(), q);
        block[5].a = gate;
    }
    let separate = files::peft_tensors(&terms);
    let hash = |file: AdapterFile| *file.fit(&spec).unwrap().hash();
    let expected = hash(files::peft(&terms));
    let fuse = |names: [&[&str]; 2], fused: [&str; 2]| {
        let mut out: Vec<files::Named> = Vec::new();
        for tensor in &separate {
            let (mut tensor, found) = (tensor.clone(), tensor.0.clone());
            for (names, fused) in names.iter().zip(fused) {
                let Some(own) = names.iter().find(|n| found.contains(*n)) else {
                    continue;
                };
                tensor.0 = found.replace(own, fused);
            }
            match out.iter_mut().find(|t| t.0 == tensor.0) {
                // Rows of B, one range after the other; A is the same.
                Some(before) if tensor.0.to_lowercase().contains("lora_b") => {
                    before.1 += tensor.1;
                    before.3.extend(tensor.3);
                }
                Some(_) => {}
                None => out.push(tensor),
            }
        }
        out
    };
    let (qkv, gates) = (["q_proj", "k_proj", "v_proj"], ["gate_proj", "up_proj"]);
    let fused = fuse([&qkv, &gates], ["qkv_proj", "gate_up_proj"]);
    assert_eq!(fused.len(), 2 * 2 * 4);
    let json = files::config(4, "");
    let (a, b) = (Path::new("a"), Path::new("b"));
    let bytes = files::safetensors(&fused);
    let file = AdapterFile::from_peft((a, json.as_bytes()), (b, bytes)).unwrap();
    assert_eq!(hash(file), expected);
    // ggml calls the fused gates `ffn_up`.
    let ggml = fused.into_iter().map(|t| {
        let mut name = t.0;
        for (from, to) in [
            ("base_model.model.model.layers.", "blk."),
            ("self_attn.qkv_proj", "attn_qkv"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
            (".lora_A.weight", ".weight.lora_a"),
            (".lora_B.weight", ".weight.lora_b"),
        ] {
            name = name.replace(from, to);
        }
        (name, t.1, t.2, t.3)
    });
    let bytes = files::write_gguf(&ggml.collect::<Vec<_>>(), "synthetic");
    assert_eq!(hash(AdapterFile::from_gguf(a, bytes).unwrap()), expected);
}

#[test]
fn a_strength_of_zero_is_no_adapter() {
    for flavour in Flavour::ALL {
        let model = model(Shape {
            flavour,
            ..Shape::default()
        });
        let of = |seed: u64, s: f64| applied(selftest::adapter(model.spec(), 5, 1.0, seed), s);
        let plain = hash(&mut session(&model, &[]), &TOKENS);
        let one = hash(&mut session(&model, &[of(1, 0.75)]), &TOKENS);
        assert_ne!(plain, one, "{flavour:?}");
        assert_eq!(plain, hash(&mut session(&model, &[of(1, 0.0)]), &TOKENS));
        // Another adapter that does not act makes no difference, on either side.
        for both in [[of(1, 0.75), of(2, 0.0)], [of(2, 0.0), of(1, 0.75)]] {
            assert_eq!(one, hash(&mut session(&model, &both), &TOKENS));
        }
        let both = hash(&mut session(&model, &[of(1, 0.75), of(2, -0.5)]), &TOKENS);
        assert!(both != one && both != plain);
    }
}

#[test]
fn changed_strengths_are_those_of_a_new_session() {
    let model = model(Shape::default());
    let adapters: Vec<Applied> = [1, 2]
        .map(|seed| applied(selftest::adapter(model.spec(), 3, 1.0, seed), 1.0))
        .to_vec();
    let mut changed = session(&model, &adapters);
    hash(&mut changed, &TOKENS);
    let last = |session: &mut Session| {
        let mut sums = Vec::new();
        let mut sink = |o: carat::internals::Output<'_>| sums.push(o.checksum);
        block_on(session.forward(&[17], Want::LastResult, &mut sink)).unwrap();
        sums
    };
    for strengths in [[0.5, 0.0], [0.0, 0.0], [-1.0, 16.0]] {
        let strengths = strengths.map(|s| Strength::new(s).unwrap());
        // What the cache holds is computed again.
        changed.truncate(TOKENS.len());
        changed.set_strengths(&strengths).unwrap();
        let mut own = adapters.clone();
        own.iter_mut()
            .zip(strengths)
            .for_each(|(a, s)| a.strength = s);
        let mut other = session(&model, &own);
        hash(&mut other, &TOKENS);
        assert_eq!(last(&mut changed), last(&mut other), "{strengths:?}");
    }
    let wrong = changed.set_strengths(&[Strength::ONE]);
    assert!(matches!(
        wrong,
        Err(Error::Strengths {
            found: 1,
            expected: 2
        })
    ));
}

/// Checksums of each sequence's tokens, in one batch of all sequences for each position.
fn together(loaded: &mut Loaded, strengths: &[Vec<Strength>]) -> Vec<Vec<u64>> {
    let mut sequences: Vec<_> = strengths
        .iter()
        .map(|s| loaded.begin_with(&[], Some(s)).unwrap())
        .collect();
    let mut sums = vec![Vec::new(); sequences.len()];
    for token in TOKENS {
        let tokens = [token];
        let part = |sequence| Part {
            sequence,
            tokens: &tokens,
            outputs: 1,
        };
        let mut parts: Vec<Part<'_>> = sequences.iter_mut().map(part).collect();
        let mut sink = |i: usize, o: carat::internals::Output<'_>| sums[i].push(o.checksum);
        block_on(loaded.pass(&mut parts, false, &mut sink)).unwrap();
    }
    sums
}

#[test]
fn a_batch_of_different_strengths_is_each_alone() {
    for flavour in Flavour::ALL {
        let model = model(Shape {
            flavour,
            ..Shape::default()
        });
        let adapters: Vec<Applied> = [(1, 9), (2, 40)]
            .map(|(seed, rank)| applied(selftest::adapter(model.spec(), rank, 1.0, seed), 1.0))
            .to_vec();
        let strengths = [[1.0, 0.0], [0.0, 0.0], [-0.3, 2.0], [0.0, 1.0]];
        let strengths: Vec<Vec<Strength>> = strengths
            .iter()
            .map(|s| s.iter().map(|s| Strength::new(*s).unwrap()).collect())
            .collect();
        let options = options(DeviceChoice::Cpu, &adapters);
        let mut loaded = block_on(Loaded::new(model.clone(), &options)).unwrap();
        let all = together(&mut loaded, &strengths);
        for (i, own) in strengths.iter().enumerate() {
            let alone = together(&mut loaded, std::slice::from_ref(own));
            assert_eq!(all[i], alone[0], "{flavour:?}, {i}");
        }
        // And without adapters at all.
        let plain = SessionOptions {
            adapters: Vec::new(),
            ..options
        };
        let mut loaded = block_on(Loaded::new(model, &plain)).unwrap();
        assert_eq!(
            together(&mut loaded, &[Vec::new()])[0],
            all[1],
            "{flavour:?}"
        );
    }
}

#[test]
fn kept_texts_are_for_their_strengths() {
    let model = model(Shape::default());
    let adapter = applied(selftest::adapter(model.spec(), 3, 1.0, 1), 1.0);
    let options = SessionOptions {
        spare: 4,
        ..options(DeviceChoice::Cpu, &[adapter])
    };
    let mut loaded = block_on(Loaded::new(model, &options)).unwrap();
    let text: Vec<u32> = (0..300).map(|i| i * 7 % 128).collect();
    let mut cached = |strength: f64| {
        let strengths = [Strength::new(strength).unwrap()];
        let mut sequence = loaded.begin_with(&text, Some(&strengths)).unwrap();
        let cached = sequence.tokens().len();
        for piece in text[cached..].chunks(4) {
            let part = Part {
                sequence: &mut sequence,
                tokens: piece,
                outputs: 0,
            };
            block_on(loaded.pass(&mut [part], false, &mut |_, _| ())).unwrap();
        }
        loaded.publish(&mut sequence, true);
        cached
    };
    assert_eq!(cached(1.0), 0);
    assert_eq!(cached(1.0), 299);
    assert_eq!(cached(0.5), 0);
    assert_eq!(cached(0.0), 0);
    assert_eq!(cached(0.0), 299);
    assert_eq!(cached(0.5), 299);
}

#[test]
fn saved_texts_go_on_with_the_same_adapters_alone() {
    let model = model(Shape::default());
    let of = |s: f64| applied(selftest::adapter(model.spec(), 3, 1.0, 1), s);
    let load = |adapters: &[Applied]| {
        let options = options(DeviceChoice::Cpu, adapters);
        block_on(Loaded::new(model.clone(), &options)).unwrap()
    };
    let mut loaded = load(&[of(0.5)]);
    let mut save = |strength: Option<f64>| {
        let strengths = strength.map(|s| [Strength::new(s).unwrap()]);
        let strengths = strengths.as_ref().map(|s| &s[..]);
        let mut sequence = loaded.begin_with(&[], strengths).unwrap();
        for piece in TOKENS.chunks(4) {
            let part = Part {
                sequence: &mut sequence,
                tokens: piece,
                outputs: 0,
            };
            block_on(loaded.pass(&mut [part], false, &mut |_, _| ())).unwrap();
        }
        let mut bytes = Vec::new();
        block_on(loaded.save(&sequence, &Beside::default(), &mut bytes)).unwrap();
        bytes
    };
    let (usual, none) = (save(None), save(Some(0.0)));
    let opens = |loaded: &mut Loaded, bytes: &[u8]| match loaded.open_saved(&mut &bytes[..]) {
        Ok(saved) => saved.sequence.held() == TOKENS.len(),
        Err(e) => {
            assert!(e.to_string().contains("other adapters"), "{e}");
            false
        }
    };
    assert!(opens(&mut load(&[of(0.5)]), &usual));
    assert!(!opens(&mut load(&[of(1.0)]), &usual));
    assert!(!opens(&mut load(&[]), &usual));
    // What no adapter acted on is the model's own.
    assert!(opens(&mut load(&[]), &none));
    assert!(opens(&mut load(&[of(0.0)]), &none));
    assert!(!opens(&mut load(&[of(0.5)]), &none));
}

#[test]
fn the_account_has_adapters() {
    let model = model(Shape::default());
    let adapter = applied(selftest::adapter(model.spec(), 16, 1.0, 1), 1.0);
    let bytes = adapter.adapter.bytes();
    let of = |adapters: &[Applied]| {
        let options = options(DeviceChoice::Cpu, adapters);
        let plan = options.plan(&model).unwrap();
        (plan.work_bytes(), options.memory(&model).unwrap())
    };
    let ((plain, without), (all, with)) = (of(&[]), of(&[adapter]));
    assert_eq!((without.cache, without.weights), (with.cache, with.weights));
    assert!(
        (plain + bytes..plain + 2 * bytes).contains(&all),
        "{plain} {all} {bytes}"
    );
    assert!(with.work + with.cache >= all, "{with:?} {all}");
}

#[test]
fn adapters_of_other_models_are_refused() {
    let model = model(Shape::default());
    let other = Shape {
        ff: 128,
        ..Shape::default()
    };
    let adapter = applied(selftest::adapter(&other.spec(), 3, 1.0, 1), 1.0);
    let options = options(DeviceChoice::Cpu, &[adapter]);
    let refused = block_on(Session::new(model, &options));
    assert!(matches!(refused, Err(Error::Adapter(_))));
}

#[test]
fn identities_have_the_adapters() {
    let model = model(Shape::default());
    let identity = |adapters: &[Applied]| {
        let options = options(DeviceChoice::Cpu, adapters);
        let loaded = block_on(Loaded::new(model.clone(), &options)).unwrap();
        loaded.identity().unwrap()
    };
    let of = |seed| applied(selftest::adapter(model.spec(), 3, 1.0, seed), 1.0);
    assert_eq!(identity(&[]), model.identity().unwrap());
    assert_eq!(identity(&[of(1)]), identity(&[of(1)]));
    assert_ne!(identity(&[of(1)]), identity(&[of(2)]));
}

#[test]
fn devices_agree() {
    let device = DeviceChoice::GpuNamed("llvmpipe".into());
    for flavour in [Flavour::Plain, Flavour::BranchNorms, Flavour::Biases] {
        let model = model(Shape {
            flavour,
            ..Shape::default()
        });
        let adapters: Vec<Applied> = [(1, 9, 0.5), (2, 33, -1.25)]
            .map(|(seed, rank, s)| applied(selftest::adapter(model.spec(), rank, 1.0, seed), s))
            .to_vec();
        let opened = block_on(Session::new(
            model.clone(),
            &options(device.clone(), &adapters),
        ));
        let mut gpu = match opened {
            Ok(gpu) => gpu,
            Err(Error::NoDevice { .. }) => {
                println!("ABSENT: no llvmpipe, the software driver; adapters ran on the CPU alone");
                return;
            }
            Err(e) => panic!("{e}"),
        };
        let mut cpu = session(&model, &adapters);
        assert_eq!(
            hash(&mut gpu, &TOKENS),
            hash(&mut cpu, &TOKENS),
            "{flavour:?}"
        );
        let strengths = [0.0, 3.0].map(|s| Strength::new(s).unwrap());
        for s in [&mut gpu, &mut cpu] {
            s.set_strengths(&strengths).unwrap();
        }
        assert_eq!(
            hash(&mut gpu, &TOKENS),
            hash(&mut cpu, &TOKENS),
            "{flavour:?}"
        );
    }
}

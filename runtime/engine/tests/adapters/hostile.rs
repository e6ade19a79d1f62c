//! Damaged and unfit adapters give errors that name what is wrong.

use super::files::{self, Named};
use carat::internals::adapter::{AdapterError, AdapterFile};
use carat::internals::selftest::{self, Shape};
use std::path::Path;

fn tensors() -> Vec<Named> {
    files::peft_tensors(&selftest::terms(&Shape::default().spec(), 4, 0.5, 7))
}

fn peft(config: &str, tensors: &[Named]) -> Result<AdapterFile, AdapterError> {
    let (a, b) = (Path::new("a/adapter_config.json"), Path::new("a/t"));
    let bytes = files::safetensors(tensors);
    AdapterFile::from_peft((a, config.as_bytes()), (b, bytes))
}

fn fit(tensors: &[Named]) -> AdapterError {
    let file = peft(&files::config(4, ""), tensors);
    match file.and_then(|f| f.fit(&Shape::default().spec())) {
        Ok(_) => panic!("it is taken"),
        Err(e) => e,
    }
}

#[test]
fn unfit_tensors() {
    let change = |f: &dyn Fn(&mut Vec<Named>)| {
        let mut tensors = tensors();
        f(&mut tensors);
        fit(&tensors)
    };
    // One row more of A, and of B; one column less of A.
    let rank = change(&|t| {
        t[0].1 += 1;
        let more = vec![0.0; t[0].2 as usize];
        t[0].3.extend(more);
    });
    assert!(matches!(rank, AdapterError::Shape { .. }), "{rank}");
    let rows = change(&|t| {
        t[1].1 += 1;
        t[1].3.extend([0.0; 4]);
    });
    assert!(
        rows.to_string().contains("[64, 4] for this model"),
        "{rows}"
    );
    let cols = change(&|t| {
        t[0].2 -= 1;
        let n = (t[0].1 * t[0].2) as usize;
        t[0].3.truncate(n);
    });
    assert!(cols.to_string().contains("lora_A"), "{cols}");
    let block = change(&|t| {
        for t in &mut t[..2] {
            t.0 = t.0.replace("layers.0", "layers.9");
        }
    });
    assert!(matches!(block, AdapterError::NotInModel { .. }), "{block}");
    let lone = change(&|t| {
        t.remove(1);
    });
    assert!(matches!(lone, AdapterError::Unpaired { .. }), "{lone}");
    let unknown = change(&|t| t[0].0 = t[0].0.replace("q_proj", "router"));
    assert!(matches!(unknown, AdapterError::UnknownTensor { .. }));
    let head = change(&|t| t[0].0 = "base_model.model.lm_head.lora_A.weight".into());
    assert!(head.to_string().contains("head"), "{head}");
    for value in [f32::NAN, f32::INFINITY] {
        let e = change(&|t| t[1].3[5] = value);
        assert!(matches!(e, AdapterError::NotFinite { index: 5, .. }), "{e}");
    }
    let large = change(&|t| t[0].3[0] = 1e35);
    assert!(matches!(large, AdapterError::Magnitude { .. }), "{large}");
    let none = change(&|t| t.clear());
    assert!(matches!(none, AdapterError::Empty { .. }), "{none}");
    let wide = change(&|t| {
        (t[0].1, t[1].2) = (2000, 2000);
        (t[0].3, t[1].3) = (vec![0.0; 2000 * 64], vec![0.0; 64 * 2000]);
    });
    assert!(wide.to_string().contains("at most 1024"), "{wide}");
}

#[test]
fn unfit_configurations() {
    let tensors = tensors();
    for (more, expected) in [
        (",\"use_dora\":true", "DoRA"),
        (",\"modules_to_save\":[\"lm_head\"]", "modules_to_save"),
        (",\"bias\":\"all\"", "biases"),
        (",\"fan_in_fan_out\":true", "transposed"),
        (",\"init_lora_weights\":\"pissa_niter_4\"", "own weights"),
        (",\"lora_alpha\":\"x\"", "lora_alpha"),
        (",\"peft_type\":\"IA3\"", "peft_type"),
        (",\"alpha_pattern\":{\"^q.*\":1}", "alpha_pattern"),
    ] {
        match peft(&files::config(4, more), &tensors) {
            Ok(_) => panic!("{more} is taken"),
            Err(e) => assert!(e.to_string().contains(expected), "{e}"),
        }
    }
    for text in ["", "[]", "{", "{\"peft_type\":\"LORA\"}"] {
        assert!(peft(text, &tensors).is_err(), "{text}");
    }
    // What changes nothing is taken.
    let plain = ",\"use_dora\":false,\"modules_to_save\":null,\"init_lora_weights\":\"gaussian\"";
    assert!(peft(&files::config(4, plain), &tensors).is_ok());
}

#[test]
fn factors_of_configurations() {
    let tensors = tensors();
    let factors = |more: &str| {
        let file = peft(&files::config(4, more), &tensors).unwrap();
        let factors = file.pairs().iter().map(|p| p.factor);
        factors.collect::<Vec<_>>()
    };
    assert_eq!(factors("")[0], files::ALPHA / 4.0);
    assert_eq!(factors(",\"use_rslora\":true")[0], files::ALPHA / 2.0);
    let own = factors(",\"alpha_pattern\":{\"0.self_attn.q_proj\":2}");
    assert_eq!(own.iter().filter(|f| **f == 0.5).count(), 1);
    assert_eq!(own.iter().filter(|f| **f == 2.0).count(), own.len() - 1);
}

/// Every beginning of both kinds of files, and each with one byte changed, is an adapter or an error.
#[test]
fn damaged_files() {
    let spec = Shape::default().spec();
    let mut terms = selftest::terms(&spec, 2, 0.5, 7);
    terms.truncate(2);
    let whole = files::gguf(&terms, "synthetic", 16);
    let st = files::safetensors(&files::peft_tensors(&terms));
    let json = files::config(2, "");
    let read = |gguf: bool, bytes: Vec<u8>| {
        let path = Path::new("a");
        let file = match gguf {
            true => AdapterFile::from_gguf(path, bytes),
            false => AdapterFile::from_peft((path, json.as_bytes()), (path, bytes)),
        };
        file.and_then(|f| f.fit(&spec))
    };
    for (gguf, bytes) in [(true, &whole), (false, &st)] {
        assert!(read(gguf, bytes.clone()).is_ok());
        let header = bytes.len().min(900);
        for len in (0..header).chain([bytes.len() - 1]) {
            assert!(read(gguf, bytes[..len].to_vec()).is_err(), "{gguf} {len}");
        }
        for at in 0..header {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let _ = read(gguf, bytes);
            }
        }
    }
    for n in 0..json.len() {
        let (path, bytes) = (Path::new("a"), st.clone());
        let cut = &json.as_bytes()[..n];
        assert!(AdapterFile::from_peft((path, cut), (path, bytes)).is_err());
    }
}

#[test]
fn paths_without_an_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let none = |path: &Path| match AdapterFile::open(path) {
        Err(AdapterError::NoAdapter { .. }) => {}
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("it is taken"),
    };
    none(dir.path());
    none(&dir.path().join("absent"));
    let tensors = dir.path().join("adapter_model.safetensors");
    std::fs::write(&tensors, files::safetensors(&self::tensors())).unwrap();
    none(dir.path());
    let config = dir.path().join("adapter_config.json");
    std::fs::write(config, files::config(4, "")).unwrap();
    for path in [dir.path(), &tensors] {
        let file = AdapterFile::open(path).unwrap();
        assert!(
            file.name()
                .contains(&*dir.path().file_name().unwrap().to_string_lossy())
        );
        assert_eq!(file.pairs().len(), 14);
    }
}

#[test]
fn queries_that_are_rotated_in_part_are_refused() {
    let mut spec = Shape::default().spec();
    spec.rope_tables[0][3] = 0;
    let file = peft(&files::config(4, ""), &tensors()).unwrap();
    let Err(AdapterError::Unsupported { what, remedy, .. }) = file.fit(&spec) else {
        panic!("it is taken");
    };
    assert!(what.contains("q_proj") && remedy.contains("rotated in part"));
    // Other matrices have their rows in order.
    let others: Vec<Named> = tensors()
        .into_iter()
        .filter(|t| !t.0.contains("q_proj") && !t.0.contains("k_proj"))
        .collect();
    let file = peft(&files::config(4, ""), &others).unwrap();
    assert_eq!(file.fit(&spec).unwrap().matrices().len(), 10);
}

#[test]
fn adapters_of_other_architectures_are_refused() {
    let spec = Shape::default().spec();
    let terms = selftest::terms(&spec, 4, 0.5, 7);
    let file = AdapterFile::from_gguf(Path::new("a"), files::gguf(&terms, "gemma3", 16)).unwrap();
    let refused = file.fit(&spec).unwrap_err().to_string();
    assert!(
        refused.contains("'gemma3'") && refused.contains("'synthetic'"),
        "{refused}"
    );
}

//! Conversions in which single matrices have bits and groups of their own.
#![allow(clippy::unwrap_used)]

mod common;

use carat::internals::{Model, Verify};
use carat_converter::convert::{ConvertError, Options, Rule, Summary, convert};
use carat_converter::progress::Silent;
use carat_converter::source::Checkpoint;
use carat_format::{Encoding, ScaleGroup};
use std::path::Path;

fn options(output: &Path, rules: &[&str]) -> Options {
    Options {
        source: common::facet(),
        output: output.into(),
        bits: 2.0,
        group: ScaleGroup::W64,
        rules: rules.iter().map(|r| r.parse::<Rule>().unwrap()).collect(),
        force: true,
        ..Options::default()
    }
}

#[test]
fn single_matrices_have_their_own_coding() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mixed.gguf");
    let rules = [
        "ffn_down=4,g128",
        "^token_embd=8",
        r"blk\.[01]\.attn_(q|k)=1",
        "attn_output=g32",
    ];
    let summary: Summary = convert(&options(&path, &rules), &Silent).unwrap();
    assert_eq!((summary.report.bits, summary.report.group), (2.0, 64));
    // The conversion ran it; it also reads back whole.
    let model = Model::open(&path, Verify::Hashes).unwrap();
    for e in &model.directory().matrices {
        let name = e.tensor.name();
        let early = name.starts_with("blk.0.") || name.starts_with("blk.1.");
        let expected = if name.contains("ffn_down") {
            (Encoding::Pow4, ScaleGroup::W128)
        } else if name.starts_with("token_embd") {
            (Encoding::Int8, ScaleGroup::W64)
        } else if early && (name.contains("attn_q.") || name.contains("attn_k.")) {
            (Encoding::Pow1, ScaleGroup::W64)
        } else if name.contains("attn_output") {
            (Encoding::Pow2, ScaleGroup::W32)
        } else {
            (Encoding::Pow2, ScaleGroup::W64)
        };
        assert_eq!((e.layout.encoding, e.layout.group), expected, "{name}");
        let row = summary.report.tensors.iter().find(|t| t.name == name);
        let row = row.unwrap();
        assert_eq!(row.bits, expected.0.bits());
        assert_eq!(row.group, Some(expected.1.weights() as u32));
        assert_eq!(row.power.is_some(), expected.0.has_power());
    }
    // What is decoded from the file is what the report's errors say.
    let (carat, source) = (
        Checkpoint::open(&path).unwrap(),
        Checkpoint::open(common::facet()).unwrap(),
    );
    for e in &model.directory().matrices {
        let rows = 0..e.layout.rows;
        let (mut found, mut exact) = (Vec::new(), Vec::new());
        carat.read_rows(e.tensor, rows.clone(), &mut found).unwrap();
        source.read_rows(e.tensor, rows, &mut exact).unwrap();
        let square = |x: f32| f64::from(x) * f64::from(x);
        let energy: f64 = exact.iter().map(|w| square(*w)).sum();
        let error: f64 = exact.iter().zip(&found).map(|(a, b)| square(a - b)).sum();
        let relative = (error / energy).sqrt();
        assert!(
            (relative / f64::from(e.error) - 1.0).abs() < 1e-3,
            "{}: {relative}, stated {}",
            e.tensor.name(),
            e.error
        );
    }
}

#[test]
fn a_rule_that_matches_no_matrix_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.gguf");
    // The bundled model has no head of its own, and the gains of norms are no matrices.
    for rule in ["fnn_down=4", "^output=8", "attn_norm=4"] {
        let error = convert(&options(&path, &["ffn_up=3", rule]), &Silent).unwrap_err();
        assert!(matches!(&error, ConvertError::Rule { rule: r, .. } if r == rule));
        let text = error.to_string();
        for part in [rule, "token_embd.weight", "blk.N.", "ffn_down.weight"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!path.exists());
    }
}

#[test]
fn the_group_alone_changes_no_code_width() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = ScaleGroup::ALL.map(|group| {
        let path = dir.path().join("out.gguf");
        let options = Options {
            bits: 1.0,
            group,
            ..options(&path, &[])
        };
        convert(&options, &Silent).unwrap().payload_bpw
    });
    // A scale is 8 bits, and padding to 256 bytes adds little.
    assert!((sizes[0] - sizes[1] - 8.0 / 64.0).abs() < 0.01, "{sizes:?}");
    assert!(
        (sizes[1] - sizes[2] - 8.0 / 128.0).abs() < 0.01,
        "{sizes:?}"
    );
}

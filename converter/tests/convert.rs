//! Whole conversions: the same bytes whatever the threads, every fault of the target by its name, nothing
//! left behind, files that other readers understand.
#![allow(clippy::unwrap_used)]

mod common;

use carat_converter::convert::{ConvertError, Options, Summary, convert};
use carat_converter::progress::{Progress, Silent};
use carat_converter::source::{Checkpoint, Kind};
use carat_format::{Directory, Encoding, ModelSpec, Part, Tensor, keys};
use carat_gguf::{Header, Parse, parse};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

/// A target in an empty directory.
fn target() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.gguf");
    (dir, path)
}

fn options(source: &Path, output: &Path, bits: impl Into<f64>) -> Options {
    Options {
        source: source.into(),
        output: output.into(),
        bits: bits.into(),
        ..Default::default()
    }
}

fn run(source: &Path, output: &Path, bits: impl Into<f64>) -> Summary {
    convert(&options(source, output, bits), &Silent).unwrap()
}

fn fault(options: &Options) -> ConvertError {
    convert(options, &Silent).unwrap_err()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn header(bytes: &[u8]) -> Header<'_> {
    match parse(bytes, bytes.len() as u64).unwrap() {
        Parse::Complete(header) => header,
        Parse::NeedMore(n) => panic!("{n} bytes are asked for"),
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let (dir, _) = target();
    for bits in [3, 4] {
        let mut first: Option<Vec<u8>> = None;
        for threads in [1, 2, 5] {
            let path = dir.path().join(format!("{bits}-{threads}.gguf"));
            let options = Options {
                threads: Some(threads),
                ..options(&common::facet(), &path, bits)
            };
            convert(&options, &Silent).unwrap();
            let bytes = fs::read(&path).unwrap();
            match &first {
                None => first = Some(bytes),
                Some(f) => assert!(f == &bytes, "{bits} bits, {threads} threads"),
            }
        }
    }
}

#[test]
fn the_bundled_model_becomes_a_carat_file() {
    let original = Checkpoint::open(common::facet()).unwrap();
    let (_dir, path) = target();
    for (bits, relative) in [(2, 0.40), (3, 0.20), (4, 0.10), (8, 0.0065)] {
        let options = Options {
            force: true,
            ..options(&common::facet(), &path, bits)
        };
        let summary = convert(&options, &Silent).unwrap();
        assert_eq!(summary.weights, 5_770_496);
        assert_eq!(summary.bytes, fs::metadata(&path).unwrap().len());
        // 8 bits a group of 32, 32 bits a row of at least 256.
        let over = summary.payload_bpw - f64::from(bits);
        assert!(over > 0.25 && over < 0.375, "{over}");
        assert!(summary.file_bpw > summary.payload_bpw);
        assert_eq!(summary.report.tensors.len(), 56);
        let json: serde_json::Value =
            serde_json::from_str(&summary.report.to_json().unwrap()).unwrap();
        assert_eq!(json["tensors"][0]["name"], "token_embd.weight");

        let bytes = fs::read(&path).unwrap();
        let header = header(&bytes);
        let spec = ModelSpec::from_header(&header).unwrap();
        assert_eq!(spec, original.hyper().spec(spec.residual_exponent));
        let directory = Directory::from_header(&header, &spec).unwrap();
        assert!(spec.tied);
        assert_eq!(header.str(keys::NAME).unwrap(), "facet-6m");
        let eos: Vec<u32> = header
            .array_of_opt::<u32>(keys::EOS_TOKEN_IDS)
            .unwrap()
            .unwrap()
            .collect();
        assert!(eos.contains(&1), "{eos:?}");
        assert_eq!(
            header
                .f64_opt("general.sampling.top_p")
                .unwrap()
                .map(|p| p as f32),
            Some(0.95)
        );
        assert!(
            header
                .str(keys::TOKENIZER_JSON)
                .unwrap()
                .contains("\"merges\"")
        );
        assert_eq!(
            header
                .array_of_opt::<u64>(keys::GOLDEN_CHECKSUMS)
                .unwrap()
                .unwrap()
                .count(),
            32
        );

        // Hashes of tensors and of segments.
        for (offset, len, hash) in directory
            .matrices
            .iter()
            .map(|e| (e.offset, e.layout.payload_bytes(), e.hash))
            .chain(
                directory
                    .vectors
                    .iter()
                    .map(|v| (v.offset, v.len * 4, v.hash)),
            )
        {
            let payload = &bytes[offset as usize..(offset + len) as usize];
            assert_eq!(*blake3::hash(payload).as_bytes(), hash);
        }
        let segments: Vec<u8> = header
            .array_of_opt::<u8>(keys::SEGMENT_HASH)
            .unwrap()
            .unwrap()
            .collect();
        let data = &bytes[header.data_start() as usize..];
        let expected: Vec<u8> = data
            .chunks(keys::SEGMENT as usize)
            .flat_map(|s| *blake3::hash(s).as_bytes())
            .collect();
        assert_eq!(segments, expected);

        // Decoded weights, and the bound of every product that has an exponent of its own.
        let carat = Checkpoint::open(&path).unwrap();
        assert_eq!((carat.kind(), carat.hyper().tied), (Kind::Carat, true));
        for e in &directory.matrices {
            let (mut w, mut d) = (Vec::new(), Vec::new());
            original
                .read_rows(e.tensor, 0..e.layout.rows, &mut w)
                .unwrap();
            carat.read_rows(e.tensor, 0..e.layout.rows, &mut d).unwrap();
            let (mut error, mut energy) = (0.0, 0.0);
            for (w, d) in w.iter().zip(&d) {
                error += f64::from(w - d).powi(2);
                energy += f64::from(*w).powi(2);
            }
            let found = (error / energy).sqrt();
            assert!(
                (found - f64::from(e.error)).abs() < 1e-4 * found + 1e-7,
                "{:?}: {found} {}",
                e.tensor,
                e.error
            );
            assert!(found < relative, "{bits} bits, {:?}: {found}", e.tensor);
            let norm = match e.tensor {
                Tensor::Block(b, Part::AttnQ | Part::AttnK | Part::AttnV) => Part::AttnNorm.of(b),
                Tensor::Block(b, Part::FfnGate | Part::FfnUp) => Part::FfnNorm.of(b),
                Tensor::TokenEmbedding => Tensor::OutputNorm,
                _ => {
                    assert_eq!(e.exponent, 0);
                    continue;
                }
            };
            let gains = original.read_vector(norm).unwrap();
            let root = (gains.len() as f64).sqrt();
            let largest = d
                .chunks(gains.len())
                .map(|row| {
                    row.iter()
                        .zip(&gains)
                        .map(|(w, g)| (f64::from(*w) * f64::from(*g) * root).powi(2))
                        .sum::<f64>()
                        .sqrt()
                })
                .fold(0.0, f64::max);
            let limit = f64::from(e.exponent + 30).exp2();
            assert!(
                largest * 2.0499 <= limit && limit < largest * 4.11,
                "{:?}: {largest} {limit}",
                e.tensor
            );
        }
        for v in &directory.vectors {
            let (a, b) = (
                original.read_vector(v.tensor).unwrap(),
                carat.read_vector(v.tensor).unwrap(),
            );
            assert!(
                a.iter()
                    .zip(&b)
                    .all(|(a, b)| (a - b).abs() <= a.abs() * 1e-6)
            );
        }
    }
}

#[test]
fn odd_shapes_and_an_untied_head() {
    let source = common::checkpoint(&common::config(), &common::tensors());
    common::copy_tokenizer(source.path());
    let (_dir, path) = target();
    for bits in [1.0, 1.6, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0] {
        let options = Options {
            force: true,
            ..options(source.path(), &path, bits)
        };
        convert(&options, &Silent).unwrap();
        let carat = Checkpoint::open(&path).unwrap();
        assert!(!carat.hyper().tied);
        let bytes = fs::read(&path).unwrap();
        let header = header(&bytes);
        let spec = ModelSpec::from_header(&header).unwrap();
        let directory = Directory::from_header(&header, &spec).unwrap();
        let encoding = Encoding::from_bits(bits).unwrap();
        assert!(
            directory
                .matrices
                .iter()
                .all(|e| e.layout.encoding == encoding)
        );
        assert_eq!(
            directory.matrix(Tensor::TokenEmbedding).unwrap().exponent,
            0
        );
        assert_ne!(directory.matrix(Tensor::Output).unwrap().exponent, 0);
    }
}

#[test]
fn a_gguf_keeps_its_tokenizer() {
    for file in [
        "oracles/stories260k/stories260k-v3-f32.gguf",
        "oracles/stories260k/stories260k-v1-f32.gguf",
    ] {
        let Some(source) = common::shared(file) else {
            return;
        };
        let (_dir, path) = target();
        run(&source, &path, 4);
        let (a, b) = (fs::read(&source).unwrap(), fs::read(&path).unwrap());
        let (a, b) = (header(&a), header(&b));
        let mut copied = 0;
        for (key, value) in a
            .metadata()
            .iter()
            .filter(|(key, _)| key.starts_with("tokenizer."))
        {
            assert_eq!(b.get(key), Some(value), "{key}");
            copied += 1;
        }
        assert!(copied > 3, "{copied}");
        // Its own source no more.
        let again = fault(&options(&path, &path.with_extension("again"), 4));
        assert!(
            matches!(again, ConvertError::AlreadyConverted { .. }),
            "{again}"
        );
    }
}

/// A copy of the bundled checkpoint in which every byte of these tensors is `fill`.
fn altered(dir: &Path, names: &[&str], fill: &[u8]) -> PathBuf {
    let copy = dir.join("checkpoint");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(common::facet()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let path = copy.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    for name in names {
        let at = |i: usize| 8 + header + json[name]["data_offsets"][i].as_u64().unwrap() as usize;
        let data = &mut bytes[at(0)..at(1)];
        for (i, b) in data.iter_mut().enumerate() {
            *b = fill[i % fill.len()];
        }
    }
    fs::write(&path, bytes).unwrap();
    copy
}

#[test]
fn tensors_of_zeros_convert_and_run() {
    let names = [
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
        "model.layers.2.input_layernorm.weight",
    ];
    for bits in [2, 4, 8] {
        let (dir, path) = target();
        // The conversion ends with a run of the file by the engine.
        run(&altered(dir.path(), &names, &[0]), &path, bits);
    }
}

#[test]
fn values_beyond_the_integers_are_refused_by_name() {
    let (dir, path) = target();
    // The largest finite bf16.
    let source = altered(
        dir.path(),
        &["model.layers.0.input_layernorm.weight"],
        &[0x7f, 0x7f],
    );
    let e = fault(&options(&source, &path, 4));
    assert!(matches!(e, ConvertError::TooLarge { .. }), "{e}");
    assert!(e.to_string().contains("blk.0.attn"), "{e}");
    assert!(!path.exists());
}

#[test]
fn files_of_the_source_are_never_replaced() {
    let (dir, _) = target();
    let source = altered(dir.path(), &[], &[]);
    let weights = source.join("model.safetensors");
    let before = fs::read(&weights).unwrap();
    for output in [weights.clone(), source.join("../checkpoint/config.json")] {
        let forced = Options {
            force: true,
            ..options(&source, &output, 4)
        };
        let e = fault(&forced);
        assert!(matches!(e, ConvertError::TargetIsSource { .. }), "{e}");
    }
    assert!(fs::read(&weights).unwrap() == before);
}

#[test]
fn every_fault_of_the_target() {
    let facet = common::facet();
    let (dir, path) = target();
    fs::write(&path, "precious").unwrap();
    let e = fault(&options(&facet, &path, 4));
    assert!(matches!(e, ConvertError::TargetExists { .. }), "{e}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert!(e.to_string().contains("--force"), "{e}");

    let e = fault(&options(&facet, dir.path(), 4));
    assert!(matches!(e, ConvertError::TargetIsDirectory { .. }), "{e}");
    let e = fault(&options(&facet, &dir.path().join("none/out.gguf"), 4));
    assert!(matches!(e, ConvertError::TargetDirectory { .. }), "{e}");
    let e = fault(&options(&facet, &path.join("below-a-file"), 4));
    assert!(matches!(e, ConvertError::TargetDirectory { .. }), "{e}");
    let e = fault(&options(&facet, &dir.path().join("new"), 7));
    assert!(matches!(e, ConvertError::Bits { found: 7.0 }), "{e}");
    let e = fault(&options(
        &dir.path().join("nothing"),
        &dir.path().join("new"),
        4,
    ));
    assert!(matches!(e, ConvertError::Source(_)), "{e}");
    assert_eq!(names(dir.path()), ["out.gguf"]);

    let forced = Options {
        force: true,
        ..options(&facet, &path, 4)
    };
    convert(&forced, &Silent).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(b"GGUF"));
    assert_eq!(names(dir.path()), ["out.gguf"]);
}

#[test]
fn the_source_is_never_the_target() {
    let Some(source) = common::shared("oracles/stories260k/stories260k-v3-f32.gguf") else {
        return;
    };
    let (dir, path) = target();
    fs::copy(&source, &path).unwrap();
    let roundabout = dir.path().join(".").join("out.gguf");
    let e = fault(&Options {
        force: true,
        ..options(&path, &roundabout, 4)
    });
    assert!(matches!(e, ConvertError::TargetIsSource { .. }), "{e}");
    assert_eq!(fs::read(&path).unwrap(), fs::read(&source).unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_directory_is_named() {
    let e = fault(&options(&common::facet(), Path::new("/proc/out.gguf"), 4));
    assert!(matches!(e, ConvertError::TargetDirectory { .. }), "{e}");
    assert!(e.to_string().contains("/proc"), "{e}");
}

#[cfg(unix)]
#[test]
fn the_file_is_as_readable_as_any_new_one() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, path) = target();
    run(&common::facet(), &path, 2);
    let plain = dir.path().join("plain");
    fs::write(&plain, "").unwrap();
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), mode(&plain));
}

/// Cancels after a number of steps, and checks that steps count up to the total.
struct Stop {
    after: u64,
    steps: AtomicU64,
    furthest: AtomicU64,
}

impl Progress for Stop {
    fn step(&self, done: u64, total: u64) {
        assert!(done <= total);
        self.steps.fetch_add(1, Ordering::SeqCst);
        self.furthest.fetch_max(done, Ordering::SeqCst);
    }

    fn cancelled(&self) -> bool {
        self.steps.load(Ordering::SeqCst) >= self.after
    }
}

#[test]
fn cancelling_leaves_nothing() {
    for after in [0, 1, 20, 300] {
        let (dir, path) = target();
        let stop = Stop {
            after,
            steps: AtomicU64::new(0),
            furthest: AtomicU64::new(0),
        };
        let e = convert(&options(&common::facet(), &path, 4), &stop).unwrap_err();
        assert!(matches!(e, ConvertError::Cancelled), "{e}");
        assert_eq!(names(dir.path()), [] as [&str; 0]);
    }
    let (_dir, path) = target();
    let all = Stop {
        after: u64::MAX,
        steps: AtomicU64::new(0),
        furthest: AtomicU64::new(0),
    };
    let summary = convert(&options(&common::facet(), &path, 4), &all).unwrap();
    assert_eq!(all.furthest.into_inner(), summary.weights);
}

const CHILD: &str = "CARAT_TEST_CONVERT_TO";

/// Tells its parent of every step, and takes its time.
struct Slow;

impl Progress for Slow {
    fn step(&self, done: u64, _: u64) {
        println!("\nstep {done}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Only does something in the process that `killing_it_leaves_no_file` starts.
#[test]
fn child_that_is_killed() {
    if let Some(path) = std::env::var_os(CHILD) {
        convert(&options(&common::facet(), Path::new(&path), 2), &Slow).unwrap();
    }
}

#[test]
fn killing_it_leaves_no_file() {
    use io::BufRead;
    for steps in [1, 100] {
        let (dir, path) = target();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines
            .map_while(Result::ok)
            .filter(|l| l.starts_with("step "))
            .take(steps)
            .count();
        assert_eq!(seen, steps, "it ended before it could be killed");
        child.kill().unwrap(); // SIGKILL
        assert!(!child.wait().unwrap().success());
        let left = names(dir.path());
        assert!(
            left.iter()
                .all(|n| n.starts_with(".carat-") && n.ends_with(".part")),
            "{left:?}"
        );
        // What it left is in nobody's way.
        run(&common::facet(), &path, 2);
    }
}

#[test]
fn python_reads_it() {
    let (_dir, path) = target();
    run(&common::facet(), &path, 3);
    let script = "
import sys
try:
    from gguf import GGUFReader
except ImportError:
    sys.exit(77)
r = GGUFReader(sys.argv[1])
t = {t.name: t for t in r.tensors}
f = r.fields
print(len(t), t['output_norm.weight'].data.dtype, len(t['token_embd.weight'].data), bytes(f['general.architecture'].parts[-1]).decode())
";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output();
    let output = match output {
        Ok(o) if o.status.code() != Some(77) => o,
        _ => {
            eprintln!(
                "ABSENT: python3 with the package gguf (pip install gguf); this check did not run"
            );
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let layout = carat_format::TensorLayout::new(Encoding::Pow3, 4096, 256).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        text.trim(),
        format!("56 int32 {} carat", layout.payload_bytes())
    );
}

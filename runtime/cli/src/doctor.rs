//! `carat doctor`: what this machine has, and whether every device computes what the CPU does.

#[cfg(feature = "gpu")]
mod adapters;
mod show;

use crate::args::DoctorArgs;
use crate::cache::{self, Prepared};
use crate::failure::Interrupted;
use crate::interrupt;
use crate::term::{self, Bar};
use anyhow::{Context, Result, bail};
use carat::internals::golden::Golden;
use carat::internals::{DeviceChoice, Model, Session, SessionOptions, Verify};
use carat_format::keys::GOLDEN_POSITIONS;
use serde::Serialize;
use std::sync::Arc;

/// The JSON object.
#[derive(Serialize)]
struct Report {
    /// Nothing differs and nothing failed.
    ok: bool,
    model: Option<String>,
    cpu: CpuReport,
    adapters: Vec<AdapterReport>,
}

#[derive(Serialize)]
struct CpuReport {
    architecture: &'static str,
    threads: usize,
    features: Vec<Feature>,
    /// Null without a model.
    golden: Option<GoldenReport>,
}

#[derive(Serialize)]
struct Feature {
    name: &'static str,
    present: bool,
}

#[derive(Serialize)]
#[cfg_attr(not(feature = "gpu"), allow(dead_code))]
struct AdapterReport {
    name: String,
    backend: String,
    /// `discrete`, `integrated`, `virtual`, `browser`, `unknown` or `software`.
    #[serde(rename = "type")]
    kind: &'static str,
    limits: Vec<LimitReport>,
    /// Whether every limit is at least WebGPU's default; Carat does not use an adapter otherwise.
    usable: bool,
    kernels: Vec<KernelReport>,
    /// Null without a model.
    golden: Option<GoldenReport>,
    /// Why the checks ended early; null where they did not.
    error: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(not(feature = "gpu"), allow(dead_code))]
struct LimitReport {
    name: &'static str,
    value: u64,
    webgpu: u64,
    ok: bool,
}

#[derive(Serialize)]
#[cfg_attr(not(feature = "gpu"), allow(dead_code))]
struct KernelReport {
    kernel: &'static str,
    /// Bits of the encoding; null for kernels that read no codes.
    bits: Option<f64>,
    words: u64,
    /// Null where every word is the twin's.
    difference: Option<DifferenceReport>,
}

#[derive(Serialize)]
#[cfg_attr(not(feature = "gpu"), allow(dead_code))]
struct DifferenceReport {
    step: String,
    word: u64,
    expected: Option<u32>,
    found: Option<u32>,
    differing: u64,
    of: u64,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct GoldenReport {
    /// Positions compared; 0 for a file without golden vectors.
    positions: usize,
    /// The first position whose checksum differs; null where none does.
    first_difference: Option<usize>,
    /// Checksums there, as 16 hexadecimal digits.
    expected: Option<String>,
    found: Option<String>,
}

/// Runs the command.
pub fn run(args: DoctorArgs) -> Result<()> {
    let prepared = args
        .model
        .as_deref()
        .map(|path| cache::prepare(path, &args.cache, None))
        .transpose()?;
    let bar = Bar::new("doctor");
    let report = examine(&args, prepared);
    bar.clear();
    let report = match report {
        Err(_) if interrupt::requested() => return Err(Interrupted("".into()).into()),
        report => report?,
    };
    if args.json {
        term::print_json(&report)?;
    } else {
        term::print(&show::show(&report))?;
    }
    match problems(&report).as_slice() {
        [] => Ok(()),
        [one] => bail!("{one}"),
        [first, rest @ ..] => bail!("{first} (and {} more, see above)", rest.len()),
    }
}

fn examine(args: &DoctorArgs, prepared: Option<Prepared>) -> Result<Report> {
    let shown = || {
        args.model
            .as_ref()
            .map_or(String::new(), |m| m.display().to_string())
    };
    let model = match prepared {
        Some(prepared) => Some(Arc::new(prepared.open(Verify::Hashes)?)),
        None => None,
    };
    let stated = match &model {
        Some(model) => Some(stated(model).with_context(shown)?),
        None => None,
    };
    let with_model = model.as_ref().zip(stated.as_ref());
    let golden = with_model
        .map(|(m, g)| golden(m, g, DeviceChoice::Cpu))
        .transpose()
        .with_context(shown)?;
    #[cfg(feature = "gpu")]
    let adapters = adapters::examine(with_model)?;
    #[cfg(not(feature = "gpu"))]
    let adapters = Vec::new();
    let mut report = Report {
        ok: true,
        model: args.model.as_ref().map(|_| shown()),
        cpu: CpuReport {
            architecture: std::env::consts::ARCH,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            features: features(),
            golden,
        },
        adapters,
    };
    report.ok = problems(&report).is_empty();
    Ok(report)
}

/// The model's golden vectors. Errors: keys of another type, or a prompt outside the vocabulary.
fn stated(model: &Model) -> Result<Golden> {
    let none = Golden {
        prompt: Vec::new(),
        checksums: Vec::new(),
    };
    let golden = model.golden()?.unwrap_or(none);
    let vocab = model.spec().vocab_size;
    if let Some(id) = golden.prompt.iter().find(|id| **id >= vocab) {
        bail!(
            "the golden prompt has token {id}, expected 0 to {}; convert the checkpoint again",
            vocab.saturating_sub(1)
        );
    }
    Ok(golden)
}

/// Runs a model's golden vectors on a device and compares the checksums.
fn golden(model: &Arc<Model>, stated: &Golden, device: DeviceChoice) -> Result<GoldenReport> {
    let mut report = GoldenReport {
        positions: 0,
        first_difference: None,
        expected: None,
        found: None,
    };
    if stated.prompt.is_empty() || stated.checksums.is_empty() {
        return Ok(report);
    }
    let options = SessionOptions {
        device,
        context: GOLDEN_POSITIONS as u32,
        outputs: GOLDEN_POSITIONS as u32,
        ..SessionOptions::default()
    };
    let found = pollster::block_on(async {
        let mut session = Session::new(model.clone(), &options).await?;
        Golden::run(&mut session, &stated.prompt, &interrupt::requested).await
    })?;
    compare(&mut report, &stated.checksums, &found.checksums);
    Ok(report)
}

/// A list that ends earlier differs where it ends.
fn compare(report: &mut GoldenReport, expected: &[u64], found: &[u64]) {
    let hex = |sums: &[u64], i: usize| sums.get(i).map(|s| format!("{s:016x}"));
    report.positions = expected.len().max(found.len());
    report.first_difference = (0..report.positions).find(|i| expected.get(*i) != found.get(*i));
    if let Some(i) = report.first_difference {
        report.expected = hex(expected, i);
        report.found = hex(found, i);
    }
}

/// One line for each thing that is wrong.
fn problems(report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    let differs = |device: &str, golden: &Option<GoldenReport>| {
        let found = golden
            .as_ref()
            .and_then(|g| g.first_difference.map(|i| (g, i)));
        found.map(|(g, i)| {
            let sum = |s: &Option<String>| s.clone().unwrap_or_else(|| "nothing".into());
            format!(
                "{device}: golden vectors: the logits at position {i} have checksum {}, expected {}; \
                 do not trust this device with this model",
                sum(&g.found),
                sum(&g.expected)
            )
        })
    };
    out.extend(differs("cpu", &report.cpu.golden));
    for a in &report.adapters {
        let bits = |k: &KernelReport| k.bits.map_or(String::new(), |b| format!(" at {b} bits"));
        for k in &a.kernels {
            if let Some(d) = &k.difference {
                out.push(format!(
                    "{}: kernel {}{}: {}; update the driver or use --device cpu",
                    a.name,
                    k.kernel,
                    bits(k),
                    d.text
                ));
            }
        }
        out.extend(differs(&a.name, &a.golden));
        out.extend(a.error.clone());
    }
    out
}

/// Features of the processor that kernels use or could use.
fn features() -> Vec<Feature> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512bw", std::arch::is_x86_feature_detected!("avx512bw")),
        (
            "avx512vnni",
            std::arch::is_x86_feature_detected!("avx512vnni"),
        ),
        ("avxvnni", std::arch::is_x86_feature_detected!("avxvnni")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        (
            "dotprod",
            std::arch::is_aarch64_feature_detected!("dotprod"),
        ),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&'static str, bool); 0] = [];
    found
        .into_iter()
        .map(|(name, present)| Feature { name, present })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a machine with one GPU would give whose `linear_tile_q` is wrong.
    pub fn report() -> Report {
        let kernel = |kernel, bits, difference| KernelReport {
            kernel,
            bits,
            words: 1234,
            difference,
        };
        let difference = DifferenceReport {
            step: "blk.0.attn_q".into(),
            word: 17,
            expected: Some(1),
            found: Some(2),
            differing: 3,
            of: 64,
            text: "word 17 of 'blk.0.attn_q' is 0x00000002, expected 0x00000001".into(),
        };
        let mut golden = GoldenReport {
            positions: 0,
            first_difference: None,
            expected: None,
            found: None,
        };
        compare(&mut golden, &[7, 8], &[7, 9]);
        Report {
            ok: false,
            model: Some("m".repeat(100)),
            cpu: CpuReport {
                architecture: "x86_64",
                threads: 2,
                features: features(),
                golden: None,
            },
            adapters: vec![AdapterReport {
                name: "n".repeat(100),
                backend: "b".repeat(100),
                kind: "discrete",
                limits: vec![LimitReport {
                    name: "maxComputeInvocationsPerWorkgroup",
                    value: u64::MAX,
                    webgpu: 256,
                    ok: false,
                }],
                usable: true,
                kernels: vec![
                    kernel("embed_row_q", Some(4.0), None),
                    kernel("linear_tile_q", Some(4.0), Some(difference)),
                ],
                golden: Some(golden),
                error: None,
            }],
        }
    }

    #[test]
    fn what_differs_is_named() {
        let problems = problems(&report());
        assert_eq!(problems.len(), 2);
        for part in [
            "linear_tile_q at 4 bits",
            "word 17",
            "blk.0.attn_q",
            "--device cpu",
        ] {
            assert!(problems[0].contains(part), "{}", problems[0]);
        }
        for part in ["position 1 ", "0000000000000009", "0000000000000008"] {
            assert!(problems[1].contains(part), "{}", problems[1]);
        }
    }

    #[test]
    fn checksums_that_are_missing_differ() {
        let first = |expected: &[u64], found: &[u64]| {
            let mut report = GoldenReport {
                positions: 0,
                first_difference: None,
                expected: None,
                found: None,
            };
            compare(&mut report, expected, found);
            report.first_difference
        };
        assert_eq!(first(&[1, 2], &[1, 2]), None);
        assert_eq!(first(&[1, 2], &[1]), Some(1));
        assert_eq!(first(&[1], &[1, 2]), Some(1));
        assert_eq!(first(&[3], &[1]), Some(0));
    }
}

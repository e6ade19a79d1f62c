//! What `carat doctor` finds out about GPUs.

use super::{AdapterReport, DifferenceReport, KernelReport, LimitReport, golden};
use crate::failure::{Interrupted, describe};
use crate::interrupt;
use anyhow::Result;
use carat::internals::device::{self, Adapter, Kind, Limit};
use carat::internals::golden::Golden;
use carat::internals::selftest::{self, KernelCheck};
use carat::internals::{DeviceChoice, Model};
use carat_format::Encoding;
use std::sync::Arc;

/// Everything about every adapter. Errors: Ctrl-C only; a device's failure is part of the report.
pub(super) fn examine(model: Option<(&Arc<Model>, &Golden)>) -> Result<Vec<AdapterReport>> {
    let found = pollster::block_on(device::limits()).into_iter().enumerate();
    found
        .map(|(i, (adapter, limits))| adapter_report(i, adapter, &limits, model))
        .collect()
}

/// Everything about one adapter. Errors: as [`examine`].
fn adapter_report(
    index: usize,
    adapter: Adapter,
    limits: &[Limit],
    model: Option<(&Arc<Model>, &Golden)>,
) -> Result<AdapterReport> {
    let (driver, backend) = adapter
        .driver
        .rsplit_once(", ")
        .unwrap_or(("", &adapter.driver));
    let mut report = AdapterReport {
        backend: match driver {
            "" => backend.into(),
            driver => format!("{backend} ({driver})"),
        },
        name: adapter.name,
        kind: kind(adapter.kind),
        limits: limits
            .iter()
            .map(|l| LimitReport {
                name: l.name,
                value: l.has,
                webgpu: l.needs,
                ok: l.is_met(),
            })
            .collect(),
        usable: limits.iter().all(Limit::is_met),
        kernels: Vec::new(),
        golden: None,
        error: None,
    };
    if !report.usable {
        return Ok(report);
    }
    let choice = DeviceChoice::GpuIndex(index);
    let checked = pollster::block_on(selftest::check_kernels(&choice, &interrupt::requested));
    match checked {
        Ok(checks) => report.kernels = checks.iter().map(kernel_report).collect(),
        Err(e) => report.error = Some(describe(&e.into())),
    }
    if let (Some((model, stated)), None) = (model, &report.error) {
        match golden(model, stated, choice) {
            Ok(golden) => report.golden = Some(golden),
            Err(e) => report.error = Some(describe(&e)),
        }
    }
    if interrupt::requested() {
        return Err(Interrupted("".into()).into());
    }
    Ok(report)
}

fn kernel_report(check: &KernelCheck) -> KernelReport {
    let difference = check.difference.as_ref();
    KernelReport {
        kernel: check.kernel,
        bits: check.encoding.map(Encoding::bits),
        words: check.words,
        difference: difference.map(|d| DifferenceReport {
            step: d.step.clone(),
            word: d.word,
            expected: d.expected,
            found: d.found,
            differing: d.differing,
            of: d.of,
            text: d.to_string(),
        }),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Discrete => "discrete",
        Kind::Integrated => "integrated",
        Kind::Virtual => "virtual",
        Kind::Browser => "browser",
        Kind::Unknown => "unknown",
        Kind::Llvmpipe | Kind::Software | Kind::Fallback => "software",
    }
}

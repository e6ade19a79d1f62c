//! `carat bench --predict`: what a generated token asks of a GPU, and the bounds that follow for GPUs of which the makers
//! publish peaks.

use crate::args::BenchArgs;
use crate::cache::Prepared;
use crate::term;
use anyhow::{Context, Result};
use carat::internals::Verify;
use carat::internals::plan::{Cost, Extent, MOST_BINDING, Op, Plan, Step};
use serde::Serialize;
use std::collections::BTreeMap;

/// A GPU's peaks.
struct Device {
    name: &'static str,
    /// 10^9 bytes a second of its memory.
    gbps: f64,
    /// 10^9 integer instructions of 32 bits a second, over all lanes.
    integers: f64,
    /// Instructions that `dot4I8Packed` takes: 1 where the GPU has it.
    dot: f64,
    /// Where the figures are from.
    source: &'static str,
}

/// Without an instruction for it a product of four pairs of bytes is eight bytes extended, four products, three sums.
const EMULATED_DOT: f64 = 15.0;

/// Peaks, computed from what the makers state: lanes of integer arithmetic times clock.
const DEVICES: [Device; 4] = [
    Device {
        name: "laptop: Apple M2, 10 cores",
        gbps: 100.0,
        integers: 1800.0,
        dot: EMULATED_DOT,
        source: "Apple, M2 announcement 2022: 100 GB/s, 3.6 TFLOPS, half of it instructions",
    },
    Device {
        name: "laptop: Intel Iris Xe, 96 EU",
        gbps: 68.3,
        integers: 1037.0,
        dot: 1.0,
        source: "Intel ARK, i7-1185G7: LPDDR4x-4267, 96 EU of 8 lanes at 1.35 GHz",
    },
    Device {
        name: "laptop: RTX 4060",
        gbps: 256.0,
        integers: 3640.0,
        dot: 1.0,
        source: "NVIDIA: 16 Gb/s on 128 bits; CUDA guide: 64 a clock and SM, 24 at 2.37 GHz",
    },
    Device {
        name: "phone: Arm Mali-G710, 7 cores",
        gbps: 51.2,
        integers: 380.0,
        dot: 1.0,
        source: "Arm GPU datasheet: 64 a clock and core, at 0.85 GHz; LPDDR5-6400, 64 bits",
    },
];

/// Steps of one kernel and shape.
#[derive(Serialize)]
struct Row {
    kernel: &'static str,
    shape: String,
    dispatches: usize,
    /// Of all of them.
    bytes: u64,
    dots: u64,
    integers: u64,
}

/// What a token takes at least.
#[derive(Serialize)]
struct Bound {
    device: &'static str,
    source: &'static str,
    /// Milliseconds of moving the bytes.
    memory_ms: f64,
    /// Milliseconds of the instructions.
    integers_ms: f64,
    /// Tokens a second that the larger of both allows.
    tokens_per_second: f64,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    model: String,
    context: u32,
    kernels: Vec<Row>,
    bounds: Vec<Bound>,
}

/// Runs it.
pub fn run(args: &BenchArgs, prepared: Prepared) -> Result<()> {
    let shown = || args.of.model.display().to_string();
    let model = prepared.open(Verify::Structure)?;
    let extent = Extent {
        context: args.pp,
        cache: args.of.place.kv,
        binding: MOST_BINDING,
        ..Extent::default()
    };
    let plan = Plan::new(model.spec(), model.directory(), extent).with_context(shown)?;
    let report = report(shown(), &plan, args.pp);
    if args.of.json {
        return term::print_json(&report);
    }
    term::print(&show(&report))
}

/// Kernel and shape of a step.
pub(super) fn key(op: &Op) -> (&'static str, String) {
    let shape = match op {
        Op::LinearTile(p, e) => {
            format!("{} x {}, {} codes", p.part_rows, p.groups * 32, e.codes())
        }
        Op::LinearGated(p, e) => {
            let codes = e.codes();
            format!("2·{} x {}, {codes} codes", p.part_rows, p.groups * 32)
        }
        Op::LinearQkv(p, e) => {
            let (rows, codes) = (p.rows.iter().sum::<u32>(), e.codes());
            format!("{rows} x {}, {codes} codes", p.groups * 32)
        }
        _ => String::new(),
    };
    (op.kernel(), shape)
}

fn report(model: String, plan: &Plan, context: u32) -> Report {
    let mut groups: BTreeMap<(&str, String), Vec<&Step>> = BTreeMap::new();
    for step in &plan.steps {
        groups.entry(key(&step.op)).or_default().push(step);
    }
    let sum = |steps: &[&Step]| {
        let costs = steps.iter().map(|s| plan.cost(s, context));
        costs.fold(Cost::default(), |a, b| a + b)
    };
    let total = sum(&plan.steps.iter().collect::<Vec<_>>());
    let rows = groups.into_iter().map(|((kernel, shape), steps)| {
        let cost = sum(&steps);
        Row {
            kernel,
            shape,
            dispatches: steps.len(),
            bytes: cost.bytes,
            dots: cost.dots,
            integers: cost.integers,
        }
    });
    let mut kernels: Vec<Row> = rows.collect();
    kernels.sort_by_key(|k| std::cmp::Reverse((k.bytes, k.integers)));
    Report {
        model,
        context,
        kernels,
        bounds: DEVICES.iter().map(|d| bound(d, &total)).collect(),
    }
}

fn bound(device: &Device, cost: &Cost) -> Bound {
    let memory_ms = cost.bytes as f64 / device.gbps / 1e6;
    let instructions = cost.integers as f64 + cost.dots as f64 * device.dot;
    let integers_ms = instructions / device.integers / 1e6;
    Bound {
        device: device.name,
        source: device.source,
        memory_ms,
        integers_ms,
        tokens_per_second: 1e3 / memory_ms.max(integers_ms),
    }
}

fn show(r: &Report) -> String {
    let mut out = format!(
        "A token at {} positions: bytes read and 10^6 instructions, counted\n\n\
         {:<20} {:<24} {:>5} {:>9} {:>7} {:>8}\n",
        r.context, "kernel", "shape", "times", "bytes", "dots", "integers"
    );
    let millions = |n: u64| match n {
        0 => String::new(),
        n => format!("{:.2}", n as f64 / 1e6),
    };
    for k in &r.kernels {
        let line = format!(
            "{:<20} {:<24} {:>5} {:>9} {:>7} {:>8}",
            k.kernel,
            k.shape,
            k.dispatches,
            match k.bytes {
                0 => String::new(),
                n => term::bytes(n),
            },
            millions(k.dots),
            millions(k.integers),
        );
        out += line.trim_end();
        out.push('\n');
    }
    let dispatches: usize = r.kernels.iter().map(|k| k.dispatches).sum();
    out += &format!(
        "\nBounds from published peaks, nothing measured: {dispatches} dispatches, caches, and what\n\
         a GPU does not reach of its peaks come on top\n\n\
         {:<32} {:>10} {:>12} {:>12}\n",
        "GPU", "memory ms", "integers ms", "tokens/s"
    );
    for b in &r.bounds {
        out += &format!(
            "{:<32} {:>10.3} {:>12.3} {:>12.1}\n",
            b.device, b.memory_ms, b.integers_ms, b.tokens_per_second
        );
    }
    out.push('\n');
    for b in &r.bounds {
        out += &format!("{}\n   {}\n", b.device, b.source);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use carat::internals::Model;
    use carat::internals::selftest::Shape;

    #[test]
    fn bounds_follow_from_the_counts() {
        let model = Model::from_bytes(&Shape::default().bytes(), Verify::Structure).unwrap();
        let extent = Extent {
            binding: MOST_BINDING,
            ..Extent::default()
        };
        let plan = Plan::new(model.spec(), model.directory(), extent).unwrap();
        let report = report("m".repeat(200), &plan, 256);
        let bytes: u64 = report.kernels.iter().map(|k| k.bytes).sum();
        assert!(bytes > plan.decode_weight_bytes());
        let dispatches: usize = report.kernels.iter().map(|k| k.dispatches).sum();
        assert_eq!(dispatches, plan.steps.len());
        for (bound, device) in report.bounds.iter().zip(&DEVICES) {
            assert_eq!(bound.memory_ms, bytes as f64 / device.gbps / 1e6);
            assert!(bound.integers_ms > 0.0 && bound.tokens_per_second.is_finite());
        }
        for line in show(&report).lines() {
            assert!(line.chars().count() <= term::WIDTH, "{line}");
        }
    }
}

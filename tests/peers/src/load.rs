//! What the processors do besides.

use anyhow::{Context, Result};

/// Clock ticks a second of /proc's times: 100 on every Linux (proc(5), USER_HZ).
pub const TICKS: f64 = 100.0;

/// Seconds of processor that all processes have used, and how many processors there are.
pub fn busy() -> Result<(f64, f64)> {
    let stat =
        std::fs::read_to_string("/proc/stat").context("/proc/stat; this program needs Linux")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .flat_map(str::parse)
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let used = |i: usize| ticks.get(i).copied().unwrap_or(0.0);
    let busy = used(0) + used(1) + used(2) + used(5) + used(6) + used(7);
    let processors = stat.lines().filter(|l| l.starts_with("cpu")).count() - 1;
    Ok((busy / TICKS, processors.max(1) as f64))
}

/// The model of the processor, and the features that matter here.
pub fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = info.lines().find(|l| l.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let flags = value("flags").unwrap_or_default();
    let has = |f: &str| flags.split(' ').any(|x| x == f);
    let known = ["avx2", "avx_vnni", "avx512_vnni"];
    let found: Vec<&str> = known.into_iter().filter(|f| has(f)).collect();
    let name = value("model name").unwrap_or_else(|| "an unknown processor".into());
    format!("{name} ({})", found.join(", "))
}

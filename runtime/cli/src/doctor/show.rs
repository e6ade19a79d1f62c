//! The report for people.

use super::{AdapterReport, GoldenReport, Report};
use crate::term;

/// The whole report.
pub fn show(r: &Report) -> String {
    let features: Vec<&str> = r
        .cpu
        .features
        .iter()
        .filter(|f| f.present)
        .map(|f| f.name)
        .collect();
    let features = match features.as_slice() {
        [] => "no vector features that kernels use".into(),
        some => some.join(" "),
    };
    let mut out = format!(
        "{}\n  {} threads, {}, {features}\n",
        term::paint("1", "cpu"),
        r.cpu.threads,
        r.cpu.architecture
    );
    out += &golden(r.cpu.golden.as_ref());
    if r.adapters.is_empty() {
        out += match cfg!(feature = "gpu") {
            true => "\nNo GPU adapter was found: there are no kernels to compare.\n",
            false => "\nThis build has no GPU support: there are no kernels to compare.\n",
        };
        out += match r.model {
            Some(_) => "The golden vectors were checked on the CPU only.\n",
            None => "Give a model to check its golden vectors on the CPU.\n",
        };
    }
    for adapter in &r.adapters {
        out += &show_adapter(adapter);
    }
    out += match (r.ok, &r.model) {
        (true, Some(_)) => "\nEverything agrees.\n",
        (true, None) if r.adapters.is_empty() => "",
        (true, None) => "\nEvery kernel agrees. Give a model to check its golden vectors too.\n",
        (false, _) => "",
    };
    out
}

fn show_adapter(a: &AdapterReport) -> String {
    let mut out = format!(
        "\n{}\n  {}, {}\n",
        term::paint("1", &term::clip(&a.name, term::WIDTH)),
        a.kind,
        term::clip(&a.backend, 60)
    );
    let short: Vec<_> = a.limits.iter().filter(|l| !l.ok).collect();
    if short.is_empty() {
        out += &format!(
            "  {} limits, all at least WebGPU's defaults\n",
            a.limits.len()
        );
    }
    for limit in short {
        out += &format!(
            "  {}\n    {}, WebGPU's default is {}\n",
            limit.name, limit.value, limit.webgpu
        );
    }
    if !a.usable {
        return out + "  not used: Carat needs WebGPU's default limits\n";
    }
    let mut last = "";
    for k in &a.kernels {
        if k.kernel == last {
            continue;
        }
        last = k.kernel;
        let of: Vec<_> = a.kernels.iter().filter(|o| o.kernel == k.kernel).collect();
        let bits: Vec<String> = of
            .iter()
            .filter_map(|o| o.bits)
            .map(|b| b.to_string())
            .collect();
        let bits = match bits.as_slice() {
            [] => String::new(),
            some => format!(" at {} bits", some.join(", ")),
        };
        let words = of.iter().map(|o| o.words).sum();
        let verdict = match of.iter().find_map(|o| o.difference.as_ref()) {
            None => "equal  ",
            Some(_) => "DIFFERS",
        };
        out += &format!(
            "  {:<19} {verdict}  {:>10} words{bits}\n",
            k.kernel,
            term::thousands(words)
        );
    }
    out += &golden(a.golden.as_ref());
    if a.error.is_some() {
        out += "  the checks ended early, see the error\n";
    }
    out
}

fn golden(golden: Option<&GoldenReport>) -> String {
    let Some(g) = golden else {
        return String::new();
    };
    match g.first_difference {
        _ if g.positions == 0 => "  the file has no golden vectors\n".into(),
        None => format!(
            "  {:<19} equal    {:>10} positions\n",
            "golden vectors", g.positions
        ),
        Some(i) => format!("  {:<19} DIFFERS  from position {i} on\n", "golden vectors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_fits_80_columns() {
        let text = show(&super::super::tests::report());
        assert!(text.contains("linear_tile_q       DIFFERS"), "{text}");
        assert!(text.contains("embed_row_q         equal"), "{text}");
        assert!(
            text.contains("golden vectors      DIFFERS  from position 1"),
            "{text}"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= term::WIDTH, "{line}");
        }
    }
}

//! The page about a conversion: one HTML file with its drawings inside.

use crate::svg::{Heat, Point, Scatter, bars, escape};
use crate::term;
use carat_converter::convert::Summary;
use carat_converter::report::{Report, TensorReport};
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:800px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}svg{max-width:100%;height:auto;display:block;margin:1em 0}\
table{border-collapse:collapse;font-size:13px}td,th{padding:2px 8px;text-align:right;border-bottom:1px solid #ddd}\
td:first-child,th:first-child{text-align:left;font-family:monospace}dl{display:grid;grid-template-columns:max-content auto;gap:2px 1em}dd{margin:0}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}td,th{border-color:#333}}";

/// The page.
pub fn page(summary: &Summary) -> String {
    let r = &summary.report;
    let name = r.name.as_deref().unwrap_or("a model without a name");
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{0}: conversion</title><style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n",
        escape(name)
    );
    out += &overview(summary);
    section(
        &mut out,
        "Size and quality",
        "What was measured is the quality card's text; predictions add up what each matrix causes by itself, on the calibration text.",
        &sizes(summary),
    );
    let heat = |title, log, of: &dyn Fn(&TensorReport) -> Option<f64>| {
        let values = r.tensors.iter().filter(|t| t.group.is_some());
        let values = values.map(|t| (t.name.as_str(), of(t)));
        Heat {
            title,
            log,
            values: values.collect(),
        }
        .svg()
    };
    let single = |x: Option<f32>| x.map(f64::from);
    section(
        &mut out,
        "Codes",
        "Bits of a code, and the exponent p of the levels |u|^p where there is one.",
        &(heat("Bits", false, &|t| Some(t.bits))
            + &heat("Exponent p", false, &|t| single(t.power))),
    );
    section(
        &mut out,
        "Errors",
        "Relative to the weights, and to the outputs on the calibration text (what the fit minimises).",
        &(heat("Error of the weights", true, &|t| single(t.error))
            + &heat("Error of the outputs", true, &|t| single(t.output_error))),
    );
    section(
        &mut out,
        "Sensitivity",
        "KL in nats that a unit of a matrix's loss causes in the predictions, measured one matrix at a time.",
        &heat("Sensitivity", true, &|t| t.sensitivity),
    );
    section(
        &mut out,
        "Inputs of the matrices",
        "On the calibration text. A largest magnitude far above the root mean square is an outlier that a scale must cover.",
        &(heat("Root mean square", true, &|t| {
            t.inputs.map(|i| i.rms.into())
        }) + &heat("Largest magnitude", true, &|t| {
            t.inputs.map(|i| i.max.into())
        })),
    );
    section(&mut out, "Bytes", "", &kinds(r));
    let stages: Vec<_> = r
        .stages
        .iter()
        .map(|s| (s.name.to_string(), s.seconds, format!("{:.1} s", s.seconds)))
        .collect();
    section(&mut out, "Time", "", &bars("Seconds", &stages));
    out += &table(r);
    out + "</body></html>\n"
}

/// Nothing where there is no drawing.
fn section(out: &mut String, title: &str, about: &str, drawing: &str) {
    if !drawing.is_empty() {
        let _ = write!(out, "<h2>{title}</h2>\n<p>{about}</p>\n{drawing}");
    }
}

fn overview(s: &Summary) -> String {
    let r = &s.report;
    let mut out = String::from("<dl>");
    let mut row = |label: &str, text: String| {
        let _ = write!(out, "<dt>{label}</dt><dd>{}</dd>", escape(&text));
    };
    row("architecture", r.architecture.clone());
    row("weights", term::thousands(r.weights));
    row(
        "size",
        format!(
            "{} ({} bytes), {:.2}x smaller than {}",
            term::bytes(r.bytes),
            term::thousands(r.bytes),
            r.source_bytes as f64 / r.bytes.max(1) as f64,
            term::bytes(r.source_bytes)
        ),
    );
    row(
        "bits per weight",
        format!("{:.3} matrices, {:.3} file", r.payload_bpw, r.file_bpw),
    );
    if let Some(card) = &s.card {
        let f = card.figures;
        row(
            "quality",
            format!(
                "KL {:.6} nats (99 %: {:.4}), perplexity {:.4} (checkpoint {:.4}), same likeliest token {:.2} %, {} predictions of '{}'",
                f.kl_mean,
                f.kl_p99,
                f.ppl,
                f.reference_ppl,
                f.top1 * 100.0,
                term::thousands(card.predictions()),
                card.text
            ),
        );
    }
    let memory = s
        .peak_resident_bytes
        .map_or(String::new(), |b| format!(", {} of memory", term::bytes(b)));
    row("time", format!("{:.1} s{memory}", s.seconds));
    out + "</dl>\n"
}

/// This file, the checkpoint, and what divisions of other sizes are predicted to give.
fn sizes(s: &Summary) -> String {
    let r = &s.report;
    let bytes: u64 = r.tensors.iter().map(|t| t.bytes).sum();
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let mut kl: Vec<Point> = r
        .predicted
        .iter()
        .map(|p| Point {
            x: mb(p.bytes),
            y: p.kl,
            label: format!(
                "{:.2} predicted",
                p.bytes as f64 * 8.0 / r.weights.max(1) as f64
            ),
        })
        .collect();
    let mut ppl = Vec::new();
    if let Some(card) = &s.card {
        kl.push(Point {
            x: mb(bytes),
            y: card.figures.kl_mean,
            label: "this file".into(),
        });
        ppl.push(Point {
            x: mb(bytes),
            y: card.figures.ppl,
            label: "this file".into(),
        });
        ppl.push(Point {
            x: mb(r.source_bytes),
            y: card.figures.reference_ppl,
            label: "the checkpoint".into(),
        });
    }
    let draw = |title: &str, y_label: &str, log_y, points: Vec<Point>| {
        if points.is_empty() {
            return String::new();
        }
        Scatter {
            title: title.into(),
            x_label: "MB of tensors".into(),
            y_label: y_label.into(),
            log_y,
            points,
        }
        .svg()
    };
    draw("Divergence by size", "mean KL, nats", true, kl)
        + &draw("Perplexity by size", "perplexity", false, ppl)
}

/// Bytes of each kind of tensor.
fn kinds(r: &Report) -> String {
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for t in &r.tensors {
        let (kind, _) = crate::svg::kind_and_block(&t.name);
        match kinds.iter_mut().find(|k| k.0 == kind) {
            Some(k) => k.1 += t.bytes,
            None => kinds.push((kind, t.bytes)),
        }
    }
    let rows: Vec<_> = kinds
        .iter()
        .map(|(kind, bytes)| ((*kind).to_string(), *bytes as f64, term::bytes(*bytes)))
        .collect();
    bars("Bytes by kind", &rows)
}

fn table(r: &Report) -> String {
    let mut out = String::from(
        "<h2>Tensors</h2>\n<table><tr><th>tensor</th><th>shape</th><th>encoding</th><th>group</th><th>p</th><th>error</th>\
         <th>of outputs</th><th>bytes</th><th>s</th></tr>\n",
    );
    let four = |x: Option<f32>| x.map_or(String::new(), |x| format!("{x:.4}"));
    for t in &r.tensors {
        let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td></tr>",
            escape(&t.name),
            shape.join("×"),
            escape(&t.encoding),
            t.group.map_or(String::new(), |g| g.to_string()),
            t.power.map_or(String::new(), |p| format!("{p:.2}")),
            four(t.error),
            four(t.output_error),
            term::thousands(t.bytes),
            t.seconds
        );
    }
    out + "</table>\n"
}

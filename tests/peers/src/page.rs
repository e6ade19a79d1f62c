//! The performance page and what it is written from.

use crate::compare::{Comparison, Entry, Outcome, What};
use crate::contest::median;
use crate::load;
use crate::scaling::{Line, Scaling};
use crate::worker::Program;
use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;

/// All that is measured, as it is kept beside the page.
#[derive(Serialize, Deserialize, Default)]
pub struct Results {
    pub processor: String,
    pub compared: Vec<Comparison>,
    pub scaling: Option<Scaling>,
}

impl Results {
    /// Puts new groups in the place of those of the same shape and title.
    pub fn take(&mut self, found: Comparison) {
        let same = |c: &&mut Comparison| c.shape == found.shape && c.threads == found.threads;
        let Some(old) = self.compared.iter_mut().find(same) else {
            self.compared.push(found);
            return;
        };
        for group in found.groups {
            match old.groups.iter_mut().find(|g| g.title == group.title) {
                Some(old) => *old = group,
                None => old.groups.push(group),
            }
        }
    }
}

const RESULTS: &str = "performance.json";
const PAGE: &str = "PERFORMANCE.md";

/// Changes what is kept.
pub fn keep(out: &Path, change: impl FnOnce(&mut Results)) -> Result<()> {
    let path = out.join(RESULTS);
    let mut results: Results = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?,
        Err(_) => Results::default(),
    };
    results.processor = load::processor();
    change(&mut results);
    replace(&path, serde_json::to_string_pretty(&results)? + "\n")
}

fn replace(path: &Path, text: String) -> Result<()> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path).with_context(|| path.display().to_string())
}

/// Prints a comparison's tables.
pub fn show(found: &Comparison) {
    for group in &found.groups {
        println!("{}", table(group));
    }
}

/// Writes the page and its plots.
pub fn write(out: &Path) -> Result<()> {
    let path = out.join(RESULTS);
    let text = std::fs::read(&path)
        .with_context(|| format!("{}: measure first (compare, scaling)", path.display()))?;
    let results: Results = serde_json::from_slice(&text)?;
    let mut page = String::new();
    let p = &mut page;
    writeln!(p, "# Performance\n")?;
    writeln!(
        p,
        "`cargo run --release -- all` in `tests/peers` writes this page from `{RESULTS}`; do not edit it by hand. It needs cmake, a \
         C++ compiler, libclang and Linux. Models have random weights in the shape that is named, because speed depends on the \
         shape alone.\n"
    )?;
    writeln!(p, "Processor: {}.\n", results.processor)?;
    for c in &results.compared {
        writeln!(
            p,
            "## Beside other programs: shape {}, {} threads\n",
            c.shape, c.threads
        )?;
        writeln!(
            p,
            "Programs run in turn, each in a process of its own with its model loaded. Figures are medians of the rounds. A ratio is \
             taken round by round; it compares Carat's first file with another program, and above 1 Carat is faster. *Share* is the \
             rate at which weights are read (bytes of weights per token, times tokens per second), divided by the rate that as many \
             threads reach when they only read memory in huge pages, in the same run (a median; the range is under the table). A \
             timing is repeated if others used more than 3 % of the processors during it.\n\n\
             llama.cpp is llama-cpp-sys-2 0.1.161, built for this processor without AMX, because this release faults with AMX. candle \
             is 0.11.1 and chooses AMX itself where the processor has it. Every program's file is taken out of the system's cache \
             before the program loads it. Groups on an adapter run Carat's WGSL kernels and llama.cpp's Vulkan backend on the same \
             driver.\n"
        )?;
        for group in &c.groups {
            writeln!(p, "### {}\n\n{}", group.title, table(group))?;
        }
    }
    if let Some(s) = &results.scaling {
        writeln!(p, "## As texts, threads and bits grow: shape {}\n", s.shape)?;
        for (name, title, axis, lines) in [
            (
                "context",
                "Decoding, two threads",
                "tokens in the text",
                &s.context,
            ),
            (
                "prompt",
                "Prompt, two threads",
                "tokens of the prompt",
                &s.prompt,
            ),
            ("width", "Bits of a code", "bits", &s.width),
        ] {
            let file = format!("performance-{name}.svg");
            plot(&out.join(&file), title, axis, lines, name == "width")?;
            writeln!(
                p,
                "### {title}\n\n![{title}: tokens per second over {axis}]({file})\n"
            )?;
            writeln!(p, "{}", lines_table(axis, lines))?;
        }
    }
    replace(&out.join(PAGE), page)
}

/// A group as Markdown.
fn table(group: &Outcome) -> String {
    let mut t = String::new();
    let Some(first) = group.entries.iter().find(|e| e.program == Program::Carat) else {
        return t;
    };
    let bandwidth = median(group.read_bandwidth.iter().copied());
    t += "| program | file, MB | decode, t/s | ratio | share | prompt 128, t/s | ratio | prompt 512, t/s | ratio |\n";
    t += "|---|---|---|---|---|---|---|---|---|\n";
    for e in &group.entries {
        let speed = |what| median(e.series(what));
        let ratio = |what| {
            if std::ptr::eq(e, first) {
                "–".into()
            } else {
                format!("{:.2}", first.ratio(e, what))
            }
        };
        // Other programs read their whole file but for the metadata.
        let bytes = e.bytes_per_token.unwrap_or(e.file_bytes) as f64;
        let _ = writeln!(
            t,
            "| {} | {:.0} | {:.1} | {} | {:.2} | {:.1} | {} | {:.1} | {} |",
            e.label,
            e.file_bytes as f64 / 1e6,
            speed(What::Decode),
            ratio(What::Decode),
            bytes * speed(What::Decode) / 1e9 / bandwidth,
            speed(What::Prompt128),
            ratio(What::Prompt128),
            speed(What::Prompt512),
            ratio(What::Prompt512),
        );
    }
    let low = group
        .read_bandwidth
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min);
    let high = group.read_bandwidth.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(
        t,
        "\nRead bandwidth {bandwidth:.1} GB/s ({low:.1} to {high:.1}); {} rounds; others used at most {:.1} %.{}",
        first.rounds.len(),
        100.0 * others(group),
        best(group, first)
    );
    t
}

/// The largest share of others in the timings that were taken.
fn others(group: &Outcome) -> f64 {
    let timings = group.entries.iter().flat_map(|e| e.rounds.iter().flatten());
    timings.map(|t| t.others).fold(0.0, f64::max)
}

/// Carat against the fastest of llama.cpp's entries.
fn best(group: &Outcome, first: &Entry) -> String {
    let least = |what| {
        let llama = |e: &&Entry| matches!(e.program, Program::Llama | Program::LlamaNoRepack);
        let ratios = group
            .entries
            .iter()
            .filter(llama)
            .map(|e| first.ratio(e, what));
        ratios.fold(f64::INFINITY, f64::min)
    };
    format!(
        " Ratio to the fastest of llama.cpp's: decode {:.2}, prompt of 128 {:.2}, prompt of 512 {:.2}.",
        least(What::Decode),
        least(What::Prompt128),
        least(What::Prompt512)
    )
}

fn lines_table(axis: &str, lines: &[Line]) -> String {
    let mut t = format!("| {axis} |");
    for l in lines {
        let _ = write!(t, " {} |", l.label);
    }
    t += "\n|---|";
    t += &"---|".repeat(lines.len());
    t.push('\n');
    let rows = lines.first().map_or(0, |l| l.points.len());
    for i in 0..rows {
        let _ = write!(t, "| {} |", lines[0].points[i].0);
        for l in lines {
            let _ = match l.points.get(i) {
                Some(p) => write!(t, " {:.1} |", p.1),
                None => write!(t, " – |"),
            };
        }
        t.push('\n');
    }
    t
}

/// Lines over the logarithm of numbers of tokens, or over bits.
fn plot(path: &Path, title: &str, axis: &str, lines: &[Line], bits: bool) -> Result<()> {
    let place = |x: f64| if bits { x } else { x.log2() };
    let shown = |x: &f64| match bits {
        true => format!("{x:.1}"),
        false => format!("{:.0}", x.exp2()),
    };
    let all = || lines.iter().flat_map(|l| &l.points);
    let places = all().map(|p| place(p.0));
    let (low, high) = places.fold((f64::INFINITY, 0f64), |(a, b), x| (a.min(x), b.max(x)));
    // Room for the names above the lines.
    let room = 1.1 + 0.07 * lines.len() as f64;
    let top = all().fold(0f64, |m, p| m.max(p.1)) * room;
    // A font that plotters measures without the system's libraries is not needed for SVG text.
    let root = SVGBackend::new(path, (720, 400)).into_drawing_area();
    let fail = |e: String| anyhow!("{}: {e}", path.display());
    root.fill(&WHITE).map_err(|e| fail(e.to_string()))?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(low..high, 0.0..top)
        .map_err(|e| fail(e.to_string()))?;
    chart
        .configure_mesh()
        .x_desc(axis)
        .y_desc("tokens per second")
        .x_label_formatter(&shown)
        .y_label_formatter(&|y| format!("{y:.0}"))
        .x_labels(10)
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(|e| fail(e.to_string()))?;
    for (i, l) in lines.iter().enumerate() {
        let color = Palette99::pick(i).to_rgba();
        let points = l.points.iter().map(|p| (place(p.0), p.1));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))
            .map_err(|e| fail(e.to_string()))?
            .label(l.label.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::UpperRight)
        .draw()
        .map_err(|e| fail(e.to_string()))?;
    root.present().map_err(|e| fail(e.to_string()))
}

//! The terminal: stdout for results, stderr for everything else.

use crate::failure::OutputClosed;
use crate::interrupt;
use crate::wrap::Wrap;
use anyhow::Context;
#[cfg(feature = "gpu")]
use carat::internals::Loading;
use carat_converter::progress::Progress;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
#[cfg(feature = "gpu")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// Widest line of a table or message.
pub const WIDTH: usize = 80;

/// Whether to colour a stream: it is a terminal that can, and `NO_COLOR` (no-color.org) is not set.
fn colour(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// `text` in a colour of ECMA-48 where stdout shows colours.
pub fn paint(code: &str, text: &str) -> String {
    if colour(io::stdout().is_terminal()) {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.into()
    }
}

/// Text that a file holds, fit for a terminal: characters that control it, or the direction of writing, are
/// shown as `\u{…}`, so that a name cannot move the cursor, colour the screen or look like another.
pub fn plain(text: &str) -> Cow<'_, str> {
    escape(text, controls)
}

fn escape(text: &str, escaped: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(escaped) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if escaped(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out.into()
}

fn controls(c: char) -> bool {
    // The second part are overrides of the direction of writing (Unicode, UAX #9).
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn controls_but_line_breaks(c: char) -> bool {
    c != '\n' && controls(c)
}

/// `label: text` on stderr. A closed stderr is no reason to fail.
pub fn problem(label: &str, text: &str) {
    let text = escape(text, controls_but_line_breaks);
    let code = if label == "error" { "1;31" } else { "1;33" };
    let mut stderr = io::stderr().lock();
    let text = Wrap::of(&stderr).push(&format!("{label}: {text}"));
    let text = text.strip_prefix(label).unwrap_or(&text);
    let _ = if colour(stderr.is_terminal()) {
        // The colon too.
        let text = text.strip_prefix(':').unwrap_or(text);
        writeln!(stderr, "\x1b[{code}m{label}:\x1b[0m{text}")
    } else {
        writeln!(stderr, "{label}{text}")
    };
}

/// A warning on stderr.
pub fn warn(text: &str) {
    problem("warning", text);
}

/// A line on stderr.
pub fn note(text: &str) {
    let text = escape(text, controls_but_line_breaks);
    let mut stderr = io::stderr().lock();
    let text = Wrap::of(&stderr).push(&text);
    let _ = writeln!(stderr, "{text}");
}

/// Log events go to stderr: warnings, or what `CARAT_LOG` asks for (`CARAT_LOG=carat=debug`).
pub fn start_log((usual, as_json): (&str, bool)) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CARAT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false);
    // Fails only if a subscriber is set already: then that one logs.
    let _ = match as_json {
        true => subscriber.json().try_init(),
        false => subscriber.without_time().try_init(),
    };
}

fn sent(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        Err(e) => Err(anyhow::Error::from(e).context("cannot write to standard output")),
    }
}

/// Writes to stdout at once.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    sent(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

/// Whether the one JSON object of a command, or the event that ends its lines, has been written.
static PRINTED: AtomicBool = AtomicBool::new(false);

/// What it says.
pub fn has_printed_json() -> bool {
    PRINTED.load(Ordering::Relaxed)
}

/// Writes the one JSON object of a command.
pub fn print_json(object: &impl Serialize) -> anyhow::Result<()> {
    PRINTED.store(true, Ordering::Relaxed);
    print_line(object)
}

/// Writes an event's line: its name and what `about` has.
pub fn print_event(event: &str, about: &impl Serialize) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        event: &'a str,
        #[serde(flatten)]
        about: &'a T,
    }
    print_line(&Line { event, about })
}

/// The last event of a command.
pub fn print_last_event(event: &str, about: &impl Serialize) -> anyhow::Result<()> {
    PRINTED.store(true, Ordering::Relaxed);
    print_event(event, about)
}

fn print_line(object: &impl Serialize) -> anyhow::Result<()> {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer(&mut stdout, object).map_err(io::Error::from);
    sent(
        written
            .and_then(|()| stdout.write_all(b"\n"))
            .and_then(|()| stdout.flush()),
    )
}

/// A bar's whole part, its parts, and its rest.
const BLOCKS: &str = "█▉▊▋▌▍▎▏ ";

/// A bar on stderr for a long operation, cancelled by Ctrl-C. Nothing is drawn where stderr is no
/// terminal.
pub struct Bar {
    bar: ProgressBar,
    /// (units done at its end, name) of each part, ascending.
    stages: Vec<(u64, String)>,
}

impl Bar {
    /// A bar with a title; Ctrl-C is taken from here on.
    pub fn new(title: &str) -> Self {
        Self::styled(title, Vec::new(), false)
    }

    /// A bar that names the part that is being worked on, from `(units done at its end, name)`.
    pub fn stages(title: &str, stages: Vec<(u64, String)>) -> Self {
        Self::styled(title, stages, true)
    }

    /// The same where units are no weights, without a speed.
    pub fn parts(title: &str, parts: Vec<(u64, String)>) -> Self {
        Self::styled(title, parts, false)
    }

    /// A bar for a GPU that is made ready, which reads its counters by itself.
    #[cfg(feature = "gpu")]
    pub fn loading(device: &str, loading: Arc<Loading>) -> Self {
        let this = Self::styled(&format!("{device} is made ready"), Vec::new(), false);
        let counters = move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
            let _ = write!(to, "{}", counted(&loading));
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {counters}  {wide_msg}") {
            this.bar.set_style(style.with_key("counters", counters));
        }
        this
    }

    /// A bar for a download of which `present` bytes of `total` are there: bytes, rate, and the time that is left.
    pub fn bytes(title: &str, present: u64, total: u64) -> Self {
        let this = Self::styled(title, Vec::new(), false);
        let done = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            let of = bytes(state.len().unwrap_or_default());
            let _ = write!(to, "{} of {of}", bytes(state.pos()));
        };
        let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            let _ = write!(to, "{}/s", bytes(state.per_sec() as u64));
        };
        let left = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            if state.per_sec() >= 1.0 && state.elapsed() > Duration::from_secs(1) {
                let _ = write!(to, "{:#}", HumanDuration(state.eta()));
            }
        };
        let template = "{bar:16} {percent:>3}% {left:>4} {rate:>11} {done}  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let style = style.with_key("done", done).with_key("rate", rate);
            let style = style.with_key("left", left);
            this.bar.set_style(style.progress_chars(BLOCKS));
        }
        this.step(present, total);
        // What was there before did not come at any rate.
        this.bar.reset_eta();
        this
    }

    /// Names what is being worked on.
    pub fn name(&self, name: &str) {
        self.bar.set_message(plain(name).into_owned());
    }

    /// Writes something else while the bar is off the screen.
    pub fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    fn styled(title: &str, stages: Vec<(u64, String)>, speed: bool) -> Self {
        interrupt::install();
        let bar = ProgressBar::new(1);
        let template = if !speed {
            "{bar:16} {percent:>3}% {left:>4}  {wide_msg}"
        } else {
            "{bar:16} {percent:>3}% {left:>4} {speed:>9}  {wide_msg}"
        };
        // The message comes last and is cut where the terminal is narrow. The template is constant; a bar
        // of the default style is as good.
        if let Ok(style) = ProgressStyle::with_template(template) {
            let speed = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                let _ = write!(to, "{:.1} M/s", state.per_sec() / 1e6);
            };
            // Of the whole so far: the pace of the last seconds is no one's but theirs.
            let left = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                let done = f64::from(state.fraction());
                if done >= 0.01 {
                    let seconds = state.elapsed().as_secs_f64() * (1.0 - done) / done;
                    let _ = write!(to, "{:#}", HumanDuration(Duration::from_secs_f64(seconds)));
                }
            };
            let style = style.with_key("speed", speed).with_key("left", left);
            bar.set_style(style.progress_chars(BLOCKS));
        }
        bar.set_message(title.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, stages }
    }

    /// Takes the bar off the screen.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Progress for Bar {
    fn step(&self, done: u64, total: u64) {
        self.bar.set_length(total.max(1));
        self.bar.set_position(done);
        if self.stages.is_empty() {
            return;
        }
        let stage = self.stages.partition_point(|s| s.0 <= done);
        let name = self
            .stages
            .get(stage)
            .map_or("trying the file", |s| s.1.as_str());
        if self.bar.message() != name {
            self.bar.set_message(name.to_string());
        }
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

/// How far a GPU is.
#[cfg(feature = "gpu")]
fn counted(loading: &Loading) -> String {
    let ((uploaded, of), (ready, pipelines)) = (loading.bytes(), loading.pipelines());
    let uploaded = format!("{} of {} uploaded", bytes(uploaded), bytes(of));
    match ready {
        0 => uploaded,
        n => format!("{uploaded}, {n} of {pipelines} kernels compiled"),
    }
}

/// A file beside `path`, to be renamed to it once it is whole.
///
/// Errors: no file can be created in that directory.
pub fn beside(path: &Path) -> anyhow::Result<NamedTempFile> {
    let directory = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".carat-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask applies, as to any file that a program writes.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let failed = || {
        format!(
            "{}: no file can be created in {}",
            path.display(),
            directory.display()
        )
    };
    builder.tempfile_in(directory).with_context(failed)
}

/// Milliseconds since `start`, to a thousandth.
pub fn ms(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// Bytes for a person, in units of 1000.
pub fn bytes(n: u64) -> String {
    let x = n as f64;
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", x / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", x / 1e6),
        _ => format!("{:.2} GB", x / 1e9),
    }
}

/// A number with its thousands apart.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The first `width` characters at most, the last of them `…` where more were there.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_shown() {
        assert_eq!(plain("blk.0 é 漢"), "blk.0 é 漢");
        assert_eq!(
            plain("a\x1b[2Jb\u{9b}1m\r\n\u{202e}c"),
            r"a\u{1b}[2Jb\u{9b}1m\u{d}\u{a}\u{202e}c"
        );
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(11_547_040), "11.55 MB");
        assert_eq!(thousands(5_771_520), "5,771,520");
        assert_eq!(thousands(12), "12");
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("abcd", 4), "abcd");
    }
}

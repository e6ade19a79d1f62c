//! `carat cache`: what the cache holds.

use super::store::{Listed, Store};
use crate::args::{CacheAction, CacheCommandArgs};
use crate::term;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;

/// The JSON object of a listing.
#[derive(Serialize)]
struct List<'a> {
    directory: &'a Path,
    files: &'a [Listed],
}

/// The JSON object of a clearing.
#[derive(Serialize)]
struct Cleared<'a> {
    directory: &'a Path,
    /// Converted files removed.
    files: u64,
    /// Bytes of all files removed.
    bytes: u64,
}

/// Runs the command.
pub fn run(args: CacheCommandArgs) -> Result<()> {
    let store = Store::locate()?;
    match args.action {
        CacheAction::List { json } => list(&store, json),
        CacheAction::Clear { json } => clear(&store, json),
    }
}

fn list(store: &Store, json: bool) -> Result<()> {
    let files = store.list()?;
    if json {
        return term::print_json(&List {
            directory: store.root(),
            files: &files,
        });
    }
    if files.is_empty() {
        return term::print(&format!("{}: empty\n", store.root().display()));
    }
    let mut out = String::new();
    let mut total = 0u64;
    for file in &files {
        let d = &file.description;
        total = total.saturating_add(d.bytes);
        out += &format!(
            "{:>9}  {} bits  {}  {}\n           {}\n",
            term::bytes(d.bytes),
            d.bits,
            date(d.created),
            term::plain(&d.source),
            term::plain(&file.path.display().to_string()),
        );
    }
    out += &format!(
        "{:>9}  in all; carat cache clear removes it\n",
        term::bytes(total)
    );
    term::print(&out)
}

fn clear(store: &Store, json: bool) -> Result<()> {
    let (files, bytes) = store.clear()?;
    if json {
        return term::print_json(&Cleared {
            directory: store.root(),
            files,
            bytes,
        });
    }
    term::print(&format!(
        "{}: {files} converted {} removed, {}\n",
        store.root().display(),
        if files == 1 { "file" } else { "files" },
        term::bytes(bytes)
    ))
}

/// Year-month-day (UTC) of seconds since 1970, in the Gregorian calendar.
fn date(seconds: u64) -> String {
    // Days since 1 March of year 0, so that a leap day ends its year (Hinnant, chrono-compatible low-level
    // date algorithms).
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{of_month:02}")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_735_689_599), "2024-12-31");
    }
}

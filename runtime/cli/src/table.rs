//! Tables for a terminal: columns as wide as what they hold, two blanks apart.

use crate::term;

/// Lines of a table of rows of equal length: the first column at the left and cut so that the widest line has `width`
/// columns, the others at the right.
pub fn lines(rows: &[Vec<String>], width: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let rest: usize = widths.iter().skip(1).map(|w| w + 2).sum();
    let room = width.saturating_sub(rest).max(1);
    let first = widths.first().copied().unwrap_or(0).min(room);
    let line = |row: &Vec<String>| {
        let mut cells = row.iter().zip(&widths);
        let name = cells.next().map_or("", |(c, _)| c);
        let mut line = format!("{:<first$}", term::clip(name, first));
        for (cell, width) in cells {
            line += &format!("  {cell:>width$}");
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_never_touch() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let rows = [
            row(["file", "bytes", "ppl"]),
            row(["a-long-name-of-a-file", "12,345,678,901", "7.5"]),
            row(["b", "1", "123456789.25"]),
            row(["none", "", ""]),
        ];
        assert_eq!(
            lines(&rows, 40),
            [
                "file                 bytes           ppl",
                "a-long-na…  12,345,678,901           7.5",
                "b                        1  123456789.25",
                "none"
            ]
        );
        assert!(lines(&[], 40).is_empty());
    }
}

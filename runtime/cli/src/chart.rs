//! Bars of text.

/// Width of the longest bar, in characters.
const BAR: usize = 40;

/// A bar of `value` where `most` fills `width` characters, to an eighth of one. Not a finite number, or
/// below 0: no bar.
pub fn bar(value: f64, most: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let part = value / most;
    if !(part.is_finite() && part > 0.0) {
        return String::new();
    }
    let eighths = (part.min(1.0) * (8 * width) as f64).round() as usize;
    // What is not nothing shows.
    let eighths = eighths.max(1);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// One line a value: label, bar, text. The largest value has the longest bar.
pub fn chart(rows: &[(&str, f64, String)]) -> String {
    let most = rows.iter().fold(0.0f64, |m, r| m.max(r.1));
    let label = rows.iter().map(|r| r.0.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value, text) in rows {
        let bar = bar(*value, most, BAR);
        out += &format!("  {name:<label$}  {bar:<BAR$}  {text}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(bar(1.0, 1.0, 3), "███");
        assert_eq!(bar(0.5, 1.0, 3), "█▌");
        assert_eq!(bar(1e-9, 1.0, 3), "▏");
        for nothing in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(bar(nothing, 1.0, 3), "");
        }
        assert_eq!(bar(1.0, 0.0, 3), "");
        assert!(
            chart(&[("a", 2.0, "2".into()), ("bc", 1.0, "1".into())])
                .lines()
                .all(|l| l.chars().count() <= 80)
        );
    }
}

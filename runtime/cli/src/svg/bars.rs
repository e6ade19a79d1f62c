//! Bars with labels.

use super::{document, text};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const LONGEST: f64 = 400.0;
const ROW: f64 = 22.0;

/// A bar a row: label, value, what is written beside it. What is not finite or below 0 has no bar.
pub fn bars(title: &str, rows: &[(String, f64, String)]) -> String {
    let most = rows.iter().map(|r| r.1).filter(|v| v.is_finite());
    let most = most.fold(0f64, f64::max);
    let mut body = text(0.0, 20.0, "title", title);
    for (i, (label, value, beside)) in rows.iter().enumerate() {
        let y = 34.0 + ROW * i as f64;
        let part = value / most;
        let length = if part.is_finite() && part > 0.0 {
            (part * LONGEST).max(1.0)
        } else {
            0.0
        };
        body += &text(LEFT - 8.0, y + 13.0, "end", label);
        let _ = writeln!(
            body,
            "<rect x=\"{LEFT:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"16\" class=\"bar\"/>"
        );
        body += &text(LEFT + length + 8.0, y + 13.0, "", beside);
    }
    document(WIDTH, 40.0 + ROW * rows.len() as f64, title, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_values_have_no_bar() {
        let row = |v: f64| ("<l>".to_string(), v, "&".to_string());
        let svg = bars(
            "t",
            &[row(2.0), row(f64::NAN), row(-1.0), row(f64::INFINITY)],
        );
        assert_eq!(svg.matches("width=\"0.0\"").count(), 3);
        assert_eq!(svg.matches("&lt;l&gt;").count(), 4);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(bars("t", &[]).contains("</svg>"));
    }
}

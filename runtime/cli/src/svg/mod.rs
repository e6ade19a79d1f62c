//! Drawings as SVG. Colours follow the reader's light or dark setting.

mod bars;
mod heat;
mod scatter;

pub use bars::bars;
pub use heat::{Heat, split as kind_and_block};
pub use scatter::{Point, Scatter};

/// Text as XML has it, without the control characters that XML forbids.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Colours of every drawing, by class.
pub const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:14px;font-weight:600}\
.grid{stroke:#ddd}.axis{stroke:#888}.dot{fill:#1f6feb}.line{stroke:#1f6feb;fill:none;stroke-width:1.5;stroke-dasharray:4 3}\
.bar{fill:#1f6feb}.cell{stroke:none}.on{fill:#fff}.off{fill:#111}.end{text-anchor:end}.mid{text-anchor:middle}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#333}.axis{stroke:#888}.dot,.bar{fill:#58a6ff}.line{stroke:#58a6ff}}";

/// A drawing of so many pixels, its own style inside.
pub fn document(width: f64, height: f64, title: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n{body}</svg>\n",
        escape(title)
    )
}

/// A text with its class at a baseline.
pub fn text(x: f64, y: f64, class: &str, text: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>\n",
        escape(text)
    )
}

/// A straight line.
pub fn line(from: (f64, f64), to: (f64, f64), class: &str) -> String {
    format!(
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"{class}\"/>\n",
        from.0, from.1, to.0, to.1
    )
}

/// A number in few characters.
pub fn number(x: f64) -> String {
    let magnitude = x.abs();
    let text = if magnitude == 0.0 {
        "0".into()
    } else if !(1e-4..1e7).contains(&magnitude) {
        format!("{x:.1e}")
    } else {
        let digits = (3 - magnitude.log10().floor() as i32).clamp(0, 6) as usize;
        format!("{x:.digits$}")
    };
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').into()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (x, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (2.5, "2.5"),
            (1234.0, "1234"),
            (3e-9, "3.0e-9"),
            (-2.0, "-2"),
        ] {
            assert_eq!(number(x), text);
        }
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(
            escape("<a&\"b'\u{1b}>"),
            "&lt;a&amp;&quot;b&#39;\u{fffd}&gt;"
        );
    }
}

//! A map of colours: a row a kind of tensor, a column a block.

use super::{document, escape, number, text};
use std::fmt::Write;

const LEFT: f64 = 130.0;
const TOP: f64 = 34.0;
const ROW: f64 = 24.0;
const WIDTH: f64 = 760.0;
/// Widest and narrowest column.
const COLUMN: (f64, f64) = (56.0, 2.0);
/// Least width of a column whose values are written.
const WRITTEN: f64 = 34.0;
/// From the least value to the largest: light to dark.
const COLOURS: [[f64; 3]; 4] = [
    [237.0, 248.0, 251.0],
    [158.0, 202.0, 225.0],
    [49.0, 130.0, 189.0],
    [8.0, 48.0, 107.0],
];

/// Values of tensors by kind and block.
pub struct Heat<'a> {
    pub title: &'a str,
    /// Whether colours follow the logarithm.
    pub log: bool,
    /// Name of the tensor and its value; none leaves its place empty.
    pub values: Vec<(&'a str, Option<f64>)>,
}

/// `blk.N.KIND.weight` as kind and block; any other name is a kind of its own.
pub fn split(name: &str) -> (&str, usize) {
    let place = name.strip_prefix("blk.").and_then(|rest| {
        let (block, part) = rest.split_once('.')?;
        Some((part, block.parse::<usize>().ok()?))
    });
    let (part, block) = place.unwrap_or((name, 0));
    let part = part.strip_suffix(".weight").unwrap_or(part);
    (part, block)
}

impl Heat<'_> {
    /// The map; empty where there is nothing to show. Values that have no colour (not finite, or not above 0 by
    /// logarithm) are grey.
    pub fn svg(&self) -> String {
        let of = |v: f64| if self.log { v.ln() } else { v };
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut kinds: Vec<&str> = Vec::new();
        let mut blocks = 0;
        for (name, value) in &self.values {
            let (kind, block) = split(name);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
            blocks = blocks.max(block.min(4095) + 1);
            if let Some(v) = value.map(of).filter(|v| v.is_finite()) {
                low = low.min(v);
                high = high.max(v);
            }
        }
        let shown = |kind: &str| {
            let mut of_kind = self.values.iter().filter(|v| split(v.0).0 == kind);
            of_kind.any(|v| v.1.is_some())
        };
        kinds.retain(|kind| shown(kind));
        if kinds.is_empty() {
            return String::new();
        }
        let width = ((WIDTH - LEFT - 10.0) / blocks as f64).clamp(COLUMN.1, COLUMN.0);
        let mut body = text(0.0, 20.0, "title", self.title);
        for (row, kind) in kinds.iter().enumerate() {
            let y = TOP + ROW * row as f64;
            body += &text(LEFT - 8.0, y + 16.0, "end", kind);
        }
        for (name, value) in &self.values {
            let (kind, block) = split(name);
            let (Some(row), Some(value)) = (kinds.iter().position(|k| *k == kind), value) else {
                continue;
            };
            let (x, y) = (
                LEFT + width * block.min(4095) as f64,
                TOP + ROW * row as f64,
            );
            let place = match of(*value) {
                v if !v.is_finite() => None,
                v if high > low => Some((v - low) / (high - low)),
                _ => Some(0.5),
            };
            let (red, green, blue) = place.map_or((128, 128, 128), colour);
            let _ = writeln!(
                body,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"rgb({red},{green},{blue})\"><title>{}: {}</title></rect>",
                (width - 1.0).max(1.0),
                ROW - 2.0,
                escape(name),
                number(*value)
            );
            if width >= WRITTEN {
                let class = if place.is_none_or(|p| p > 0.5) {
                    "mid on"
                } else {
                    "mid off"
                };
                body += &text(x + width / 2.0, y + 15.0, class, &short(*value));
            }
        }
        let bottom = TOP + ROW * kinds.len() as f64 + 14.0;
        let step = blocks.div_ceil(16).max(1);
        for block in (0..blocks).step_by(step) {
            let x = LEFT + width * (block as f64 + 0.5);
            body += &text(x, bottom, "mid", &block.to_string());
        }
        body += &text(LEFT - 8.0, bottom, "end", "block");
        document(WIDTH, bottom + 8.0, self.title, &body)
    }
}

/// At most five characters.
fn short(value: f64) -> String {
    let text = number(value);
    if text.len() <= 6 {
        return text;
    }
    let magnitude = value.abs();
    if (0.01..100.0).contains(&magnitude) {
        format!("{value:.3}")
    } else {
        format!("{value:.0e}")
    }
}

fn colour(place: f64) -> (u8, u8, u8) {
    let last = COLOURS.len() - 1;
    let x = place.clamp(0.0, 1.0) * last as f64;
    let i = (x as usize).min(last - 1);
    let mix = |c: usize| COLOURS[i][c] + (COLOURS[i + 1][c] - COLOURS[i][c]) * (x - i as f64);
    (mix(0) as u8, mix(1) as u8, mix(2) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_kind_and_block() {
        assert_eq!(split("blk.12.attn_q.weight"), ("attn_q", 12));
        assert_eq!(split("token_embd.weight"), ("token_embd", 0));
        assert_eq!(split("blk.x.weight"), ("blk.x", 0));
    }

    #[test]
    fn every_tensor_has_its_cell() {
        let map = |log, values| Heat {
            title: "t",
            log,
            values,
        };
        let svg = map(
            true,
            vec![
                ("blk.0.a.weight", Some(0.1)),
                ("blk.1.a.weight", Some(0.0)),
                ("blk.2.a.weight", None),
                ("blk.0.none.weight", None),
                ("<b>", Some(f64::NAN)),
            ],
        )
        .svg();
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(!svg.contains(">none<"));
        assert!(svg.contains("&lt;b&gt;") && svg.contains("rgb(128,128,128)"));
        assert_eq!(map(false, vec![]).svg(), "");
        let many: Vec<String> = (0..1024).map(|i| format!("blk.{i}.a.weight")).collect();
        let many = many.iter().map(|n| (n.as_str(), Some(1.0))).collect();
        assert_eq!(map(false, many).svg().matches("<rect").count(), 1024);
    }
}

//! A scatter plot: sizes against what they cost.

use super::{document, escape, line, number, text};
use std::fmt::Write;

/// A point of a scatter plot.
pub struct Point {
    /// Position.
    pub x: f64,
    /// Position; above 0 where the axis is logarithmic.
    pub y: f64,
    /// What it is.
    pub label: String,
}

/// Points with labels; those that no other point is left of and below are joined.
pub struct Scatter {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    /// Whether y is drawn by its logarithm.
    pub log_y: bool,
    pub points: Vec<Point>,
}

const SIZE: (f64, f64) = (760.0, 460.0);
/// Left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (70.0, 40.0, 30.0, 50.0);
/// Of a label's character and line, in pixels.
const GLYPH: (f64, f64) = (7.2, 13.0);

impl Scatter {
    /// The plot; points that have no place (not finite, or not above 0 on a logarithmic axis) are left out.
    pub fn svg(&self) -> String {
        let points: Vec<&Point> = self.drawn().collect();
        let x = Axis::new(points.iter().map(|p| p.x), false);
        let y = Axis::new(points.iter().map(|p| p.y), self.log_y);
        let (left, top) = (MARGIN.0, MARGIN.1);
        let (right, bottom) = (SIZE.0 - MARGIN.2, SIZE.1 - MARGIN.3);
        let at = |p: &Point| {
            (
                left + x.place(p.x) * (right - left),
                bottom - y.place(p.y) * (bottom - top),
            )
        };
        let mut body = text(left, 22.0, "title", &self.title);
        for (place, name) in x.ticks() {
            let px = left + place * (right - left);
            body += &line((px, top), (px, bottom), "grid");
            body += &text(px, bottom + 18.0, "mid", &name);
        }
        for (place, name) in y.ticks() {
            let py = bottom - place * (bottom - top);
            body += &line((left, py), (right, py), "grid");
            body += &text(left - 8.0, py + 4.0, "end", &name);
        }
        body += &line((left, bottom), (right, bottom), "axis");
        body += &line((left, top), (left, bottom), "axis");
        body += &text((left + right) / 2.0, SIZE.1 - 10.0, "mid", &self.x_label);
        let _ = writeln!(
            body,
            "<text transform=\"translate(16 {:.1}) rotate(-90)\" class=\"mid\">{}</text>",
            (top + bottom) / 2.0,
            escape(&self.y_label)
        );
        let front = frontier(&points);
        if front.len() > 1 {
            let path: Vec<String> = front
                .iter()
                .map(|p| at(p))
                .map(|(px, py)| format!("{px:.1},{py:.1}"))
                .collect();
            let _ = writeln!(
                body,
                "<polyline points=\"{}\" class=\"line\"/>",
                path.join(" ")
            );
        }
        let mut taken: Vec<Area> = points.iter().map(|p| Area::around(at(p), 5.0)).collect();
        // Along the line, so that no label lies on it.
        for pair in front.windows(2) {
            let (a, b) = (at(pair[0]), at(pair[1]));
            taken.extend((1..40).map(|i| {
                let t = f64::from(i) / 40.0;
                Area::around((a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t), 1.0)
            }));
        }
        for p in &points {
            let (px, py) = at(p);
            let _ = writeln!(
                body,
                "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\" class=\"dot\"><title>{}: {} {}</title></circle>",
                escape(&p.label),
                number(p.x),
                number(p.y)
            );
            let width = p.label.chars().count() as f64 * GLYPH.0;
            let inside = Area {
                left,
                top,
                right: SIZE.0 - 4.0,
                bottom,
            };
            // The nearest place around the point that is free; crowded ones go without, and have their title.
            let places = (0..6).flat_map(|ring| {
                let d = f64::from(ring) * GLYPH.1;
                [
                    (px + 8.0, py + 4.0 + d),
                    (px + 8.0, py + 4.0 - d),
                    (px - 8.0 - width, py + 4.0 + d),
                    (px - 8.0 - width, py + 4.0 - d),
                    (px - width / 2.0, py - 9.0 - d),
                    (px - width / 2.0, py + 17.0 + d),
                ]
            });
            let mut free = places.map(|(lx, ly)| Area {
                left: lx,
                top: ly - GLYPH.1 + 3.0,
                right: lx + width,
                bottom: ly + 3.0,
            });
            let free = free.find(|a| a.within(&inside) && !taken.iter().any(|t| t.meets(a)));
            if let Some(a) = free {
                body += &text(a.left, a.bottom - 3.0, "", &p.label);
                taken.push(a);
            }
        }
        document(SIZE.0, SIZE.1, &self.title, &body)
    }

    /// The plot in characters, 80 wide; points have letters in the order of their positions along x.
    pub fn lines(&self, names: &[char]) -> String {
        const COLS: usize = 66;
        const ROWS: usize = 14;
        let points: Vec<&Point> = self.drawn().collect();
        if points.is_empty() {
            return String::new();
        }
        let x = Axis::new(points.iter().map(|p| p.x), false);
        let y = Axis::new(points.iter().map(|p| p.y), self.log_y);
        let mut grid = vec![[' '; COLS]; ROWS];
        for (p, name) in self.points.iter().zip(names) {
            if self.has_place(p) {
                let col = (x.place(p.x) * (COLS - 1) as f64).round() as usize;
                let row = ((1.0 - y.place(p.y)) * (ROWS - 1) as f64).round() as usize;
                let cell = &mut grid[row.min(ROWS - 1)][col.min(COLS - 1)];
                *cell = if *cell == ' ' { *name } else { '*' };
            }
        }
        let mut marks = vec![String::new(); ROWS];
        for (place, name) in y.ticks() {
            let row = ((1.0 - place) * (ROWS - 1) as f64).round() as usize;
            marks[row.min(ROWS - 1)] = name;
        }
        let mut out = format!("{}\n", self.y_label);
        for (mark, row) in marks.iter().zip(&grid) {
            let cells: String = row.iter().collect();
            let axis = if mark.is_empty() { '│' } else { '┤' };
            out += format!("{mark:>9} {axis}{cells}").trim_end();
            out.push('\n');
        }
        let mut rule = vec!['─'; COLS];
        let mut names: Vec<char> = vec![' '; COLS + 11];
        for (place, name) in x.ticks() {
            let col = (place * (COLS - 1) as f64).round() as usize;
            rule[col.min(COLS - 1)] = '┬';
            let start = (11 + col).saturating_sub(name.chars().count() / 2);
            let free = |i: usize| names.get(i).is_some_and(|c| *c == ' ');
            if (start.saturating_sub(1)..start + name.chars().count()).all(free) {
                for (i, c) in name.chars().enumerate() {
                    names[start + i] = c;
                }
            }
        }
        let rule: String = rule.into_iter().collect();
        let names: String = names.into_iter().collect();
        out += &format!("{:>9} └{rule}\n{}\n", "", names.trim_end());
        out += &format!("{:>77}\n", self.x_label);
        out
    }

    fn has_place(&self, p: &Point) -> bool {
        p.x.is_finite() && p.y.is_finite() && (!self.log_y || p.y > 0.0)
    }

    fn drawn(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(|p| self.has_place(p))
    }
}

/// The points that no other beats in both directions, from left to right.
fn frontier<'p>(points: &[&'p Point]) -> Vec<&'p Point> {
    let mut sorted: Vec<&Point> = points.to_vec();
    sorted.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    let mut out: Vec<&Point> = Vec::new();
    for p in sorted {
        if out.last().is_none_or(|last| p.y < last.y) {
            out.push(p);
        }
    }
    out
}

#[derive(Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn around((x, y): (f64, f64), r: f64) -> Self {
        Self {
            left: x - r,
            top: y - r,
            right: x + r,
            bottom: y + r,
        }
    }

    fn meets(&self, o: &Self) -> bool {
        self.left < o.right && o.left < self.right && self.top < o.bottom && o.top < self.bottom
    }

    fn within(&self, o: &Self) -> bool {
        self.left >= o.left && self.right <= o.right && self.top >= o.top && self.bottom <= o.bottom
    }
}

/// A range of values on a line from 0 to 1.
pub struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// Around finite values, above 0 where `log`.
    pub fn new(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let of = |x: f64| if log { x.log10() } else { x };
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for x in values {
            low = low.min(of(x));
            high = high.max(of(x));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let room = if high > low {
            (high - low) * 0.08
        } else if log {
            0.5
        } else {
            low.abs().max(1.0) * 0.1
        };
        Self {
            low: low - room,
            high: high + room,
            log,
        }
    }

    /// Where a value lies.
    pub fn place(&self, x: f64) -> f64 {
        let x = if self.log { x.log10() } else { x };
        (x - self.low) / (self.high - self.low)
    }

    /// Round values with their places.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let mut out = Vec::new();
        if self.log {
            let several = self.high - self.low < 2.5;
            for power in self.low.floor() as i32..=self.high.ceil() as i32 {
                for m in if several {
                    &[1.0, 2.0, 5.0][..]
                } else {
                    &[1.0]
                } {
                    out.push(m * 10f64.powi(power));
                }
            }
        } else {
            let rough = (self.high - self.low) / 5.0;
            let power = 10f64.powf(rough.log10().floor());
            let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|s| s * power);
            let step = steps.into_iter().find(|s| *s >= rough).unwrap_or(rough);
            let first = (self.low / step).ceil() as i64;
            // Few whatever the values are.
            out.extend((first..first.saturating_add(12)).map(|i| i as f64 * step));
        }
        let inside = |x: &f64| (0.0..=1.0).contains(&self.place(*x));
        out.into_iter()
            .filter(inside)
            .map(|x| (self.place(x), number(x)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64, &str)>) -> Scatter {
        let points = points.into_iter().map(|(x, y, label)| Point {
            x,
            y,
            label: label.into(),
        });
        Scatter {
            title: "<t>".into(),
            x_label: "MB".into(),
            y_label: "KL".into(),
            log_y: true,
            points: points.collect(),
        }
    }

    #[test]
    fn every_point_is_drawn_and_named() {
        let svg = plot(vec![(1.0, 0.5, "a&b"), (2.0, 0.1, "<c>"), (3.0, 0.3, "d")]).svg();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains(">a&amp;b</text>") && svg.contains(">&lt;c&gt;</text>"));
        // The last is beaten by the second: the line has two corners.
        let line = svg.split("<polyline points=\"").nth(1).expect("a line");
        assert_eq!(
            line.split('"').next().expect("points").split(' ').count(),
            2
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn odd_values_draw_something() {
        for points in [
            vec![],
            vec![(1.0, 1.0, "one")],
            vec![(1.0, 0.0, "zero"), (f64::NAN, 1.0, "nan")],
            vec![(0.0, 1e-300, "a"), (1e300, 1e300, "b")],
            vec![(5.0, 2.0, "same"), (5.0, 2.0, "same")],
        ] {
            let plot = plot(points);
            let svg = plot.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            let text = plot.lines(&['a', 'b']);
            assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        }
    }

    #[test]
    fn labels_keep_apart() {
        let crowd = (0..40).map(|i| (1.0 + f64::from(i % 3) * 1e-3, 0.5, "crowded"));
        let svg = plot(crowd.collect()).svg();
        assert_eq!(svg.matches("<circle").count(), 40);
        let places: Vec<&str> = svg.matches("class=\"\">crowded").collect();
        assert!(places.len() < 40);
    }
}

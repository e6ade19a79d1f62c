//! Products of f32 matrices.

use rayon::prelude::*;
use std::ops::Range;

/// Which arithmetic multiplies matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// The library, which fuses multiplication and addition where the processor can: fast, but the
    /// last bits depend on the processor.
    #[default]
    Fast,
    /// The same bits on every machine: sums in a fixed order, a multiplication and an addition are two
    /// roundings. For values that decide what goes into a file.
    Reproducible,
}

/// A matrix within a slice: element `(r, c)` is `data[r * row + c * col]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub col: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `cols` elements, one after the other.
    pub fn rows(data: &'a [f32], cols: usize) -> Self {
        Self {
            data,
            row: cols,
            col: 1,
        }
    }

    /// Whether `rows` by `cols` elements lie within the slice.
    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0 || cols == 0 || (rows - 1) * self.row + (cols - 1) * self.col < self.data.len()
    }
}

/// `c[m, n] = a[m, k] · b[n, k]ᵀ`; rows of `a` (`a.col == 1`) and of `c` are contiguous.
///
/// # Panics
/// If a slice is shorter than its shape: a fault of the caller's, not of any file.
pub(super) fn multiply(
    arithmetic: Arithmetic,
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
) {
    assert!(a.col == 1 && a.holds(m, k) && b.holds(n, k) && c.len() == m * n);
    match arithmetic {
        Arithmetic::Fast => library((m, n, k), a, b, c),
        Arithmetic::Reproducible => blocks((m, n, k), a, b, c),
    }
}

/// The same for few rows, where packing would cost more than the product; rows of `b` are contiguous.
/// The bits are the same on every machine, and other than [`multiply`]'s.
pub(super) fn multiply_few(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
) {
    assert!(a.col == 1 && b.col == 1 && c.len() == m * n);
    for (i, c) in c.chunks_exact_mut(n.max(1)).enumerate() {
        let a = &a.data[i * a.row..][..k];
        for (j, c) in c.iter_mut().enumerate() {
            *c = dot(a, &b.data[j * b.row..][..k]);
        }
    }
}

/// Adds the lower triangle of `XᵀX`, for the columns `range` of `x` (rows of `cols` elements), to `sum`,
/// `[range, range]` row-major; what is added above the diagonal is no part of the result.
/// The bits are the same for any number of threads; they depend on how the rows are divided into calls, and
/// the last ones on the processor.
pub(crate) fn gram(x: &[f32], cols: usize, range: Range<usize>, sum: &mut [f32]) {
    let n = range.len();
    let columns = Columns {
        data: x,
        cols,
        range,
    };
    // Up to the diagonal's block alone: the caller mirrors.
    correlate(columns.clone(), columns, |end| end.min(n), sum);
}

/// Adds `XᵀY` for columns of both, which have as many rows, to `sum`, `[x's, y's]` row-major; bits as
/// [`gram`]'s.
pub(crate) fn cross(x: Columns<'_>, y: Columns<'_>, sum: &mut [f32]) {
    let n = y.range.len();
    correlate(x, y, |_| n, sum);
}

/// The products `XYᵀ`, `[rows of x, rows of y]` row-major, of as many columns of both; bits as [`gram`]'s.
pub(crate) fn products(x: Columns<'_>, y: Columns<'_>, out: &mut [f32]) {
    let (m, n, k) = (x.data.len() / x.cols, y.data.len() / y.cols, x.range.len());
    assert!(k == y.range.len() && x.range.end <= x.cols && y.range.end <= y.cols);
    assert!(m > 0 && n > 0 && k > 0 && out.len() == m * n);
    let (a, b) = (&x.data[x.range.start..], &y.data[y.range.start..]);
    let (a, b) = (Matrix::rows(a, x.cols), Matrix::rows(b, y.cols));
    library((m, n, k), a, b, out);
}

/// A range of the columns of a matrix whose rows have `cols` elements.
#[derive(Clone)]
pub(crate) struct Columns<'a> {
    pub data: &'a [f32],
    pub cols: usize,
    pub range: Range<usize>,
}

/// Adds `XᵀY`, of rows up to `end` of the sum the columns below `width(end)`.
fn correlate(
    x: Columns<'_>,
    y: Columns<'_>,
    width: impl Fn(usize) -> usize + Sync,
    sum: &mut [f32],
) {
    let (rows, n) = (x.data.len() / x.cols, y.range.len());
    assert!(x.range.end <= x.cols && y.range.end <= y.cols);
    assert!(y.data.len() == rows * y.cols && sum.len() == x.range.len() * n);
    if rows == 0 || n == 0 {
        return;
    }
    // Fewer parts pack `y` less often; the narrow have some for every thread all the same.
    let step = (x.range.len() / GRAM_PARTS).clamp(GRAM.start, GRAM.end);
    sum.par_chunks_mut(step * n)
        .enumerate()
        .for_each(|(part, sum)| {
            let (first, m) = (part * step, sum.len() / n);
            let width = width(first + m);
            let a = Matrix {
                data: &x.data[x.range.start + first..],
                row: 1,
                col: x.cols,
            };
            let b = Matrix {
                data: &y.data[y.range.start..],
                row: 1,
                col: y.cols,
            };
            let mut c = vec![0f32; m * width];
            library((m, width, rows), a, b, &mut c);
            for (sum, c) in sum.chunks_exact_mut(n).zip(c.chunks_exact(width)) {
                for (s, c) in sum.iter_mut().zip(c) {
                    *s += c;
                }
            }
        });
}

/// Rows of a task of [`gram`], at least and at most.
const GRAM: Range<usize> = 32..256;
/// Tasks of it, between those.
const GRAM_PARTS: usize = 8;

fn library((m, n, k): (usize, usize, usize), a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    // SAFETY: `multiply`, `correlate` and `products` have checked that every element of the three matrices lies within its slice;
    // strides are lengths of slices, which fit in an isize.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.data.as_ptr(),
            a.col as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.row as isize,
            b.col as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A product of two vectors: 16 interleaved sums, added in order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for ((s, x), y) in sums.iter_mut().zip(a).zip(b) {
            *s += x * y;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

/// Elements of K summed before the sum is added to the result.
const RUN: usize = 256;
/// Columns of a panel: the lanes of a vector run along them, so that its width changes no sum.
const WIDTH: usize = 16;
/// Rows of a strip.
const ROWS: usize = 4;

/// Wider vectors where the processor has them: the same operations in the same order, so the same bits.
fn blocks(size: (usize, usize, usize), a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { blocks_avx2(size, a, b, c) };
    }
    blocks_any(size, a, b, c);
}

/// AVX2 without FMA: the compiler fuses nothing, and must not.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn blocks_avx2(size: (usize, usize, usize), a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    blocks_any(size, a, b, c);
}

/// Runs of K outermost; within a run `b` is packed into panels of 16 columns, `a` into strips of rows.
#[inline(always)]
fn blocks_any((m, n, k): (usize, usize, usize), a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    c.fill(0.0);
    let mut packed = vec![[0f32; WIDTH]; n.div_ceil(WIDTH) * RUN.min(k)];
    let mut strip = vec![[0f32; ROWS]; RUN.min(k)];
    for start in (0..k).step_by(RUN) {
        let run = RUN.min(k - start);
        for (p, panel) in packed
            .chunks_exact_mut(run)
            .take(n.div_ceil(WIDTH))
            .enumerate()
        {
            for j in 0..WIDTH.min(n - p * WIDTH) {
                let column = b.data[(p * WIDTH + j) * b.row + start * b.col..].iter();
                for (line, x) in panel.iter_mut().zip(column.step_by(b.col)) {
                    line[j] = *x;
                }
            }
        }
        for i in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - i);
            for r in 0..rows {
                let line = &a.data[(i + r) * a.row + start..][..run];
                for (s, x) in strip.iter_mut().zip(line) {
                    s[r] = *x;
                }
            }
            for (p, panel) in packed.chunks_exact(run).take(n.div_ceil(WIDTH)).enumerate() {
                // Sums of rows and columns beyond the last are dropped.
                let sums = tile(&strip[..run], panel);
                let width = WIDTH.min(n - p * WIDTH);
                for (r, sum) in sums.iter().enumerate().take(rows) {
                    let at = (i + r) * n + p * WIDTH;
                    for (c, s) in c[at..at + width].iter_mut().zip(sum) {
                        *c += s;
                    }
                }
            }
        }
    }
}

/// `[r][j] = Σ a[p][r] · b[p][j]`, p in order.
#[inline(always)]
fn tile(a: &[[f32; ROWS]], b: &[[f32; WIDTH]]) -> [[f32; WIDTH]; ROWS] {
    let mut sums = [[0f32; WIDTH]; ROWS];
    for (a, b) in a.iter().zip(b) {
        for (sums, x) in sums.iter_mut().zip(a) {
            for (s, y) in sums.iter_mut().zip(b) {
                *s += x * y;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_path_is_the_product(
            m in 1usize..40, n in 1usize..70, k in 1usize..600,
            transposed in any::<bool>(), gap in 0usize..3, seed in any::<u32>(),
        ) {
            let mut state = seed | 1;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            let a: Vec<f32> = (0..m * (k + gap)).map(|_| next()).collect();
            let b: Vec<f32> = (0..(n + gap) * (k + gap)).map(|_| next()).collect();
            let a = Matrix { data: &a, row: k + gap, col: 1 };
            let b = if transposed {
                Matrix { data: &b, row: 1, col: n + gap }
            } else {
                Matrix { data: &b, row: k + gap, col: 1 }
            };
            let mut c = vec![f32::NAN; m * n];
            for arithmetic in [Arithmetic::Fast, Arithmetic::Reproducible] {
                for few in [false, true] {
                    if !few {
                        multiply(arithmetic, (m, n, k), a, b, &mut c);
                    } else if !transposed {
                        multiply_few((m, n, k), a, b, &mut c);
                    }
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        let x = |p| f64::from(a.data[i * a.row + p]);
                        let y = |p| f64::from(b.data[j * b.row + p * b.col]);
                        let exact: f64 = (0..k).map(|p| x(p) * y(p)).sum();
                        let size: f64 = (0..k).map(|p| (x(p) * y(p)).abs()).sum();
                        prop_assert!((f64::from(c[i * n + j]) - exact).abs() <= 1e-5 * size);
                    }
                }
            }
        }
    }

    #[test]
    fn reproducible_sums_have_one_value() {
        // Products of 1 + 2^-12 are inexact in f32; fused and unfused sums differ.
        let a: Vec<f32> = (0..700).map(|i| 1.0 + (i % 37) as f32 / 4096.0).collect();
        let mut c = vec![0f32; 4 * 5];
        let row = |d| Matrix {
            data: d,
            row: 100,
            col: 1,
        };
        multiply(
            Arithmetic::Reproducible,
            (4, 5, 300),
            row(&a),
            row(&a),
            &mut c,
        );
        for (i, c) in c.iter().enumerate() {
            let (x, y) = (&a[i / 5 * 100..][..300], &a[i % 5 * 100..][..300]);
            let run = |r: core::ops::Range<usize>| r.fold(0f32, |s, p| s + x[p] * y[p]);
            assert_eq!(*c, run(0..256) + run(256..300));
        }
    }
}

//! The inner loops of the methods, over the 32 rows of a tile side by side.
//!
//! Each is compiled for any processor and with AVX2 and FMA; what the one gives differs in the last bits from the other's. With
//! what products of matrices make of a processor's caches ([`crate::reference`]) a calibrated file depends on the kind of processor,
//! and on nothing else of the machine.

/// Rows of a tile.
pub(super) const LANES: usize = 32;

/// A column of a tile.
pub(super) type Lane = [f32; LANES];

/// Compiles a loop for the processor at hand; `$step` is its `a·b + c`, `$together` how many columns half of its registers hold.
macro_rules! dispatched {
    ($(#[$doc:meta])* $name:ident ($($arg:ident: $type:ty),*) $(-> $out:ty)?, |$step:ident, $together:ident| $body:block) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $type),*) $(-> $out)? {
                    const $together: usize = 2;
                    let $step = |a: f32, b: f32, c: f32| a.mul_add(b, c);
                    $body
                }
                // The same operations as by AVX2 and FMA, each lane's in the same order: the same bits.
                #[target_feature(enable = "avx512f,avx2,fma")]
                fn widest($($arg: $type),*) $(-> $out)? {
                    const $together: usize = 4;
                    let $step = |a: f32, b: f32, c: f32| a.mul_add(b, c);
                    $body
                }
                if std::arch::is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has AVX-512, which has the others.
                    return unsafe { widest($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                {
                    // SAFETY: the processor has both.
                    return unsafe { wide($($arg),*) };
                }
            }
            const $together: usize = 2;
            let $step = |a: f32, b: f32, c: f32| a * b + c;
            $body
        }
    };
}

dispatched! {
    /// `Σ weights_k · columns_k`, k in order.
    weighted_sum(columns: &[Lane], weights: &[f32]) -> Lane, |step, _TOGETHER| {
        let mut sums = [0f32; LANES];
        for (column, w) in columns.iter().zip(weights) {
            for (s, c) in sums.iter_mut().zip(column) {
                *s = step(*c, *w, *s);
            }
        }
        sums
    }
}

dispatched! {
    /// Adds `weights_k · column` to each of the columns.
    spread(columns: &mut [Lane], weights: &[f32], column: &Lane), |step, _TOGETHER| {
        for (to, w) in columns.iter_mut().zip(weights) {
            for (t, c) in to.iter_mut().zip(column) {
                *t = step(*c, *w, *t);
            }
        }
    }
}

dispatched! {
    /// Adds `Σ weights[i·stride + k] · columns_k`, k in order, to each `sums_i`. Few columns stay in the nearest cache:
    /// callers give at most [`PANEL`] at a time.
    accumulate(sums: &mut [Lane], columns: &[Lane], weights: &[f32], stride: usize), |step, TOGETHER| {
        // Several at a time load the columns once, and keep the processor's adders busy.
        let (several, rest) = sums.as_chunks_mut::<TOGETHER>();
        let done = several.len() * TOGETHER;
        for (i, several) in several.iter_mut().enumerate() {
            let row = |r: usize| &weights[(i * TOGETHER + r) * stride..][..columns.len()];
            let rows: [&[f32]; TOGETHER] = core::array::from_fn(row);
            let mut sums = *several;
            for (k, column) in columns.iter().enumerate() {
                let weights: [f32; TOGETHER] = core::array::from_fn(|r| rows[r][k]);
                for (l, c) in column.iter().enumerate() {
                    for (sums, w) in sums.iter_mut().zip(weights) {
                        sums[l] = step(*c, w, sums[l]);
                    }
                }
            }
            *several = sums;
        }
        for (i, sums) in rest.iter_mut().enumerate() {
            let row = &weights[(done + i) * stride..][..columns.len()];
            for (column, w) in columns.iter().zip(row) {
                for (s, c) in sums.iter_mut().zip(column) {
                    *s = step(*c, *w, *s);
                }
            }
        }
    }
}

/// Columns that are worked on together: 8 KiB of a tile.
pub(super) const PANEL: usize = 64;

/// `Σ_k weights[i·n + k] · columns_k` of each i: `columns · Mᵀ` of a matrix M `[n, n]`.
pub(super) fn product(columns: &[Lane], weights: &[f32]) -> Vec<Lane> {
    let n = columns.len();
    let mut sums = vec![[0f32; LANES]; n];
    for start in (0..n).step_by(PANEL) {
        let columns = &columns[start..n.min(start + PANEL)];
        accumulate(&mut sums, columns, &weights[start..], n);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_is_its_definition() {
        let column = |k: usize| core::array::from_fn(|l| (k * LANES + l) as f32);
        let columns: Vec<Lane> = (0..5).map(column).collect();
        let weights = [1.0, -2.0, 3.0, 0.5];
        let sums = weighted_sum(&columns, &weights);
        for (l, s) in sums.iter().enumerate() {
            let expected: f32 = (0..4).map(|k| weights[k] * columns[k][l]).sum();
            assert_eq!(*s, expected);
        }
        let mut changed = columns.clone();
        spread(&mut changed, &weights, &columns[1]);
        for (k, (after, before)) in changed.iter().zip(&columns).enumerate() {
            let w = weights.get(k).copied().unwrap_or(0.0);
            for l in 0..LANES {
                assert_eq!(after[l], before[l] + w * columns[1][l]);
            }
        }
        // Small integers: exact in any order.
        for n in [1, 2, 5, 300] {
            let columns: Vec<Lane> = (0..n).map(column).map(|c| c.map(|c| c % 7.0)).collect();
            let matrix: Vec<f32> = (0..n * n).map(|i| (i % 5) as f32 - 2.0).collect();
            for (i, sums) in product(&columns, &matrix).iter().enumerate() {
                for l in 0..LANES {
                    let expected: f32 = (0..n).map(|k| matrix[i * n + k] * columns[k][l]).sum();
                    assert_eq!(sums[l], expected);
                }
            }
        }
    }
}

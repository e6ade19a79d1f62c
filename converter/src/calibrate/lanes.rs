//! The inner loops of the methods, over the 32 rows of a tile side by side or along one row.
//!
//! Each is compiled twice, for any processor and with AVX2 and FMA; what a build of the one gives differs in the last bits from the
//! other's, so that a calibrated file depends on the processor's family, and on nothing else of the machine.

/// Rows of a tile.
pub(super) const LANES: usize = 32;

/// A column of a tile.
pub(super) type Lane = [f32; LANES];

/// Compiles a loop for the processor at hand; `$step` is its `a·b + c`.
macro_rules! dispatched {
    ($(#[$doc:meta])* $name:ident ($($arg:ident: $type:ty),*) $(-> $out:ty)?, |$step:ident| $body:block) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($arg: $type),*) $(-> $out)? {
                    let $step = |a: f32, b: f32, c: f32| a.mul_add(b, c);
                    $body
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                {
                    // SAFETY: the processor has both.
                    return unsafe { wide($($arg),*) };
                }
            }
            let $step = |a: f32, b: f32, c: f32| a * b + c;
            $body
        }
    };
}

dispatched! {
    /// `Σ weights_k · columns_k`, k in order.
    weighted_sum(columns: &[Lane], weights: &[f32]) -> Lane, |step| {
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
    spread(columns: &mut [Lane], weights: &[f32], column: &Lane), |step| {
        for (to, w) in columns.iter_mut().zip(weights) {
            for (t, c) in to.iter_mut().zip(column) {
                *t = step(*c, *w, *t);
            }
        }
    }
}

dispatched! {
    /// Adds `factor · h` to `r`.
    add(r: &mut [f32], h: &[f32], factor: f32), |step| {
        for (r, h) in r.iter_mut().zip(h) {
            *r = step(factor, *h, *r);
        }
    }
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
        let mut r = [1.0, 2.0, 3.0];
        add(&mut r, &[1.0, -1.0, 0.5], 4.0);
        assert_eq!(r, [5.0, -2.0, 5.0]);
    }
}

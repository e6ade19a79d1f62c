//! Numbers of a model: integers in a file and at run time, reals in a checkpoint.

use super::{Attention, Block, Hyper, Mixer, ModelSpec};
use core::f64::consts::{LOG2_E, TAU};
use core::fmt::Debug;

/// What the numbers of a [`ModelSpec`] are.
pub trait Numbers: Copy + Debug + PartialEq {
    /// A positive real.
    type Value: Copy + Debug + PartialEq;
    /// An angle per position.
    type Angle: Copy + Debug + PartialEq;
}

/// Integers: every number as the engine computes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Integers;

/// Reals: every number as a checkpoint states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reals;

impl Numbers for Integers {
    type Value = Fixed;
    /// Turns as 0.64 fixed point.
    type Angle = u64;
}

impl Numbers for Reals {
    type Value = f64;
    /// Radians.
    type Angle = f64;
}

/// A positive real as `mantissa · 2^exponent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Mantissa.
    pub mantissa: u32,
    /// Power of two.
    pub exponent: i32,
}

impl Fixed {
    /// The nearest 31-bit fixed-point value of a positive finite `x`; `None` for any other.
    pub fn from_f64(x: f64) -> Option<Self> {
        if !(x.is_finite() && x > 0.0) {
            return None;
        }
        let (m, e) = libm::frexp(x); // m in [0.5, 1)
        let mantissa = libm::round(m * f64::from(1u32 << 31)) as u32; // 2^30..=2^31
        Some(Self {
            mantissa,
            exponent: e - 31,
        })
    }

    /// `n` times the value, the mantissa in [2^30, 2^31] however few bits this one has, rounded
    /// half up; of zero it is zero.
    pub fn times(self, n: u32) -> Self {
        let product = u64::from(self.mantissa) * u64::from(n);
        let excess = match product {
            0 => 0,
            _ => 33 - product.leading_zeros() as i32,
        };
        let mantissa = match excess {
            0.. => (product + (1u64 << excess >> 1)) >> excess,
            _ => product << -excess,
        };
        Self {
            mantissa: mantissa as u32,
            exponent: self.exponent + excess,
        }
    }

    /// The value as a real.
    pub fn to_f64(self) -> f64 {
        libm::ldexp(f64::from(self.mantissa), self.exponent)
    }
}

/// How each kind of number becomes another's.
struct Change<'a, A: Numbers, B: Numbers> {
    value: &'a dyn Fn(A::Value) -> B::Value,
    /// Scores are in units of log2 at run time and in nats in a checkpoint.
    score: &'a dyn Fn(A::Value) -> B::Value,
    angle: &'a dyn Fn(A::Angle) -> B::Angle,
}

impl<A: Numbers, B: Numbers> Change<'_, A, B> {
    fn block(&self, block: &Block<A>) -> Block<B> {
        let mixer = block.mixer.map(|Mixer::Attention(a)| {
            Mixer::Attention(Attention {
                heads: a.heads,
                kv_heads: a.kv_heads,
                head_dim: a.head_dim,
                window: a.window,
                rope: a.rope,
                scale: (self.score)(a.scale),
                softcap: a.softcap.map(self.score),
                bias: a.bias,
                output_bias: a.output_bias,
                head_norm: a.head_norm,
                sub_norm: a.sub_norm,
                post_norm: a.post_norm,
            })
        });
        Block {
            mixer,
            feed_forward: block.feed_forward,
        }
    }

    fn model(&self, m: &ModelSpec<A>, residual_exponent: i32) -> ModelSpec<B> {
        let table = |t: &Vec<A::Angle>| t.iter().map(|a| (self.angle)(*a)).collect();
        ModelSpec {
            source_architecture: m.source_architecture.clone(),
            vocab_size: m.vocab_size,
            context_length: m.context_length,
            embedding_length: m.embedding_length,
            blocks: m.blocks.iter().map(|b| self.block(b)).collect(),
            epsilon: (self.value)(m.epsilon),
            rope_tables: m.rope_tables.iter().map(table).collect(),
            logits_softcap: m.logits_softcap.map(self.value),
            tied: m.tied,
            headless: m.headless,
            pooling: m.pooling,
            residual_exponent,
        }
    }
}

impl Hyper {
    /// The same model in integers; `residual_exponent` is the unit of its residual stream.
    pub fn spec(&self, residual_exponent: i32) -> ModelSpec {
        let fixed = |x: f64| Fixed::from_f64(x).unwrap_or_default();
        let change = Change::<Reals, Integers> {
            value: &fixed,
            score: &|x| fixed(x * LOG2_E),
            angle: &|w| {
                let turns = w / TAU;
                // A fraction of a turn below 1 scaled by 2^64 is exact; the cast saturates at 2^64.
                ((turns - libm::floor(turns)) * libm::exp2(64.0)) as u64
            },
        };
        change.model(self, residual_exponent)
    }

    /// The model that an integer specification describes.
    pub fn from_spec(spec: &ModelSpec) -> Self {
        let turn = libm::exp2(-64.0) * TAU;
        let change = Change::<Integers, Reals> {
            value: &Fixed::to_f64,
            score: &|x| x.to_f64() / LOG2_E,
            angle: &|i| i as f64 * turn,
        };
        change.model(spec, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Fixed;

    #[test]
    fn a_multiple_is_normalised() {
        let of = |mantissa, exponent| Fixed { mantissa, exponent };
        for (value, n, expected) in [
            (of(1, -17), 576, of(576 << 21, -38)),
            (of(1 << 30, -47), 1, of(1 << 30, -47)),
            (of(1 << 31, -48), 1, of(1 << 30, -47)),
            (of(0x7fff_ffff, 0), 3, of(0x6000_0000 - 1, 2)),
            // Rounded up, to the top of the range.
            (of(0x7fff_ffff, 0), 0x8000_0001, of(1 << 31, 31)),
            (of(0, 5), 32_768, of(0, 5)),
        ] {
            assert_eq!(value.times(n), expected, "{n} times {value:?}");
        }
    }
}

//! Rotary positions of a GGUF file.

use super::At;
use crate::source::architecture::{Architecture, Windowing};
use crate::source::rope::{Rope, Scaling, yarn_amplitude};
use crate::source::{Hyper, SourceError};

/// Divisors of the angles, that llama.cpp's converter makes of Llama 3's scaling.
pub(super) const FACTORS: &str = "rope_freqs.weight";
/// LongRoPE's, for positions of the original context and beyond.
pub(super) const SHORT: &str = "rope_factors_short.weight";
pub(super) const LONG: &str = "rope_factors_long.weight";

/// Base of the blocks with a window.
const LOCAL: &str = "rope.freq_base_swa";

/// The rotary positions of blocks that see everything and of those with a window, and the positions for
/// which they hold.
pub(super) struct Ropes {
    pub full: Rope,
    pub local: Rope,
    pub context: u32,
}

impl At<'_, '_> {
    pub fn ropes(
        &self,
        architecture: &Architecture,
        head_dim: u32,
        mut context: u32,
    ) -> Result<Ropes, SourceError> {
        let defaults = &architecture.defaults;
        // llama.cpp's default, whatever the architecture.
        let base = self.number_opt("rope.freq_base")?.unwrap_or(10_000.0);
        let dims = self.size_opt("rope.dimension_count")?;
        let dims = dims.unwrap_or(head_dim);
        let partial = architecture.partial_rotation;
        let whole = dims == head_dim;
        if dims > head_dim || dims < 2 || !dims.is_multiple_of(2) || !(whole || partial) {
            let expected = match partial {
                true => format!("an even number of at most {head_dim}"),
                false => format!("{head_dim}, the head dimension"),
            };
            return Err(self.value(&self.name("rope.dimension_count"), dims, expected));
        }
        let (scaling, amplitude) = self.scaling(dims, &mut context)?;
        let full = Rope {
            base,
            dims,
            scaling,
            amplitude,
        };
        let local = match defaults.local_rope_base {
            None => match (architecture.windows, self.number_opt(LOCAL)?) {
                (Windowing::Pattern { .. }, Some(base)) => Rope {
                    base,
                    ..full.clone()
                },
                _ => full.clone(),
            },
            Some(default) => Rope {
                base: self.number_opt(LOCAL)?.unwrap_or(default),
                dims,
                scaling: Scaling::None,
                amplitude: 1.0,
            },
        };
        Ok(Ropes {
            full,
            local,
            context,
        })
    }

    fn scaling(&self, dims: u32, context: &mut u32) -> Result<(Scaling, f64), SourceError> {
        const TYPE: &str = "rope.scaling.type";
        const FACTOR: &str = "rope.scaling.factor";
        let old = self.number_opt("rope.scale_linear")?;
        let factor = self.number_opt(FACTOR)?;
        let amplitude = self.number_opt("rope.scaling.attn_factor")?.unwrap_or(1.0);
        let original = self.size_opt("rope.scaling.original_context_length")?;
        let original = original.filter(|c| *c > 0).unwrap_or(*context);
        let kind = self.key(self.header.str_opt(&self.name(TYPE)))?;
        let pairs = u64::from(dims / 2);
        if let Some(short) = self.vector(SHORT, pairs)? {
            let factors: Vec<f64> = short.iter().map(|f| f64::from(*f)).collect();
            self.check_factors(SHORT, &factors)?;
            // Beyond the original context the long factors hold, for all positions.
            if self.tensor(LONG).is_some() {
                *context = (*context).min(original);
            }
            return Ok((Scaling::Factors(factors), amplitude));
        }
        let needed = || {
            factor.or(old).ok_or_else(|| SourceError::Missing {
                path: self.path(),
                field: self.name(FACTOR),
                expected: "a positive number",
            })
        };
        let scaling = match kind {
            None => old.or(factor).map_or(Scaling::None, Scaling::Linear),
            Some("none") => Scaling::None,
            Some("linear") => Scaling::Linear(needed()?),
            Some("yarn") => {
                let factor = needed()?;
                let number = |key: &str| self.number_opt(&format!("rope.scaling.{key}"));
                let scaling = Scaling::Yarn {
                    factor,
                    fast: number("yarn_beta_fast")?.unwrap_or(32.0),
                    slow: number("yarn_beta_slow")?.unwrap_or(1.0),
                    original_context: f64::from(original),
                    truncate: true,
                };
                return Ok((scaling, amplitude * self.yarn_amplitude(factor)?));
            }
            Some(other) => {
                return Err(SourceError::Unsupported {
                    path: self.path(),
                    field: self.name(TYPE),
                    found: format!("'{other}'"),
                    hint: "; none, linear and yarn are, and longrope with its factors",
                });
            }
        };
        Ok((scaling, amplitude))
    }

    /// YaRN's factor of queries and keys: the stated one, or that of the lengthening.
    fn yarn_amplitude(&self, factor: f64) -> Result<f64, SourceError> {
        const BLEND: &str = "rope.scaling.yarn_ext_factor";
        if let Some(blend) = self.number_opt(BLEND)?.filter(|b| *b != 1.0) {
            return Err(SourceError::Unsupported {
                path: self.path(),
                field: self.name(BLEND),
                found: blend.to_string(),
                hint: "; 1 is",
            });
        }
        const LOG: &str = "rope.scaling.yarn_log_multiplier";
        // 0 is none.
        let off = self.key(self.header.f64_opt(&self.name(LOG)))? == Some(0.0);
        let multiplier = if off { None } else { self.number_opt(LOG)? };
        let over = multiplier.map_or(1.0, |m| yarn_amplitude(factor, m));
        let own = yarn_amplitude(factor, 1.0) / over;
        Ok(self
            .number_opt("rope.scaling.yarn_attn_factor")?
            .unwrap_or(own))
    }

    fn check_factors(&self, name: &str, factors: &[f64]) -> Result<(), SourceError> {
        match factors.iter().position(|f| *f <= 0.0) {
            None => Ok(()),
            Some(i) => {
                let field = format!("{name}[{i}]");
                Err(self.value(&field, factors[i], "a positive number"))
            }
        }
    }

    /// Divides the angles by the file's factors, where it has some.
    pub fn divide_angles(&self, hyper: &mut Hyper) -> Result<(), SourceError> {
        let Some(pairs) = hyper.rope_tables.first().map(|t| t.len() as u64) else {
            return Ok(());
        };
        let Some(factors) = self.vector(FACTORS, pairs)? else {
            return Ok(());
        };
        let factors: Vec<f64> = factors.iter().map(|f| f64::from(*f)).collect();
        self.check_factors(FACTORS, &factors)?;
        for table in &mut hyper.rope_tables {
            for (w, f) in table.iter_mut().zip(&factors) {
                *w /= f;
            }
        }
        Ok(())
    }
}

//! Rotary positions of a configuration: from `rope_parameters`, of all blocks or of a kind of blocks each,
//! or from the older `rope_theta` and `rope_scaling`.

use super::fields::Fields;
use super::keys::is_off;
use crate::source::SourceError;
use crate::source::architecture::Architecture;
use crate::source::rope::{Rope, Scaling, longrope_amplitude, yarn_amplitude};
use serde_json::Value;

const FULL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

/// What all of a model's rotary tables share.
pub struct Shared<'a> {
    pub fields: &'a Fields<'a>,
    pub architecture: &'static Architecture,
    pub head_dim: u32,
    pub context: u32,
}

/// The rotary positions of blocks that see everything and of those with a window, and the positions for
/// which they hold.
pub struct Ropes {
    pub full: Rope,
    pub local: Rope,
    pub context: u32,
}

impl Shared<'_> {
    pub fn read(&self) -> Result<Ropes, SourceError> {
        let f = self.fields;
        let defaults = &self.architecture.defaults;
        let old = f.object("rope_scaling")?;
        let new = f.object("rope_parameters")?;
        let base = f.positive("rope_theta")?.unwrap_or(defaults.rope_base);
        let mut context = self.context;
        let nested = match (&new, defaults.local_rope_base) {
            (Some(p), Some(_)) => [FULL, LOCAL].iter().any(|k| p.map.contains_key(*k)),
            _ => false,
        };
        let (full, local) = match (new, nested) {
            (Some(p), true) => {
                if let Some((key, v)) = p.map.iter().find(|(k, _)| *k != FULL && *k != LOCAL) {
                    return Err(p.unknown(key, v));
                }
                (p.object(FULL)?, p.object(LOCAL)?)
            }
            (new, _) => (new.or(old), None),
        };
        let full = self.rope(full.as_ref(), base, &mut context)?;
        let local = match defaults.local_rope_base {
            None => full.clone(),
            Some(default) => {
                let base = f.positive("rope_local_base_freq")?.unwrap_or(default);
                self.rope(local.as_ref(), base, &mut context)?
            }
        };
        Ok(Ropes {
            full,
            local,
            context,
        })
    }

    /// One table; `base` is that of parameters without their own.
    fn rope(
        &self,
        parameters: Option<&Fields<'_>>,
        base: f64,
        context: &mut u32,
    ) -> Result<Rope, SourceError> {
        let Some(p) = parameters else {
            let dims = self.dims(self.fields.positive(PARTIAL)?)?;
            return Ok(Rope {
                base,
                dims,
                scaling: Scaling::None,
                amplitude: 1.0,
            });
        };
        let base = p.positive("rope_theta")?.unwrap_or(base);
        let partial = match self.architecture.partial_rotation {
            true => p.positive(PARTIAL)?.or(self.fields.positive(PARTIAL)?),
            false => None,
        };
        let dims = self.dims(partial)?;
        // The older key is `type`.
        let kind = match p.text("rope_type")? {
            Some(kind) => kind,
            None => p.text("type")?.unwrap_or("default"),
        };
        // Names that Phi-3 had for it first.
        let kind = match kind {
            "su" => "longrope",
            "yarn" if p.map.contains_key("short_factor") => "longrope",
            kind => kind,
        };
        let (scaling, amplitude) = self.scaling(p, kind, dims, context)?;
        if let Some((key, value)) = p
            .map
            .iter()
            .find(|(k, v)| !read(kind).contains(&k.as_str()) && !self.inert(kind, k, v))
        {
            return Err(p.unknown(key, value));
        }
        Ok(Rope {
            base,
            dims,
            scaling,
            amplitude,
        })
    }

    fn scaling(
        &self,
        p: &Fields<'_>,
        kind: &str,
        dims: u32,
        context: &mut u32,
    ) -> Result<(Scaling, f64), SourceError> {
        let given = match self.fields.positive(ORIGINAL)? {
            None => p.positive(ORIGINAL)?,
            root => root,
        };
        let original_context = given.unwrap_or(f64::from(self.context));
        let ratio = f64::from(self.context) / original_context;
        let amplitude = p.positive("attention_factor")?;
        let scaling = match kind {
            // The dynamic scaling begins beyond the context.
            "default" | "dynamic" => Scaling::None,
            "linear" => Scaling::Linear(p.needed_positive("factor")?),
            "llama3" => {
                let low = p.needed_positive("low_freq_factor")?;
                let high = p.needed_positive("high_freq_factor")?;
                if low >= high {
                    return Err(SourceError::Value {
                        path: p.path.into(),
                        field: format!("{}high_freq_factor", p.prefix),
                        found: high.to_string(),
                        expected: format!("more than low_freq_factor, {low}"),
                    });
                }
                Scaling::Llama3 {
                    factor: p.needed_positive("factor")?,
                    low,
                    high,
                    original_context,
                }
            }
            "yarn" => {
                let factor = p.positive("factor")?.unwrap_or(ratio);
                let own = match (p.positive("mscale")?, p.positive("mscale_all_dim")?) {
                    (Some(m), Some(all)) => yarn_amplitude(factor, m) / yarn_amplitude(factor, all),
                    _ => yarn_amplitude(factor, 1.0),
                };
                let scaling = Scaling::Yarn {
                    factor,
                    fast: p.positive("beta_fast")?.unwrap_or(32.0),
                    slow: p.positive("beta_slow")?.unwrap_or(1.0),
                    original_context,
                    truncate: p.flag("truncate")?.unwrap_or(true),
                };
                return Ok((scaling, amplitude.unwrap_or(own)));
            }
            "longrope" => {
                let factors = |key| p.factors(key, dims / 2);
                factors("long_factor")?;
                let short = p.need(
                    "short_factor",
                    factors("short_factor")?,
                    "a list of numbers",
                )?;
                // Beyond the original context other factors hold, for all positions.
                *context = (*context).min(original_context as u32);
                let ratio = p.positive("factor")?.unwrap_or(ratio);
                let own = longrope_amplitude(ratio, original_context);
                return Ok((Scaling::Factors(short), amplitude.unwrap_or(own)));
            }
            other => {
                let hint = "; default, linear, dynamic, llama3, yarn and longrope are";
                return Err(p.unsupported("rope_type", format!("'{other}'"), hint));
            }
        };
        Ok((scaling, 1.0))
    }

    /// Rotated dimensions of a head.
    fn dims(&self, partial: Option<f64>) -> Result<u32, SourceError> {
        let Some(partial) = partial else {
            return Ok(self.head_dim);
        };
        let dims = (f64::from(self.head_dim) * partial) as u32;
        if partial > 1.0 || dims < 2 || !dims.is_multiple_of(2) {
            return Err(SourceError::Value {
                path: self.fields.path.into(),
                field: PARTIAL.into(),
                found: partial.to_string(),
                expected: format!(
                    "a part of 1 that leaves an even number of {}",
                    self.head_dim
                ),
            });
        }
        Ok(dims)
    }

    /// Parameters that change nothing for this kind of scaling.
    fn inert(&self, kind: &str, key: &str, value: &Value) -> bool {
        is_off(value)
            || (key == PARTIAL
                && (self.architecture.partial_rotation || value.as_f64() == Some(1.0)))
            || (matches!(kind, "default" | "dynamic") && matches!(key, "factor" | ORIGINAL))
            || (kind == "linear" && key == ORIGINAL)
    }
}

const PARTIAL: &str = "partial_rotary_factor";
const ORIGINAL: &str = "original_max_position_embeddings";

/// Parameters that are read for a kind of scaling.
fn read(kind: &str) -> Vec<&'static str> {
    let more: &[&str] = match kind {
        "linear" => &["factor"],
        "llama3" => &["factor", "low_freq_factor", "high_freq_factor", ORIGINAL],
        "yarn" => &[
            "factor",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
            ORIGINAL,
        ],
        "longrope" => &[
            "factor",
            "attention_factor",
            "short_factor",
            "long_factor",
            ORIGINAL,
        ],
        _ => &[],
    };
    [&["rope_type", "type", "rope_theta"], more].concat()
}

//! The range of every parameter.

use super::params::{LogitBias, Params};

/// A parameter outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParamError {
    /// Not finite or below 0.
    #[error("temperature is {0}; expected a finite number of at least 0 (0 = most probable token)")]
    Temperature(f32),
    /// Outside 0..=1.
    #[error("top-p is {0}; expected a number from 0 to 1 (1 = off)")]
    TopP(f32),
    /// Outside 0..=1.
    #[error("min-p is {0}; expected a number from 0 to 1 (0 = off)")]
    MinP(f32),
    /// Not finite or not above 0.
    #[error("repeat penalty is {0}; expected a finite number above 0 (1 = off)")]
    RepeatPenalty(f32),
    /// Not finite or below 0.
    #[error("DRY multiplier is {0}; expected a finite number of at least 0 (0 = off)")]
    DryMultiplier(f32),
    /// Not finite or below 1.
    #[error("DRY base is {0}; expected a finite number of at least 1")]
    DryBase(f32),
    /// No token.
    #[error("DRY allowed length is 0; expected at least 1 token")]
    DryAllowedLength,
    /// Not finite.
    #[error("presence penalty is {0}; expected a finite number (0 = off)")]
    PresencePenalty(f32),
    /// Not finite.
    #[error("frequency penalty is {0}; expected a finite number (0 = off)")]
    FrequencyPenalty(f32),
    /// Not finite or below 0.
    #[error("top-n-sigma is {0}; expected a finite number of at least 0 (0 = off)")]
    TopNSigma(f32),
    /// Outside 0..=1.
    #[error("typical-p is {0}; expected a number from 0 to 1 (1 = off)")]
    TypicalP(f32),
    /// Outside 0..=1.
    #[error("XTC probability is {0}; expected a number from 0 to 1 (0 = off)")]
    XtcProbability(f32),
    /// Outside 0..=1.
    #[error("XTC threshold is {0}; expected a number from 0 to 1 (above 0.5 = off)")]
    XtcThreshold(f32),
    /// Not finite or below 0.
    #[error("dynamic temperature range is {0}; expected a finite number of at least 0 (0 = off)")]
    DynatempRange(f32),
    /// Not finite or below 0.
    #[error("dynamic temperature exponent is {0}; expected a finite number of at least 0")]
    DynatempExponent(f32),
    /// Neither 0 nor 2.
    #[error("Mirostat is {0}; expected 2 for Mirostat 2.0, or 0 (off)")]
    Mirostat(u32),
    /// Not finite or below 0.
    #[error("Mirostat target entropy is {0}; expected a finite number of bits of at least 0")]
    MirostatTau(f32),
    /// Not finite or below 0.
    #[error("Mirostat learning rate is {0}; expected a finite number of at least 0")]
    MirostatEta(f32),
    /// Above 1, or not a number.
    #[error("adaptive-p target is {0}; expected a number from 0 to 1, or a negative one (off)")]
    AdaptiveTarget(f32),
    /// Outside 0..=0.99.
    #[error("adaptive-p decay is {0}; expected a number from 0 to 0.99")]
    AdaptiveDecay(f32),
    /// Mirostat and adaptive-p are both on.
    #[error("Mirostat and adaptive-p both choose the token; expected one of them; switch one off")]
    TwoChoices,
    /// Not a number, or +∞.
    #[error(
        "the logit bias of token {id} is {bias}; expected a finite number, or -inf to forbid the token"
    )]
    LogitBias {
        /// The token.
        id: u32,
        /// The bias.
        bias: f64,
    },
}

impl Params {
    /// Checks every range.
    ///
    /// # Errors
    /// The first parameter that is outside its range.
    pub fn validate(&self) -> Result<(), ParamError> {
        let finite = |x: f32, least: f32| x.is_finite() && x >= least;
        let share = |x: f32| (0.0..=1.0).contains(&x);
        if !finite(self.temperature, 0.0) {
            return Err(ParamError::Temperature(self.temperature));
        }
        if !share(self.top_p) {
            return Err(ParamError::TopP(self.top_p));
        }
        if !share(self.min_p) {
            return Err(ParamError::MinP(self.min_p));
        }
        if !(self.repeat_penalty.is_finite() && self.repeat_penalty > 0.0) {
            return Err(ParamError::RepeatPenalty(self.repeat_penalty));
        }
        if !finite(self.dry_multiplier, 0.0) {
            return Err(ParamError::DryMultiplier(self.dry_multiplier));
        }
        if !finite(self.dry_base, 1.0) {
            return Err(ParamError::DryBase(self.dry_base));
        }
        if self.dry_allowed_length == 0 {
            return Err(ParamError::DryAllowedLength);
        }
        if !self.presence_penalty.is_finite() {
            return Err(ParamError::PresencePenalty(self.presence_penalty));
        }
        if !self.frequency_penalty.is_finite() {
            return Err(ParamError::FrequencyPenalty(self.frequency_penalty));
        }
        if !finite(self.top_n_sigma, 0.0) {
            return Err(ParamError::TopNSigma(self.top_n_sigma));
        }
        if !share(self.typical_p) {
            return Err(ParamError::TypicalP(self.typical_p));
        }
        if !share(self.xtc_probability) {
            return Err(ParamError::XtcProbability(self.xtc_probability));
        }
        if !share(self.xtc_threshold) {
            return Err(ParamError::XtcThreshold(self.xtc_threshold));
        }
        if !finite(self.dynatemp_range, 0.0) {
            return Err(ParamError::DynatempRange(self.dynatemp_range));
        }
        if !finite(self.dynatemp_exponent, 0.0) {
            return Err(ParamError::DynatempExponent(self.dynatemp_exponent));
        }
        if !matches!(self.mirostat, 0 | 2) {
            return Err(ParamError::Mirostat(self.mirostat));
        }
        if !finite(self.mirostat_tau, 0.0) {
            return Err(ParamError::MirostatTau(self.mirostat_tau));
        }
        if !finite(self.mirostat_eta, 0.0) {
            return Err(ParamError::MirostatEta(self.mirostat_eta));
        }
        if !(self.adaptive_target.is_finite() && self.adaptive_target <= 1.0) {
            return Err(ParamError::AdaptiveTarget(self.adaptive_target));
        }
        if !(0.0..=0.99).contains(&self.adaptive_decay) {
            return Err(ParamError::AdaptiveDecay(self.adaptive_decay));
        }
        if self.mirostat != 0 && self.adaptive_target >= 0.0 {
            return Err(ParamError::TwoChoices);
        }
        let wrong = |b: &&LogitBias| b.bias.is_nan() || b.bias == f64::INFINITY;
        if let Some(&LogitBias { id, bias }) = self.logit_bias.iter().find(wrong) {
            return Err(ParamError::LogitBias { id, bias });
        }
        Ok(())
    }
}

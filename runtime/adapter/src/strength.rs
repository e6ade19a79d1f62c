//! How strongly an adapter acts.

use std::fmt;
use std::str::FromStr;

/// A factor of what an adapter adds, from −16 to 16 in steps of 1/4096: 1 is the adapter as it was trained, 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Strength(i32);

impl Strength {
    /// None of it.
    pub const ZERO: Self = Self(0);
    /// As it was trained.
    pub const ONE: Self = Self(1 << Self::BITS);
    /// Fraction bits.
    const BITS: u32 = 12;
    /// Largest magnitude.
    const MOST: f64 = 16.0;

    /// The nearest strength; `None` outside −16 to 16 and for what is no number.
    pub fn new(value: f64) -> Option<Self> {
        let within = (-Self::MOST..=Self::MOST).contains(&value);
        within.then(|| Self(libm::round(value * f64::from(1 << Self::BITS)) as i32))
    }

    /// Its value.
    pub fn value(self) -> f64 {
        f64::from(self.0) / f64::from(1 << Self::BITS)
    }

    /// In units of 1/4096, as kernels have it.
    pub fn units(self) -> i32 {
        self.0
    }

    /// Of such units; `None` outside −16 to 16.
    pub fn of_units(units: i32) -> Option<Self> {
        let most = Self::MOST as u32 * Self::ONE.0 as u32;
        (units.unsigned_abs() <= most).then_some(Self(units))
    }

    /// Whether it is none.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Default for Strength {
    fn default() -> Self {
        Self::ONE
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

impl FromStr for Strength {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().and_then(Self::new);
        number.ok_or_else(|| format!("'{text}' is no strength, expected a number from -16 to 16"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_are_in_a_range_and_in_steps() {
        let units = |x: f64| Strength::new(x).map(Strength::units);
        assert_eq!(units(1.0), Some(Strength::ONE.units()));
        assert_eq!(units(-16.0), Some(-65_536));
        assert_eq!(units(0.7), Some(2867));
        assert_eq!(units(1e-9), Some(0));
        for wrong in [16.1, -17.0, f64::NAN, f64::INFINITY] {
            assert_eq!(units(wrong), None);
        }
        assert_eq!("0.5".parse(), Ok(Strength(2048)));
        assert!("x".parse::<Strength>().is_err());
        assert_eq!(Strength::default().to_string(), "1");
    }
}

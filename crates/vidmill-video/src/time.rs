//! Time as containers keep it: integers in a time base.

use serde::{Deserialize, Serialize};

/// A fraction, as FFmpeg gives it (not necessarily in lowest terms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rational {
    /// Numerator.
    pub num: i32,
    /// Denominator.
    pub den: i32,
}

impl Rational {
    /// `num / den`.
    pub const fn new(num: i32, den: i32) -> Self {
        Self { num, den }
    }

    /// The fraction as a number, for printing; `None` where the denominator is 0.
    pub fn value(self) -> Option<f64> {
        (self.den != 0).then(|| f64::from(self.num) / f64::from(self.den))
    }

    /// Only where both terms are positive: how FFmpeg tells known rates from unknown ones.
    pub(crate) fn positive((num, den): (i32, i32)) -> Option<Self> {
        (num > 0 && den > 0).then_some(Self { num, den })
    }
}

/// When a frame is shown: `pts` units of `time_base` seconds. Never derived from a frame number and a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Timestamp {
    /// Presentation time in units of `time_base`; may be negative.
    pub pts: i64,
    /// Seconds per unit.
    pub time_base: Rational,
}

impl Timestamp {
    /// The time in seconds, for printing; comparisons should use `pts`.
    pub fn seconds(self) -> f64 {
        // Multiplied first: 61440 / 12800 is 4.8 exactly as a division, not as a product with 1/12800.
        self.pts as f64 * f64::from(self.time_base.num) / f64::from(self.time_base.den)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_the_quotient() {
        let stamp = Timestamp { pts: 61440, time_base: Rational::new(1, 12800) };
        assert_eq!(stamp.seconds(), 4.8);
        assert_eq!(Timestamp { pts: -1001, time_base: Rational::new(1, 1000) }.seconds(), -1.001);
    }

    #[test]
    fn unknown_rates_are_none() {
        assert_eq!(Rational::positive((0, 0)), None);
        assert_eq!(Rational::positive((25, 1)), Some(Rational::new(25, 1)));
        assert_eq!(Rational::new(1, 0).value(), None);
    }
}

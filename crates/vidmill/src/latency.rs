//! How long frames were under way, counted in a histogram of fixed size: whatever the length of the video, no memory is taken.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

/// Steps from one power of two to the next: a step is 1/32 wide, so its middle is at most 1/64 (1.6 %) off.
const STEPS: usize = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Times are counted in units of 2^10 ns, about a microsecond.
const UNIT_BITS: u32 = 10;
/// Beyond 2^36 units, some 19 hours, all is one.
const MOST_UNITS: u64 = (1 << 36) - 1;
const BUCKETS: usize = (36 - STEP_BITS as usize + 1) * STEPS;

/// Counts times from many threads.
pub(crate) struct Latency(Box<[AtomicU64]>);

/// How often each step was counted, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(Vec<u64>);

/// The times, in milliseconds, that 50, 95 and 99 of 100 were not above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl std::fmt::Debug for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.counts().percentiles())
    }
}

impl Latency {
    /// Counts one time.
    pub fn add(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0[bucket(nanoseconds >> UNIT_BITS)].fetch_add(1, Relaxed);
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts(self.0.iter().map(|count| count.load(Relaxed)).collect())
    }
}

impl Counts {
    /// What was counted after `earlier`.
    pub fn since(mut self, earlier: &Self) -> Self {
        for (count, before) in self.0.iter_mut().zip(&earlier.0) {
            *count = count.saturating_sub(*before);
        }
        self
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.0.resize(BUCKETS, 0);
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// `None` when nothing was counted.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let total: u64 = self.0.iter().sum();
        let at = |percent: u64| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut below = 0;
            let place = self.0.iter().position(|count| {
                below += count;
                below >= rank
            });
            middle(place.unwrap_or(BUCKETS - 1)) * f64::from(1 << UNIT_BITS) / 1e6
        };
        (total > 0).then(|| Percentiles { p50: at(50), p95: at(95), p99: at(99) })
    }
}

impl Percentiles {
    /// Of times in milliseconds, by nearest rank; `None` where there are none.
    pub(crate) fn of(milliseconds: &mut [f64]) -> Option<Self> {
        milliseconds.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| milliseconds[(milliseconds.len() * percent).div_ceil(100).max(1) - 1];
        (!milliseconds.is_empty()).then(|| Self { p50: at(50), p95: at(95), p99: at(99) })
    }
}

/// The step that holds `units`: below 64 each unit has its own; from there on, each power of two has 32 of them.
fn bucket(units: u64) -> usize {
    let units = units.min(MOST_UNITS);
    let octave = (u64::BITS - units.leading_zeros()).saturating_sub(STEP_BITS + 1);
    octave as usize * STEPS + (units >> octave) as usize
}

/// The middle of a step, in units.
fn middle(bucket: usize) -> f64 {
    let octave = (bucket / STEPS).saturating_sub(1);
    let first = bucket - octave * STEPS;
    (first as f64 + 0.5) * (octave as f64).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_follow_each_other_without_a_gap() {
        let mut expected = 0;
        for units in 0..100_000 {
            let found = bucket(units);
            assert!(found == expected || found == expected + 1, "{units}: {found} after {expected}");
            expected = found;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket(MOST_UNITS), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_times_to_two_percent(
            times in prop::collection::vec(40_000_u64..200_000_000_000, 1..300),
        ) {
            let latency = Latency::default();
            for &time in &times {
                latency.add(Duration::from_nanos(time));
            }
            let found = latency.counts().percentiles().unwrap();
            let mut exact: Vec<f64> = times.iter().map(|&time| time as f64 / 1e6).collect();
            let exact = Percentiles::of(&mut exact).unwrap();
            for (found, exact) in [(found.p50, exact.p50), (found.p95, exact.p95), (found.p99, exact.p99)] {
                prop_assert!((found / exact - 1.0).abs() < 0.02, "{} is not {}", found, exact);
            }
        }
    }

    #[test]
    fn short_times_are_right_to_half_a_microsecond() {
        for nanoseconds in [0, 700, 1500, 5000, 31_000] {
            let latency = Latency::default();
            latency.add(Duration::from_nanos(nanoseconds));
            let found = latency.counts().percentiles().unwrap().p50 * 1e6;
            assert!((found - nanoseconds as f64).abs() <= 600.0, "{nanoseconds}: {found}");
        }
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut times: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Percentiles::of(&mut times), Some(Percentiles { p50: 50.0, p95: 95.0, p99: 99.0 }));
        assert_eq!(Percentiles::of(&mut [7.0]), Some(Percentiles { p50: 7.0, p95: 7.0, p99: 7.0 }));
        assert_eq!(Percentiles::of(&mut []), None);
        assert_eq!(Latency::default().counts().percentiles(), None);
    }

    #[test]
    fn what_came_before_can_be_taken_away() {
        let latency = Latency::default();
        latency.add(Duration::from_secs(9));
        let before = latency.counts();
        latency.add(Duration::from_millis(3));
        let mut since = latency.counts().since(&before);
        assert!((since.percentiles().unwrap().p99 - 3.0).abs() < 0.06);
        since.add(&before);
        assert_eq!(since, latency.counts());
    }
}

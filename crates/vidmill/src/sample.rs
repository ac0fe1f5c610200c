//! Which decoded frames are processed. Pure: frame numbers and timestamps in, choices out; all in integers.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use vidmill_video::{FrameHead, Timestamp};

/// What the user asked for. The parts combine: of the frames within `start..end`, those that `pace` picks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// How densely.
    pub pace: Pace,
    /// Only frames at or after this time.
    pub start: Option<Nanoseconds>,
    /// Only frames before this time.
    pub end: Option<Nanoseconds>,
}

/// How densely frames are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Every frame.
    #[default]
    All,
    /// Frames whose index (counted from the source's first frame) is a multiple of this.
    Every(NonZeroU64),
    /// At most this many frames a second: the first frame at or after each tick, counted from the first frame in the
    /// time range. Frames are never repeated.
    Rate(Rate),
}

/// Frames per second, exactly as written: `num / den`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    num: u64,
    den: u64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

/// A time on the container's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanoseconds(pub i64);

/// A number or time that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not a rate.
    #[error("`{0}` is not a frame rate: write a positive number such as 5, 0.5 or 30000/1001")]
    Rate(String),
    /// Not a time.
    #[error("`{0}` is not a time: write seconds such as 12.5, or [HH:]MM:SS[.fff] such as 1:02:03.5")]
    Time(String),
}

/// A source whose frames have no timestamps, though the sampling needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame {0} has no timestamp, which --fps, --start and --end need: use --every instead")]
pub struct NoTimestamp(pub u64);

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Process it.
    Take,
    /// Count it and go on.
    Skip,
    /// Count it and stop reading this source: nothing after it will be taken.
    Stop,
}

impl FromStr for Rate {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::Rate(text.to_owned());
        let (num, den) = match text.split_once('/') {
            Some((num, den)) => (num.parse().map_err(|_| error())?, den.parse().map_err(|_| error())?),
            None => decimal(text, 6).map(|millionths| (millionths, 1_000_000)).ok_or_else(error)?,
        };
        let in_range = num > 0 && den > 0 && num / den <= 1_000_000;
        if in_range { Ok(Self { num, den }) } else { Err(error()) }
    }
}

impl FromStr for Nanoseconds {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_time(text).ok_or_else(|| ParseError::Time(text.to_owned()))
    }
}

fn parse_time(text: &str) -> Option<Nanoseconds> {
    let mut parts = text.split(':').rev();
    let mut total = decimal(parts.next()?, 9)?;
    for unit in [60_u64, 3600] {
        let Some(part) = parts.next() else { break };
        total = total.checked_add(part.parse::<u64>().ok()?.checked_mul(unit * 1_000_000_000)?)?;
    }
    if parts.next().is_some() {
        return None;
    }
    i64::try_from(total).ok().map(Nanoseconds)
}

/// A non-negative decimal number in units of `10^-places`; more digits than that are not accepted.
fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let missing = places.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let number = |s: &str| if s.is_empty() { Some(0) } else { s.parse::<u64>().ok() };
    number(whole)?
        .checked_mul(10_u64.pow(places))?
        .checked_add(number(fraction)?.checked_mul(10_u64.pow(missing))?)
}

impl Nanoseconds {
    /// Whether `timestamp` is at or after this time.
    fn reached_by(self, timestamp: Timestamp) -> bool {
        let (num, den) = (i128::from(timestamp.time_base.num), i128::from(timestamp.time_base.den));
        i128::from(timestamp.pts) * num * 1_000_000_000 >= i128::from(self.0) * den
    }
}

/// Makes the choices for one source, frame by frame.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    /// For [`Pace::Rate`]: the first frame's pts, and the number of the next tick.
    ticks: Option<(i64, i128)>,
}

impl Sampler {
    /// A sampler at the beginning of a source.
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, ticks: None }
    }

    /// A sampler after it took the frame `last`; `first_pts` is that of the first frame it took.
    pub fn after(sampling: Sampling, first_pts: Option<i64>, last: FrameHead) -> Self {
        let mut sampler = Self::new(sampling);
        if let (Pace::Rate(rate), Some(first), Some(timestamp)) = (sampling.pace, first_pts, last.timestamp) {
            // The first frame it took had set the clock; whatever tick was next, this frame reached it.
            sampler.ticks = Some((first, i128::MIN));
            sampler.tick(rate, timestamp);
        }
        sampler
    }

    /// Chooses; to be called once for every frame, in order.
    pub fn choose(&mut self, head: FrameHead) -> Result<Choice, NoTimestamp> {
        let Sampling { pace, start, end } = self.sampling;
        let timestamp = || head.timestamp.ok_or(NoTimestamp(head.index));
        if let Some(end) = end
            && end.reached_by(timestamp()?)
        {
            return Ok(Choice::Stop);
        }
        if let Some(start) = start
            && !start.reached_by(timestamp()?)
        {
            return Ok(Choice::Skip);
        }
        let take = match pace {
            Pace::All => true,
            Pace::Every(n) => head.index.is_multiple_of(n.get()),
            Pace::Rate(rate) => self.tick(rate, timestamp()?),
        };
        Ok(if take { Choice::Take } else { Choice::Skip })
    }

    fn tick(&mut self, rate: Rate, timestamp: Timestamp) -> bool {
        let (first, next) = *self.ticks.get_or_insert((timestamp.pts, 0));
        // Ticks passed since the first frame: floor(elapsed seconds * rate).
        let elapsed = i128::from(timestamp.pts) - i128::from(first);
        let passed = (elapsed * i128::from(timestamp.time_base.num) * i128::from(rate.num))
            .div_euclid(i128::from(timestamp.time_base.den) * i128::from(rate.den));
        if passed < next {
            return false;
        }
        self.ticks = Some((first, passed + 1));
        true
    }
}

#[cfg(test)]
mod tests {
    use vidmill_video::Rational;

    use super::*;

    fn choices(sampling: Sampling, pts: &[i64], den: i32) -> Vec<u64> {
        let mut sampler = Sampler::new(sampling);
        let mut taken = Vec::new();
        for (index, &pts) in (0..).zip(pts) {
            let timestamp = Some(Timestamp { pts, time_base: Rational { num: 1, den } });
            match sampler.choose(FrameHead { index, timestamp }).unwrap() {
                Choice::Take => taken.push(index),
                Choice::Skip => {}
                Choice::Stop => break,
            }
        }
        taken
    }

    fn rate(text: &str) -> Sampling {
        Sampling { pace: Pace::Rate(text.parse().unwrap()), ..Sampling::default() }
    }

    #[test]
    fn every_nth_counts_from_the_first_frame_of_the_source() {
        let pace = Pace::Every(NonZeroU64::new(3).unwrap());
        let all: Vec<i64> = (0..10).collect();
        assert_eq!(choices(Sampling { pace, ..Sampling::default() }, &all, 10), [0, 3, 6, 9]);
        let start = Some("0.4".parse().unwrap());
        assert_eq!(choices(Sampling { pace, start, end: None }, &all, 10), [6, 9]);
    }

    #[test]
    fn a_range_includes_its_start_and_excludes_its_end() {
        let sampling = Sampling {
            pace: Pace::All,
            start: Some("0.2".parse().unwrap()),
            end: Some("0.5".parse().unwrap()),
        };
        assert_eq!(choices(sampling, &(0..10).collect::<Vec<_>>(), 10), [2, 3, 4]);
    }

    #[test]
    fn a_rate_takes_the_first_frame_at_or_after_each_tick() {
        let thirty: Vec<i64> = (0..31).collect();
        assert_eq!(choices(rate("10"), &thirty, 30), [0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30]);
        assert_eq!(choices(rate("8"), &thirty, 30), [0, 4, 8, 12, 15, 19, 23, 27, 30]);
        assert_eq!(choices(rate("60"), &[0, 1, 2], 30), [0, 1, 2]);
        // A gap gives one frame, not one for each tick that it swallowed.
        assert_eq!(choices(rate("10"), &[0, 1, 40, 41, 42, 43], 100), [0, 2]);
        // Timestamps that do not begin at zero.
        assert_eq!(choices(rate("1"), &[95, 100, 190, 195, 200], 100), [0, 3]);
    }

    #[test]
    fn a_sampler_after_any_frame_it_took_chooses_as_if_it_had_seen_all() {
        let pts: Vec<i64> = (0..60).map(|n| 7 + n * 40 + (n * n * 7) % 23).collect();
        let head = |index: u64| {
            let time_base = Rational { num: 1, den: 1000 };
            FrameHead { index, timestamp: Some(Timestamp { pts: pts[index as usize], time_base }) }
        };
        let every = Sampling { pace: Pace::Every(NonZeroU64::new(3).unwrap()), ..Sampling::default() };
        let late = Sampling { start: Some("0.5".parse().unwrap()), ..rate("7") };
        for sampling in [rate("10"), rate("3.7"), rate("100"), late, every, Sampling::default()] {
            let taken = choices(sampling, &pts, 1000);
            for (n, &last) in taken.iter().enumerate() {
                let first_pts = Some(pts[taken[0] as usize]);
                let mut sampler = Sampler::after(sampling, first_pts, head(last));
                let took = |&index: &u64| sampler.choose(head(index)) == Ok(Choice::Take);
                let rest: Vec<u64> = (last + 1..60).filter(took).collect();
                assert_eq!(rest, taken[n + 1..], "{sampling:?} after {last}");
            }
        }
    }

    #[test]
    fn sampling_by_time_refuses_frames_without_timestamps() {
        let head = FrameHead { index: 7, timestamp: None };
        assert_eq!(Sampler::new(rate("5")).choose(head), Err(NoTimestamp(7)));
        assert_eq!(Sampler::new(Sampling::default()).choose(head), Ok(Choice::Take));
    }

    #[test]
    fn times_and_rates_are_read_exactly() {
        for (text, nanoseconds) in
            [("0", 0), ("1.5", 1_500_000_000), ("1:00", 60_000_000_000), ("1:00:00.25", 3_600_250_000_000)]
        {
            assert_eq!(text.parse(), Ok(Nanoseconds(nanoseconds)), "{text}");
        }
        assert_eq!("30000/1001".parse(), Ok(Rate { num: 30000, den: 1001 }));
        for bad in ["", "-1", "x", "1:2:3:4", "1e3", ".", "NaN", "99999999999999999999"] {
            assert!(bad.parse::<Nanoseconds>().is_err(), "{bad}");
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        assert!("0".parse::<Rate>().is_err());
        assert!("1/0".parse::<Rate>().is_err());
    }
}

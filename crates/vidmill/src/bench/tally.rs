//! What rounds of one part come to.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::latency::Percentiles;
use crate::usage::{cpu_seconds, thread_cpu_seconds};

/// What a part takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Frames that were measured, in all rounds.
    pub frames: u64,
    /// Median of the rounds.
    pub frames_per_second: f64,
    /// CPU milliseconds of a frame: median of the rounds.
    pub cpu_ms: f64,
    /// Percentiles of single times of all rounds; what is timed, the part tells. Null where nothing is timed singly.
    pub ms: Option<Percentiles>,
}

/// What is measured of one part, round by round.
#[derive(Default)]
pub struct Tally {
    rounds: Vec<Round>,
    /// Milliseconds.
    pub samples: Vec<f64>,
}

/// One round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    pub frames: u64,
    pub wall: f64,
    pub cpu: f64,
}

/// Time and CPU time from here on.
pub struct Watch {
    begin: Instant,
    cpu: f64,
    own_cpu: f64,
}

impl Watch {
    pub fn begin() -> Self {
        Self { own_cpu: thread_cpu_seconds(), cpu: cpu_seconds(), begin: Instant::now() }
    }

    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// A round that ends here, with the CPU time of all threads.
    pub fn round(&self, frames: u64) -> Round {
        Round { frames, wall: self.elapsed().as_secs_f64(), cpu: cpu_seconds() - self.cpu }
    }

    /// The same without this thread's, which only gives others their work.
    pub fn round_of_others(&self, frames: u64) -> Round {
        let whole = self.round(frames);
        Round { cpu: (whole.cpu - (thread_cpu_seconds() - self.own_cpu)).max(0.0), ..whole }
    }
}

impl Tally {
    pub fn add(&mut self, round: Round) {
        if round.frames > 0 {
            self.rounds.push(round);
        }
    }

    pub fn sample(&mut self, time: Duration) {
        self.samples.push(time.as_secs_f64() * 1e3);
    }

    /// The share of a core that a part had which never waits: less than 1 where other programs were running.
    pub fn core_share(&self) -> f64 {
        let share = |round: &Round| round.cpu / round.wall.max(1e-9);
        median(self.rounds.iter().map(share).collect()).min(1.0)
    }

    pub fn timing(&mut self) -> Timing {
        let of = |value: fn(&Round) -> f64| median(self.rounds.iter().map(value).collect());
        Timing {
            frames: self.rounds.iter().map(|round| round.frames).sum(),
            frames_per_second: of(|round| round.frames as f64 / round.wall.max(1e-9)),
            cpu_ms: of(|round| round.cpu * 1e3 / round.frames as f64),
            ms: Percentiles::of(&mut self.samples),
        }
    }
}

/// The middle value, or the middle between the two; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_rounds_and_percentiles_are_of_single_times() {
        let mut tally = Tally::default();
        for (frames, wall, cpu) in [(10, 1.0, 0.5), (40, 2.0, 1.0), (0, 9.0, 9.0), (30, 1.0, 0.3)] {
            tally.add(Round { frames, wall, cpu });
        }
        for milliseconds in [3, 1, 2] {
            tally.sample(Duration::from_millis(milliseconds));
        }
        let timing = tally.timing();
        assert_eq!((timing.frames, timing.frames_per_second, timing.cpu_ms), (80, 20.0, 25.0));
        assert!((tally.core_share() - 0.5).abs() < 1e-12);
        assert_eq!(timing.ms, Some(Percentiles { p50: 2.0, p95: 3.0, p99: 3.0 }));
        assert_eq!(Tally::default().timing(), Timing::default());
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]).to_bits(), 0.0_f64.to_bits());
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
    }

    #[test]
    fn other_threads_time_is_told_apart() {
        let watch = Watch::begin();
        let spin = || {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(40) {
                std::hint::spin_loop();
            }
        };
        spin();
        std::thread::spawn(spin).join().unwrap();
        let (all, others) = (watch.round(1).cpu, watch.round_of_others(1).cpu);
        assert!(others > 0.0 && all - others > 0.015, "{all} {others}");
    }
}

//! Whether one thread is enough, measured while decoding goes on.
//!
//! Several threads of FFmpeg's give frames sooner, and cost more for each. Where frames are used more slowly than one thread decodes
//! them, or all cores are busy anyway, one thread is the better choice.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::decode::Cores;

/// What is measured for less says little.
const LEAST: Duration = Duration::from_millis(250);

/// The share of the time spent waiting for frames above which one thread is too slow.
const STARVED: f64 = 0.5;

/// And below which several are more than is needed.
const SATED: f64 = 0.3;

/// The share of the cores' time above which more threads would only be in the way.
const BUSY: f64 = 0.8;

pub(super) struct Balance {
    one_thread: bool,
    /// Whether there is anything to choose.
    fixed: bool,
    began: Instant,
    cpu: Duration,
    inside: Duration,
    entered: Instant,
}

impl Balance {
    pub fn new(cores: Cores, threads: usize) -> Self {
        let now = Instant::now();
        Self {
            one_thread: cores == Cores::Shared,
            fixed: threads == 1,
            began: now,
            cpu: cpu_time(),
            inside: Duration::ZERO,
            entered: now,
        }
    }

    pub fn prefers_one_thread(&self) -> bool {
        self.one_thread
    }

    /// Somebody waits for a frame.
    pub fn begin(&mut self) {
        self.entered = Instant::now();
        if self.inside.is_zero() {
            (self.began, self.cpu) = (self.entered, cpu_time());
        }
    }

    /// And has got it.
    pub fn end(&mut self) {
        self.inside += self.entered.elapsed();
    }

    /// Thinks it over, by what was measured since the last time. To be called while somebody waits.
    pub fn review(&mut self) {
        let (now, cpu) = (Instant::now(), cpu_time());
        let wall = now - self.began;
        if self.fixed || wall < LEAST {
            return;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let waited = (self.inside + (now - self.entered)).as_secs_f64() / wall.as_secs_f64();
        let busy = cpu.saturating_sub(self.cpu).as_secs_f64() / wall.as_secs_f64() / cores as f64;
        let one_thread = one_is_enough(self.one_thread, waited, busy);
        tracing::debug!(waited, busy, one_thread, "decoder threads");
        (self.one_thread, self.began, self.cpu) = (one_thread, now, cpu);
        (self.inside, self.entered) = (Duration::ZERO, now);
    }
}

/// Of one thread or several: whether one is to go on, by the share of the time that frames were waited for, and that cores were busy.
fn one_is_enough(one_thread: bool, waited: f64, busy: f64) -> bool {
    if one_thread { waited < STARVED || busy > BUSY } else { waited < SATED }
}

/// What all threads of this process have used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_threads_only_for_who_waits_while_cores_are_idle() {
        assert!(one_is_enough(true, 0.1, 0.5), "frames are there in time");
        assert!(one_is_enough(true, 0.7, 0.95), "no core is idle");
        assert!(!one_is_enough(true, 0.9, 0.6));
        assert!(!one_is_enough(false, 0.9, 0.95), "what was too slow is not tried again and again");
        assert!(one_is_enough(false, 0.2, 0.9));
    }

    #[test]
    fn a_set_number_of_threads_stays() {
        let mut balance = Balance::new(Cores::Shared, 1);
        balance.began -= Duration::from_secs(9);
        (balance.inside, balance.entered) = (Duration::from_secs(9), Instant::now());
        balance.review();
        assert!(balance.prefers_one_thread());
    }

    #[test]
    fn who_waits_gets_more() {
        let mut balance = Balance::new(Cores::Shared, 4);
        balance.review();
        assert!(balance.prefers_one_thread(), "too early to say");
        balance.began -= Duration::from_secs(9);
        balance.inside = Duration::from_secs(9);
        balance.review();
        assert!(!balance.prefers_one_thread());
    }
}

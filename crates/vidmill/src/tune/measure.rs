//! How fast a setting is: the engine itself runs, from the decoder to the record, for a slice of time.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Setting;
use crate::error::RunError;
use crate::options::{Options, Tuning};
use crate::outputs::OutputOptions;
use crate::progress::{Progress, Stop};
use crate::record::{Outcome, Record};
use crate::run::run_with;
use crate::sink::{Format, NOWHERE};
use crate::usage::cpu_seconds;

/// How fast frames come out, once they flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub frames_per_second: f64,
    pub cpu_ms_per_frame: f64,
    /// The share of frames that failed.
    pub failed: f64,
}

/// Sources are read again and again until the time is over, but not more often than this.
const ROUNDS: usize = 500;

/// Runs `options` with `setting` for `slice`, and some frames before to warm up.
pub(super) fn measure(
    options: &Options,
    setting: &Setting,
    slice: Duration,
    stop: &Stop,
) -> Result<Rate, RunError> {
    let options = of_trial(options, setting);
    let (enough, watch) = (stop.part(), Rc::new(RefCell::new(Watch::new(setting))));
    let tap = {
        let (enough, watch) = (enough.clone(), Rc::clone(&watch));
        move |record: &Record| {
            if watch.borrow_mut().see(record) >= slice {
                enough.ask();
            }
        }
    };
    run_with(&options, &enough, &Arc::new(Progress::default()), tap)?;
    if stop.is_asked() {
        return Err(RunError::Interrupted);
    }
    watch.take().rate()
}

/// The same run with this setting, without outputs.
fn of_trial(options: &Options, setting: &Setting) -> Options {
    let mut trial = options.clone();
    setting.put_into(&mut trial);
    trial.sources = options.sources.iter().cycle().take(options.sources.len() * ROUNDS).cloned().collect();
    trial.output =
        OutputOptions { out: PathBuf::from(NOWHERE), annotate: None, folder_format: Format::Jsonl };
    (trial.track, trial.then, trial.isolate) = (None, None, None);
    (trial.resume, trial.tuning) = (false, Tuning::Ignore);
    trial
}

/// Counts records and time.
#[derive(Default)]
struct Watch {
    /// Records that go by before the clock starts: what fills caches and pipes.
    warm_up: u64,
    seen: u64,
    begin: Option<(Instant, f64)>,
    end: Option<(Instant, f64)>,
    failed: u64,
}

impl Watch {
    fn new(setting: &Setting) -> Self {
        Self { warm_up: (2 * setting.workers * setting.batch + 4) as u64, ..Self::default() }
    }

    /// Time on the clock.
    fn see(&mut self, record: &Record) -> Duration {
        self.seen += 1;
        self.failed += u64::from(matches!(record.outcome, Outcome::Failed { .. }));
        let now = (Instant::now(), cpu_seconds());
        if self.seen < self.warm_up {
            return Duration::ZERO;
        }
        self.end = Some(now);
        now.0.duration_since(self.begin.get_or_insert(now).0)
    }

    fn rate(self) -> Result<Rate, RunError> {
        let frames = self.seen.saturating_sub(self.warm_up) as f64;
        match self.begin.zip(self.end) {
            Some(((begin, cpu_begin), (end, cpu_end))) if frames > 0.0 => Ok(Rate {
                frames_per_second: frames / end.duration_since(begin).as_secs_f64().max(1e-9),
                cpu_ms_per_frame: (cpu_end - cpu_begin) * 1e3 / frames,
                failed: self.failed as f64 / self.seen as f64,
            }),
            _ => Err(RunError::Tune(format!(
                "the source gives only {} frames, too few to measure: give a longer one",
                self.seen
            ))),
        }
    }
}

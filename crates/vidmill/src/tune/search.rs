//! Which settings are tried, in which order.

use std::time::{Duration, Instant};

use vidmill_infer::runtime::{onnxruntime, openvino};
use vidmill_infer::{Batch, Device, LoadOptions, Model, Precision};

use super::{Agreement, Bench, Request, Setting, Trial, measure, samples};
use crate::error::RunError;
use crate::progress::Stop;

/// Shares of the budget: for the search, and for running the fastest once more.
const SEARCH: f64 = 0.65;
/// So many run once more, so often.
const FINALISTS: usize = 3;
const FINAL_ROUNDS: u32 = 2;
/// About how many settings are tried.
const TRIALS: f64 = 12.0;
/// The shortest and the longest slice of time for one.
const SLICE: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(8)];
/// Runtimes and precisions that are slower than this share of the fastest are not looked into further.
const NEAR: f64 = 0.7;
/// Faster by less than this is no reason to prefer a setting to one that was tried before: the order is from the plain to the
/// elaborate.
const MARGIN: f64 = 1.02;
/// What share of frames more than usual may fail, since not all trials see the same frames.
const MORE_FAILURES: f64 = 0.02;
const BATCHES_ON_CPU: [usize; 3] = [2, 4, 8];
const BATCHES_ON_GPU: [usize; 4] = [1, 4, 16, 32];

/// The devices that may be worth a try on this machine.
pub fn devices(load: &LoadOptions) -> Vec<Device> {
    if load.device != Device::Auto {
        return vec![load.device];
    }
    let has_openvino = openvino::load(load.openvino_library.as_deref()).is_ok();
    let has_cuda = onnxruntime::load(load.runtime_library.as_deref())
        .is_ok_and(|(_, providers)| providers.iter().any(|name| name.starts_with("CUDA")));
    let others = [(Device::OpenVino, has_openvino), (Device::Cuda(0), has_cuda)];
    let others = others.into_iter().filter(|(_, is_here)| *is_here).map(|(device, _)| device);
    std::iter::once(Device::Cpu).chain(others).collect()
}

/// The search under way.
pub(super) struct Search<'a> {
    bench: &'a Bench,
    begin: Instant,
    end: Instant,
    stop: &'a Stop,
    tell: &'a mut dyn FnMut(&Trial),
    trials: Vec<Trial>,
    /// The share of frames that fail whatever the setting.
    usual_failures: Option<f64>,
    cut_short: bool,
}

impl<'a> Search<'a> {
    pub fn new(bench: &'a Bench, end: Instant, stop: &'a Stop, tell: &'a mut dyn FnMut(&Trial)) -> Self {
        Self {
            bench,
            begin: Instant::now(),
            end,
            stop,
            tell,
            trials: Vec::new(),
            usual_failures: None,
            cut_short: false,
        }
    }

    /// Tries what is to be tried.
    pub fn run(&mut self, request: &Request) -> Result<(), RunError> {
        // Whatever else is asked for: without it, nobody could tell the gain.
        self.try_out(usual(self.bench.usual, Precision::Auto))?;
        for &device in &request.devices {
            for &precision in &request.precisions {
                self.try_out(usual(device, precision))?;
            }
        }
        for setting in self.near_the_fastest() {
            for (workers, threads) in sharings(setting.device) {
                self.try_out(Setting { workers, threads, ..setting.clone() })?;
            }
        }
        if self.bench.plan.batch() == Batch::Dynamic
            && let Some(best) = self.best().map(|at| self.trials[at].setting.clone())
        {
            let batches: &[usize] = if is_cpu(best.device) { &BATCHES_ON_CPU } else { &BATCHES_ON_GPU };
            for &batch in batches {
                self.try_out(Setting { batch, ..best.clone() })?;
            }
        }
        self.run_finalists()
    }

    /// All trials, the best of them, and whether the time was over before the end.
    pub fn end(self) -> (Vec<Trial>, Option<usize>, bool) {
        let best = self.best();
        (self.trials, best, self.cut_short)
    }

    /// Tries a setting, unless it has been, or the time is over.
    fn try_out(&mut self, setting: Setting) -> Result<(), RunError> {
        let setting = match self.bench.plan.batch() {
            Batch::Fixed(batch) => Setting { batch, ..setting },
            Batch::Dynamic => setting,
        };
        if self.trials.iter().any(|trial| trial.setting == setting) {
            return Ok(());
        }
        let search = self.end.duration_since(self.begin).mul_f64(SEARCH);
        if !self.trials.is_empty() && self.begin.elapsed() > search {
            self.cut_short = true;
            return Ok(());
        }
        let trial = self.trial(setting, search.div_f64(TRIALS).clamp(SLICE[0], SLICE[1]))?;
        (self.tell)(&trial);
        self.trials.push(trial);
        Ok(())
    }

    fn trial(&mut self, setting: Setting, slice: Duration) -> Result<Trial, RunError> {
        if self.stop.is_asked() {
            return Err(RunError::Interrupted);
        }
        let Bench { run, load, plan, samples, reference, .. } = self.bench;
        let Setting { device, precision, threads, .. } = setting;
        let load = LoadOptions { device, precision, threads, ..load.clone() };
        let mut trial = Trial {
            runtime: String::new(),
            precision: precision.to_string(),
            setting,
            frames_per_second: None,
            cpu_ms_per_frame: None,
            agreement: None,
            refused: None,
        };
        let results = Model::open(&run.model, &load).map_err(|error| error.to_string()).and_then(|model| {
            let runtime = model.runtime();
            trial.runtime = format!("{} {}", runtime.name, runtime.version);
            trial.precision.clone_from(&runtime.precision);
            samples::run(&model, plan, trial.setting.batch, samples)?
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
        });
        let results = match results {
            Ok(results) => results,
            Err(reason) => {
                trial.refused = Some(reason);
                return Ok(trial);
            }
        };
        let agreement = Agreement::of(reference, &results, plan.conf());
        trial.agreement = Some(agreement);
        match measure::measure(run, &trial.setting, slice, self.stop) {
            Err(error @ RunError::Interrupted) => return Err(error),
            Err(error) => trial.refused = Some(error.to_string()),
            Ok(rate) => {
                trial.set(rate);
                let usual = self.usual_failures.get_or_insert(rate.failed);
                if rate.failed > *usual + MORE_FAILURES {
                    trial.refused = Some(format!("{:.0} % of the frames fail", rate.failed * 100.0));
                }
            }
        }
        if !agreement.is_enough() {
            trial.refused = Some("its results differ".to_owned());
        }
        Ok(trial)
    }

    /// The trials whose settings can be used, with their frames per second.
    fn usable(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let usable = self.trials.iter().enumerate().filter(|(_, trial)| trial.refused.is_none());
        usable.filter_map(|(at, trial)| Some((at, trial.frames_per_second?)))
    }

    /// The same, the fastest first.
    fn ranked(&self) -> Vec<(usize, f64)> {
        let mut ranked: Vec<_> = self.usable().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }

    /// The fastest of those that can be used.
    fn best(&self) -> Option<usize> {
        let best = self.usable().reduce(|best, next| if next.1 > best.1 * MARGIN { next } else { best });
        best.map(|(at, _)| at)
    }

    /// The setting of each runtime and precision that is not far behind the fastest.
    fn near_the_fastest(&self) -> Vec<Setting> {
        let ranked = self.ranked();
        let fastest = ranked.first().map_or(0.0, |(_, rate)| *rate);
        let near = ranked.into_iter().take_while(|(_, rate)| *rate >= NEAR * fastest);
        near.map(|(at, _)| self.trials[at].setting.clone()).collect()
    }

    /// Runs the fastest and what runs without tuning once more, in turns, and takes the mean: what was measured at different times
    /// on a machine with other things to do cannot be compared.
    fn run_finalists(&mut self) -> Result<(), RunError> {
        let ranked = self.ranked();
        let mut finalists: Vec<usize> = ranked.iter().take(FINALISTS).map(|(at, _)| *at).collect();
        if !finalists.contains(&0) && ranked.iter().any(|(at, _)| *at == 0) {
            finalists.push(0);
        }
        if finalists.len() < 2 {
            return Ok(());
        }
        let left = self.end.saturating_duration_since(Instant::now());
        let runs = finalists.len() as u32 * FINAL_ROUNDS;
        let slice = (left / runs).mul_f64(0.8).clamp(SLICE[0], SLICE[1]);
        let mut sums = vec![(0.0, 0.0); finalists.len()];
        for _ in 0..FINAL_ROUNDS {
            for (sum, &at) in sums.iter_mut().zip(&finalists) {
                let rate = measure::measure(&self.bench.run, &self.trials[at].setting, slice, self.stop)?;
                sum.0 += rate.frames_per_second;
                sum.1 += rate.cpu_ms_per_frame;
            }
        }
        let rounds = f64::from(FINAL_ROUNDS);
        for ((frames, cpu), at) in sums.into_iter().zip(finalists) {
            let trial = &mut self.trials[at];
            trial.frames_per_second = Some(frames / rounds);
            trial.cpu_ms_per_frame = Some(cpu / rounds);
        }
        Ok(())
    }
}

impl Trial {
    fn set(&mut self, rate: measure::Rate) {
        self.frames_per_second = Some(rate.frames_per_second);
        self.cpu_ms_per_frame = Some(rate.cpu_ms_per_frame);
    }
}

fn is_cpu(device: Device) -> bool {
    matches!(device, Device::Cpu | Device::OpenVino)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What runs on a device without tuning; see [`crate::Parallelism`].
fn usual(device: Device, precision: Precision) -> Setting {
    let (workers, batch) = if is_cpu(device) { (cores(), 1) } else { (1, 8) };
    Setting { device, precision, workers, threads: 1, batch }
}

/// Other ways to share the cores among workers: fewer of more threads each, one less so that the decoder has a core, one more so that
/// none is idle between two batches.
fn sharings(device: Device) -> Vec<(usize, usize)> {
    let cores = cores();
    if !is_cpu(device) {
        return vec![(2, 1)];
    }
    let wide = [2, 4, cores].into_iter().filter(|threads| *threads > 1 && *threads <= cores);
    let wide = wide.map(|threads| (cores.div_ceil(threads), threads));
    let mut all: Vec<(usize, usize)> =
        wide.chain([(cores + 1, 1)]).chain((cores > 1).then_some((cores - 1, 1))).collect();
    all.sort_unstable();
    all.dedup();
    all
}

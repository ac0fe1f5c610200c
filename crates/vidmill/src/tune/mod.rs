//! Finds the fastest way to run a model on this machine: runtime, precision, workers, threads and batch.
//!
//! In: what a run is asked to do. Out: a [`Report`] of everything that was tried, which is kept ([`Tuned::keep`]) and put into later
//! runs ([`crate::Tuning`]).
//!
//! Every setting is run on the same frames as the reference (the model's own precision, on the default device), and must give the
//! same results ([`Agreement`]); then the engine itself runs with it for a slice of time, decoder and all, since
//! what a session does to the decoder's cores counts as much as its own speed. The search goes from the coarse to the fine: first
//! runtimes and precisions, then the sharing of cores among workers and threads, then batches; what is fastest runs once more in
//! turns before it is believed.

mod agree;
mod apply;
mod measure;
mod samples;
mod search;
mod store;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vidmill_infer::{Cards, Device, LoadOptions, Model, Precision, TaskPlan};

use crate::bench::clip::{self, Clip};
use crate::error::RunError;
use crate::options::Options;
use crate::progress::Stop;
use crate::source;

pub use agree::Agreement;
pub(crate) use apply::applied;
pub use apply::find_or_tune;
pub use search::devices;
pub use store::{CACHE_VARIABLE, Key, Machine, Tuned};

use samples::{Outcome, Sample};
use search::Search;

/// What is to be tuned.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run that is to be fast. Its sources are what settings are measured on, a generated clip where there are none; its outputs
    /// are not touched.
    pub run: Options,
    /// Where the model may run. See [`devices`].
    pub devices: Vec<Device>,
    /// The precisions that may be used; [`Precision::Auto`] is the model's own.
    pub precisions: Vec<Precision>,
    /// About how long it may take.
    pub budget: Duration,
}

/// A way to run a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The device asked for, which names the runtime as well.
    pub device: Device,
    /// The precision asked for; [`Precision::Auto`] is the model's own.
    pub precision: Precision,
    /// Workers, each with its own session.
    pub workers: usize,
    /// Threads of each session.
    pub threads: usize,
    /// Frames in one call of the model.
    pub batch: usize,
}

/// One setting, and how it did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// What was tried.
    pub setting: Setting,
    /// The runtime with its version, such as "onnxruntime 1.32.0".
    pub runtime: String,
    /// The precision that really ran.
    pub precision: String,
    /// Frames per second, from the decoder to the record; null where it could not be used.
    pub frames_per_second: Option<f64>,
    /// CPU time of the whole process for a frame; null where it could not be used.
    pub cpu_ms_per_frame: Option<f64>,
    /// How far its results are those of the reference; null where it gave none.
    pub agreement: Option<Agreement>,
    /// Why it cannot be used; null where it can.
    pub refused: Option<String>,
}

/// Everything that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What settings were measured on.
    pub sources: Vec<String>,
    /// Frames that results were compared on.
    pub samples: usize,
    /// In the order in which they were tried; the first is what runs without tuning.
    pub trials: Vec<Trial>,
    /// Which of `trials` is fastest, with results that are the same; null where none can be used.
    pub best: Option<usize>,
    /// Whether the time was over before all had been tried.
    pub cut_short: bool,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Setting {
    /// Has a run use it.
    pub(crate) fn put_into(&self, options: &mut Options) {
        let count = |count: usize| std::num::NonZeroUsize::new(count);
        let load = &mut options.load;
        (load.device, load.precision, load.threads) = (self.device, self.precision, self.threads);
        (options.workers, options.batch) = (count(self.workers), count(self.batch));
    }
}

impl Report {
    /// The fastest of those whose results are the same.
    pub fn best(&self) -> Option<&Trial> {
        self.trials.get(self.best?)
    }

    /// What runs without tuning.
    pub fn untuned(&self) -> Option<&Trial> {
        self.trials.first()
    }

    /// How many times as many frames the best setting runs as what runs without tuning.
    pub fn gain(&self) -> Option<f64> {
        Some(self.best()?.frames_per_second? / self.untuned()?.frames_per_second?)
    }
}

/// Tries settings until the best is found or the time is over. `tell` hears of each trial when it is done.
///
/// # Errors
/// When the model or the source cannot be used at all, and when it is asked to stop ([`RunError::Interrupted`]). A setting that cannot
/// be used is no error; it is told in the report.
pub fn tune(request: &Request, stop: &Stop, tell: &mut dyn FnMut(&Trial)) -> Result<Tuned, RunError> {
    if crate::predictor::runs_in_python(&request.run.model) {
        let model = request.run.model.display();
        return Err(RunError::Tune(format!(
            "{model} runs in Python, as its author has it: only ONNX models are tuned"
        )));
    }
    let begin = Instant::now();
    let clip = request.run.sources.is_empty().then(|| Clip::generate(stop)).transpose()?;
    let mut run = request.run.clone();
    run.sources.extend(clip.as_ref().map(Clip::path));
    let bench = Bench::prepare(run, stop)?;
    let mut search = Search::new(&bench, begin + request.budget, stop, tell);
    search.run(request)?;
    let (trials, best, cut_short) = search.end();
    let report = Report {
        sources: if clip.is_some() { vec![clip::WHAT.to_owned()] } else { request.run.sources.clone() },
        samples: bench.samples.len(),
        trials,
        best,
        cut_short,
        seconds: begin.elapsed().as_secs_f64(),
    };
    Ok(Tuned { key: Key::of(bench.model_sha256), report })
}

/// What every setting is tried on.
struct Bench {
    run: Options,
    /// With all that a setting does not decide.
    load: LoadOptions,
    plan: TaskPlan,
    samples: Vec<Sample>,
    reference: Vec<Outcome>,
    model_sha256: String,
    /// The device that runs without tuning.
    usual: Device,
}

impl Bench {
    fn prepare(run: Options, stop: &Stop) -> Result<Self, RunError> {
        let cards = Cards::find(&run.model, run.card.as_deref())?;
        let load = LoadOptions {
            device: Device::Auto,
            precision: Precision::Auto,
            threads: 1,
            cards,
            ..run.load.clone()
        };
        let model = Model::open(&run.model, &load)?;
        let plan = TaskPlan::recognise(model.info(), &run.task)?;
        let usual = if model.runtime().is_on_cpu() { Device::Cpu } else { Device::Cuda(0) };
        let samples = samples::take(&source::resolve(&run.sources)?, run.sampling, &plan, stop)?;
        let outcomes = samples::run(&model, &plan, 1, &samples).map_err(RunError::Tune)?;
        // Frames that fail anyway say nothing about settings.
        let error = outcomes.iter().find_map(|outcome| outcome.as_ref().err().cloned());
        let usable = samples.into_iter().zip(outcomes).filter_map(|(sample, of)| Some((sample, of.ok()?)));
        let (samples, reference): (Vec<_>, Vec<_>) = usable.unzip();
        if let Some(error) = error.filter(|_| samples.is_empty()) {
            return Err(RunError::Tune(format!("the model fails on all frames: {error}")));
        }
        let model_sha256 = model.info().sha256.clone();
        Ok(Self { run, load, plan, samples, reference, model_sha256, usual })
    }
}

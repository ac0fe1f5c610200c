//! The whole story: frames go from sources through the model into records, and every one of them is accounted for.
//!
//! One thread reads ([`crate::feed`]): for each frame, the sampler takes it or the ledger counts it as skipped; a slot
//! is acquired, which waits while none is free; preprocessing fills it; the executor gets it. Workers run the model.
//! The calling thread keeps the books: verdicts are put in order, become records, and go to the sinks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use vidmill_infer::{Cards, Device, LoadOptions, ModelInfo, Task, TaskPlan};
use vidmill_video::DecodeOptions;

use crate::books::{Books, Reading};
use crate::engine::Engine;
use crate::error::RunError;
use crate::feed::{Feeder, line};
use crate::manifest::{Manifest, Parallelism};
use crate::options::Options;
use crate::outputs::{self, Outputs, Tap};
use crate::predictor;
use crate::progress::{Progress, Stop};
use crate::record::Record;
use crate::resume::{self, Resumed};
use crate::sink::Format;
use crate::source::reader::Reader;
use crate::source::{self, Source};
use crate::stage::Clocks;
use crate::track::Following;
use crate::usage::Meter;

/// Runs the model over the sources. Returns when every record is written and all outputs are closed, or with the
/// reason why that could not be. A frame that fails is not an error; it is in the [`Manifest`]'s ledger.
pub fn run(options: &Options, stop: &Stop, progress: &Arc<Progress>) -> Result<Manifest, RunError> {
    run_tapped(options, stop, progress, None)
}

/// As [`run()`], and `tap` is given every record when it has been written, in the same order, on the calling thread. While it does
/// not return, the run waits, with no more in memory than otherwise. Records that [`Options::resume`] finds done do not come by.
pub fn run_with(
    options: &Options,
    stop: &Stop,
    progress: &Arc<Progress>,
    tap: impl FnMut(&Record) + 'static,
) -> Result<Manifest, RunError> {
    run_tapped(options, stop, progress, Some(Box::new(tap)))
}

fn run_tapped(
    options: &Options,
    stop: &Stop,
    progress: &Arc<Progress>,
    tap: Option<Tap>,
) -> Result<Manifest, RunError> {
    let begin = Instant::now();
    check_track(options)?;
    let options = &*options.for_tracker();
    let clocks = Arc::new(Clocks::default());
    let sources = source::resolve(&options.sources)?;
    if options.resume {
        resume::check(&options.output.out, &sources)?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);

    let cards = Cards::find(&predictor::parts_of(&options.model).0, options.card.as_deref())?;
    let load = LoadOptions { cards, ..session_threads(&options.load) };
    let engine = Engine::open(options, &load, cores, stop)?;
    let model = engine.description();
    let plan = Arc::new(TaskPlan::recognise(&model.info, &options.task)?);
    if options.track.is_some() && !gives_boxes(&plan) {
        return Err(RunError::NothingToTrack(plan.task().to_string()));
    }
    let on_cpu = model.runtime.is_on_cpu();
    let choice = Parallelism::choose(options, load.threads, &plan, on_cpu, cores, engine.launched())?;
    let decode = DecodeOptions { threads: choice.decode_threads, ..DecodeOptions::default() };

    let outputs = outputs::Plan::new(&options.output, &sources, &read_beside(options, &model.info))?;
    let key = resume::key(options, model, &plan, &choice, &sources);
    let resumed = match options.resume {
        true => Resumed::find(&outputs, &sources, &key)?,
        false => Resumed::nothing(sources.len()),
    };
    let class = predictor::parts_of(&options.model).1;
    let track = options.track.clone();
    let mut manifest = Manifest::begun(&options.command, class, model, &plan, track, choice, key);
    if resumed.is_finished {
        outputs.clear()?;
        manifest.take_over_all(resumed);
        return Ok(manifest);
    }
    let resumed = Arc::new(resumed);
    let first = open_first(&sources, &resumed, &decode)?;
    let slots = engine.slots(&choice)?;
    let (line, line_end) = line(choice.window());
    let meter = Meter { begin, clocks: Arc::clone(&clocks), workers: engine.usage() };
    let executor = engine.start(&choice, &plan, &slots, plan.thresholds().max_det, &clocks, &line)?;
    let class_names: Arc<[String]> = class_names(&plan);
    let outputs = Outputs::open(
        outputs,
        Arc::clone(&resumed),
        class_names,
        plan.skeleton().into(),
        Arc::clone(&clocks),
        tap,
    )?;

    let keep_frames = outputs.wants_frames();
    let following = Following::of(options, &plan);
    let books =
        Books::new(manifest, outputs, &plan, following, meter, Arc::clone(progress), Arc::clone(&resumed));
    let feeder = Feeder {
        first,
        sampling: options.sampling,
        decode,
        spec: plan.spec().clone(),
        batch: choice.batch,
        keep_frames,
        slots,
        executor,
        line,
        clocks,
        progress: Arc::clone(progress),
        stop: stop.clone(),
        sources,
        resumed,
        filling: None,
    };
    let reader = std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || feeder.feed())
        .map_err(|e| RunError::Thread(format!("cannot start the reader thread: {e}")))?;
    let (result, reading) = books.keep(&line_end, stop);
    if reading == Reading::Ended && reader.join().is_err() {
        return Err(RunError::Thread("the reader thread panicked; please report this as a bug".into()));
    }
    result
}

/// Files that are read beside the sources: lists of them, too.
fn read_beside(options: &Options, model: &ModelInfo) -> Vec<PathBuf> {
    let named = [Some(predictor::parts_of(&options.model).0), options.task.labels.clone()];
    let beside = model.data.iter().map(PathBuf::as_path).chain(model.cards.paths()).map(PathBuf::from);
    let lists = options.sources.iter().map(PathBuf::from);
    named.into_iter().flatten().chain(beside).chain(lists).collect()
}

/// Settings that can be used, and a tracker where its results are to be written.
fn check_track(options: &Options) -> Result<(), RunError> {
    match &options.track {
        Some(settings) => Ok(settings.check()?),
        None if Format::of(&options.output.out).is_ok_and(|format| format == Format::Mot) => {
            Err(RunError::MotWithoutTracker(options.output.out.clone()))
        }
        None if options.output.folder_format == Format::Mot => {
            Err(RunError::MotWithoutTracker("--format mot".into()))
        }
        None => Ok(()),
    }
}

/// Whether there is something to track: a model in Python may give boxes beside whatever else it gives.
fn gives_boxes(plan: &TaskPlan) -> bool {
    match plan.task() {
        Task::Classify | Task::Semantic | Task::ReadText | Task::Embed => false,
        Task::Detect | Task::Segment | Task::Pose | Task::Obb | Task::FindText | Task::Outputs => true,
    }
}

/// Names in the order of their class numbers.
fn class_names(plan: &TaskPlan) -> Arc<[String]> {
    let count = plan.labels().iter().map(|(id, _)| id + 1).max().unwrap_or(0);
    (0..count).map(|id| plan.labels().name(id).into_owned()).collect()
}

/// On a CPU each session has one thread unless the user says otherwise: the cores are shared out among sessions.
fn session_threads(load: &LoadOptions) -> LoadOptions {
    let threads =
        if load.threads == 0 && matches!(load.device, Device::Auto | Device::Cpu) { 1 } else { load.threads };
    LoadOptions { threads, ..load.clone() }
}

/// Opens the first source that is to be read before any output is touched. When it is the only one and cannot be read, there is
/// nothing to do; when there are others, it gets its place in the manifest like any of them.
fn open_first(
    sources: &[Source],
    resumed: &Resumed,
    decode: &DecodeOptions,
) -> Result<Option<Reader>, RunError> {
    let mut to_read = sources.iter().enumerate().filter(|(number, _)| !resumed.is_done(*number));
    match to_read.next().map(|(_, source)| source).map(|source| Reader::open(source, decode)) {
        Some(Err(error)) if sources.len() == 1 => Err(RunError::Unreadable(error)),
        first => Ok(first.and_then(Result::ok)),
    }
}

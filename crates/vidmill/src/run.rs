//! The whole story: frames go from sources through the model into records, and every one of them is accounted for.
//!
//! One thread reads ([`crate::feed`]): for each frame, the sampler takes it or the ledger counts it as skipped; a slot
//! is acquired, which waits while none is free; preprocessing fills it; the executor gets it. Workers run the model.
//! Where several sources are read at once, each has a thread that decodes ahead of its turn ([`crate::ahead`]).
//! Where a second model follows, another thread cuts out what was found, for it ([`crate::cascade`]).
//! The calling thread keeps the books: verdicts are put in order, become records, and go to the sinks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;
use vidmill_infer::{Description, Task, TaskPlan};
use vidmill_video::{Cores, DecodeOptions};

use crate::books::{Books, Names, Reading};
use crate::cascade::{self, Job, Second};
use crate::error::RunError;
use crate::feed::{Event, Feeder, Line, line};
use crate::loaded::Loaded;
use crate::manifest::Manifest;
use crate::options::{Options, Part, Tuning};
use crate::outputs::{self, Outputs, Tap};
use crate::predictor;
use crate::progress::{Progress, Stop};
use crate::record::Record;
use crate::resume::{self, Resumed};
use crate::sink::Format;
use crate::source::reader::Reader;
use crate::source::reading::Means;
use crate::source::{self, Source};
use crate::stage::{Clocks, ModelClocks};
use crate::track::Following;
use crate::tune;
use crate::turns::Turns;
use crate::usage::Meter;
use crate::worker::{Ticket, Verdict, empties};

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
    let options = &*tune::applied(options, stop)?;
    let options = &*options.for_tracker();
    let clocks = Arc::new(Clocks::default());
    let sources = source::resolve(&options.sources)?;
    if options.resume {
        resume::check(&options.output.out, &sources)?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);

    let loaded = Loaded::<Ticket>::load(options.part(), cores, stop)?;
    if options.track.is_some() && !gives_boxes(&loaded.plan) {
        return Err(RunError::NothingToTrack(loaded.plan.task().to_string()));
    }
    let model = loaded.engine.description();
    let on_cpu = model.runtime.is_on_cpu();
    let then = cascade::second(options, model)?;
    let second = then.map(|then| Second::load(&then, &loaded.plan, cores, stop)).transpose()?;
    let at_once = options.at_once.get().min(sources.len());
    let (plan, choice) = (Arc::clone(&loaded.plan), loaded.choice.shared_out(at_once, cores));
    let decode = DecodeOptions {
        threads: choice.decode_threads,
        cores: if on_cpu { Cores::Shared } else { Cores::Free },
        ..DecodeOptions::default()
    };

    let outputs =
        outputs::Plan::new(&options.output, &sources, &read_beside(options, model, second.as_ref()))?;
    let turns_in_output = outputs.shared().map(|_| at_once).filter(|at_once| *at_once > 1);
    let then_key = second.as_ref().map(Second::key);
    let key = resume::key(options, model, &plan, &choice, then_key, &sources, turns_in_output);
    let resumed = match options.resume {
        true => Resumed::find(&outputs, &sources, &key)?,
        false => Resumed::nothing(sources.len()),
    };
    let class = predictor::parts_of(&options.model).1;
    let track = options.track.clone();
    let mut manifest = Manifest::begun(&options.command, class, model, &plan, track, choice, key);
    manifest.tuned = options.tuning == Tuning::Done;
    manifest.then = second.as_ref().map(Second::entry);
    manifest.at_once = at_once;
    if resumed.is_finished {
        outputs.clear()?;
        manifest.take_over_all(resumed);
        return Ok(manifest);
    }
    let resumed = Arc::new(resumed);
    let turns = resumed.turns(at_once);
    let first = open_first(&sources, &turns, &decode)?;
    let window = choice.window() + second.as_ref().map_or(0, |second| second.loaded.choice.under_way());
    let (line, line_end) = line(window);
    let usages = [loaded.engine.usage(), second.as_ref().and_then(|second| second.loaded.engine.usage())];
    let workers = usages.into_iter().flatten().collect();
    let meter = Meter { begin, clocks: Arc::clone(&clocks), progress: Arc::clone(progress), workers };
    let second_plan = second.as_ref().map(|second| Arc::clone(&second.loaded.plan));
    let draws = outputs.wants_frames();
    let keep_frames = draws || second.is_some();
    let (take, cutting) = match second {
        None => (to_books(&line), None),
        Some(second) => {
            let (jobs, cutting) = second.start(window, &plan, draws, &clocks, &line)?;
            (to_cutting(jobs), Some(cutting))
        }
    };
    let (back, empties) = empties(window);
    let filler = loaded.start(ModelClocks::first(&clocks), empties, take)?;
    let class_names: Arc<[String]> = class_names(&plan);
    let outputs = Outputs::open(
        outputs,
        Arc::clone(&resumed),
        class_names,
        plan.skeleton().into(),
        Arc::clone(&clocks),
        tap,
    )?;

    let plans: Vec<_> = [Some(&*plan), second_plan.as_deref()].into_iter().flatten().collect();
    let names = Names::of_run(&plans, back);
    let following = Following::of(options, &plan);
    let books =
        Books::new(manifest, outputs, names, following, meter, Arc::clone(progress), Arc::clone(&resumed));
    let means = Means {
        sampling: options.sampling,
        decode,
        clocks,
        progress: Arc::clone(progress),
        stop: stop.clone(),
        resumed,
    };
    let feeder = Feeder {
        sources,
        turns,
        at_once,
        first,
        means,
        plan: Arc::clone(&plan),
        keep_frames,
        filler,
        line,
        open: BTreeMap::new(),
    };
    let reader = std::thread::Builder::new()
        .name("reader".into())
        .spawn(move || feeder.feed())
        .map_err(|e| RunError::Thread(format!("cannot start the reader thread: {e}")))?;
    let (result, reading) = books.keep(&line_end, stop);
    if reading == Reading::Ended {
        let threads = [Some(("reader", reader)), cutting.map(|thread| ("crops", thread))];
        for (name, thread) in threads.into_iter().flatten() {
            if thread.join().is_err() {
                return Err(RunError::Thread(format!(
                    "the {name} thread panicked; please report this as a bug"
                )));
            }
        }
    }
    result
}

/// A frame's verdict goes to who keeps the books.
fn to_books(line: &Line) -> Box<dyn Fn(Ticket, Verdict) + Send + Sync> {
    let events = line.events();
    Box::new(move |(place, item), verdict| {
        // Whoever keeps the books listens until the last worker is gone.
        let _ = events.send((place, Event::Frame { item, verdict }));
    })
}

/// A frame's verdict goes to who cuts its detections out.
fn to_cutting(jobs: Sender<Job>) -> Box<dyn Fn(Ticket, Verdict) + Send + Sync> {
    Box::new(move |ticket, verdict| {
        // It listens until the last worker of the first model is gone.
        let _ = jobs.send((ticket, verdict));
    })
}

/// Files that are read beside the sources: lists of them, too.
fn read_beside(options: &Options, model: &Description, second: Option<&Second>) -> Vec<PathBuf> {
    let of = |part: Part<'_>, model: &Description| {
        let named = [Some(predictor::parts_of(part.model).0), part.task.labels.clone()];
        let beside = model.info.data.iter().map(PathBuf::as_path).chain(model.info.cards.paths());
        named.into_iter().flatten().chain(beside.map(PathBuf::from)).collect::<Vec<_>>()
    };
    let second = second.map(|second| of(second.part(), second.loaded.engine.description()));
    let lists = options.sources.iter().map(PathBuf::from);
    of(options.part(), model).into_iter().chain(second.into_iter().flatten()).chain(lists).collect()
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

/// Opens the source that is to be read first before any output is touched. When it is the only one and cannot be read, there is
/// nothing to do; when there are others, it gets its place in the manifest like any of them.
fn open_first(sources: &[Source], turns: &Turns, decode: &DecodeOptions) -> Result<Option<Reader>, RunError> {
    match turns.next().and_then(|number| sources.get(number)).map(|source| Reader::open(source, decode)) {
        Some(Err(error)) if sources.len() == 1 => Err(RunError::Unreadable(error)),
        first => Ok(first.and_then(Result::ok)),
    }
}

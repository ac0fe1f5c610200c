//! What a run is asked to do, and the choices made for what was left open.

use std::borrow::Cow;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vidmill_infer::{Batch, LoadOptions, TaskOptions, TaskPlan};
use vidmill_pool::Program;

use crate::error::RunError;
use crate::manifest::Parallelism;
use crate::outputs::OutputOptions;
use crate::sample::Sampling;
use crate::track;

/// Everything that a run is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files, folders, globs, lists, URLs; see [`crate::source::resolve`].
    pub sources: Vec<String>,
    /// The model file; or, with `isolate`, whatever its program makes a model of (see [`crate::predictor`]).
    pub model: PathBuf,
    /// The model's card; `None` is the one beside it, if there is one (see [`vidmill_infer::Cards::find`]).
    pub card: Option<PathBuf>,
    /// Device, precision and threads of a session. Its `cards` are filled in by the run.
    pub load: LoadOptions,
    /// How outputs are read.
    pub task: TaskOptions,
    /// Follow objects from frame to frame; `None` does not.
    pub track: Option<track::Settings>,
    /// Which frames are processed.
    pub sampling: Sampling,
    /// Where results go.
    pub output: OutputOptions,
    /// Workers, each with its own session; `None` chooses.
    pub workers: Option<NonZeroUsize>,
    /// Frames in one call of the model; `None` chooses.
    pub batch: Option<NonZeroUsize>,
    /// Run the model in supervised worker processes; `None` runs it in threads of this process. Records are the same.
    pub isolate: Option<Isolation>,
    /// Sources that are read at the same time and take turns, a sampled frame each.
    pub at_once: NonZeroUsize,
    /// A second model, run on what the first one finds; `None` asks the first one's metadata for it (`vidmill.then`).
    pub then: Option<Then>,
    /// Go on where an earlier run of the same options stopped, with the same outputs as if it never had.
    pub resume: bool,
    /// What becomes of device, precision, workers, threads and batch where they are left open.
    pub tuning: Tuning,
    /// The command line, for the manifest.
    pub command: Vec<String>,
}

/// Whether a run uses what [`crate::tune`] found for its model on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tuning {
    /// No.
    #[default]
    Ignore,
    /// If there is something.
    Use,
    /// If there is nothing, it is found first, on the first source, which takes a minute.
    Find,
    /// It is in the options already.
    Done,
}

/// The second model of a cascade. It sees the detections of the first, each cut out of its frame.
#[derive(Clone, Debug)]
pub struct Then {
    /// The model file.
    pub model: PathBuf,
    /// Device, precision and threads of a session.
    pub load: LoadOptions,
    /// How outputs are read.
    pub task: TaskOptions,
    /// Only detections of these classes of the first model are passed on, by name or number; empty means all.
    pub classes: Vec<String>,
    /// Workers, each with its own session; `None` chooses.
    pub workers: Option<NonZeroUsize>,
    /// Crops in one call of the model; `None` chooses.
    pub batch: Option<NonZeroUsize>,
    /// As [`Options::isolate`].
    pub isolate: Option<Isolation>,
}

/// One model of a run, and how it is to be run.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub model: &'a Path,
    /// Its card, where one is named.
    pub card: Option<&'a Path>,
    pub load: &'a LoadOptions,
    pub task: &'a TaskOptions,
    pub workers: Option<NonZeroUsize>,
    pub batch: Option<NonZeroUsize>,
    pub isolate: Option<&'a Isolation>,
}

impl Options {
    pub(crate) fn part(&self) -> Part<'_> {
        let Self { model, card, load, task, workers, batch, isolate, .. } = self;
        Part {
            model,
            card: card.as_deref(),
            load,
            task,
            workers: *workers,
            batch: *batch,
            isolate: isolate.as_ref(),
        }
    }
}

impl Then {
    pub(crate) fn part(&self) -> Part<'_> {
        let Self { model, load, task, workers, batch, isolate, .. } = self;
        Part { model, card: None, load, task, workers: *workers, batch: *batch, isolate: isolate.as_ref() }
    }
}

/// How worker processes are run.
#[derive(Clone, Debug)]
pub struct Isolation {
    /// What they run; it calls [`crate::serve_worker`], or [`crate::serve_foreign`].
    pub program: Program,
    /// A worker that takes longer than this for a batch is killed.
    pub timeout: Option<Duration>,
    /// Bytes of memory of its own above which a worker is replaced; one that grows to half as much again is killed.
    pub memory_limit: Option<u64>,
    /// A worker is replaced after so many batches.
    pub recycle_after: Option<NonZeroU64>,
}

impl Options {
    /// The same, decoded as the tracker needs it: with weak detections, where it has a use for them.
    pub(crate) fn for_tracker(&self) -> Cow<'_, Self> {
        let least = self.track.as_ref().and_then(track::Settings::least_confidence);
        match least {
            Some(_) => {
                Cow::Owned(Self { task: TaskOptions { weaker: least, ..self.task.clone() }, ..self.clone() })
            }
            None => Cow::Borrowed(self),
        }
    }
}

impl Default for Isolation {
    /// This program, and two minutes for a batch.
    fn default() -> Self {
        let timeout = Some(Duration::from_secs(120));
        Self { program: Program::this(Vec::new()), timeout, memory_limit: None, recycle_after: None }
    }
}

impl Parallelism {
    /// Fills in what was left open, for a machine of `cores` cores.
    ///
    /// On a CPU one session of one thread a core beats one session of many threads, and batches gain nothing; the
    /// decoder shares the cores with the workers. On a GPU one session keeps it busy, and batches pay.
    pub(crate) fn choose(
        part: Part<'_>,
        threads: usize,
        plan: &TaskPlan,
        on_cpu: bool,
        cores: usize,
        launched: Option<usize>,
    ) -> Result<Self, RunError> {
        let asked = part.batch.map(NonZeroUsize::get);
        let batch = match plan.batch() {
            Batch::Fixed(fixed) => match asked {
                Some(asked) if asked != fixed => return Err(RunError::Batch { asked, fixed }),
                _ => fixed,
            },
            Batch::Dynamic => asked.unwrap_or(if on_cpu { 1 } else { 8 }),
        };
        let isolated = part.isolate.is_some();
        let sessions = if on_cpu { cores.div_ceil(threads.max(1)) } else { 1 };
        // Processes run already; nobody could say how many would be best before the model was known.
        let workers = launched.unwrap_or_else(|| part.workers.map_or(sessions, NonZeroUsize::get));
        Ok(Self {
            workers,
            batch,
            threads,
            decode_threads: cores.min(MOST_DECODE_THREADS),
            // In a process a batch waits beside the one that is being worked on.
            slots: if isolated { 2 * workers + 2 } else { workers + 2 },
            isolated,
            slot_bytes: batch.saturating_mul(plan.spec().item_bytes()),
        })
    }

    /// The same with the decoders' threads shared out among sources that are decoded at the same time.
    pub(crate) fn shared_out(self, at_once: usize, cores: usize) -> Self {
        let most = if at_once > 1 { (cores / at_once).max(1) } else { self.decode_threads };
        Self { decode_threads: self.decode_threads.min(most), ..self }
    }

    /// How many frames and other events may be under way at once.
    pub(crate) fn window(&self) -> usize {
        (self.slots + self.workers + 2) * self.batch
    }

    /// How many items keep it busy: those in slots.
    pub(crate) fn under_way(&self) -> usize {
        self.slots * self.batch
    }
}

/// More frame threads than this only hold more frames in memory.
const MOST_DECODE_THREADS: usize = 8;

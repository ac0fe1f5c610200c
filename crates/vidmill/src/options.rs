//! What a run is asked to do, and the choices made for what was left open.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use vidmill_infer::{Batch, LoadOptions, TaskOptions, TaskPlan};

use crate::error::RunError;
use crate::manifest::Parallelism;
use crate::outputs::OutputOptions;
use crate::sample::Sampling;

/// Everything that a run is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files, folders, globs, lists, URLs; see [`crate::source::resolve`].
    pub sources: Vec<String>,
    /// The model file.
    pub model: PathBuf,
    /// Device, precision and threads of a session.
    pub load: LoadOptions,
    /// How outputs are read.
    pub task: TaskOptions,
    /// Which frames are processed.
    pub sampling: Sampling,
    /// Where results go.
    pub output: OutputOptions,
    /// Workers, each with its own session; `None` chooses.
    pub workers: Option<NonZeroUsize>,
    /// Frames in one call of the model; `None` chooses.
    pub batch: Option<NonZeroUsize>,
    /// Go on where an earlier run of the same options stopped, with the same outputs as if it never had.
    pub resume: bool,
    /// The command line, for the manifest.
    pub command: Vec<String>,
}

impl Parallelism {
    /// Fills in what was left open, for a machine of `cores` cores.
    ///
    /// On a CPU one session of one thread a core beats one session of many threads, and batches gain nothing; the
    /// decoder shares the cores with the workers. On a GPU one session keeps it busy, and batches pay.
    pub(crate) fn choose(
        options: &Options,
        threads: usize,
        plan: &TaskPlan,
        on_cpu: bool,
        cores: usize,
    ) -> Result<Self, RunError> {
        let asked = options.batch.map(NonZeroUsize::get);
        let batch = match plan.batch() {
            Batch::Fixed(fixed) => match asked {
                Some(asked) if asked != fixed => return Err(RunError::Batch { asked, fixed }),
                _ => fixed,
            },
            Batch::Dynamic => asked.unwrap_or(if on_cpu { 1 } else { 8 }),
        };
        let sessions = if on_cpu { cores.div_ceil(threads.max(1)) } else { 1 };
        let workers = options.workers.map_or(sessions, NonZeroUsize::get);
        Ok(Self {
            workers,
            batch,
            threads,
            decode_threads: cores.min(MOST_DECODE_THREADS),
            slots: workers + 2,
            slot_bytes: batch.saturating_mul(plan.spec().item_bytes()),
        })
    }

    /// How many frames and other events may be under way at once.
    pub(crate) fn window(&self) -> usize {
        (self.slots + self.workers + 2) * self.batch
    }
}

/// More frame threads than this only hold more frames in memory.
const MOST_DECODE_THREADS: usize = 8;

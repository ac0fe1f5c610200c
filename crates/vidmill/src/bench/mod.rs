//! Where the time goes, measured stage by stage and end to end, beside the limit that the stages and the cores set.
//!
//! In: what a run would be given ([`Options`]). Out: a [`Report`]. Each stage is the pipeline's own code, alone on the machine: the decoder,
//! one preprocessing pass, one session in its worker, all workers at once. End to end is [`crate::run()`] itself, its records going to a file.
//!
//! Measuring goes in rounds, each through all parts, so that a machine that slows down slows all of them; what is reported is
//! the median of the rounds, and percentiles of all that was timed in them.

pub(crate) mod clip;
mod decode;
mod end_to_end;
mod error;
mod infer;
mod limit;
mod measure;
mod preprocess;
mod report;
mod tally;

pub use end_to_end::Allocations;
pub use error::BenchError;
pub use limit::{Limit, Stages, Wait};
pub use measure::measure;
pub use report::{DecodePart, EndToEnd, InferPart, PreprocessPart, Report, SourcePart, StageMs, WorkersPart};
pub use tally::Timing;

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::options::Options;

/// What to measure, and for how long.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// As for a run. Without sources, a clip is generated. Where results go is not looked at; they go to a file that is removed.
    pub run: Options,
    /// How often each part is measured.
    pub rounds: NonZeroUsize,
    /// How long each part is measured, all its rounds together.
    pub time: Duration,
    /// What this program has allocated so far, where it counts.
    pub allocations: Option<fn() -> Allocations>,
}

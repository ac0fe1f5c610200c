//! Runs vision models over video: every frame is accounted for.
//!
//! In: sources and a model, as [`Options`] name them. Out: a [`record::Record`] for every sampled frame, in frame order,
//! written to the sinks; annotated video; and the [`Manifest`] with the ledger. [`run()`] tells the whole story.

mod ahead;
mod annotate;
pub mod bench;
mod books;
mod cascade;
mod checkpoint;
mod engine;
mod error;
mod feed;
mod fill;
mod latency;
mod ledger;
mod loaded;
mod manifest;
mod options;
mod outputs;
pub mod predictor;
mod progress;
pub mod record;
mod reorder;
mod resume;
mod run;
pub mod sample;
pub mod sink;
pub mod source;
mod stage;
mod standing;
pub mod track;
pub mod tune;
mod turns;
mod usage;
mod worker;

pub use books::named;
pub use checkpoint::{Checkpoint, Mark};
pub use engine::{describe_foreign, serve_foreign, serve_worker};
pub use error::RunError;
pub use latency::Percentiles;
pub use ledger::{Imbalance, Ledger};
pub use manifest::{
    FailureEntry, Manifest, ModelEntry, Parallelism, SourceEntry, ThenEntry, Versions, WorkerProcesses,
};
pub use options::{Isolation, Options, Then, Tuning};
pub use outputs::OutputOptions;
pub use progress::{Progress, Snapshot, Stop};
pub use resume::ResumeError;
pub use run::{run, run_with};
pub use stage::StageSeconds;
pub use vidmill_pool::is_worker;
pub use {vidmill_image as image, vidmill_infer as infer, vidmill_pool as pool, vidmill_video as video};

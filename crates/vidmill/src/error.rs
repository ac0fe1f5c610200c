//! Why a run could not begin or could not go on.

use std::path::PathBuf;

use crate::ledger::Imbalance;
use crate::resume::ResumeError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::track::SettingsError;

/// A run that could not begin or could not go on. A frame that fails is not an error: it is a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A source that is not there.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A source that is there, but is no video that can be read.
    #[error(transparent)]
    Unreadable(vidmill_video::Error),
    /// A model or runtime that cannot be used.
    #[error(transparent)]
    Model(#[from] vidmill_infer::Error),
    /// An output that cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// An annotated video that cannot be written.
    #[error("cannot write the annotated video: {0}")]
    Annotate(vidmill_video::Error),
    /// A worker that could not be started.
    #[error(transparent)]
    Worker(#[from] vidmill_pool::StartError),
    /// No worker is left, and none can be started.
    #[error("the run cannot go on: {0}")]
    Workers(String),
    /// Asked to stop before there was anything to finish.
    #[error("interrupted before the model was loaded: nothing was begun")]
    Interrupted,
    /// Slots that cannot be allocated.
    #[error(transparent)]
    Slots(#[from] vidmill_pool::SlotError),
    /// A batch that the model does not take.
    #[error(
        "--batch {asked}: the model takes batches of exactly {fixed}; leave --batch out, or export the model with a dynamic batch dimension"
    )]
    Batch {
        /// What was asked for.
        asked: usize,
        /// What the model takes.
        fixed: usize,
    },
    /// A second model that cannot follow the first.
    #[error("{0}")]
    Then(String),
    /// Several sources in one COCO file.
    #[error("COCO results number images by frame, so `{}` can hold one source only: give a folder as --out, with --format coco", .0.display())]
    SharedCoco(PathBuf),
    /// A model that finds no objects cannot be tracked.
    #[error("--track follows objects, but the model's task is {0}, which gives no boxes: leave --track out")]
    NothingToTrack(String),
    /// Settings of a tracker that cannot be used.
    #[error(transparent)]
    Track(#[from] SettingsError),
    /// Tracks asked for in a file, but no tracker.
    #[error("`{}`: MOT results hold tracks only: add --track bytetrack, or choose another format", .0.display())]
    MotWithoutTracker(PathBuf),
    /// Several sources in one MOT file.
    #[error("MOT results number frames only, so `{}` can hold one source only: give a folder as --out, with --format mot", .0.display())]
    SharedMot(PathBuf),
    /// An annotated path that does not fit the sources.
    #[error("--annotate {}: give an .mp4 file for one video, a .png or .jpg file for one image, or a folder", .0.display())]
    AnnotatePath(PathBuf),
    /// Two images whose annotated pictures would have one name.
    #[error("annotated pictures of `{}` and `{}` would have the same name: give their folders as sources, or annotate them in separate runs", .0.display(), .1.display())]
    SameName(PathBuf, PathBuf),
    /// An output that would destroy a source.
    #[error("output `{}` would overwrite a file that is read: choose another path", .0.display())]
    OverwritesSource(PathBuf),
    /// A run that cannot go on where another stopped.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// No clip could be generated.
    #[error("cannot generate a clip to measure on: {0}; give a video as SOURCE")]
    Clip(String),
    /// A model or source that cannot be tuned.
    #[error("cannot tune: {0}")]
    Tune(String),
    /// A ledger that does not add up.
    #[error(transparent)]
    Imbalance(#[from] Imbalance),
    /// A thread that could not be started or that ended without a word.
    #[error("{0}")]
    Thread(String),
}

impl RunError {
    /// What to do about it, most promising first; empty where the message says it already.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreadable(error) | Self::Annotate(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

//! Why there is nothing to report.

use crate::error::RunError;
use crate::infer;
use crate::source::SourceError;

/// A measurement that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// As for a run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A source that can be read only once, or whose speed is a network's.
    #[error("`{0}` cannot be measured on, since it is read again and again: give a file or a folder")]
    OnlyOnce(String),
    /// Among several sources, one that cannot be read.
    #[error("{0}")]
    Source(String),
    /// Nothing was sampled.
    #[error("no frame of {0} is to be processed: check --every, --fps, --start and --end")]
    NoFrames(String),
    /// A single frame.
    #[error(
        "{0} has only one frame to process, which is too few to measure a stream of them: give a longer one"
    )]
    OneFrame(String),
    /// A cascade.
    #[error("{0} is followed by a second model, and only one model is measured: measure each of them alone")]
    Cascade(String),
    /// Frames fail.
    #[error("frames fail, so there is nothing to measure: {0}")]
    Frames(String),
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// What to do about it, most promising first; empty where the message says it already.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Run(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

impl From<vidmill_video::Error> for BenchError {
    fn from(error: vidmill_video::Error) -> Self {
        Self::Run(RunError::Unreadable(error))
    }
}

impl From<SourceError> for BenchError {
    fn from(error: SourceError) -> Self {
        Self::Run(error.into())
    }
}

impl From<infer::Error> for BenchError {
    fn from(error: infer::Error) -> Self {
        Self::Run(error.into())
    }
}

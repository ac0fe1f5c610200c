//! The exit code has one home.

use std::process::ExitCode;

use vidmill::bench::BenchError;
use vidmill::pool::StartError;
use vidmill::sink::SinkError;
use vidmill::{Manifest, RunError};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Every sampled frame is ok.
    Ok,
    /// The run failed.
    Failed,
    /// Bad usage or unusable input.
    Usage,
    /// Finished, but some frames failed or some sources could not be read.
    SomeFailed,
    /// Stopped by this signal; outputs are valid, and can be gone on with.
    Interrupted(i32),
}

impl ExitStatus {
    /// Of a run that came to an end; `signal` is the last one received, if any.
    pub fn of_manifest(manifest: &Manifest, signal: Option<i32>) -> Self {
        let unreadable = manifest.sources.iter().filter(|s| s.error.is_some()).count();
        match signal {
            Some(signal) if manifest.interrupted => Self::Interrupted(signal),
            _ if unreadable > 0 && unreadable == manifest.sources.len() && manifest.ledger.sampled == 0 => {
                Self::Usage
            }
            _ if unreadable > 0 || manifest.ledger.failed > 0 => Self::SomeFailed,
            _ => Self::Ok,
        }
    }

    /// Of a run that could not begin or go on.
    pub fn of_error(error: &RunError) -> Self {
        match error {
            RunError::Source(_)
            | RunError::Unreadable(_)
            | RunError::Model(_)
            | RunError::Worker(StartError::Refused(_))
            | RunError::Batch { .. }
            | RunError::SharedCoco(_)
            | RunError::NothingToTrack(_)
            | RunError::Track(_)
            | RunError::MotWithoutTracker(_)
            | RunError::SharedMot(_)
            | RunError::AnnotatePath(_)
            | RunError::SameName(..)
            | RunError::OverwritesSource(_)
            | RunError::Resume(_)
            | RunError::Tune(_)
            | RunError::Sink(SinkError::UnknownFormat { .. } | SinkError::Directory { .. }) => Self::Usage,
            _ => Self::Failed,
        }
    }

    /// The same; `signal` is the last one received, if any.
    pub fn of_stopped(error: &RunError, signal: Option<i32>) -> Self {
        match (error, signal) {
            (RunError::Interrupted, Some(signal)) => Self::Interrupted(signal),
            _ => Self::of_error(error),
        }
    }

    /// Of a measurement that could not be made; `signal` is the last one received, if any.
    pub fn of_bench_error(error: &BenchError, signal: Option<i32>) -> Self {
        match (error, signal) {
            (BenchError::Run(error), signal) => Self::of_stopped(error, signal),
            (BenchError::Interrupted, Some(signal)) => Self::Interrupted(signal),
            (BenchError::Frames(_) | BenchError::Interrupted, _) => Self::Failed,
            _ => Self::Usage,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::SomeFailed => 3,
            Self::Interrupted(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(127)),
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

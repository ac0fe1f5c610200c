//! The one place where the engine's errors become Python's exceptions.

use std::fmt::Display;

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyFileNotFoundError, PyIndexError, PyValueError};
use pyo3::prelude::*;
use vidmill::infer::{DecodeError, Error as InferError};
use vidmill::pool::{self, Cause};
use vidmill::sample::{NoTimestamp, ParseError};
use vidmill::source::SourceError;
use vidmill::video::Error as VideoError;
use vidmill::{RunError, image};

create_exception!(
    vidmill,
    Error,
    PyException,
    "What can go wrong in vidmill; all of its own exceptions are this one."
);
create_exception!(vidmill, MediaError, Error, "A video or image that cannot be read.");
create_exception!(
    vidmill,
    ModelError,
    Error,
    "A model, runtime or device that cannot be used, or that failed."
);
create_exception!(vidmill, RunFailed, Error, "A run that could not begin or could not go on.");

create_exception!(
    vidmill,
    WorkerError,
    Error,
    "A worker process of a `Pool` that cannot start, or that could not do an item."
);
create_exception!(vidmill, WorkerCrashed, WorkerError, "The worker ended, or was killed, at this item.");
create_exception!(vidmill, WorkerTimeout, WorkerError, "The item took longer than the pool's `timeout`.");
create_exception!(
    vidmill,
    WorkerOutOfMemory,
    WorkerError,
    "The worker took more memory at this item than there is, or than `worker_memory` allows."
);

create_exception!(
    vidmill,
    ViewKept,
    Error,
    "A function that a `Pool` calls keeps an array of its arguments beyond the call: `.copy()` what is kept."
);

/// Why a call into the engine failed.
#[derive(Debug)]
pub enum Failure {
    Media(VideoError),
    Model(InferError),
    /// The model failed on image number `.0` of those given.
    Image(usize, String),
    /// A model whose outputs are no detections, as far as can be seen.
    NotADetector(String),
    Run(RunError),
    /// An argument that does not serve.
    Value(String),
    /// A frame beyond the last one of so many.
    Beyond(u64),
    /// Other trouble with a video.
    Frame(String),
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Media(error) => media(&error),
            Failure::Model(error) => model(&error),
            Failure::Image(number, reason) => ModelError::new_err(format!("image {number}: {reason}")),
            Failure::NotADetector(reason) => ModelError::new_err(reason),
            Failure::Run(error) => run(&error),
            Failure::Value(message) => PyValueError::new_err(message),
            Failure::Beyond(length) => PyIndexError::new_err(format!(
                "there is no such frame: the file holds {length}, counted from 0"
            )),
            Failure::Frame(message) => MediaError::new_err(message),
        }
    }
}

fn media(error: &VideoError) -> PyErr {
    match error {
        VideoError::NotFound { .. } => PyFileNotFoundError::new_err(error.to_string()),
        _ => with_hints(MediaError::new_err(error.to_string()), error.hints()),
    }
}

fn model(error: &InferError) -> PyErr {
    match error {
        InferError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            PyFileNotFoundError::new_err(error.to_string())
        }
        InferError::Choice { .. } | InferError::Option { .. } | InferError::Class { .. } => {
            PyValueError::new_err(error.to_string())
        }
        _ => ModelError::new_err(error.to_string()),
    }
}

fn run(error: &RunError) -> PyErr {
    match error {
        RunError::Source(SourceError::NotFound(_)) => PyFileNotFoundError::new_err(error.to_string()),
        RunError::Unreadable(error) => media(error),
        RunError::Source(_) => MediaError::new_err(error.to_string()),
        RunError::Model(error) => model(error),
        _ => with_hints(RunFailed::new_err(error.to_string()), error.hints()),
    }
}

/// Hints go where Python shows them: below the message.
fn with_hints(exception: PyErr, hints: Vec<impl Display>) -> PyErr {
    Python::attach(|py| {
        for hint in hints {
            // Without its hint the exception still says what is wrong.
            let _ = exception.value(py).call_method1("add_note", (format!("hint: {hint}"),));
        }
    });
    exception
}

impl From<VideoError> for Failure {
    fn from(error: VideoError) -> Self {
        Self::Media(error)
    }
}

impl From<InferError> for Failure {
    fn from(error: InferError) -> Self {
        Self::Model(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<NoTimestamp> for Failure {
    fn from(NoTimestamp(frame): NoTimestamp) -> Self {
        Self::Value(format!(
            "frame {frame} has no timestamp, which fps, start and end need: use every instead"
        ))
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::Value(error.to_string())
    }
}

impl From<image::PlanError> for Failure {
    fn from(error: image::PlanError) -> Self {
        Self::Value(error.to_string())
    }
}

impl From<image::PreprocessError> for Failure {
    fn from(error: image::PreprocessError) -> Self {
        Self::Frame(error.to_string())
    }
}

/// Why an item of a pool has no result.
pub fn worker(failure: &pool::Failure) -> PyErr {
    let tried = match failure.attempts {
        0 | 1 => String::new(),
        many => format!(" (tried {many} times)"),
    };
    let message = format!("{failure}{tried}");
    match failure.cause {
        Cause::Exit(_) | Cause::Signal(_) => WorkerCrashed::new_err(message),
        Cause::Deadline(_) => WorkerTimeout::new_err(message),
        Cause::OutOfMemory | Cause::MemoryLimit { .. } => WorkerOutOfMemory::new_err(message),
        _ => WorkerError::new_err(message),
    }
}

/// Of image number `number`.
pub fn of_image(number: usize) -> impl Fn(DecodeError) -> Failure {
    move |error| Failure::Image(number, error.to_string())
}

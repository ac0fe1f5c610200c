//! ONNX Runtime, loaded from a shared library that is found at run time.
//!
//! A process has one library and one environment, made on first use and kept to the end. Its log goes to `tracing`,
//! telemetry is off.

mod assignment;
mod call;
mod file;
mod find;
mod library;
mod predictor;
mod provider;
mod session;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::Error;

pub(crate) use file::{Summary, summarise as summarise_file};
pub use find::{Found, INSTALL, VARIABLE, find};
pub(crate) use predictor::{OrtPredictor, OrtTensors};
pub(crate) use session::{Recipe, describe, open};

/// The process's runtime.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub environment: Environment,
    pub found: Found,
    pub providers: Vec<String>,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Loads the library, unless that has been done, and lists the execution providers it was built with, best first, such as
/// `CUDAExecutionProvider`. That a provider is listed does not say that this machine has the device or its drivers.
///
/// # Errors
/// As [`find`]; and [`Error::RuntimeLoaded`] when `explicit` names another library than the one in use.
pub fn load(explicit: Option<&Path>) -> Result<(&'static Found, &'static [String]), Error> {
    let runtime = Runtime::get(explicit)?;
    Ok((&runtime.found, &runtime.providers))
}

impl Runtime {
    /// The process's runtime, started on first use.
    pub(crate) fn get(explicit: Option<&Path>) -> Result<&'static Self, Error> {
        static STARTING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return runtime.is_the_one(explicit).map(|()| runtime);
        }
        let found = find(explicit)?;
        let runtime = Self::start(found)?;
        Ok(RUNTIME.get_or_init(|| runtime))
    }

    fn is_the_one(&self, explicit: Option<&Path>) -> Result<(), Error> {
        let Some(asked) = explicit else { return Ok(()) };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (loaded, wanted) = (real(&self.found.path), real(asked));
        if wanted == loaded || loaded.parent() == Some(&wanted) {
            return Ok(());
        }
        Err(Error::RuntimeLoaded { loaded: self.found.path.clone(), asked: asked.to_owned() })
    }

    fn start(found: Found) -> Result<Self, Error> {
        let failed = |reason: String| Error::RuntimeStart { path: found.path.clone(), reason };
        let environment = guarded(|| {
            let builder = ort::init_from(&found.path).map_err(|error| error.to_string())?;
            let builder = builder.with_name("vidmill").with_telemetry(false);
            let logger = |level: LogLevel, category: &str, _: &str, location: &str, message: &str| {
                log(level, category, location, message);
            };
            let environment =
                builder.with_logger(Arc::new(logger)).build().map_err(|error| error.to_string())?;
            // The binding asks for every message; making them costs time on each run.
            environment.set_log_level(LogLevel::Warning);
            Ok(environment)
        })
        .map_err(failed)?;
        let providers = guarded(assignment::available_providers).map_err(failed)?;
        tracing::debug!(library = %found.path.display(), version = found.version, how = found.how, "runtime loaded");
        Ok(Self { environment, found, providers })
    }
}

/// Runs calls into the binding, which panics where it meets what it holds impossible.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(format!("the runtime's binding gave up: {text}"))
    })
}

/// The last errors that the runtime logged: some of its parts (TensorRT's parser, the loader of provider libraries) tell
/// the cause of a failure there only.
static ERRORS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
const ERRORS_KEPT: usize = 8;

fn log(level: LogLevel, category: &str, location: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::trace!(category, location, "{message}"),
        LogLevel::Warning => tracing::debug!(category, location, "{message}"),
        LogLevel::Error | LogLevel::Fatal => {
            tracing::debug!(category, location, "error: {message}");
            let mut errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
            if errors.len() == ERRORS_KEPT {
                errors.pop_front();
            }
            errors.push_back(message.trim().to_owned());
        }
    }
}

/// Takes what [`ERRORS`] holds.
pub(crate) fn take_errors() -> Vec<String> {
    ERRORS.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
}

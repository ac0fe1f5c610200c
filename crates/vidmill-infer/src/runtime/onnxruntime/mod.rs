//! ONNX Runtime, loaded from a shared library that is found at run time.
//!
//! A process has one library and one environment, made on first use and kept to the end. Its log goes to `tracing`,
//! telemetry is off.

mod assignment;
mod call;
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

use super::find::{Found, Names, Wanted};
use crate::Error;

pub(super) use session::open;

/// The command that installs the library where it is found.
pub const INSTALL: &str = "python3 -m venv .venv && .venv/bin/pip install onnxruntime==1.32.0";

pub(super) static WANTED: Wanted = Wanted {
    names: Names {
        runtime: "ONNX Runtime",
        stem: "libonnxruntime",
        variable: "VIDMILL_ONNXRUNTIME",
        install: INSTALL,
    },
    package: "onnxruntime/capi",
    other_variable: Some("ORT_DYLIB_PATH"),
    needed: library::needed_version,
    is_new_enough: library::is_new_enough,
    probe: library::probe,
};

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
/// [`Error::RuntimeFile`] or [`Error::RuntimeTooOld`] for a library that was named, as `explicit` or by the variables
/// `VIDMILL_ONNXRUNTIME` and `ORT_DYLIB_PATH`; [`Error::RuntimeMissing`], with all places that were searched and the command
/// that installs one, when there is none; [`Error::RuntimeLoaded`] when `explicit` names another library than the one in use.
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
            return runtime.found.check_is(WANTED.names.runtime, explicit).map(|()| runtime);
        }
        let found = WANTED.find(explicit)?;
        let runtime = Self::start(found)?;
        Ok(RUNTIME.get_or_init(|| runtime))
    }

    fn start(found: Found) -> Result<Self, Error> {
        let failed = |reason: String| Error::RuntimeStart {
            runtime: WANTED.names.runtime,
            path: found.path.clone(),
            reason,
        };
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

//! OpenVINO on the CPU, loaded from a shared library that is found at run time.
//!
//! A process has one library and one core, made on first use and kept to the end. Its log goes to `tracing`.
//! [`api`] has the functions of its C API as they are, [`handles`] owns what they give, [`open`] compiles models, and
//! [`predictor`] runs them.

mod api;
mod handles;
mod open;
mod predictor;

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::find::{Found, Names, Wanted};
use crate::Error;
use handles::Core;

pub(super) use open::open;

/// The command that installs the library where it is found.
pub const INSTALL: &str = "python3 -m venv .venv && .venv/bin/pip install openvino==2026.4.1";

static WANTED: Wanted = Wanted {
    names: Names {
        runtime: "OpenVINO",
        stem: "libopenvino_c",
        variable: "VIDMILL_OPENVINO",
        install: INSTALL,
    },
    package: "openvino/libs",
    other_variable: None,
    needed: || format!("{}.{}", NEEDED.0, NEEDED.1),
    is_new_enough,
    probe: api::probe,
};

/// The first version that numbers element types as this build does (ov_common.h).
const NEEDED: (u32, u32) = (2025, 1);

/// The device that models are compiled for.
const CPU: &str = "CPU";

/// The process's runtime.
#[derive(Debug)]
struct Runtime {
    found: Found,
    core: Core,
    capabilities: Vec<String>,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Loads the library, unless that has been done, and lists what the CPU computes in, as OpenVINO calls it, such as `FP32`, `BF16`
/// or `INT8`.
///
/// # Errors
/// [`Error::RuntimeFile`] or [`Error::RuntimeTooOld`] for a library that was named, as `explicit` or by the variable
/// `VIDMILL_OPENVINO`; [`Error::RuntimeMissing`], with all places that were searched and the command that installs one, when
/// there is none; [`Error::RuntimeLoaded`] when `explicit` names another library than the one in use.
pub fn load(explicit: Option<&Path>) -> Result<(&'static Found, &'static [String]), Error> {
    let runtime = Runtime::get(explicit)?;
    Ok((&runtime.found, &runtime.capabilities))
}

impl Runtime {
    /// The process's runtime, started on first use.
    fn get(explicit: Option<&Path>) -> Result<&'static Self, Error> {
        static STARTING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return runtime.found.check_is(WANTED.names.runtime, explicit).map(|()| runtime);
        }
        let runtime = Self::start(WANTED.find(explicit)?)?;
        Ok(RUNTIME.get_or_init(|| runtime))
    }

    fn start(found: Found) -> Result<Self, Error> {
        let started = api::Api::load(&found.path).and_then(|api| {
            let core = Core::new(api)?;
            let capabilities = core.device_property(CPU, "OPTIMIZATION_CAPABILITIES")?;
            Ok((core, capabilities))
        });
        let (core, capabilities) = started.map_err(|reason| Error::RuntimeStart {
            runtime: WANTED.names.runtime,
            path: found.path.clone(),
            reason,
        })?;
        // Among them are abilities of other kinds, such as EXPORT_IMPORT.
        let is_arithmetic = |name: &&str| ["FP", "BF", "INT"].iter().any(|begin| name.starts_with(begin));
        let capabilities = capabilities.split_whitespace().filter(is_arithmetic).map(str::to_owned).collect();
        tracing::debug!(library = %found.path.display(), version = found.version, how = found.how, "runtime loaded");
        Ok(Self { found, core, capabilities })
    }
}

/// Whether `version` ("2026.4.1") serves.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next()) >= NEEDED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for version in ["2025.1.0", "2025.10", "2026.4.1", "2027"] {
            assert!(is_new_enough(version), "{version}");
        }
        for version in ["2025.0.9", "2024.6.0", "2025", ""] {
            assert!(!is_new_enough(version), "{version}");
        }
    }

    #[test]
    fn its_files_are_told_from_the_wheels_others() {
        assert_eq!(WANTED.file_version("libopenvino_c.so.2641"), Some(vec![2641]));
        assert_eq!(WANTED.file_version("libopenvino_c.so"), Some(vec![]));
        assert_eq!(WANTED.file_version("libopenvino.so.2641"), None);
    }
}

//! What users give: paths, numbers and times, as the command takes them.

use std::num::NonZeroU64;
use std::path::PathBuf;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};
use vidmill::sample::{Nanoseconds, Pace, Rate, Sampling};

use crate::error::Failure;

/// A number or text as the command line would have it. Floats get as many decimals as the engine takes.
pub fn text_of(value: &Bound<'_, PyAny>, decimals: usize) -> PyResult<String> {
    if value.is_instance_of::<PyFloat>() {
        let number: f64 = value.extract()?;
        return Ok(format!("{number:.decimals$}"));
    }
    Ok(value.str()?.to_string())
}

/// A time: seconds, or `[HH:]MM:SS[.fff]`.
pub fn time(value: &Bound<'_, PyAny>) -> PyResult<Nanoseconds> {
    Ok(text_of(value, 9)?.parse::<Nanoseconds>().map_err(Failure::from)?)
}

/// A time in seconds.
pub fn seconds(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if value.is_instance_of::<PyString>() {
        return Ok(time(value)?.0 as f64 / 1e9);
    }
    value.extract()
}

/// Which frames are wanted.
pub fn sampling(
    every: Option<&Bound<'_, PyAny>>,
    fps: Option<&Bound<'_, PyAny>>,
    start: Option<&Bound<'_, PyAny>>,
    end: Option<&Bound<'_, PyAny>>,
) -> PyResult<Sampling> {
    let pace = match (every, fps) {
        (Some(_), Some(_)) => {
            return Err(Failure::Value("every and fps exclude each other: give one of them".into()).into());
        }
        (Some(every), None) => Pace::Every(positive(every)?),
        (None, Some(fps)) => Pace::Rate(text_of(fps, 6)?.parse::<Rate>().map_err(Failure::from)?),
        (None, None) => Pace::All,
    };
    Ok(Sampling { pace, start: start.map(time).transpose()?, end: end.map(time).transpose()? })
}

fn positive(every: &Bound<'_, PyAny>) -> PyResult<NonZeroU64> {
    if !every.is_instance_of::<PyInt>() || every.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err("every is an integer: every Nth frame"));
    }
    let wrong = || Failure::Value("every must be at least 1".into());
    Ok(every.extract::<u64>().ok().and_then(NonZeroU64::new).ok_or_else(wrong)?)
}

/// Where ONNX Runtime's library is, unless that was said: in the package `onnxruntime` of this very interpreter, if it has one.
pub fn runtime_library(py: Python<'_>, given: Option<PathBuf>) -> PyResult<Option<PathBuf>> {
    let variables = ["VIDMILL_ONNXRUNTIME", "ORT_DYLIB_PATH"];
    library_of_package(py, given, &variables, ("onnxruntime", "capi", "libonnxruntime.so"))
}

/// The same of OpenVINO's.
pub fn openvino_library(py: Python<'_>, given: Option<PathBuf>) -> PyResult<Option<PathBuf>> {
    library_of_package(py, given, &["VIDMILL_OPENVINO"], ("openvino", "libs", "libopenvino_c.so"))
}

fn library_of_package(
    py: Python<'_>,
    given: Option<PathBuf>,
    variables: &[&str],
    (package, folder, file): (&str, &str, &str),
) -> PyResult<Option<PathBuf>> {
    let is_named = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if given.is_some() || variables.iter().any(|name| is_named(name)) {
        return Ok(given);
    }
    let spec = py.import("importlib.util")?.call_method1("find_spec", (package,))?;
    let Some(root) = spec
        .getattr_opt("submodule_search_locations")?
        .and_then(|places| places.get_item(0).ok())
        .and_then(|place| place.extract::<PathBuf>().ok())
    else {
        return Ok(None);
    };
    let folder = root.join(folder);
    let has_library = std::fs::read_dir(&folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(file))
    });
    Ok(has_library.then_some(folder))
}

/// `asyncio`'s way to a thread: what `method` of `object` returns there.
pub fn in_executor<'py>(object: &Bound<'py, PyAny>, method: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let asyncio = py.import("asyncio")?;
    let running = asyncio.call_method0("get_running_loop").map_err(|_| {
        PyRuntimeError::new_err("there is no running asyncio event loop: use `async for` within a coroutine")
    })?;
    running.call_method1("run_in_executor", (py.None(), object.getattr(method)?))
}

/// A JSON text as Python's own values.
pub fn from_json<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    py.import("json")?.call_method1("loads", (text,))
}

//! The command within the Python package, and what its worker processes run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use pyo3::prelude::*;
use vidmill::pool::Program;

use crate::arguments;
use crate::error::Failure;

/// What a worker process runs: only the native half is loaded, by its path, with no packages and nothing from the environment.
const WORKER: &str = "\
import importlib.util, sys
spec = importlib.util.spec_from_file_location('_vidmill', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.exit(module.serve_worker())";

/// What worker processes run in place of the program that is running now, which is Python.
pub fn worker_program(py: Python<'_>) -> PyResult<Program> {
    let python: Option<PathBuf> = py.import("sys")?.getattr("executable")?.extract()?;
    let python = python.filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
        Failure::Value(
            "sys.executable does not say where Python is, which worker processes need: leave isolate out"
                .into(),
        )
    })?;
    let library: PathBuf = py.import("vidmill._vidmill")?.getattr("__file__")?.extract()?;
    Ok(Program {
        // Python finds its library by the name it is called by.
        name: python.clone().into_os_string(),
        path: python,
        args: ["-I", "-S", "-c", WORKER]
            .map(OsString::from)
            .into_iter()
            .chain([library.into_os_string()])
            .collect(),
        start: Vec::new(),
    })
}

/// Runs the command with these arguments, the program's name first; returns its exit code. Once in a process.
#[pyfunction]
pub fn command(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    let worker = worker_program(py)?;
    Ok(number(py.detach(|| vidmill_cli::main(arguments, Some(worker)))))
}

/// The folder of ONNX Runtime's shared library, where that is known from Python.
#[pyfunction]
pub fn runtime_library(py: Python<'_>) -> PyResult<Option<PathBuf>> {
    arguments::runtime_library(py, None)
}

/// Serves as a worker process; returns its exit code.
#[pyfunction]
pub fn serve_worker(py: Python<'_>) -> u8 {
    number(py.detach(|| vidmill_cli::main([OsString::from("vidmill-worker")], None)))
}

/// Rust does not tell an exit code's number, but compares.
fn number(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|&number| ExitCode::from(number) == code).unwrap_or(1)
}

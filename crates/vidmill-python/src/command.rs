//! The command within the Python package, and what its worker processes run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use pyo3::prelude::*;
use vidmill::pool::Program;
use vidmill_cli::Programs;

use crate::arguments;
use crate::error::Failure;

/// What a worker process runs: only the native half is loaded, by its path, with no packages and nothing from the environment.
const WORKER: &str = "\
import importlib.util, sys
spec = importlib.util.spec_from_file_location('_vidmill', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.exit(module.serve_worker())";

/// What a worker process runs that is to run Python: with the modules of this interpreter, and nothing else of it.
const PYTHON_WORKER: &str = "\
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
module, sys.argv = sys.argv[2], sys.argv[:1]
sys.exit(importlib.import_module(module).serve())";

/// An interpreter with nothing but the native half of this package.
fn native_program(py: Python<'_>) -> PyResult<Program> {
    let library: OsString = py.import("vidmill._vidmill")?.getattr("__file__")?.extract()?;
    program(py, ["-I", "-S", "-c", WORKER].map(OsString::from).into_iter().chain([library]).collect())
}

/// What worker processes run in place of the program that is running now, which is Python.
pub fn programs(py: Python<'_>) -> PyResult<Programs> {
    Ok(Programs { native: native_program(py)?, python: python_program(py, "vidmill._worker")? })
}

/// A fresh interpreter that calls `serve()` of a module of this package.
pub fn python_program(py: Python<'_>, module: &str) -> PyResult<Program> {
    let fspath = py.import("os")?.getattr("fspath")?;
    let path: Vec<String> = py
        .import("sys")?
        .getattr("path")?
        .try_iter()?
        .map(|entry| fspath.call1((entry?,))?.extract())
        .collect::<PyResult<_>>()?;
    let path = py.import("json")?.call_method1("dumps", (path,))?;
    let flags = py.import("subprocess")?.call_method0("_args_from_interpreter_flags")?;
    let mut arguments: Vec<OsString> = flags.extract()?;
    // Unbuffered: what is printed is passed on at once, and not lost with the process.
    arguments.extend(["-u", "-c", PYTHON_WORKER].map(OsString::from));
    arguments.extend([path.extract()?, OsString::from(module)]);
    program(py, arguments)
}

fn program(py: Python<'_>, args: Vec<OsString>) -> PyResult<Program> {
    let python: Option<PathBuf> = py.import("sys")?.getattr("executable")?.extract()?;
    let python = python.filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
        Failure::Value("sys.executable does not say where Python is, which worker processes need".into())
    })?;
    // Python finds its library by the name it is called by.
    Ok(Program {
        name: python.clone().into_os_string(),
        path: python,
        args,
        env: Vec::new(),
        start: Vec::new(),
    })
}

/// Runs the command with these arguments, the program's name first; returns its exit code. Once in a process.
#[pyfunction]
pub fn command(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
    let programs = programs(py)?;
    Ok(number(py.detach(|| vidmill_cli::main(arguments, Some(programs)))))
}

/// The folder of ONNX Runtime's shared library, where that is known from Python.
#[pyfunction]
pub fn runtime_library(py: Python<'_>) -> PyResult<Option<PathBuf>> {
    arguments::runtime_library(py, None)
}

/// The folder of OpenVINO's shared library, where that is known from Python.
#[pyfunction]
pub fn openvino_library(py: Python<'_>) -> PyResult<Option<PathBuf>> {
    arguments::openvino_library(py, None)
}

/// Serves as a worker process; returns its exit code.
#[pyfunction]
pub fn serve_worker(py: Python<'_>) -> u8 {
    number(py.detach(|| vidmill_cli::main([OsString::from("vidmill-worker")], None)))
}

/// Ends this process if it is not the one that serves: a child that user code has forked and let come back must not answer in its
/// parent's place.
pub fn end_if_forked(py: Python<'_>, serving: u32) -> PyResult<()> {
    if std::process::id() == serving {
        return Ok(());
    }
    let said =
        "a child that was forked in a worker came back: let it end by os._exit, or start a program instead\n";
    py.import("sys")?.getattr("stderr")?.call_method1("write", (said,))?;
    py.import("os")?.call_method1("_exit", (1,)).map(drop)
}

/// Rust does not tell an exit code's number, but compares.
pub fn number(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|&number| ExitCode::from(number) == code).unwrap_or(1)
}

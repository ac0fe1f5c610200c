//! The Python that predictors run in, where this program is not Python itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use vidmill::pool::Program;

/// Names the interpreter.
const VARIABLE: &str = "VIDMILL_PYTHON";

/// How many folders up from this program are searched for `.venv`.
const PARENTS: usize = 4;

const WORKER: &str = "\
import sys
try:
    from vidmill import _worker
except ModuleNotFoundError as error:
    sys.exit(f'{sys.executable} has no package {error.name!r}, which models that run in Python need: '
             'install vidmill there, or name another Python in VIDMILL_PYTHON')
sys.exit(_worker.serve())";

/// A fresh interpreter that serves as a worker: `VIDMILL_PYTHON`, else that of the active environment, else that of a `.venv`
/// of the working directory or near this program, else `python3`.
pub fn program() -> Program {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_environment = |folder: PathBuf| Some(folder.join("bin/python")).filter(|path| path.exists());
    let near = || {
        let program = std::env::current_exe().ok();
        let parents = program.iter().flat_map(|program| program.ancestors().skip(1).take(PARENTS));
        let folders = [Path::new("")].into_iter().chain(parents);
        folders.map(|folder| folder.join(".venv")).find_map(of_environment)
    };
    let python = set(VARIABLE)
        .or_else(|| set("VIRTUAL_ENV").and_then(of_environment))
        .or_else(|| set("CONDA_PREFIX").and_then(of_environment))
        .or_else(near)
        .unwrap_or_else(|| PathBuf::from("python3"));
    // Unbuffered: what is printed is passed on at once, and not lost with the process. What lies in the working directory is no
    // package.
    let args = ["-u", "-P", "-c", WORKER].map(OsString::from).to_vec();
    // Python finds its library by the name it is called by.
    Program { name: python.clone().into_os_string(), path: python, args, env: Vec::new(), start: Vec::new() }
}

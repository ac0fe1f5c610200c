//! A run, as Python iterates over its results.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vidmill::record::{Outcome, Record};
use vidmill::{Manifest, Progress, RunError, Stop, sink};

use crate::arguments;
use crate::command;
use crate::error::Failure;
use crate::found;

/// How long the interpreter waits before it may look for signals.
const PATIENCE: Duration = Duration::from_millis(50);
/// Records that may wait for Python. The run itself holds some more frames, but never more than without Python.
const WAITING: usize = 64;

/// A run that goes on in the background; see `vidmill.run`.
///
///     >>> run = vidmill.run("street.mp4", "yolov8n.onnx")
///     >>> next(run).frame, run.progress["expected"]
///     (0, 250)
///     >>> run.close()
///     >>> run.manifest["interrupted"]
///     True
#[pyclass(frozen, weakref, module = "vidmill")]
pub struct Run {
    stop: Stop,
    progress: Arc<Progress>,
    state: Mutex<State>,
    /// What shows progress, if that is wanted: `vidmill._progress.Bar`.
    bar: Option<Py<PyAny>>,
}

enum State {
    Going {
        records: Receiver<Record>,
        thread: JoinHandle<Result<Manifest, RunError>>,
    },
    Ended(Box<Manifest>),
    /// It failed, and that was told.
    Failed,
}

/// What comes next.
enum Next {
    Record(Box<Record>),
    NotYet,
    End,
}

#[pymethods]
impl Run {
    /// `arguments` are those of the command, beginning with `vidmill run`; `writes` is whether they say where to.
    #[new]
    #[pyo3(signature = (arguments, writes, bar=None))]
    fn new(py: Python<'_>, arguments: Vec<OsString>, writes: bool, bar: Option<Py<PyAny>>) -> PyResult<Self> {
        let programs = command::programs(py);
        let mut options =
            vidmill_cli::run_options(arguments, programs.as_ref().ok().cloned()).map_err(Failure::Value)?;
        if options.isolate.is_some() || options.then.as_ref().is_some_and(|then| then.isolate.is_some()) {
            programs?;
        }
        if !writes {
            options.output.out = PathBuf::from(sink::NOWHERE);
        }
        let load = &mut options.load;
        load.runtime_library = arguments::runtime_library(py, load.runtime_library.take())?;
        load.openvino_library = arguments::openvino_library(py, load.openvino_library.take())?;
        if let Some(then) = &mut options.then {
            then.load.runtime_library.clone_from(&load.runtime_library);
            then.load.openvino_library.clone_from(&load.openvino_library);
        }
        let (stop, progress) = (Stop::default(), Arc::new(Progress::default()));
        let (to_python, records) = sync_channel(WAITING);
        let begin = {
            let (stop, progress) = (stop.clone(), Arc::clone(&progress));
            move || {
                let asked = stop.clone();
                let tap = move |record: &Record| {
                    // Nobody listens any more.
                    if to_python.send(record.clone()).is_err() {
                        asked.ask();
                    }
                };
                vidmill::run_with(&options, &stop, &progress, tap)
            }
        };
        let thread =
            std::thread::Builder::new().name("vidmill-run".into()).spawn(begin).map_err(|error| {
                PyRuntimeError::new_err(format!("cannot start a thread for the run: {error}"))
            })?;
        Ok(Self { stop, progress, state: Mutex::new(State::Going { records, thread }), bar })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = self.next_result(py);
        let ended = if matches!(next, Ok(Some(_))) { Ok(()) } else { self.end_bar(py) };
        next.and_then(|next| ended.map(|()| next))
    }

    fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        arguments::in_executor(slf.as_any(), "_next_or_stop")
    }

    /// What `async for` runs in a thread, where StopIteration has no meaning.
    fn _next_or_stop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py)?.ok_or_else(|| PyStopAsyncIteration::new_err(()))
    }

    /// Asks the run to stop: no more frames are taken, what is in flight is finished and still comes.
    fn stop(&self) {
        self.stop.ask();
    }

    /// Stops the run if it is still going, and waits until all outputs are closed. Results that were not taken are left out; in
    /// the outputs they are.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.stop.ask();
        let ended = self.end_bar(py);
        while let Next::Record(_) | Next::NotYet = py.detach(|| self.state().next())? {
            // Another interrupt leaves the run to end by itself.
            py.check_signals()?;
        }
        ended
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        r#type: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let closed = self.close(py);
        // An exception that is under way comes first.
        if r#type.is_none() { closed } else { Ok(()) }
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        arguments::in_executor(slf.as_any(), "__enter__")
    }

    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        _type: &Bound<'py, PyAny>,
        _value: &Bound<'py, PyAny>,
        _traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        arguments::in_executor(slf.as_any(), "close")
    }

    /// What ran, and the ledger; once the run has ended.
    #[getter]
    fn manifest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let manifest = py.detach(|| match &*self.state() {
            State::Ended(manifest) => Ok(manifest.clone()),
            State::Going { .. } => {
                Err("the run is still going: take all results, or close() it, before its manifest")
            }
            State::Failed => Err("the run failed, or was closed before it had begun, and has no manifest but those beside its outputs"),
        });
        arguments::from_json(py, &manifest.map_err(PyRuntimeError::new_err)?)
    }

    /// How far the run has come.
    #[getter]
    fn progress<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        arguments::from_json(py, &self.progress.snapshot())
    }
}

impl Run {
    fn next_result<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            let shown = self.show_bar(py);
            if let Err(interrupt) = shown.and_then(|()| py.check_signals()) {
                // What is under way is finished, and outputs are closed, before anybody hears of it.
                self.close(py)?;
                return Err(interrupt);
            }
            match py.detach(|| self.state().next())? {
                Next::Record(record) => return result(py, *record).map(Some),
                Next::End => return Ok(None),
                Next::NotYet => {}
            }
        }
    }

    fn show_bar(&self, py: Python<'_>) -> PyResult<()> {
        let Some(bar) = &self.bar else { return Ok(()) };
        if bar.call_method0(py, "due")?.is_truthy(py)? {
            bar.call_method1(py, "draw", (self.progress(py)?,))?;
        }
        Ok(())
    }

    /// Fails only where an interrupt comes.
    fn end_bar(&self, py: Python<'_>) -> PyResult<()> {
        let Some(bar) = &self.bar else { return Ok(()) };
        bar.call_method1(py, "end", (self.progress(py)?,)).map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    /// A run that nobody looks at any more ends by itself.
    fn drop(&mut self) {
        self.stop.ask();
    }
}

impl State {
    fn next(&mut self) -> Result<Next, Failure> {
        let Self::Going { records, .. } = self else { return Ok(Next::End) };
        match records.recv_timeout(PATIENCE) {
            Ok(record) => Ok(Next::Record(Box::new(record))),
            Err(RecvTimeoutError::Timeout) => Ok(Next::NotYet),
            Err(RecvTimeoutError::Disconnected) => self.end().map(|()| Next::End),
        }
    }

    /// Takes what a run that has ended came to.
    fn end(&mut self) -> Result<(), Failure> {
        let Self::Going { thread, .. } = std::mem::replace(self, Self::Failed) else { return Ok(()) };
        let panicked =
            |_| Err(RunError::Thread("the run's thread panicked; please report this as a bug".into()));
        match thread.join().unwrap_or_else(panicked) {
            Ok(manifest) => *self = Self::Ended(Box::new(manifest)),
            // It was closed so early that there is nothing to tell.
            Err(RunError::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// A record as `vidmill.Result`.
fn result(py: Python<'_>, record: Record) -> PyResult<Bound<'_, PyAny>> {
    let class = py.import("vidmill._run")?.getattr("Result")?;
    let Record { source, frame, pts, time, outcome } = record;
    let further = PyDict::new(py);
    let status = match outcome {
        Outcome::Ok(found) => {
            found::put(&further, found)?;
            "ok"
        }
        Outcome::Failed { error, attempts } => {
            further.set_item("error", error)?;
            further.set_item("attempts", attempts)?;
            "failed"
        }
        Outcome::Dropped { reason } => {
            further.set_item("reason", reason)?;
            "dropped"
        }
    };
    class.call((source.as_ref(), frame, pts, time, status), Some(&further))
}

//! What a worker process of `vidmill.Pool` does: unpickles over the memory that the arguments lie in, calls, pickles.

use std::ops::Deref;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMemoryView};
use vidmill::pool::{Input, Opened, Worker, serve};

use crate::buffer::{Borrowed, Still, View, are_looked_at};
use crate::command::{end_if_forked, number};
use crate::parcel::{Answer, Body, Item, Layout, SMALL};

/// The status of an answer that is an exception, as in `_pool_worker.py`.
const RAISED: u8 = 1;

/// Serves as a worker process; returns its exit code. `build` makes of what the pool was started with what is called for each item;
/// `refuse` tells in a pickle why an item has no result.
#[pyfunction]
pub fn serve_pool(py: Python<'_>, build: Py<PyAny>, refuse: Py<PyAny>) -> u8 {
    let refuse = Arc::new(refuse);
    let code = py.detach(|| {
        serve(|start| {
            Python::attach(|py| {
                let call = build.call1(py, (PyBytes::new(py, start),)).map_err(|error| words(py, &error))?;
                let refuse = Arc::clone(&refuse);
                Ok((
                    PythonWorker { call, refuse, serving: std::process::id(), opened: Vec::new() },
                    Vec::new(),
                ))
            })
        })
    });
    number(code)
}

/// What an exception says of itself; `build` raises its own with everything that is to be said.
fn words(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).str().map_or_else(|_| error.to_string(), |text| text.to_string())
}

struct PythonWorker {
    /// `call(pickle, buffers)` returns a status, a pickle and its buffers.
    call: Py<PyAny>,
    refuse: Arc<Py<PyAny>>,
    /// This process, if it is no child of it.
    serving: u32,
    /// By the number of the envelope.
    opened: Vec<Opened>,
}

/// Memory for a small body, aligned for any element.
struct Aligned {
    words: Vec<u64>,
    bytes: usize,
}

impl Aligned {
    fn of(bytes: &[u8]) -> Self {
        let mut words = vec![0; bytes.len().div_ceil(size_of::<u64>())];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { words, bytes: bytes.len() }
    }
}

impl Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }
}

impl Worker for PythonWorker {
    type Item = Item;
    type Output = Answer;

    fn run(&mut self, items: &[Item], _: &Input, answers: &mut Vec<Answer>) {
        Python::attach(|py| answers.extend(items.iter().map(|item| self.answer(py, item))));
    }
}

impl PythonWorker {
    /// Whatever goes wrong on the way is the item's failure.
    fn answer(&mut self, py: Python<'_>, item: &Item) -> Answer {
        let views = match self.views(py, item) {
            Ok(views) => views,
            Err(error) => return self.refusal(py, "broken", Some(&error), item),
        };
        let done = self.call(py, &views, item);
        let kept = are_looked_at(py, &views);
        let mut answer = match done {
            Err(error) => self.refusal(py, "broken", Some(&error), item),
            Ok(answer) if kept && answer.status != RAISED => self.refusal(py, "kept", None, item),
            Ok(answer) => answer,
        };
        answer.kept = kept;
        answer
    }

    /// The parts of an item, where they lie.
    fn views<'py>(&mut self, py: Python<'py>, item: &Item) -> PyResult<Vec<Bound<'py, View>>> {
        let body: Still = match &item.body {
            Body::Here(body) => Arc::new(Aligned::of(body)),
            Body::InEnvelope(bytes) => Arc::new(self.opened(item).there(&item.label, *bytes)?),
        };
        let layout = Layout::read_from(&body).map_err(broken)?;
        let ranges = layout.ranges().unwrap_or_default().into_iter();
        let views = ranges.filter_map(|range| View::part(&body, range));
        views.map(|view| Bound::new(py, view)).collect()
    }

    fn opened(&mut self, item: &Item) -> &mut Opened {
        let number = item.label.number as usize;
        if self.opened.len() <= number {
            self.opened.resize_with(number + 1, Opened::default);
        }
        &mut self.opened[number]
    }

    fn call<'py>(&mut self, py: Python<'py>, views: &[Bound<'py, View>], item: &Item) -> PyResult<Answer> {
        let (pickle, buffers) = views.split_first().ok_or_else(|| broken("an item without a pickle"))?;
        // Who holds one of these looks at it.
        let lend = |view: &Bound<'py, View>| PyMemoryView::from(view.as_any());
        let buffers = buffers.iter().map(lend).collect::<PyResult<Vec<_>>>()?;
        let done = self.call.bind(py).call1((lend(pickle)?, PyList::new(py, buffers)?));
        end_if_forked(py, self.serving)?;
        let done = done?;
        self.send(py, &done, item)
    }

    /// A status, a pickle and its buffers as an answer, large ones in the item's envelope.
    fn send(&mut self, py: Python<'_>, done: &Bound<'_, PyAny>, item: &Item) -> PyResult<Answer> {
        let (status, pickle, buffers): (u8, Bound<'_, PyAny>, Vec<Bound<'_, PyAny>>) = done.extract()?;
        let borrowed: Vec<Borrowed> =
            std::iter::once(&pickle).chain(&buffers).map(Borrowed::new).collect::<PyResult<_>>()?;
        let parts: Vec<&[u8]> = borrowed.iter().map(|part| &**part).collect();
        let layout = Layout::of(&parts);
        let body = if layout.bytes > SMALL {
            let opened = self.opened(item);
            py.detach(|| opened.back(&item.label, layout.bytes, |put| layout.write(&parts, put)))?;
            Body::InEnvelope(layout.bytes)
        } else {
            let mut body = vec![0; layout.bytes];
            layout.write_to(&parts, &mut body);
            Body::Here(body)
        };
        Ok(Answer { status, kept: false, body })
    }

    /// An item's failure, for a reason that `_pool_worker.py` knows.
    fn refusal(&mut self, py: Python<'_>, reason: &str, error: Option<&PyErr>, item: &Item) -> Answer {
        let refused = self.refuse.bind(py).call1((reason, error.map(|error| error.value(py))));
        let answer = refused.and_then(|done| self.send(py, &done, item));
        // Its pickle is empty, which the other side tells from any other.
        answer.unwrap_or(Answer { status: RAISED, kept: false, body: Body::Here(Vec::new()) })
    }
}

fn broken(what: impl std::fmt::Display) -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err(what.to_string())
}

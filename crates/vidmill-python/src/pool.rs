//! `vidmill.Pool` as the engine sees it: pickles that go to worker processes in envelopes, and answers that come back.
//!
//! An item takes an envelope from its submission until its answer has been copied out; there are as many as items may be under
//! way, and who wants another waits. Python objects are made and unmade in `_pool.py` and `_pool_worker.py`.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::{PyMemoryError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PySlice, PyTuple};
use vidmill::pool::{
    Deliver, Envelope, Executor, Failure, Input, Policy, Printer, Processes, Slots, StartError, Worker,
};

use crate::buffer::{Borrowed, is_held_by_others};
use crate::command::python_program;
use crate::error::{self, WorkerError};
use crate::parcel::{Answer, Body, Item, Layout, SMALL};

/// How long the interpreter waits before it may look for signals.
const PATIENCE: Duration = Duration::from_millis(50);
/// Small answers that are handed to Python at once, at most.
const AT_ONCE: usize = 64;

/// What runs in the workers, by its types: `pool_worker.rs` has the code.
struct Calls;

impl Worker for Calls {
    type Item = Item;
    type Output = Answer;

    fn run(&mut self, items: &[Item], _: &Input, answers: &mut Vec<Answer>) {
        let lost = || Answer { status: 1, kept: false, body: Body::Here(Vec::new()) };
        answers.extend(items.iter().map(|_| lost()));
    }
}

/// Comes back with an item's answer.
struct Ticket {
    number: u64,
    envelope: Numbered,
}

struct Numbered {
    number: u32,
    envelope: Envelope,
}

struct Arrived {
    ticket: Ticket,
    result: Result<Answer, Failure>,
}

type Engine = Processes<Ticket, Calls>;

/// Worker processes that call Python; see `vidmill.Pool`.
#[pyclass(frozen, module = "vidmill")]
pub struct Workers {
    /// The process that started them. What a fork of it inherits is of no use there.
    owner: u32,
    /// With the slots that it wants; they carry nothing.
    engine: Mutex<Option<(Engine, Slots)>>,
    counter: Arc<Counter>,
    /// As many as there are slots.
    spare: Mutex<Spare>,
}

/// Memory that results were copied to. What nobody else holds any more is used again: its pages are there, which the system
/// would have to find and clear for new memory, and that takes longer than the copy.
#[derive(Default)]
struct Spare {
    arrays: VecDeque<Py<PyArray1<u8>>>,
    most: usize,
}

/// Where envelopes are handed out and answers come in.
#[derive(Default)]
struct Counter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    free: Vec<Numbered>,
    /// As many as there are envelopes at most.
    arrived: VecDeque<Arrived>,
    is_closed: bool,
}

#[pymethods]
impl Workers {
    /// Starts the workers, of `start`, and waits until the first one is ready.
    #[new]
    #[pyo3(signature = (start, *, workers, slots, item_bytes, result_bytes, timeout, retries, worker_memory, recycle, start_timeout))]
    #[expect(clippy::too_many_arguments, reason = "keywords of the Python class")]
    fn new(
        py: Python<'_>,
        start: Vec<u8>,
        workers: usize,
        slots: usize,
        item_bytes: usize,
        result_bytes: usize,
        timeout: Option<f64>,
        retries: u32,
        worker_memory: Option<u64>,
        recycle: Option<NonZeroU64>,
        start_timeout: f64,
    ) -> PyResult<Self> {
        let mut program = python_program(py, "vidmill._pool_worker")?;
        program.start = start;
        let policy = Policy {
            start_timeout: seconds("start_timeout", start_timeout)?,
            timeout: timeout.map(|timeout| seconds("timeout", timeout)).transpose()?,
            max_attempts: retries.saturating_add(1),
            // Every failure is told to who submitted the item, and is theirs to make an end of.
            most_given_up: usize::MAX,
            recycle_after: recycle,
            memory_limit: worker_memory,
            leave_grace: Duration::from_secs(2),
            ..Policy::default()
        };
        let counter = Arc::new(Counter::default());
        let spare = Mutex::new(Spare { arrays: VecDeque::new(), most: slots });
        let memory = || -> PyResult<()> {
            for number in 0..slots {
                let mut envelope = Envelope::new().map_err(|error| cannot("open shared memory", &error))?;
                let reserved =
                    envelope.there(item_bytes).map(|_| ()).and_then(|()| envelope.reserve_back(result_bytes));
                reserved.map_err(|error| cannot("have memory for so many items at once", &error))?;
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                counter.lock().free.push(Numbered { number, envelope });
            }
            Ok(())
        };
        py.detach(memory)?;
        // The engine's own slots carry nothing; each item has one, and a worker that is being given up may hold another.
        let small = py.detach(|| Slots::shared(slots + 2 * workers, 0));
        let small = small.map_err(|error| PyMemoryError::new_err(error.to_string()))?;
        let engine = py.detach(|| Engine::launch(workers, program, policy, Printer::to_standard_error()));
        let engine = engine.map_err(cannot_start)?;
        loop {
            match py.detach(|| engine.introduction_within(PATIENCE)) {
                Some(Ok(_)) => break,
                Some(Err(error)) => {
                    py.detach(|| engine.shutdown(Duration::ZERO));
                    return Err(cannot_start(error));
                }
                None => {}
            }
            if let Err(interrupt) = py.check_signals() {
                py.detach(|| engine.shutdown(Duration::ZERO));
                return Err(interrupt);
            }
        }
        let desk = Arc::clone(&counter);
        let deliver: Arc<Deliver<Ticket, Answer>> =
            Arc::new(move |ticket, result| desk.arrive(Arrived { ticket, result }));
        py.detach(|| engine.attach(&small, 0, deliver)).map_err(cannot_start)?;
        Ok(Self { owner: std::process::id(), engine: Mutex::new(Some((engine, small))), counter, spare })
    }

    /// Hands over a call: a pickle and its buffers. `number` comes back with its answer. While no envelope is free it waits, or
    /// returns False.
    fn submit(
        &self,
        py: Python<'_>,
        number: u64,
        pickle: &Bound<'_, PyAny>,
        buffers: Vec<Bound<'_, PyAny>>,
        wait: bool,
    ) -> PyResult<bool> {
        self.check_process()?;
        let borrowed: Vec<Borrowed> =
            std::iter::once(pickle).chain(&buffers).map(Borrowed::new).collect::<PyResult<_>>()?;
        let parts: Vec<&[u8]> = borrowed.iter().map(|part| &**part).collect();
        let layout = Layout::of(&parts);
        let envelope = loop {
            let patience = if wait { PATIENCE } else { Duration::ZERO };
            match py.detach(|| self.counter.envelope(patience)) {
                Wait::Had(envelope) => break envelope,
                Wait::Closed => return Err(closed()),
                Wait::NotYet if !wait => return Ok(false),
                Wait::NotYet => py.check_signals()?,
            }
        };
        py.detach(|| self.send(number, envelope, &layout, &parts))?;
        Ok(true)
    }

    /// Whether an envelope is free.
    fn has_room(&self) -> bool {
        !self.counter.lock().free.is_empty()
    }

    /// Waits for answers and takes some, each as (number, status, pickle, buffers), or (number, None, exception, []) where no
    /// worker could give one. None when the pool has ended.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let some = py.detach(|| self.counter.take());
        if some.is_empty() {
            return Ok(None);
        }
        let taken = PyList::empty(py);
        for arrived in some {
            taken.append(self.unpack(py, arrived)?)?;
        }
        Ok(Some(taken))
    }

    /// Ends the pool; what is not done fails. Nothing is left behind when this returns.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process()?;
        py.detach(|| {
            let engine = lock(&self.engine).take();
            if let Some((engine, _)) = engine {
                engine.shutdown(Duration::ZERO);
                self.counter.close();
            }
        });
        // Freed without the lock: nobody knows what else an array's end leads to.
        let spare = std::mem::take(&mut lock(&self.spare).arrays);
        drop(spare);
        Ok(())
    }

    /// The numbers of the worker processes that run now.
    fn process_ids(&self, py: Python<'_>) -> Vec<u32> {
        py.detach(|| lock(&self.engine).as_ref().map(|(engine, _)| engine.process_ids())).unwrap_or_default()
    }
}

/// Raises MemoryError where fewer bytes are left to this process.
#[pyfunction]
pub fn need_memory(bytes: usize) -> PyResult<()> {
    vidmill::pool::need_memory(bytes).map_err(|error| PyMemoryError::new_err(error.to_string()))
}

impl Workers {
    fn check_process(&self) -> PyResult<()> {
        let (owner, here) = (self.owner, std::process::id());
        if owner == here {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "this pool belongs to process {owner}, and this is its fork {here}: make a pool of its own here"
        )))
    }

    fn send(&self, number: u64, mut envelope: Numbered, layout: &Layout, parts: &[&[u8]]) -> PyResult<()> {
        let body = match fill(&mut envelope.envelope, layout, parts) {
            Ok(body) => body,
            Err(error) => {
                self.counter.give_back(envelope);
                return Err(PyMemoryError::new_err(format!("no memory for this item: {error}")));
            }
        };
        let item = Item { label: envelope.envelope.label(envelope.number), body };
        let engine = lock(&self.engine);
        match engine.as_ref().and_then(|(engine, slots)| Some((engine, slots.try_acquire()?))) {
            Some((engine, slot)) => {
                engine.submit(&mut vec![(Ticket { number, envelope }, item)], 0, slot.filled());
                Ok(())
            }
            None => {
                drop(engine);
                self.counter.give_back(envelope);
                Err(closed())
            }
        }
    }

    /// An answer as Python gets it; its envelope is free again.
    fn unpack<'py>(&self, py: Python<'py>, arrived: Arrived) -> PyResult<Bound<'py, PyTuple>> {
        let Arrived { ticket: Ticket { number, mut envelope }, result } = arrived;
        let parts = match result {
            Ok(answer) => {
                let parts = self.copy_out(py, &answer, &mut envelope.envelope);
                if answer.kept {
                    envelope.envelope.leave_there();
                }
                parts.map(|parts| (answer.status, parts))
            }
            Err(failure) => Err(error::worker(&failure)),
        };
        py.detach(|| self.counter.give_back(envelope));
        match parts {
            Ok((status, parts)) => {
                let (pickle, buffers) =
                    parts.split_first().map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
                (number, status, pickle, buffers).into_pyobject(py)
            }
            Err(error) => (number, py.None(), error.value(py), PyList::empty(py)).into_pyobject(py),
        }
    }
}

impl Workers {
    /// The parts of an answer, in memory that NumPy has made: arrays over it own it and can be written.
    fn copy_out<'py>(
        &self,
        py: Python<'py>,
        answer: &Answer,
        envelope: &mut Envelope,
    ) -> PyResult<Vec<Bound<'py, PyArray1<u8>>>> {
        let mut read = |at: usize, out: &mut [u8]| match &answer.body {
            Body::Here(body) => {
                out.copy_from_slice(body.get(at..at.checked_add(out.len())?)?);
                Some(())
            }
            Body::InEnvelope(_) => envelope.read_back(at, out),
        };
        let bytes = match &answer.body {
            // No worker could say why.
            Body::Here(body) if body.is_empty() => return Ok(Vec::new()),
            Body::Here(body) => body.len(),
            Body::InEnvelope(bytes) => *bytes,
        };
        let broken =
            || WorkerError::new_err("the worker's answer makes no sense; please report this as a bug");
        let ranges =
            Layout::read(bytes, &mut read).ok().and_then(|layout| layout.ranges()).ok_or_else(broken)?;
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            let part = self.memory(py, range.len())?;
            let mut bytes = part.try_readwrite()?;
            let out = bytes.as_slice_mut()?;
            let copied =
                if out.len() > SMALL { py.detach(|| read(range.start, out)) } else { read(range.start, out) };
            copied.ok_or_else(broken)?;
            drop(bytes);
            parts.push(part);
        }
        Ok(parts)
    }
}

impl Workers {
    /// An array of so many bytes whose contents are still to be written.
    fn memory<'py>(&self, py: Python<'py>, bytes: usize) -> PyResult<Bound<'py, PyArray1<u8>>> {
        if bytes <= SMALL {
            return empty(py, bytes);
        }
        // Without the lock: making an object may collect garbage, which may be anything, this pool's last user too.
        let mut spare = std::mem::take(&mut *lock(&self.spare));
        let array = spare.array(py, bytes);
        *lock(&self.spare) = spare;
        array
    }
}

impl Spare {
    fn array<'py>(&mut self, py: Python<'py>, bytes: usize) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let fits = |array: &Py<PyArray1<u8>>| {
            let is_enough = (bytes..=bytes.saturating_mul(2)).contains(&array.bind(py).len().unwrap_or(0));
            // Arrays over this one hold it.
            is_enough && !is_held_by_others(py, array)
        };
        let whole = match self.arrays.iter().position(fits).and_then(|place| self.arrays.remove(place)) {
            Some(array) => array.into_bound(py),
            None => empty(py, bytes)?,
        };
        if self.arrays.len() >= self.most {
            self.arrays.pop_front();
        }
        self.arrays.push_back(whole.clone().unbind());
        Ok(whole.get_item(PySlice::new(py, 0, isize::try_from(bytes)?, 1))?.cast_into()?)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let Some((engine, _)) = self.engine.get_mut().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        if self.owner == std::process::id() {
            engine.shutdown(Duration::ZERO);
        } else {
            // The thread that would end it has stayed in the other process, as have the workers.
            std::mem::forget(engine);
        }
    }
}

fn fill(envelope: &mut Envelope, layout: &Layout, parts: &[&[u8]]) -> std::io::Result<Body> {
    if layout.bytes > SMALL {
        layout.write_to(parts, envelope.there(layout.bytes)?);
        return Ok(Body::InEnvelope(layout.bytes));
    }
    let mut body = vec![0; layout.bytes];
    layout.write_to(parts, &mut body);
    Ok(Body::Here(body))
}

/// An array whose contents are still to be written. NumPy makes it, which keeps memory that it had before.
fn empty(py: Python<'_>, bytes: usize) -> PyResult<Bound<'_, PyArray1<u8>>> {
    static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let empty =
        EMPTY.get_or_try_init(py, || Ok::<_, PyErr>(py.import("numpy")?.getattr("empty")?.unbind()))?;
    Ok(empty.bind(py).call1((bytes, "uint8"))?.cast_into()?)
}

/// What became of waiting for an envelope.
enum Wait {
    Had(Numbered),
    NotYet,
    Closed,
}

impl Counter {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn envelope(&self, patience: Duration) -> Wait {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return Wait::Closed;
            }
            // What came back last goes out first: it is the likeliest to be in the caches still.
            if let Some(envelope) = state.free.pop() {
                return Wait::Had(envelope);
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return Wait::NotYet;
            };
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, envelope: Numbered) {
        let mut state = self.lock();
        if !state.is_closed {
            state.free.push(envelope);
            self.changed.notify_all();
        }
    }

    fn arrive(&self, arrived: Arrived) {
        self.lock().arrived.push_back(arrived);
        self.changed.notify_all();
    }

    /// No more envelopes are had; what has arrived still is.
    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let free = std::mem::take(&mut state.free);
        self.changed.notify_all();
        drop(state);
        drop(free);
    }

    /// Waits for answers: several small ones, or one of any size, since the next waits while it is copied. None at the end.
    fn take(&self) -> Vec<Arrived> {
        let mut state = self.lock();
        while state.arrived.is_empty() && !state.is_closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut some = Vec::new();
        while some.len() < AT_ONCE
            && let Some(arrived) = state.arrived.pop_front()
        {
            let is_small = !matches!(&arrived.result, Ok(Answer { body: Body::InEnvelope(_), .. }));
            some.push(arrived);
            if !is_small {
                break;
            }
        }
        some
    }
}

fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| PyValueError::new_err(format!("{name}={seconds}: give a number of seconds above 0")))
}

fn closed() -> PyErr {
    PyValueError::new_err("this pool is closed: make another one with vidmill.Pool(...)")
}

fn cannot(what: &str, error: &std::io::Error) -> PyErr {
    match error.kind() {
        std::io::ErrorKind::OutOfMemory => PyMemoryError::new_err(format!(
            "cannot {what}: {error}; ask for fewer slots or fewer bytes of each"
        )),
        _ => PyOSError::new_err(format!("cannot {what}: {error}")),
    }
}

fn cannot_start(error: StartError) -> PyErr {
    match error {
        // The worker's own words, which `_pool.py` takes apart.
        StartError::Refused(reason) => WorkerError::new_err(reason),
        error => WorkerError::new_err(format!("a worker cannot start: {error}")),
    }
}

/// What panics leave behind is still whole: every step is taken back or done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The frames of one file, as Python iterates over them.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use numpy::{PyArrayDyn, PyArrayMethods};
use pyo3::exceptions::{PyIndexError, PyStopAsyncIteration, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use vidmill::image::Rotation;
use vidmill::sample::{Choice, NoTimestamp, Sampler};
use vidmill::video::{DecodeOptions, Decoder, Frame as Decoded, FrameHead, Probe, Rational, Step};

use crate::arguments;
use crate::cursor::{Cursor, Found, Goal};
use crate::error::Failure;
use crate::frame::Frame;
use crate::pixels::{Format, Pixels};

/// How long the interpreter waits before it may look for signals.
const PATIENCE: Duration = Duration::from_millis(100);

/// The frames of one video or image; see `vidmill.frames`.
///
///     >>> frames = vidmill.frames("street.mp4")
///     >>> frames.width, frames.height, frames.duration, frames.average_rate   # pixels, seconds, a second
///     (640, 272, 10.0, Fraction(25, 1))
///     >>> frames.time_base   # seconds for each unit of `Frame.pts`
///     Fraction(1, 12800)
#[pyclass(frozen, module = "vidmill")]
pub struct Frames {
    path: String,
    options: DecodeOptions,
    probe: Probe,
    walk: Mutex<Option<Walk>>,
    cursor: Mutex<Option<Cursor>>,
    pixels: Mutex<Pixels>,
}

/// From the first frame to the last.
struct Walk {
    decoder: Decoder,
    sampler: Sampler,
    /// The frame with which the time range ends, if it was asked about.
    stop: Option<u64>,
    refused: Option<NoTimestamp>,
    is_over: bool,
}

enum Next {
    Frame(Box<Decoded>),
    NotYet,
    End,
}

impl Walk {
    /// The next frame that is wanted, if it comes before `until`.
    fn next(&mut self, until: Instant) -> Result<Next, Failure> {
        while !self.is_over {
            let Self { decoder, sampler, stop, refused, is_over } = self;
            let mut want = |head: FrameHead| {
                if stop.is_some() || refused.is_some() {
                    return false;
                }
                match sampler.choose(head) {
                    Ok(Choice::Take) => return true,
                    Ok(Choice::Skip) => {}
                    Ok(Choice::Stop) => *stop = Some(head.index),
                    Err(error) => *refused = Some(error),
                }
                false
            };
            match decoder.next(&mut want)? {
                Step::Frame(frame) => return Ok(Next::Frame(Box::new(frame))),
                // Frames are asked about ahead of time: what was taken before still comes.
                Step::Skipped(head) => {
                    if let Some(error) = refused.take_if(|NoTimestamp(frame)| *frame == head.index) {
                        *is_over = true;
                        return Err(error.into());
                    }
                    *is_over = *stop == Some(head.index);
                }
                Step::End => *is_over = true,
            }
            if Instant::now() >= until {
                return Ok(Next::NotYet);
            }
        }
        Ok(Next::End)
    }
}

#[pymethods]
impl Frames {
    #[new]
    #[pyo3(signature = (source, *, every=None, fps=None, start=None, end=None, size=None, format="rgb", threads=0))]
    #[expect(clippy::too_many_arguments, reason = "keywords of the Python function")]
    fn new(
        py: Python<'_>,
        source: PathBuf,
        every: Option<&Bound<'_, PyAny>>,
        fps: Option<&Bound<'_, PyAny>>,
        start: Option<&Bound<'_, PyAny>>,
        end: Option<&Bound<'_, PyAny>>,
        size: Option<(u32, u32)>,
        format: &str,
        threads: usize,
    ) -> PyResult<Self> {
        let path = source.to_str().ok_or_else(|| {
            PyValueError::new_err(format!("{} is not a path in UTF-8: rename the file", source.display()))
        })?;
        let sampling = arguments::sampling(every, fps, start, end)?;
        let pixels = Pixels::new(format.parse::<Format>()?, size)?;
        let options = DecodeOptions { threads, ..DecodeOptions::default() };
        let decoder = py.detach(|| Decoder::open(path, &options)).map_err(Failure::from)?;
        let probe = decoder.probe().clone();
        let sampler = Sampler::new(sampling);
        let walk = Walk { decoder, sampler, stop: None, refused: None, is_over: false };
        Ok(Self {
            path: path.to_owned(),
            options,
            probe,
            walk: Mutex::new(Some(walk)),
            cursor: Mutex::default(),
            pixels: Mutex::new(pixels),
        })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
        loop {
            let next = py.detach(|| match &mut *lock(&self.walk) {
                None => Err(closed()),
                Some(walk) => walk.next(Instant::now() + PATIENCE),
            })?;
            match next {
                Next::Frame(frame) => return self.frame(py, &frame).map(Some),
                Next::End => return Ok(None),
                Next::NotYet => py.check_signals()?,
            }
        }
    }

    fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        arguments::in_executor(slf.as_any(), "_next_or_stop")
    }

    /// What `async for` runs in a thread, where StopIteration has no meaning.
    fn _next_or_stop(&self, py: Python<'_>) -> PyResult<Frame> {
        self.__next__(py)?.ok_or_else(|| PyStopAsyncIteration::new_err(()))
    }

    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Frame> {
        if index.is_instance_of::<pyo3::types::PySlice>() {
            return Err(PyTypeError::new_err(
                "frames are had one at a time: give an index, or iterate with start and end",
            ));
        }
        // Whatever counts as an index in Python (NumPy's integers, too).
        let index = py.import("operator")?.call_method1("index", (index,))?;
        let wanted: u64 = index.extract().map_err(|_| {
            PyIndexError::new_err(format!("frame {index}: frames are counted from 0, and not from the end"))
        })?;
        self.find(py, Goal::Index(wanted))
    }

    /// The frame that is shown at a time: the last one that is not after it.
    ///
    ///     >>> vidmill.frames("street.mp4").at(4.81)
    ///     <vidmill.Frame index=120 time=4.8 rgb (272, 640, 3)>
    fn at(&self, py: Python<'_>, time: &Bound<'_, PyAny>) -> PyResult<Frame> {
        let seconds = arguments::seconds(time)?;
        if seconds.is_nan() {
            return Err(PyValueError::new_err("nan is not a time: give seconds"));
        }
        self.find(py, Goal::Time(seconds))
    }

    /// Gives the file and all decoders back; what was given out stays valid.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            lock(&self.walk).take();
            lock(&self.cursor).take();
        });
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _type: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.close(py);
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

    /// Whether `close` was called.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        py.detach(|| lock(&self.walk).is_none())
    }

    /// Width in pixels, as displayed: rotated, before `size`.
    #[getter]
    fn width(&self) -> u32 {
        let Probe { displayed_width, .. } = self.probe;
        displayed_width
    }

    /// Height in pixels, as displayed.
    #[getter]
    fn height(&self) -> u32 {
        let Probe { displayed_height, .. } = self.probe;
        displayed_height
    }

    /// By how many degrees decoded pictures are turned clockwise to be displayed.
    #[getter]
    fn rotation(&self) -> u32 {
        match self.probe.rotation {
            Rotation::None => 0,
            Rotation::Clockwise => 90,
            Rotation::Half => 180,
            Rotation::CounterClockwise => 270,
        }
    }

    /// Seconds per unit of `Frame.pts`, a Fraction.
    #[getter]
    fn time_base<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        fraction(py, Some(self.probe.time_base).filter(|_| !self.probe.is_image))
    }

    /// Average frames per second as the container declares them, a Fraction; None where it does not. Not used for timing.
    #[getter]
    fn average_rate<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        fraction(py, self.probe.average_frame_rate)
    }

    /// Frames as the container declares them; damaged files may hold fewer. None where it does not say.
    #[getter]
    fn declared_count(&self) -> Option<u64> {
        self.probe.frame_count
    }

    /// Seconds as the container declares them.
    #[getter]
    fn duration(&self) -> Option<f64> {
        self.probe.duration
    }

    /// What the file is: the `probe` of a manifest.
    #[getter]
    fn probe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        arguments::from_json(py, &self.probe)
    }

    /// What was concealed or lost so far: the `damage` of a manifest.
    #[getter]
    fn damage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let damage = py.detach(|| match &*lock(&self.walk) {
            None => Err(closed()),
            Some(walk) => Ok(walk.decoder.damage().clone()),
        })?;
        arguments::from_json(py, &damage)
    }

    fn __repr__(&self) -> String {
        let Probe { codec, displayed_width, displayed_height, .. } = &self.probe;
        format!("<vidmill.Frames {:?} {codec} {displayed_width}x{displayed_height}>", self.path)
    }
}

impl Frames {
    /// Random access; where iteration is does not matter, and does not change.
    fn find(&self, py: Python<'_>, goal: Goal) -> PyResult<Frame> {
        if self.path == "-" {
            return Err(Failure::Value("standard input can only be read from beginning to end".into()).into());
        }
        if self.closed(py) {
            return Err(closed().into());
        }
        loop {
            let found = py.detach(|| {
                let mut cursor = lock(&self.cursor);
                let cursor = cursor
                    .get_or_insert_with(|| Cursor::new(&self.path, &self.options, self.probe.time_base));
                cursor.find(goal, Instant::now() + PATIENCE)
            })?;
            match found {
                Found::Frame(frame) => return self.frame(py, &frame),
                Found::NotYet => py.check_signals()?,
                Found::Nothing(length) => return Err(Failure::Beyond(length).into()),
            }
        }
    }

    fn frame(&self, py: Python<'_>, frame: &Decoded) -> PyResult<Frame> {
        let shape = py.detach(|| lock(&self.pixels).shape(frame))?;
        let array = empty(py, &shape)?;
        let mut bytes = array.try_readwrite()?;
        let out = bytes.as_slice_mut()?;
        let format = py.detach(|| {
            let mut pixels = lock(&self.pixels);
            pixels.write(frame, out).map(|()| pixels.format)
        })?;
        drop(bytes);
        let FrameHead { index, timestamp } = frame.head();
        Ok(Frame {
            array: array.into_any().unbind(),
            index,
            pts: timestamp.map(|t| t.pts),
            time: timestamp.map(|t| t.seconds()),
            concealed: frame.is_concealed(),
            format,
        })
    }
}

/// An array whose contents are still to be written. NumPy makes it, which keeps memory that it had before.
fn empty<'py>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let empty =
        EMPTY.get_or_try_init(py, || Ok::<_, PyErr>(py.import("numpy")?.getattr("empty")?.unbind()))?;
    let shape = pyo3::types::PyTuple::new(py, shape)?;
    Ok(empty.bind(py).call1((shape, "uint8"))?.cast_into()?)
}

fn fraction<'py>(py: Python<'py>, value: Option<Rational>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(Rational { num, den }) = value.filter(|value| value.den != 0) else { return Ok(None) };
    py.import("fractions")?.getattr("Fraction")?.call1((num, den)).map(Some)
}

fn closed() -> Failure {
    Failure::Value("these frames are closed: open them again with vidmill.frames(...)".into())
}

/// What panics leave behind is still whole: every step is taken back or done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Bytes of the engine's that Python looks at where they lie, and Python's that the engine does: the buffer protocol.

use std::ffi::c_int;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Bytes that do not move or change while somebody holds them.
pub type Still = Arc<dyn Deref<Target = [u8]> + Send + Sync>;

/// Bytes of a batch or of a pool's arguments, to be read. They stay what they are while this lives, and whatever looks at them keeps it alive.
#[pyclass(frozen, module = "vidmill")]
pub struct View {
    whole: Still,
    range: Range<usize>,
    looks: AtomicUsize,
}

impl View {
    pub fn new(bytes: impl Deref<Target = [u8]> + Send + Sync + 'static) -> Self {
        let range = 0..bytes.len();
        Self { whole: Arc::new(bytes), range, looks: AtomicUsize::new(0) }
    }

    /// A part of bytes that others have views of, too; nothing beyond their end.
    pub fn part(whole: &Still, range: Range<usize>) -> Option<Self> {
        whole.get(range.clone())?;
        Some(Self { whole: Arc::clone(whole), range, looks: AtomicUsize::new(0) })
    }

    /// How many look at the bytes now. An array and what was sliced from it are one.
    fn looks(&self) -> usize {
        self.looks.load(SeqCst)
    }
}

/// Whether somebody still looks at the bytes, or could, now that the call they were lent for is over.
pub fn are_looked_at(py: Python<'_>, views: &[Bound<'_, View>]) -> bool {
    let looked_at =
        |view: &Bound<'_, View>| view.get().looks() > 0 || is_held_by_others(py, view.as_unbound());
    if !views.iter().any(looked_at) {
        return false;
    }
    // It may be garbage that refers to itself, such as an exception with its traceback.
    let collected = py.import("gc").and_then(|gc| gc.call_method0("collect"));
    collected.is_err() || views.iter().any(looked_at)
}

#[pymethods]
impl View {
    /// Python calls this.
    ///
    /// # Safety
    /// `view` is null or valid for being written to.
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill in"));
        }
        let bytes: &[u8] = &slf.get().whole[slf.get().range.clone()];
        let length = isize::try_from(bytes.len())
            .map_err(|_| PyBufferError::new_err("too many bytes for a buffer"))?;
        let address = bytes.as_ptr().cast_mut().cast();
        // SAFETY: `view` is Python's own structure, checked against null. The bytes live and do not change as long as `slf`,
        // which the call makes the buffer's owner. It is marked as read-only, so that nobody writes through the pointer.
        let code = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address, length, 1, flags) };
        if code != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        slf.get().looks.fetch_add(1, SeqCst);
        Ok(())
    }

    /// Python calls this once for each buffer that it got.
    ///
    /// # Safety
    /// None is needed.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.looks.fetch_sub(1, SeqCst);
    }
}

/// What looks like its NumPy array to whoever wants a buffer; a base class.
#[pyclass(frozen, subclass, module = "vidmill")]
pub struct Lender {
    array: Py<PyAny>,
}

impl Lender {
    pub fn new(array: Py<PyAny>) -> Self {
        Self { array }
    }
}

#[pymethods]
impl Lender {
    /// Python calls this. The array becomes the buffer's owner, so that it is the array that is told of the buffer's end.
    ///
    /// # Safety
    /// `view` is null or valid for being written to.
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill in"));
        }
        // SAFETY: `view` is Python's own structure, checked against null; the array is alive, as `slf` holds it. Where this
        // fails, Python's exception is set, and there is no buffer.
        let code = unsafe { ffi::PyObject_GetBuffer(slf.get().array.as_ptr(), view, flags) };
        if code != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}

/// Whether somebody beside the owner of this one reference holds the object.
pub fn is_held_by_others<T>(_attached: Python<'_>, object: &Py<T>) -> bool {
    // SAFETY: the object is alive, since `object` holds it, and the interpreter is attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) > 1 }
}

/// The bytes of an object of Python's, which lends them. Who gave the object must not change them meanwhile: as ever in Python,
/// a thread that does makes them a mixture of old and new.
pub struct Borrowed(PyBuffer<u8>);

impl Borrowed {
    /// Of a contiguous buffer of bytes, such as `PickleBuffer.raw()` gives.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::get(object)?;
        if buffer.is_c_contiguous() {
            Ok(Self(buffer))
        } else {
            Err(PyBufferError::new_err("a buffer with gaps"))
        }
    }
}

impl Deref for Borrowed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.0.len_bytes() == 0 {
            return &[];
        }
        // SAFETY: the buffer is contiguous, checked above, and of bytes, which `PyBuffer<u8>` has checked; Python keeps the memory
        // where it is until the buffer is released, which `self` does when it is dropped. That nobody writes it meanwhile is upheld
        // by who gave it, as for an array that NumPy computes with; any bytes are valid ones.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>().cast_const(), self.0.len_bytes()) }
    }
}

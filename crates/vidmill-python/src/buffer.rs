//! Bytes that Python looks at where they lie, through the buffer protocol.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use vidmill::pool::Input;

/// The bytes of a batch, to be read. They stay what they are while this lives, and whatever looks at them keeps it alive.
#[pyclass(frozen, module = "vidmill")]
pub struct View {
    bytes: Input,
    looks: AtomicUsize,
}

impl View {
    pub fn new(bytes: Input) -> Self {
        Self { bytes, looks: AtomicUsize::new(0) }
    }

    /// How many look at the bytes now. An array and what was sliced from it are one.
    pub fn looks(&self) -> usize {
        self.looks.load(SeqCst)
    }
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
        let bytes: &[u8] = &slf.get().bytes;
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

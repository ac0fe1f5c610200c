//! One frame, as Python sees it.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::buffer::Lender;
use crate::pixels::Format;

/// A decoded frame.
///
/// `array` is a NumPy array of uint8, contiguous and the frame's own: `[height, width, 3]` for "rgb" and "bgr", `[height, width]` for
/// "gray" (full range), `[height * 3 // 2, width]` for "yuv" (planar 4:2:0: Y, then U, then V, as cv2.COLOR_YUV2BGR_I420 takes it).
///
///     >>> frame = vidmill.frames("street.mp4")[120]
///     >>> frame.index, frame.time, frame.array.shape, frame.array.dtype
///     (120, 4.8, (272, 640, 3), dtype('uint8'))
///     >>> np.shares_memory(np.asarray(frame), frame.array), memoryview(frame).shape   # nothing is copied
///     (True, (272, 640, 3))
#[pyclass(frozen, extends = Lender, module = "vidmill")]
pub struct Frame {
    /// The pixels.
    #[pyo3(get)]
    pub array: Py<PyAny>,
    /// Index among all decoded frames of the file, from 0, as cv2 counts them.
    #[pyo3(get)]
    pub index: u64,
    /// The container's own timestamp in units of `Frames.time_base`; None for images and where the container does not say.
    #[pyo3(get)]
    pub pts: Option<i64>,
    /// The same in seconds.
    #[pyo3(get)]
    pub time: Option<f64>,
    /// Whether the decoder hid errors in this frame.
    #[pyo3(get)]
    pub concealed: bool,
    pub format: Format,
}

#[pymethods]
impl Frame {
    /// What `array` holds: "rgb", "bgr", "gray" or "yuv".
    #[getter]
    fn format(&self) -> &'static str {
        self.format.name()
    }

    /// The pixels, for NumPy.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let array = self.array.bind(py);
        match (dtype, copy) {
            (None, Some(true)) => array.call_method0("copy"),
            (None, _) => Ok(array.clone()),
            (Some(dtype), copy) => array.call_method(
                "astype",
                (dtype,),
                Some(&{
                    let options = PyDict::new(py);
                    options.set_item("copy", copy.unwrap_or(false))?;
                    options
                }),
            ),
        }
    }

    /// The pixels, for whoever speaks DLPack.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<&Bound<'py, PyAny>>,
        dl_device: Option<&Bound<'py, PyAny>>,
        copy: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // NumPy 1 knows but the first of these.
        let options = PyDict::new(py);
        let given =
            [("stream", stream), ("max_version", max_version), ("dl_device", dl_device), ("copy", copy)];
        for (name, value) in given {
            if let Some(value) = value {
                options.set_item(name, value)?;
            }
        }
        self.array.bind(py).call_method("__dlpack__", (), Some(&options))
    }

    /// The device of DLPack's that the pixels are on: always the CPU.
    fn __dlpack_device__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array.bind(py).call_method0("__dlpack_device__")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = self.array.bind(py).getattr("shape")?.str()?;
        let time = self.time.map_or_else(|| "None".to_owned(), |time| time.to_string());
        Ok(format!("<vidmill.Frame index={} time={time} {} {shape}>", self.index, self.format.name()))
    }
}

impl<'py> IntoPyObject<'py> for Frame {
    type Target = Self;
    type Output = Bound<'py, Self>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, Self>> {
        let lender = Lender::new(self.array.clone_ref(py));
        Bound::new(py, PyClassInitializer::from(lender).add_subclass(self))
    }
}

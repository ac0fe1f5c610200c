//! One frame, as Python sees it.

use pyo3::prelude::*;

use crate::pixels::Format;

/// A decoded frame.
///
/// `array` is a NumPy array of uint8, contiguous and the frame's own: `[height, width, 3]` for "rgb" and "bgr", `[height, width]` for
/// "gray" (full range), `[height * 3 // 2, width]` for "yuv" (planar 4:2:0: Y, then U, then V, as cv2.COLOR_YUV2BGR_I420 takes it).
#[pyclass(frozen, module = "vidmill")]
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
                    let options = pyo3::types::PyDict::new(py);
                    options.set_item("copy", copy.unwrap_or(false))?;
                    options
                }),
            ),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = self.array.bind(py).getattr("shape")?.str()?;
        let time = self.time.map_or_else(|| "None".to_owned(), |time| time.to_string());
        Ok(format!("<vidmill.Frame index={} time={time} {} {shape}>", self.index, self.format.name()))
    }
}

//! Models that run in Python, in worker processes: the native side of `vidmill._worker`.

use numpy::{
    PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArrayDyn, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use vidmill::image::Rect;
use vidmill::infer::{Description, Detection, Found, Outputs, TensorInfo, TensorView};
use vidmill::pool::Input;
use vidmill::predictor::{ForeignModel, FramePredictor, Order, Predicted};

use crate::arguments::from_json;
use crate::buffer::View;
use crate::command::number;

/// Serves as a worker process; returns its exit code. `build` makes a `vidmill._worker.Serving` of an order.
#[pyfunction]
pub fn serve_predictor(py: Python<'_>, build: Py<PyAny>) -> u8 {
    number(py.detach(|| vidmill::serve_foreign(|order| Foreign::build(&build, order))))
}

/// A `vidmill._worker.Serving`.
struct Foreign(Py<PyAny>);

/// What `Serving.predict` gives of a frame: boxes, confidences, class numbers and names of detections; other outputs as JSON.
type FrameParts<'py> = (Option<DetectionParts<'py>>, Option<String>);
type DetectionParts<'py> =
    (PyReadonlyArray2<'py, f32>, PyReadonlyArray1<'py, f32>, PyReadonlyArray1<'py, i64>, Vec<String>);

impl Foreign {
    fn build(build: &Py<PyAny>, order: &Order) -> Result<Self, String> {
        attached(|py| Ok(Self(build.call1(py, (from_json(py, order)?,))?)))
    }
}

impl ForeignModel for Foreign {
    fn description(&mut self) -> Result<Description, String> {
        let text: String = attached(|py| self.0.call_method0(py, "description")?.extract(py))?;
        serde_json::from_str(&text).map_err(|error| format!("its description: {error}"))
    }

    fn try_out(&mut self, shape: &[usize]) -> Result<Vec<TensorInfo>, String> {
        let text: String = attached(|py| self.0.call_method1(py, "try_out", (shape.to_vec(),))?.extract(py))?;
        serde_json::from_str(&text).map_err(|error| format!("its outputs: {error}"))
    }
}

impl FramePredictor for Foreign {
    fn predict(
        &mut self,
        input: &Input,
        frames: usize,
        batch: usize,
        take: &mut dyn FnMut(Predicted<'_>),
    ) -> Result<(), String> {
        attached(|py| {
            let view = Bound::new(py, View::new(input.clone()))?;
            let taken =
                self.predict_attached(py, &view, frames, batch, take).map_err(|error| describe(py, &error));
            // What is left of an exception or a cycle is no look of the predictor's.
            if view.get().looks() > 0 {
                py.import("gc")?.call_method0("collect")?;
            }
            Ok(if view.get().looks() > 0 { Err(KEPT.to_owned()) } else { taken })
        })?
    }
}

const KEPT: &str = "the predictor kept its batch, or a part of it, beyond the call: that memory is filled with other frames next; \
                    keep a copy of it, as batch.copy()";

impl Foreign {
    fn predict_attached(
        &self,
        py: Python<'_>,
        view: &Bound<'_, View>,
        frames: usize,
        batch: usize,
        take: &mut dyn FnMut(Predicted<'_>),
    ) -> PyResult<()> {
        let predicted = self.0.bind(py).call_method1("predict", (view, frames, batch))?;
        if let Ok(tensors) = predicted.extract::<Vec<(String, Bound<'_, PyArrayDyn<f32>>)>>()
            && !tensors.is_empty()
        {
            let arrays: Vec<(String, PyReadonlyArrayDyn<'_, f32>)> =
                tensors.into_iter().map(|(name, array)| (name, array.readonly())).collect();
            let mut views = Vec::with_capacity(arrays.len());
            for (name, array) in &arrays {
                views.push(TensorView { name, shape: array.shape(), data: array.as_slice()? });
            }
            take(Predicted::Outputs(Outputs::new(batch, views)));
            return Ok(());
        }
        let mut found = Vec::with_capacity(frames);
        for frame in predicted.try_iter()? {
            let frame = frame?;
            found.push(match frame.extract::<String>() {
                Ok(error) => Err(error),
                Err(_) => Ok(of_parts(frame.extract::<FrameParts<'_>>()?)),
            });
        }
        take(Predicted::Frames(found));
        Ok(())
    }
}

fn of_parts((detections, outputs): FrameParts<'_>) -> Found {
    let Some((boxes, confidences, classes, names)) = detections else {
        return Found { outputs, ..Found::default() };
    };
    let (boxes, confidences, classes) = (boxes.as_array(), confidences.as_array(), classes.as_array());
    let rows = boxes.rows().into_iter().zip(&confidences).zip(&classes);
    let detections = rows.map(|((row, &confidence), &class)| Detection {
        rect: Rect { x1: row[0], y1: row[1], x2: row[2], y2: row[3] },
        confidence,
        class_id: u32::try_from(class).unwrap_or(u32::MAX),
    });
    Found { detections: Some(detections.collect()), names, outputs }
}

/// What `work` gives, or its exception as text with the traceback.
fn attached<T>(work: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, String> {
    Python::attach(|py| work(py).map_err(|error| describe(py, &error)))
}

fn describe(py: Python<'_>, error: &PyErr) -> String {
    let described = py
        .import("vidmill._worker")
        // This way the exception has its traceback.
        .and_then(|module| module.call_method1("describe", (error.clone_ref(py).into_value(py),)))
        .and_then(|text| text.extract());
    described.unwrap_or_else(|_| error.to_string())
}

//! Models that run in Python, in worker processes: the native side of `vidmill._worker`.

use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArrayDyn, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use vidmill::image::Rect;
use vidmill::infer::{Description, Detection, Found, Outputs, TensorInfo, TensorView};
use vidmill::pool::Input;
use vidmill::predictor::{ForeignModel, FramePredictor, Order, Predicted};

use crate::arguments::from_json;
use crate::buffer::{View, are_looked_at};
use crate::command::{end_if_forked, number};

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
        let serving = std::process::id();
        attached(|py| {
            let view = Bound::new(py, View::new(input.clone()))?;
            let taken =
                self.predict_attached(py, &view, frames, batch, take).map_err(|error| describe(py, &error));
            end_if_forked(py, serving)?;
            Ok(if are_looked_at(py, std::slice::from_ref(&view)) { Err(KEPT.to_owned()) } else { taken })
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
        let (are_tensors, predicted): (bool, Bound<'_, PyAny>) =
            self.0.bind(py).call_method1("predict", (view, frames, batch))?.extract()?;
        if are_tensors {
            let arrays: Vec<(String, PyReadonlyArrayDyn<'_, f32>)> = predicted.extract()?;
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
                Err(_) => of_parts(frame.extract::<FrameParts<'_>>()?),
            });
        }
        take(Predicted::Frames(found));
        Ok(())
    }
}

fn of_parts((detections, outputs): FrameParts<'_>) -> Result<Found, String> {
    let Some((boxes, confidences, classes, names)) = detections else {
        return Ok(Found { outputs, ..Found::default() });
    };
    let (boxes, confidences, classes) = (boxes.as_array(), confidences.as_array(), classes.as_array());
    let rows = boxes.rows().into_iter().zip(&confidences).zip(&classes);
    let detections = rows.map(|((row, &confidence), &class)| {
        let rect = Rect { x1: row[0], y1: row[1], x2: row[2], y2: row[3] };
        // As far as all formats of results count.
        let class_id = i32::try_from(class).ok().and_then(|class| u32::try_from(class).ok());
        let class_id =
            class_id.ok_or_else(|| format!("class_id holds {class}: 0 to {} are class numbers", i32::MAX))?;
        Ok(Detection::new(rect, confidence, class_id))
    });
    let detections = Some(detections.collect::<Result<_, String>>()?);
    Ok(Found { detections, names, outputs, ..Found::default() })
}

/// 32-bit floats as the shortest numbers that read back as the same.
#[pyfunction]
pub fn shortest<'py>(
    py: Python<'py>,
    numbers: PyReadonlyArray1<'py, f32>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    // What `Debug` writes, `parse` reads.
    let read = |number: &f32| format!("{number:?}").parse().unwrap_or(f64::from(*number));
    let numbers: Vec<f64> = numbers.as_slice()?.iter().map(read).collect();
    Ok(numbers.into_pyarray(py))
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

//! Models that run in Python, in worker processes: the native side of `vidmill._worker`.

use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyReadonlyArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vidmill::image::{Mask, Rect, Size};
use vidmill::infer::{
    Class, Description, Detection, Found, Keypoint, Outputs, Region, TensorInfo, TensorView, Text,
};
use vidmill::pool::Input;
use vidmill::predictor::{ForeignModel, FramePredictor, Order, Predicted};

use crate::arguments::from_json;
use crate::buffer::{View, are_looked_at};
use crate::command::{end_if_forked, number};
use crate::found;

/// Serves as a worker process; returns its exit code. `build` makes a `vidmill._worker.Serving` of an order.
#[pyfunction]
pub fn serve_predictor(py: Python<'_>, build: Py<PyAny>) -> u8 {
    number(py.detach(|| vidmill::serve_foreign(|order| Foreign::build(&build, order))))
}

/// A `vidmill._worker.Serving`.
struct Foreign(Py<PyAny>);

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
            found.push(match frame.cast::<PyDict>() {
                Ok(parts) => found_of(parts).map_err(|error| error.value(py).to_string()),
                Err(_) => Err(frame.extract()?),
            });
        }
        take(Predicted::Frames(found));
        Ok(())
    }
}

/// What was found, of `vidmill._worker.Parts`.
fn found_of(parts: &Bound<'_, PyDict>) -> PyResult<Found> {
    let mut found = Found { outputs: part(parts, "outputs")?, ..Found::default() };
    if let Some(detections) = part::<Bound<'_, PyDict>>(parts, "detections")? {
        found.names = part(&detections, "names")?.unwrap_or_default();
        found.detections = Some(detections_of(&detections)?);
    }
    if let Some((ids, sure, names)) =
        part::<(Vec<i64>, PyReadonlyArray1<'_, f32>, Vec<String>)>(parts, "classes")?
    {
        let ids = ids.into_iter().map(class_id).collect::<PyResult<Vec<_>>>()?;
        found.class_names = names;
        let classes = ids.into_iter().zip(sure.as_array());
        let class = |(class_id, &confidence)| Class { class_id, confidence };
        found.classes = Some(classes.map(class).collect());
    }
    if let Some((ids, masks, names)) = part::<(Vec<i64>, Vec<MaskParts>, Vec<String>)>(parts, "regions")? {
        let ids = ids.into_iter().map(class_id).collect::<PyResult<Vec<_>>>()?;
        found.region_names = names;
        let region = |(class_id, mask)| Ok::<_, PyErr>(Region { class_id, mask: mask_of(mask)? });
        found.regions = Some(ids.into_iter().zip(masks).map(region).collect::<Result<_, _>>()?);
    }
    if let Some((text, confidence)) = part(parts, "text")? {
        found.text = Some(Text { text, confidence });
    }
    if let Some(vector) = part::<PyReadonlyArray1<'_, f32>>(parts, "embedding")? {
        found.embedding = Some(vector.as_slice()?.to_vec());
    }
    Ok(found)
}

/// Height, width, and COCO's compressed counts.
type MaskParts = (u32, u32, String);

fn part<'py, T: FromPyObjectOwned<'py>>(parts: &Bound<'py, PyDict>, name: &str) -> PyResult<Option<T>> {
    parts.get_item(name)?.map(|part| part.extract().map_err(Into::into)).transpose()
}

fn detections_of(parts: &Bound<'_, PyDict>) -> PyResult<Vec<Detection>> {
    let missing = |name| PyValueError::new_err(format!("detections without {name}"));
    let boxes: PyReadonlyArray2<'_, f32> = part(parts, "xyxy")?.ok_or_else(|| missing("xyxy"))?;
    let sure: PyReadonlyArray1<'_, f32> = part(parts, "confidence")?.ok_or_else(|| missing("confidence"))?;
    let ids: PyReadonlyArray1<'_, i64> = part(parts, "class_id")?.ok_or_else(|| missing("class_id"))?;
    let ids = ids.as_slice()?.iter().map(|&id| class_id(id)).collect::<PyResult<Vec<_>>>()?;
    let rows = boxes.as_array();
    let rows = rows.rows().into_iter().zip(sure.as_array()).zip(ids);
    let mut found: Vec<Detection> = rows
        .map(|((row, &confidence), class_id)| {
            let rect = Rect { x1: row[0], y1: row[1], x2: row[2], y2: row[3] };
            Detection::new(rect, confidence, class_id)
        })
        .collect();
    if let Some(corners) = part::<PyReadonlyArray3<'_, f32>>(parts, "corners")? {
        for (detection, points) in found.iter_mut().zip(corners.as_array().outer_iter()) {
            let corners = std::array::from_fn(|n| [points[[n, 0]], points[[n, 1]]]);
            detection.corners = Some(corners).filter(|corners| !corners[0][0].is_nan());
        }
    }
    if let Some(keypoints) = part::<PyReadonlyArray3<'_, f32>>(parts, "keypoints")? {
        for (detection, points) in found.iter_mut().zip(keypoints.as_array().outer_iter()) {
            // Some may have fewer points than others.
            let there = points.outer_iter().take_while(|point| !point[0].is_nan());
            let keypoint = |confidence: Option<&f32>| confidence.copied().filter(|sure| !sure.is_nan());
            detection.keypoints = there
                .map(|point| Keypoint { x: point[0], y: point[1], confidence: keypoint(point.get(2)) })
                .collect();
        }
    }
    if let Some(masks) = part::<Vec<Option<MaskParts>>>(parts, "masks")? {
        for (detection, mask) in found.iter_mut().zip(masks) {
            detection.mask = mask.map(mask_of).transpose()?;
        }
    }
    if let Some(inside) = part::<Vec<Option<Bound<'_, PyDict>>>>(parts, "inside")? {
        for (detection, inside) in found.iter_mut().zip(inside) {
            detection.inside = inside.map(|inside| found_of(&inside).map(Box::new)).transpose()?;
        }
    }
    Ok(found)
}

fn mask_of((height, width, counts): MaskParts) -> PyResult<Mask> {
    let mask = Mask::from_counts(Size::new(width, height), &counts);
    mask.map_err(|error| PyValueError::new_err(error.to_string()))
}

/// As far as all formats of results count.
fn class_id(id: i64) -> PyResult<u32> {
    let class_id = i32::try_from(id).ok().and_then(|id| u32::try_from(id).ok());
    let wrong = || format!("class_id holds {id}: 0 to {} are class numbers", i32::MAX);
    class_id.ok_or_else(|| PyValueError::new_err(wrong()))
}

/// 32-bit floats as the shortest numbers that read back as the same.
#[pyfunction]
pub fn shortest<'py>(
    py: Python<'py>,
    numbers: PyReadonlyArray1<'py, f32>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let numbers: Vec<f64> = numbers.as_slice()?.iter().map(|number| found::shortest(*number)).collect();
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

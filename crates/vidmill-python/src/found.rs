//! What was found, as Python's objects: columns of arrays rather than an object for each detection.

use numpy::{IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use vidmill::image::{Mask, MaskError, Size};
use vidmill::record::{Class, Detection, Found, Json, Region};

/// `vidmill.Found`.
pub fn found<'py>(py: Python<'py>, found: Found) -> PyResult<Bound<'py, PyAny>> {
    let keys = PyDict::new(py);
    put(&keys, found)?;
    py.import("vidmill._found")?.getattr("Found")?.call((), Some(&keys))
}

/// Its fields, those that are there.
pub fn put(keys: &Bound<'_, PyDict>, found: Found) -> PyResult<()> {
    let py = keys.py();
    let Found { detections: all, classes: kinds, masks, text, text_confidence, embedding, outputs } = found;
    let set = |name: &str, value: Option<Bound<'_, PyAny>>| match value {
        Some(value) => keys.set_item(name, value),
        None => Ok(()),
    };
    set("detections", all.map(|all| detections(py, all)).transpose()?)?;
    set("classes", kinds.map(|kinds| classes(py, &kinds)).transpose()?)?;
    set("masks", masks.map(|masks| regions(py, &masks)).transpose()?)?;
    set("embedding", embedding.map(|vector| vector.into_pyarray(py).into_any()))?;
    set("outputs", outputs.map(|outputs| json(py, &outputs)).transpose()?)?;
    if let Some(text) = text {
        keys.set_item("text", text)?;
    }
    if let Some(sure) = text_confidence {
        keys.set_item("text_confidence", shortest(sure))?;
    }
    Ok(())
}

/// The shortest number that reads back as the same 32-bit float; of two that are as short and as close, the one that JSON has. What
/// is not finite stays so.
pub fn shortest(number: f32) -> f64 {
    let text = serde_json::to_string(&number).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(f64::from(number))
}

/// `vidmill.Detections`, without the checks that a user's columns need.
pub fn detections<'py>(py: Python<'py>, all: Vec<Detection>) -> PyResult<Bound<'py, PyAny>> {
    let count = all.len();
    let boxes: Vec<f32> = all.iter().flat_map(|d| d.xyxy).collect();
    let confidences: Vec<f32> = all.iter().map(|d| d.confidence).collect();
    let ids: Vec<i64> = all.iter().map(|d| i64::from(d.class_id)).collect();
    let columns = (
        boxes.into_pyarray(py).reshape([count, 4])?,
        confidences.into_pyarray(py),
        ids.into_pyarray(py),
        names(py, all.iter().map(|d| &*d.class))?,
    );
    let further = further(py, all)?;
    py.import("vidmill._detections")?.getattr("Detections")?.call_method("_of", columns, Some(&further))
}

/// The columns that not all detections have. What some have and others not is NaN, -1 or None for those.
fn further<'py>(py: Python<'py>, all: Vec<Detection>) -> PyResult<Bound<'py, PyDict>> {
    let keys = PyDict::new(py);
    let count = all.len();
    if all.iter().any(|d| d.track_id.is_some()) {
        // No run finds so many objects.
        let id = |d: &Detection| d.track_id.map_or(-1, |id| i64::try_from(id).unwrap_or(i64::MAX));
        keys.set_item("track_id", all.iter().map(id).collect::<Vec<i64>>().into_pyarray(py))?;
    }
    if all.iter().any(|d| d.corners.is_some()) {
        let flat = |d: &Detection| d.corners.unwrap_or([[f32::NAN; 2]; 4]).into_iter().flatten();
        let corners: Vec<f32> = all.iter().flat_map(flat).collect();
        keys.set_item("corners", corners.into_pyarray(py).reshape([count, 4, 2])?)?;
    }
    if all.iter().any(|d| d.keypoints.is_some()) {
        keys.set_item("keypoints", keypoints(py, &all)?)?;
    }
    if all.iter().any(|d| d.mask.is_some()) {
        keys.set_item("masks", masks(py, all.iter().map(|d| d.mask.as_ref()))?)?;
    }
    if all.iter().any(|d| d.text_confidence.is_some()) {
        let sure: Vec<f32> = all.iter().map(|d| d.text_confidence.unwrap_or(f32::NAN)).collect();
        keys.set_item("text_confidence", sure.into_pyarray(py))?;
    }
    if let Some(longest) = all.iter().filter_map(|d| d.embedding.as_ref().map(Vec::len)).max() {
        let mut vectors = vec![f32::NAN; count * longest];
        for (d, row) in all.iter().zip(vectors.chunks_exact_mut(longest.max(1))) {
            let vector = d.embedding.as_deref().unwrap_or_default();
            row[..vector.len()].copy_from_slice(vector);
        }
        keys.set_item("embedding", vectors.into_pyarray(py).reshape([count, longest])?)?;
    }
    let texts = all.iter().map(|d| d.text.as_ref().map(|text| Ok(text.into_pyobject(py)?.into_any())));
    objects(&keys, "text", texts.collect())?;
    let kinds = all.iter().map(|d| d.classes.as_ref().map(|kinds| classes(py, kinds)));
    objects(&keys, "classes", kinds.collect())?;
    let parts = all.iter().map(|d| d.masks.as_ref().map(|masks| regions(py, masks)));
    objects(&keys, "regions", parts.collect())?;
    let outputs = all.iter().map(|d| d.outputs.as_ref().map(|outputs| json(py, outputs)));
    objects(&keys, "outputs", outputs.collect())?;
    let inner = all.into_iter().map(|d| d.detections.map(|inner| detections(py, inner)));
    objects(&keys, "detections", inner.collect())?;
    Ok(keys)
}

/// As many points for each as the one has that has the most.
fn keypoints<'py>(py: Python<'py>, all: &[Detection]) -> PyResult<Bound<'py, PyAny>> {
    let points_of = |d: &Detection| d.keypoints.clone().unwrap_or_default();
    let most = all.iter().map(|d| points_of(d).len()).max().unwrap_or_default();
    let are_sure = all.iter().flat_map(points_of).any(|point| point.confidence().is_some());
    let width = if are_sure { 3 } else { 2 };
    let mut numbers = vec![f32::NAN; all.len() * most * width];
    for (d, row) in all.iter().zip(numbers.chunks_exact_mut((most * width).max(1))) {
        for (point, place) in points_of(d).iter().zip(row.chunks_exact_mut(width)) {
            place[..2].copy_from_slice(&point.xy());
            if let (Some(sure), Some(third)) = (point.confidence(), place.get_mut(2)) {
                *third = sure;
            }
        }
    }
    Ok(numbers.into_pyarray(py).reshape([all.len(), most, width])?.into_any())
}

/// A column of Python's objects, if any is there.
fn objects<'py>(
    keys: &Bound<'py, PyDict>,
    name: &str,
    values: Vec<Option<PyResult<Bound<'py, PyAny>>>>,
) -> PyResult<()> {
    if values.iter().all(Option::is_none) {
        return Ok(());
    }
    let py = keys.py();
    let column = py.import("numpy")?.call_method1("empty", (values.len(), "object"))?;
    for (row, value) in values.into_iter().enumerate() {
        column.set_item(row, value.transpose()?)?;
    }
    keys.set_item(name, column)
}

fn names<'py, 'a>(py: Python<'py>, names: impl Iterator<Item = &'a str>) -> PyResult<Bound<'py, PyAny>> {
    py.import("numpy")?.call_method1("array", (names.collect::<Vec<_>>(), "str"))
}

/// `vidmill.Classes`.
fn classes<'py>(py: Python<'py>, all: &[Class]) -> PyResult<Bound<'py, PyAny>> {
    let confidences: Vec<f32> = all.iter().map(|class| class.confidence).collect();
    let ids: Vec<i64> = all.iter().map(|class| i64::from(class.class_id)).collect();
    let columns = (
        confidences.into_pyarray(py),
        ids.into_pyarray(py),
        names(py, all.iter().map(|class| &*class.class))?,
    );
    py.import("vidmill._classes")?.getattr("Classes")?.call_method1("_of", columns)
}

/// `vidmill.Regions`.
fn regions<'py>(py: Python<'py>, all: &[Region]) -> PyResult<Bound<'py, PyAny>> {
    let ids: Vec<i64> = all.iter().map(|region| i64::from(region.class_id)).collect();
    let columns = (
        ids.into_pyarray(py),
        masks(py, all.iter().map(|region| Some(&region.mask)))?,
        names(py, all.iter().map(|region| &*region.class))?,
    );
    py.import("vidmill._classes")?.getattr("Regions")?.call_method1("_of", columns)
}

/// `vidmill.Masks`.
fn masks<'py, 'a>(
    py: Python<'py>,
    all: impl Iterator<Item = Option<&'a Mask>>,
) -> PyResult<Bound<'py, PyAny>> {
    let form = |mask: &Mask| {
        let form = PyDict::new(py);
        form.set_item("size", [mask.size().height, mask.size().width])?;
        form.set_item("counts", mask.to_counts())?;
        Ok::<_, PyErr>(form)
    };
    let forms = all.map(|mask| mask.map(form).transpose()).collect::<PyResult<Vec<_>>>()?;
    py.import("vidmill._masks")?.getattr("Masks")?.call_method1("_of", (PyList::new(py, forms)?,))
}

fn json<'py>(py: Python<'py>, value: &Json) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (value.as_str(),))
}

fn refused(error: MaskError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn read(height: u32, width: u32, counts: &str) -> PyResult<Mask> {
    Mask::from_counts(Size::new(width, height), counts).map_err(refused)
}

/// Run lengths in their shortest form.
#[pyfunction]
pub fn check_mask(height: u32, width: u32, counts: &str) -> PyResult<String> {
    Ok(read(height, width, counts)?.to_counts())
}

/// The pixels of run lengths: [height, width] of 0 and 1.
#[pyfunction]
pub fn decode_mask<'py>(
    py: Python<'py>,
    height: u32,
    width: u32,
    counts: &str,
) -> PyResult<Bound<'py, PyArray2<u8>>> {
    let rows = py.detach(|| Ok::<_, PyErr>(read(height, width, counts)?.to_rows()))?;
    rows.into_pyarray(py).reshape([height as usize, width as usize])
}

/// The run lengths of pixels, of which all but 0 are set.
#[pyfunction]
pub fn encode_mask(py: Python<'_>, pixels: PyReadonlyArray2<'_, u8>) -> PyResult<String> {
    let side = |axis: usize| u32::try_from(pixels.shape()[axis]).unwrap_or(u32::MAX);
    let size = Size::new(side(1), side(0));
    let rows = pixels.as_slice()?;
    py.detach(|| Mask::from_rows(size, rows).map(|mask| mask.to_counts())).map_err(refused)
}

/// How many pixels are set.
#[pyfunction]
pub fn mask_area(height: u32, width: u32, counts: &str) -> PyResult<u32> {
    Ok(read(height, width, counts)?.area())
}

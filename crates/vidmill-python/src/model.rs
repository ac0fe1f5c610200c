//! A model as Python calls it: on a raw batch, or on images of any size.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::{
    IntoPyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vidmill::image::{ColorSpec, ElementType, Geometry, PixelFormat, Planes, Preprocess, Rotation, Size};
use vidmill::infer::{
    self, Batch, Cards, Element, Found, LoadOptions, Model as Loaded, TaskOptions, TaskPlan, TensorPredictor,
};
use vidmill::record;

use crate::arguments;
use crate::error::{Failure, of_image};
use crate::found;
use crate::frame::Frame;
use crate::pixels::Format;

/// A model that is ready to run; see `vidmill.load`.
///
///     >>> model = vidmill.load("yolov8n.onnx", device="cpu")
///     >>> model.task, model.provider, model.names[2]
///     ('yolov8', 'CPUExecutionProvider', 'car')
#[pyclass(frozen, module = "vidmill")]
pub struct Model {
    loaded: Loaded,
    /// How pictures become its input and its outputs detections; or why that is not known.
    plan: Result<TaskPlan, String>,
    engine: Mutex<Engine>,
}

/// What one caller at a time uses.
struct Engine {
    tensors: Box<dyn TensorPredictor>,
    /// Memory for a batch, aligned for any element.
    input: Vec<u64>,
    /// For pictures like the last one.
    preprocess: Option<Preprocess>,
}

/// An output, taken from the runtime.
struct Output {
    name: String,
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// A picture that Python lends.
struct Lent<'a> {
    size: Size,
    format: PixelFormat,
    bytes: &'a [u8],
}

/// More than one image a call pays only where there is a GPU.
const GPU_BATCH: usize = 8;

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (path, *, device="auto", precision="auto", threads=0, conf=None, iou=None, max_det=None, classes=Vec::new(),
        imgsz=None, labels=None, top_k=None, normalize=false, task=None, card=None, onnxruntime=None,
        openvino=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of the Python function")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        device: &str,
        precision: &str,
        threads: usize,
        conf: Option<f32>,
        iou: Option<f32>,
        max_det: Option<usize>,
        classes: Vec<String>,
        imgsz: Option<(u32, u32)>,
        labels: Option<PathBuf>,
        top_k: Option<usize>,
        normalize: bool,
        task: Option<String>,
        card: Option<PathBuf>,
        onnxruntime: Option<PathBuf>,
        openvino: Option<PathBuf>,
    ) -> PyResult<Self> {
        for (name, value) in [("conf", conf), ("iou", iou)] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(PyValueError::new_err(format!("{name}={value}: give a number from 0 to 1")));
            }
        }
        let load = LoadOptions {
            device: device.parse().map_err(Failure::Model)?,
            precision: precision.parse().map_err(Failure::Model)?,
            threads,
            sessions: 1,
            runtime_library: arguments::runtime_library(py, onnxruntime)?,
            openvino_library: arguments::openvino_library(py, openvino)?,
            cards: Cards::find(&path, card.as_deref()).map_err(Failure::Model)?,
        };
        let imgsz = imgsz.map(|(width, height)| Size::new(width, height));
        let is_asked =
            task.is_some() || labels.is_some() || !classes.is_empty() || imgsz.is_some() || card.is_some();
        let options = TaskOptions {
            conf,
            iou,
            max_det,
            classes,
            imgsz,
            labels,
            top_k,
            normalize,
            task,
            ..TaskOptions::default()
        };
        py.detach(|| {
            let loaded = Loaded::open(&path, &load)?;
            let plan = match TaskPlan::recognise(loaded.info(), &options) {
                Ok(plan) => Ok(plan),
                // What was said about detections must serve; a model that is no detector can still be called.
                Err(error) if is_asked || matches!(error, infer::Error::Card { .. }) => {
                    return Err(error.into());
                }
                Err(error) => Err(error.to_string()),
            };
            let tensors = loaded.tensor_session()?;
            let engine = Mutex::new(Engine { tensors, input: Vec::new(), preprocess: None });
            Ok::<_, Failure>(Self { loaded, plan, engine })
        })
        .map_err(PyErr::from)
    }

    /// Runs the model on a batch as it is; returns its outputs by name, as float32.
    fn __call__<'py>(&self, py: Python<'py>, batch: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let element = self.element()?;
        let outputs = match element {
            ElementType::F32 => {
                let batch = array_of::<f32>(batch, "float32")?;
                let (shape, data) = (batch.shape().to_vec(), batch.as_slice()?);
                py.detach(|| self.run(element, &shape, bytemuck::cast_slice(data)))?
            }
            ElementType::U8 => {
                let batch = array_of::<u8>(batch, "uint8")?;
                let (shape, data) = (batch.shape().to_vec(), batch.as_slice()?);
                py.detach(|| self.run(element, &shape, data))?
            }
            ElementType::F16 => {
                let bits = contiguous(batch)?;
                check_type(&bits, "float16")?;
                let bits = bits.call_method1("view", ("uint16",))?;
                let bits = array_of::<u16>(&bits, "uint16")?;
                let (shape, data) = (bits.shape().to_vec(), bits.as_slice()?);
                py.detach(|| self.run(element, &shape, bytemuck::cast_slice(data)))?
            }
        };
        let found = PyDict::new(py);
        for Output { name, shape, data } in outputs {
            found.set_item(name, data.into_pyarray(py).reshape(shape)?)?;
        }
        Ok(found)
    }

    /// The same, for whoever takes any `vidmill.Predictor`.
    #[pyo3(signature = (batch, /))]
    fn predict<'py>(&self, py: Python<'py>, batch: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        self.__call__(py, batch)
    }

    /// The detections of each image, as `vidmill.Detections`; boxes are in pixels of each.
    ///
    ///     >>> model = vidmill.load("yolov8n.onnx", device="cpu")
    ///     >>> image = np.full((80, 60, 3), 255, np.uint8)   # or a grey one: [height, width]
    ///     >>> found, _ = model.detect([vidmill.frames("street.mp4")[0], image])
    ///     >>> found.xyxy.shape, found.confidence.shape, found.class_id.shape
    ///     ((2, 4), (2,), (2,))
    #[pyo3(signature = (images, *, format="rgb"))]
    fn detect<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        format: &str,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let plan = self.plan()?;
        if !plan.task().gives_detections() {
            let reason = format!("the model's task is {}, which gives no detections: call find", plan.task());
            return Err(Failure::NotADetector(reason).into());
        }
        let found = self.find_in(py, plan, images, format)?;
        found.into_iter().map(|found| found::detections(py, found.detections.unwrap_or_default())).collect()
    }

    /// Whatever the model finds in each image, as `vidmill.Found`; places are in pixels of each.
    ///
    ///     >>> model = vidmill.load("yolov8n.onnx", device="cpu")
    ///     >>> [found] = model.find([np.full((80, 60), 255, np.uint8)])
    ///     >>> len(found.detections), found.classes
    ///     (2, None)
    #[pyo3(signature = (images, *, format="rgb"))]
    fn find<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        format: &str,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let found = self.find_in(py, self.plan()?, images, format)?;
        found.into_iter().map(|found| found::found(py, found)).collect()
    }

    /// The file.
    #[getter]
    fn path(&self) -> PathBuf {
        self.loaded.info().path.clone()
    }

    /// SHA-256 of the file, in hexadecimal.
    #[getter]
    fn sha256(&self) -> &str {
        &self.loaded.info().sha256
    }

    /// The execution provider that runs the model.
    #[getter]
    fn provider(&self) -> &str {
        &self.loaded.runtime().provider
    }

    /// The family of models that was recognised; None where none was.
    #[getter]
    fn task(&self) -> Option<String> {
        self.plan.as_ref().ok().map(|plan| plan.family().to_owned())
    }

    /// Class names by class number.
    #[getter]
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let names = PyDict::new(py);
        for (id, name) in self.plan.iter().flat_map(|plan| plan.labels().iter()) {
            names.set_item(id, name)?;
        }
        Ok(names)
    }

    /// The names of its detections' keypoints, in their order; numbers where it has no names, empty where it gives none.
    #[getter]
    fn keypoint_names(&self) -> Vec<String> {
        self.plan.as_ref().map(|plan| plan.keypoint_names().to_vec()).unwrap_or_default()
    }

    /// What the model file says about itself: inputs, outputs, metadata.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        arguments::from_json(py, self.loaded.info())
    }

    /// What really runs: the `runtime` of a manifest.
    #[getter]
    fn runtime<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        arguments::from_json(py, self.loaded.runtime())
    }

    fn __repr__(&self) -> String {
        let task = self.task().unwrap_or_else(|| "no detector".to_owned());
        format!("<vidmill.Model {:?} {task} on {}>", self.loaded.info().path, self.provider())
    }
}

impl Model {
    fn plan(&self) -> PyResult<&TaskPlan> {
        match &self.plan {
            Ok(plan) => Ok(plan),
            Err(reason) => Err(Failure::NotADetector(reason.clone()).into()),
        }
    }

    /// The type of its one input.
    fn element(&self) -> PyResult<ElementType> {
        match self.loaded.tensor_input().map(|input| input.element) {
            Some(Element::F32) => Ok(ElementType::F32),
            Some(Element::F16) => Ok(ElementType::F16),
            Some(Element::U8) => Ok(ElementType::U8),
            other => {
                let found = other.map_or_else(|| "nothing".to_owned(), |element| element.to_string());
                let message =
                    format!("the model's input is {found}; float32, float16 and uint8 can be given");
                Err(PyTypeError::new_err(message))
            }
        }
    }

    fn run(&self, element: ElementType, shape: &[usize], input: &[u8]) -> Result<Vec<Output>, Failure> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = engine.tensors.run(element, shape, input)?;
        let own = outputs.iter().map(|view| Output {
            name: view.name.to_owned(),
            shape: view.shape.to_vec(),
            data: view.data.to_vec(),
        });
        Ok(own.collect())
    }

    /// What is in each of Python's images, under the names of the plan.
    fn find_in<'py>(
        &self,
        py: Python<'py>,
        plan: &TaskPlan,
        images: &Bound<'py, PyAny>,
        format: &str,
    ) -> PyResult<Vec<record::Found>> {
        let order = format.parse::<Format>()?;
        let mut arrays = Vec::new();
        for (number, image) in images.try_iter()?.enumerate() {
            arrays.push(picture(&image?, order).map_err(|error| in_image(py, number, error))?);
        }
        let mut lent = Vec::with_capacity(arrays.len());
        for (array, order) in &arrays {
            lent.push(lend(array.shape(), array.as_slice()?, *order)?);
        }
        let found = py.detach(|| {
            let named = |(number, found)| {
                let named = vidmill::named(found, plan.labels());
                named.map_err(|error| Failure::Image(number, format!("its outputs are not JSON: {error}")))
            };
            self.find_all(plan, &lent)?.into_iter().enumerate().map(named).collect::<Result<_, Failure>>()
        });
        Ok(found?)
    }

    /// What is in each picture. Batches are as many as the model takes at once.
    fn find_all(&self, plan: &TaskPlan, pictures: &[Lent<'_>]) -> Result<Vec<Found>, Failure> {
        let on_cpu = self.loaded.runtime().is_on_cpu();
        let batch = match plan.batch() {
            Batch::Fixed(batch) => batch,
            Batch::Dynamic if on_cpu => 1,
            Batch::Dynamic => GPU_BATCH,
        };
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::with_capacity(pictures.len());
        for (number, group) in pictures.chunks(batch).enumerate() {
            let count = if let Batch::Fixed(batch) = plan.batch() { batch } else { group.len() };
            let first = number * batch;
            let geometries = engine.fill(plan, group, count, first)?;
            let spec = plan.spec();
            let (c, h, w) = (spec.channels.count(), spec.size.height as usize, spec.size.width as usize);
            let shape = match spec.layout {
                vidmill::image::TensorLayout::Nchw => [count, c, h, w],
                vidmill::image::TensorLayout::Nhwc => [count, h, w, c],
            };
            let Engine { tensors, input, .. } = &mut *engine;
            let bytes = &bytemuck::cast_slice::<u64, u8>(input)[..count * spec.item_bytes()];
            let outputs = tensors.run(spec.element, &shape, bytes)?;
            for (item, geometry) in geometries.iter().enumerate() {
                found.push(plan.decode(&outputs, item, geometry).map_err(of_image(first + item))?);
            }
        }
        Ok(found)
    }
}

impl Engine {
    /// Makes the input of a batch; what a batch of fixed size has too many of stays as it was.
    fn fill(
        &mut self,
        plan: &TaskPlan,
        group: &[Lent<'_>],
        count: usize,
        first: usize,
    ) -> Result<Vec<Geometry>, Failure> {
        let bytes = plan.spec().item_bytes();
        self.input.resize((count * bytes).div_ceil(size_of::<u64>()).max(self.input.len()), 0);
        let memory: &mut [u8] = bytemuck::cast_slice_mut(&mut self.input);
        let mut geometries = Vec::with_capacity(group.len());
        for (item, (lent, out)) in group.iter().zip(memory.chunks_exact_mut(bytes)).enumerate() {
            let planes = lent.planes();
            let fitting = self.preprocess.take().filter(|preprocess| preprocess.fits(&planes));
            let made = match fitting {
                Some(preprocess) => Ok(preprocess),
                None => Preprocess::for_planes(plan.spec(), &planes),
            };
            let preprocess = made.map_err(|error| Failure::Image(first + item, error.to_string()))?;
            let preprocess = self.preprocess.insert(preprocess);
            preprocess.run(&planes, out).map_err(|error| Failure::Image(first + item, error.to_string()))?;
            geometries.push(*preprocess.geometry());
        }
        Ok(geometries)
    }
}

impl Lent<'_> {
    fn planes(&self) -> Planes<'_> {
        let (_, stride) = self.format.plane_shape(0, self.size);
        Planes {
            format: self.format,
            size: self.size,
            // Grey is full range, as it is everywhere in NumPy.
            color: ColorSpec { range: vidmill::image::ColorRange::Full, ..ColorSpec::default() },
            rotation: Rotation::None,
            data: [self.bytes, &[], &[]],
            stride: [stride, 0, 0],
        }
    }
}

/// An image that was given: its array, and the order of its channels.
fn picture<'py>(image: &Bound<'py, PyAny>, order: Format) -> PyResult<(PyReadonlyArrayDyn<'py, u8>, Format)> {
    if let Ok(frame) = image.cast::<Frame>() {
        let frame = frame.get();
        return Ok((array_of(frame.array.bind(image.py()), "uint8")?, frame.format));
    }
    Ok((array_of(image, "uint8")?, order))
}

/// The same as planes.
fn lend<'a>(shape: &[usize], bytes: &'a [u8], order: Format) -> PyResult<Lent<'a>> {
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let (height, width, format) = match (shape, order) {
        (_, Format::Yuv) => {
            return Err(PyValueError::new_err("detect() takes frames of format rgb, bgr or gray, not yuv"));
        }
        (&[height, width], _) => (height, width, PixelFormat::GRAY8),
        (&[height, width, 3], Format::Bgr) => (height, width, packed(2, 1, 0)),
        (&[height, width, 3], _) => (height, width, PixelFormat::RGB24),
        _ => {
            return Err(PyValueError::new_err(format!(
                "an image has shape [height, width, 3] or [height, width], not {shape:?}"
            )));
        }
    };
    Ok(Lent { size: Size::new(side(width), side(height)), format, bytes })
}

fn packed(r: u8, g: u8, b: u8) -> PixelFormat {
    PixelFormat { layout: vidmill::image::Layout::RgbPacked { channels: 3, r, g, b }, bits: 8, shift: 0 }
}

/// The array itself, or one of the same memory, where its elements lie one after the other; else a copy.
fn contiguous<'py>(array: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    let array = match array.cast::<PyUntypedArray>() {
        Ok(array) => array.as_any().clone(),
        Err(_) => py.import("vidmill._arrays")?.call_method1("as_array", (array,))?,
    };
    py.import("numpy")?.call_method1("ascontiguousarray", (array,))
}

fn array_of<'py, T: numpy::Element>(
    array: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let array = contiguous(array)?;
    check_type(&array, name)?;
    Ok(array.cast_into::<PyArrayDyn<T>>()?.try_readonly()?)
}

fn check_type(array: &Bound<'_, PyAny>, name: &str) -> PyResult<()> {
    let found = array.getattr("dtype")?.str()?.to_string();
    if found == name {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "an array of {name} is needed, not of {found}: convert it with astype()"
    )))
}

/// Which image an exception is about.
fn in_image(py: Python<'_>, number: usize, error: PyErr) -> PyErr {
    // Without the note the exception still says what is wrong.
    let _ = error.value(py).call_method1("add_note", (format!("image {number}"),));
    error
}

//! What runs a model in a worker: the native runtime, or whatever else fulfils [`FramePredictor`], such as a class written in
//! Python.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vidmill_image::{Size, TensorSpec};
use vidmill_infer::{Description, Found, LoadOptions, Outputs, Predictor, TaskOptions, TensorInfo};
use vidmill_pool::Input;

/// Runs a model on batches of frames.
pub trait FramePredictor {
    /// Runs it on `frames` frames, whose tensors lie one after the other in `input`, and hands what comes out to `take`, once. A
    /// model of fixed batch size fills up what is missing to `batch` frames with anything.
    ///
    /// A clone of `input` keeps the bytes from being overwritten after the call.
    ///
    /// # Errors
    /// Why there is nothing. Frames of a batch are then tried one by one.
    fn predict(
        &mut self,
        input: &Input,
        frames: usize,
        batch: usize,
        take: &mut dyn FnMut(Predicted<'_>),
    ) -> Result<(), String>;

    /// From now on frames' tensors are of pictures of this size: called only where the model's plan has several
    /// ([`vidmill_infer::TaskPlan::spec_for`]).
    ///
    /// # Errors
    /// When it runs on one size only.
    fn resize(&mut self, size: Size) -> Result<(), String> {
        Err(format!("the predictor takes one size of input only, not {}x{}", size.width, size.height))
    }
}

/// What comes out of a batch.
#[expect(clippy::large_enum_variant, reason = "it is handed on where it lies")]
pub enum Predicted<'a> {
    /// Tensors that are to be decoded.
    Outputs(Outputs<'a>),
    /// What was found in each frame, or why it failed. Boxes are in pixels of the input.
    Frames(Vec<Result<Found, String>>),
}

/// What a worker process is to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// vidmill's version: who understands another order is another vidmill.
    pub version: String,
    /// The model's file.
    pub file: PathBuf,
    /// The class in it, where it is written in Python.
    pub class: Option<String>,
    /// Device, precision and threads.
    pub load: LoadOptions,
    /// How outputs are read.
    pub task: TaskOptions,
}

impl Order {
    pub(crate) fn new(model: &Path, load: &LoadOptions, task: &TaskOptions) -> Self {
        let (file, class) = parts_of(model);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, file, class, load: load.clone(), task: task.clone() }
    }

    /// Whether it is for a worker that runs Python.
    pub(crate) fn runs_in_python(&self) -> bool {
        self.class.is_some() || runs_in_python(&self.file)
    }

    /// Reads an order of this very version.
    pub(crate) fn read(start: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        let expected = env!("CARGO_PKG_VERSION");
        let Version { version } = serde_json::from_slice(start).map_err(|error| error.to_string())?;
        if version != expected {
            return Err(format!(
                "vidmill {version} started a worker of vidmill {expected}: install the same"
            ));
        }
        serde_json::from_slice(start).map_err(|error| error.to_string())
    }
}

/// A model that is not ONNX Runtime's.
pub trait ForeignModel: FramePredictor {
    /// What it is. Its outputs may be left empty.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn description(&mut self) -> Result<Description, String>;

    /// Its outputs, found out by a call with zeros in a batch of this shape; none, where it is not tensors that come out.
    ///
    /// # Errors
    /// Why the call failed.
    fn try_out(&mut self, shape: &[usize]) -> Result<Vec<TensorInfo>, String>;
}

/// The native runtime.
pub(crate) struct Native {
    predictor: Box<dyn Predictor>,
    spec: TensorSpec,
    /// Memory for batches that do not fill a call of fixed size; made when first needed.
    padded: Vec<u64>,
}

impl Native {
    pub fn new(predictor: Box<dyn Predictor>, spec: TensorSpec) -> Self {
        Self { predictor, spec, padded: Vec::new() }
    }
}

impl FramePredictor for Native {
    fn predict(
        &mut self,
        input: &Input,
        _frames: usize,
        batch: usize,
        take: &mut dyn FnMut(Predicted<'_>),
    ) -> Result<(), String> {
        let Self { predictor, spec, padded } = self;
        let whole = batch * spec.item_bytes();
        let bytes = if input.len() == whole { &**input } else { pad(padded, input, whole) };
        take(Predicted::Outputs(predictor.predict(bytes, batch).map_err(|error| error.to_string())?));
        Ok(())
    }

    fn resize(&mut self, size: Size) -> Result<(), String> {
        self.predictor.set_size(size);
        self.spec.size = size;
        Ok(())
    }
}

/// `bytes` at the beginning of `whole` bytes.
fn pad<'p>(padded: &'p mut Vec<u64>, bytes: &[u8], whole: usize) -> &'p [u8] {
    padded.resize(whole.div_ceil(size_of::<u64>()), 0);
    let memory: &mut [u8] = bytemuck::cast_slice_mut(padded);
    memory[..bytes.len()].copy_from_slice(bytes);
    &memory[..whole]
}

/// Whether a model runs in Python: a class, as `FILE.py:CLASS`, or a model of PyTorch's.
pub fn runs_in_python(model: &Path) -> bool {
    let is_torch = model.extension().is_some_and(|ending| {
        ["pt", "pth", "pt2", "torchscript"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    });
    is_torch || parts_of(model).1.is_some()
}

/// The file that a model is named by, and of `FILE.py:CLASS` the class.
pub fn parts_of(model: &Path) -> (PathBuf, Option<String>) {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    match model.to_str().and_then(|text| text.rsplit_once(':')) {
        Some((file, class)) if file.ends_with(".py") && class.split('.').all(is_name) => {
            (PathBuf::from(file), Some(class.to_owned()))
        }
        _ => (model.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_in_python_is_told_by_its_name() {
        for name in ["a.py:Detector", "/b/c.py:A.B_1", "m.pt", "m.torchscript", "M.PT2"] {
            assert!(runs_in_python(Path::new(name)), "{name}");
        }
        for name in ["a.onnx", "a.py", "a.py:", "a.py:1a", "a:Detector", "pt", "a.py:B.onnx/c"] {
            assert!(!runs_in_python(Path::new(name)), "{name}");
        }
        assert_eq!(parts_of(Path::new("d/a.py:B.C")), (PathBuf::from("d/a.py"), Some("B.C".to_owned())));
        assert_eq!(parts_of(Path::new("d/a.onnx")), (PathBuf::from("d/a.onnx"), None));
    }

    #[test]
    fn an_order_of_another_version_is_refused() {
        let order = Order::new(Path::new("m"), &LoadOptions::default(), &TaskOptions::default());
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(Order::read(text.as_bytes()).unwrap().file, Path::new("m"));
        let other = r#"{"version":"0.0.1"}"#;
        assert!(Order::read(other.as_bytes()).unwrap_err().contains("install the same"));
    }
}

//! A model file, opened on a device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use vidmill_image::{TensorLayout, TensorSpec};

use crate::files::Files;
use crate::metadata::Metadata;
use crate::predictor::ItemPredictor;
use crate::runtime::{self, Feed, Opened, Sessions};
use crate::side::SideInput;
use crate::task::ImageInput;
use crate::{Cards, Device, Error, ModelInfo, Precision, Predictor, TensorInfo, TensorPredictor};

/// How to load a model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LoadOptions {
    /// The device to run on.
    pub device: Device,
    /// The arithmetic to run in.
    pub precision: Precision,
    /// Threads of each session; 0 leaves it to the runtime (all cores).
    pub threads: usize,
    /// How many sessions are likely to be asked for; 0 is as 1. Runtimes that let sessions share memory make room for as many;
    /// any number can be had.
    #[serde(default)]
    pub sessions: usize,
    /// ONNX Runtime's library; `None` searches (see [`crate::runtime::onnxruntime::load`]).
    pub runtime_library: Option<PathBuf>,
    /// OpenVINO's library; `None` searches (see [`crate::runtime::openvino::load`]).
    #[serde(default)]
    pub openvino_library: Option<PathBuf>,
    /// What files beside the model say of it (see [`Cards::find`]).
    pub cards: Cards,
}

/// A model and what runs it, as told to those who do not have it themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// What the file says about itself.
    pub info: ModelInfo,
    /// What runs it.
    pub runtime: RuntimeInfo,
}

/// What really runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// The engine, "onnxruntime" or "openvino".
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its library.
    pub library: PathBuf,
    /// Providers that the library has, best first.
    pub available: Vec<String>,
    /// The device asked for.
    pub device_asked: Device,
    /// The execution provider that runs the model.
    pub provider: String,
    /// How many of the model's nodes each provider runs.
    pub nodes: BTreeMap<String, usize>,
    /// The precision that runs.
    pub precision: String,
    /// Why nothing better runs; only with [`Device::Auto`], and only when the library has better providers.
    pub fallback: Option<String>,
}

impl RuntimeInfo {
    /// Whether the model runs on the processor, one session for each core's share.
    pub fn is_on_cpu(&self) -> bool {
        let on_gpu = matches!(self.device_asked, Device::Cuda(_) | Device::TensorRt(_));
        !on_gpu && ["CPU", "cpu", "python"].iter().any(|name| self.provider.starts_with(name))
    }
}

/// A model, loaded once; gives any number of sessions.
pub struct Model {
    description: Description,
    sessions: Box<dyn Sessions>,
    files: Files,
    /// Whether nobody has asked for a session yet.
    is_new: AtomicBool,
}

impl Model {
    /// Loads the model at `path`.
    ///
    /// # Errors
    /// When there is no usable runtime, when the file is not a model that it can load, when files that hold its weights are
    /// missing or cut, and when the device or precision asked for cannot be had.
    pub fn open(path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        let (files, summary) = Files::look(path)?;
        if let Some(name) = summary.not_a_tensor {
            let reason = format!("'{name}' is not a tensor; only tensors can be inputs and outputs");
            return Err(Error::Model { path: path.to_owned(), reason });
        }
        let Opened { sessions, about, runtime } = runtime::open(path, options, &summary)?;
        let info = ModelInfo {
            path: path.to_owned(),
            sha256: files.sha256.clone(),
            data: files.data(),
            producer: about.producer,
            opset: about.opset,
            inputs: about.inputs,
            outputs: about.outputs,
            metadata: about.metadata,
            cards: options.cards.clone(),
            operators: summary.operators,
            weights: summary.weights,
        };
        let description = Description { info, runtime };
        Ok(Self { description, sessions, files, is_new: AtomicBool::new(true) })
    }

    /// What the file says about itself, and what runs it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What the file says about itself.
    pub fn info(&self) -> &ModelInfo {
        &self.description.info
    }

    /// What runs it.
    pub fn runtime(&self) -> &RuntimeInfo {
        &self.description.runtime
    }

    /// A predictor with threads of its own, for items as `input` describes them (see [`crate::TaskPlan::spec`]). Inputs beside the
    /// image are fed with the identity, or as the metadata says.
    ///
    /// # Errors
    /// [`Error::Input`] when the model does not take such items; otherwise as [`Model::open`].
    pub fn session(&self, input: &TensorSpec) -> Result<Box<dyn Predictor>, Error> {
        let metadata = Metadata::of(self.info())?;
        let image = ImageInput::of(self.info(), &metadata)?;
        image.check(input, self.info())?;
        let sides = SideInput::all(self.info(), image.at, image.batch, Some(input.size), &metadata.inputs)?;
        let tensors = self.next_session(Feed { at: image.at, layout: image.layout, sides })?;
        Ok(Box::new(ItemPredictor::new(tensors, input, image.batch)))
    }

    /// The same for tensors of any shape, for models of one input, be it a picture or not, and for those with an image input
    /// among others that [`Model::session`] would feed.
    ///
    /// # Errors
    /// [`Error::Input`] when there is no telling which input is meant, or what to feed to the others; otherwise as
    /// [`Model::open`].
    pub fn tensor_session(&self) -> Result<Box<dyn TensorPredictor>, Error> {
        if self.info().inputs.len() == 1 {
            // Nobody asks for the layout where there are no side inputs.
            return self.next_session(Feed { at: 0, layout: TensorLayout::Nchw, sides: Vec::new() });
        }
        let metadata = Metadata::of(self.info())?;
        let image = ImageInput::of(self.info(), &metadata)?;
        let sides = SideInput::all(self.info(), image.at, image.batch, None, &metadata.inputs)?;
        self.next_session(Feed { at: image.at, layout: image.layout, sides })
    }

    /// The input that gets what [`Model::tensor_session`]'s are given.
    pub fn tensor_input(&self) -> Option<&TensorInfo> {
        let inputs = &self.info().inputs;
        let image = || ImageInput::of(self.info(), &Metadata::of(self.info()).ok()?).ok();
        let at = if inputs.len() == 1 { 0 } else { image()?.at };
        inputs.get(at)
    }

    fn next_session(&self, feed: Feed) -> Result<Box<dyn TensorPredictor>, Error> {
        let session = self.sessions.session(feed)?;
        // All sessions of a model are of the files whose hash [`ModelInfo`] tells. The first was made when these were read.
        if !self.is_new.swap(false, Ordering::Relaxed) {
            self.files.check_unchanged()?;
        }
        Ok(session)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("description", &self.description).finish_non_exhaustive()
    }
}

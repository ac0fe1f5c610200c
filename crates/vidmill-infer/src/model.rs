//! A model file, opened on a device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::session::Session;
use serde::{Deserialize, Serialize};
use vidmill_image::{TensorLayout, TensorSpec};

use crate::files::Files;
use crate::metadata::Metadata;
use crate::runtime::onnxruntime::{
    OrtPredictor, OrtTensors, Recipe, Runtime, describe, guarded, open as open_session,
};
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
    /// The runtime's library; `None` searches (see [`crate::runtime::onnxruntime::find`]).
    pub runtime_library: Option<PathBuf>,
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
    /// The engine, "onnxruntime".
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
    recipe: Recipe,
    files: Files,
    /// The session that was made to look at the model, for the first who asks.
    first: Mutex<Option<Session>>,
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
        let runtime = Runtime::get(options.runtime_library.as_deref())?;
        let opened = open_session(runtime, path, options, summary.weights)?;
        let (producer, opset, metadata) = guarded(|| about(&opened.session))
            .map_err(|reason| Error::Model { path: path.to_owned(), reason })?;
        let info = ModelInfo {
            path: path.to_owned(),
            sha256: files.sha256.clone(),
            data: files.data(),
            producer,
            opset,
            inputs: describe(opened.session.inputs()),
            outputs: describe(opened.session.outputs()),
            metadata,
            cards: options.cards.clone(),
            operators: summary.operators,
            weights: summary.weights,
        };
        let runtime = RuntimeInfo {
            name: "onnxruntime".to_owned(),
            version: runtime.found.version.clone(),
            library: runtime.found.path.clone(),
            available: runtime.providers.clone(),
            device_asked: options.device,
            provider: opened.recipe.provider_name().to_owned(),
            nodes: opened.nodes,
            precision: opened.precision,
            fallback: opened.fallback,
        };
        let description = Description { info, runtime };
        Ok(Self { description, recipe: opened.recipe, files, first: Mutex::new(Some(opened.session)) })
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
        let tensors = OrtTensors::new(self.next_session()?, image.at, image.layout, sides);
        Ok(Box::new(OrtPredictor::new(tensors, input, image.batch)))
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
            let tensors = OrtTensors::new(self.next_session()?, 0, TensorLayout::Nchw, Vec::new());
            return Ok(Box::new(tensors));
        }
        let metadata = Metadata::of(self.info())?;
        let image = ImageInput::of(self.info(), &metadata)?;
        let sides = SideInput::all(self.info(), image.at, image.batch, None, &metadata.inputs)?;
        Ok(Box::new(OrtTensors::new(self.next_session()?, image.at, image.layout, sides)))
    }

    /// The input that gets what [`Model::tensor_session`]'s are given.
    pub fn tensor_input(&self) -> Option<&TensorInfo> {
        let inputs = &self.info().inputs;
        let image = || ImageInput::of(self.info(), &Metadata::of(self.info()).ok()?).ok();
        let at = if inputs.len() == 1 { 0 } else { image()?.at };
        inputs.get(at)
    }

    /// The session that was made first, or another one.
    fn next_session(&self) -> Result<Session, Error> {
        let ready = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = ready {
            return Ok(session);
        }
        let session = self.recipe.session(Runtime::get(None)?)?;
        // All sessions of a model are of the files whose hash [`ModelInfo`] tells.
        self.files.check_unchanged()?;
        Ok(session)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("description", &self.description).finish_non_exhaustive()
    }
}

type About = (String, Option<u32>, BTreeMap<String, String>);

fn about(session: &Session) -> Result<About, String> {
    let metadata = session.metadata().map_err(|error| error.to_string())?;
    let keys = metadata.custom_keys().map_err(|error| error.to_string())?;
    let entries = keys.into_iter().filter_map(|key| {
        let value = metadata.custom(&key)?;
        Some((key, value))
    });
    Ok((metadata.producer().unwrap_or_default(), session.opset_for_domain(""), entries.collect()))
}

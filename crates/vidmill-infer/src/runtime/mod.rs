//! The engines that run models, each found at run time.
//!
//! What the rest of the crate knows of an engine is what it makes of a file, [`Opened`], and that this gives
//! [`TensorPredictor`]s. Items and batches, side inputs and hashes are the same code for all.

mod find;
pub mod onnxruntime;
pub mod openvino;

use std::collections::BTreeMap;
use std::path::Path;

use vidmill_image::{Size, TensorLayout};

use crate::model::RuntimeInfo;
use crate::onnx::Summary;
use crate::side::SideInput;
use crate::{Device, Error, LoadOptions, TensorInfo, TensorPredictor};

pub use find::{Found, Names};

/// What an engine has made of a model's file.
pub(crate) struct Opened {
    pub sessions: Box<dyn Sessions>,
    pub about: About,
    pub runtime: RuntimeInfo,
}

/// What the file says, as the engine reads it.
pub(crate) struct About {
    pub producer: String,
    pub opset: Option<u32>,
    pub metadata: BTreeMap<String, String>,
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<TensorInfo>,
}

/// A model on its device; whoever drops it and its sessions gives all of its memory back.
pub(crate) trait Sessions: Send + Sync {
    /// A session with threads of its own, fed as `feed` says.
    fn session(&self, feed: Feed) -> Result<Box<dyn TensorPredictor>, Error>;
}

/// Opens the model at `path`, of which `summary` is known, on the device that the options name.
pub(crate) fn open(path: &Path, options: &LoadOptions, summary: &Summary) -> Result<Opened, Error> {
    match options.device {
        Device::OpenVino => openvino::open(path, options, summary),
        Device::Auto | Device::Cpu | Device::Cuda(_) | Device::TensorRt(_) => {
            onnxruntime::open(path, options, summary)
        }
    }
}

/// Where among a model's inputs what is given goes, and what all others get.
pub(crate) struct Feed {
    /// The place of what is given.
    pub at: usize,
    /// Its layout, where it is a picture.
    pub layout: TensorLayout,
    pub sides: Vec<SideInput>,
}

/// The values of side inputs, as an engine has them, for batches like the last one.
pub(crate) struct Fed<V> {
    feed: Feed,
    last: Option<(usize, Size)>,
    values: Vec<V>,
}

impl<V> Fed<V> {
    pub(crate) fn new(feed: Feed) -> Self {
        Self { feed, last: None, values: Vec::new() }
    }

    /// The side inputs' places among the model's inputs, with their latest values.
    pub(crate) fn values(&self) -> impl Iterator<Item = (usize, &V)> {
        self.feed.sides.iter().map(|side| side.at).zip(&self.values)
    }

    /// The place of what is given among the model's inputs.
    pub(crate) fn at(&self) -> usize {
        self.feed.at
    }

    /// The side inputs' values, in the order of the model's inputs, beside a tensor of this shape; `make` makes one from its
    /// shape and its numbers.
    pub(crate) fn beside(
        &mut self,
        shape: &[usize],
        make: impl Fn(&SideInput, Vec<usize>, &[f64]) -> Result<V, String>,
    ) -> Result<&[V], Error> {
        let Self { feed, last, values } = self;
        let side = |at: usize| shape.get(at).and_then(|&side| u32::try_from(side).ok()).unwrap_or(0);
        let size = match feed.layout {
            TensorLayout::Nchw => Size::new(side(3), side(2)),
            TensorLayout::Nhwc => Size::new(side(2), side(1)),
        };
        let batch = shape.first().copied().unwrap_or(0);
        if !feed.sides.is_empty() && *last != Some((batch, size)) {
            let value = |side: &SideInput| make(side, side.shape(batch, size), &side.numbers(batch, size));
            let made = feed.sides.iter().map(value).collect::<Result<_, _>>();
            *values = made.map_err(|reason| Error::Predict { reason })?;
            *last = Some((batch, size));
        }
        Ok(values)
    }
}

/// A reason in one line: the engines' messages may hold line breaks and source locations over several lines.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

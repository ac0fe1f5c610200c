//! What a model's outputs mean.
//!
//! In: a model's description and the user's options. Out: a [`TaskPlan`]: the input tensor to make, and the way from the
//! outputs of a batch to what was [`Found`] in one frame.
//!
//! Models that are fed and read alike are a [`Family`](family::Family), one file each; [`recognise`] finds a model's family, and
//! from then on its decoder is all that counts.

mod boxes;
mod centerface;
mod classify;
mod ctc;
mod db;
mod detr;
mod dfl;
mod embed;
mod end_to_end;
mod faces;
mod family;
mod fastestdet;
mod feed;
mod flat;
mod found;
mod given;
mod grid;
mod input;
mod item;
mod keypoints;
mod memory;
mod obb;
mod outputs;
mod points;
mod pose;
mod recognise;
mod resample;
mod scrfd;
mod segment;
mod semantic;
mod ssd;
mod yolo;
mod yolox;
mod yunet;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vidmill_image::{Geometry, Size, TensorSpec};

pub use family::Task;
use family::{Decode, Scope};
pub use found::{Class, Detection, Found, Keypoint, Region, Text};
pub(crate) use input::ImageInput;
pub use memory::Memory;
pub use recognise::families;

use crate::{CardLine, DecodeError, Error, Labels, ModelInfo, Outputs};

/// What the user may choose.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Detections must be surer than this; `None` is what the model's card or metadata says, or what is usual for
    /// its family, mostly 0.25.
    pub conf: Option<f32>,
    /// Detections down to this confidence are decoded though they are not surer than `conf`: a tracker has a use for them.
    pub weaker: Option<f32>,
    /// Boxes of a class that overlap more than this are one; `None` is what the model says, or what is usual for its
    /// family, mostly 0.7.
    pub iou: Option<f32>,
    /// At most this many detections a frame; `None` is what the model says, or 300.
    pub max_det: Option<usize>,
    /// Only these classes, by name or number; empty means all.
    pub classes: Vec<String>,
    /// Input size, for models that take any; rounded up to the model's stride.
    pub imgsz: Option<Size>,
    /// A file of class names, one a line, in place of the model's own.
    pub labels: Option<PathBuf>,
    /// At most this many classes of a whole picture; `None` is what the model says, or 5.
    pub top_k: Option<usize>,
    /// Whether embeddings are given length 1.
    pub normalize: bool,
    /// The model's task or family by name (see [`families`]), where it is not recognised or wrongly so.
    pub task: Option<String>,
}

/// How many items a batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Batch {
    /// Exactly so many: shorter batches are padded.
    Fixed(usize),
    /// Any number.
    Dynamic,
}

/// How the size of the input follows from that of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizing {
    /// It does not.
    Fixed,
    /// As large as the picture, or as much smaller as the longer side of the input asks for, in whole steps: PaddleOCR's
    /// `DetResizeForTest` with `limit_type: max`.
    Whole { step: u32 },
    /// As wide as the picture is at the input's height, and `least` at least: PaddleOCR's `resize_norm_img`.
    Line { least: u32 },
}

impl Sizing {
    /// The size for a picture, where the largest is `most`.
    fn size(self, picture: Size, most: Size) -> Size {
        let (width, height) = (f64::from(picture.width.max(1)), f64::from(picture.height.max(1)));
        match self {
            Self::Fixed => most,
            Self::Whole { step } => {
                let longest = f64::from(most.width.max(most.height));
                let ratio = (longest / width.max(height)).min(1.0);
                let side = |side: f64, most: u32| {
                    let steps = ((side * ratio).floor() / f64::from(step)).round_ties_even();
                    ((steps as u32).max(1) * step).min(most)
                };
                Size::new(side(width, most.width), side(height, most.height))
            }
            Self::Line { least } => {
                let line = f64::from(most.height);
                let wide = (line * (f64::from(least) / line).max(width / height)) as u32;
                Size::new(wide.clamp(1, most.width), most.height)
            }
        }
    }
}

/// How to feed a model and read its outputs.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    family: &'static str,
    task: Task,
    spec: TensorSpec,
    sizing: Sizing,
    batch: Batch,
    labels: Labels,
    decoder: Arc<dyn Decode>,
    /// The least confidence that is told of; decoded are weaker ones, too, where [`TaskOptions::weaker`] asks for them.
    conf: f32,
    thresholds: Thresholds,
    why: Vec<String>,
    card: Vec<CardLine>,
}

/// What decides over single results.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Detections that are decoded are surer than this.
    pub conf: f32,
    /// Boxes of a class that overlap more than this are one.
    pub iou: f32,
    /// At most this many detections a frame.
    pub max_det: usize,
    /// Only these classes.
    pub classes: Option<Vec<u32>>,
    /// At most this many classes of a whole picture.
    pub top_k: usize,
    /// Whether embeddings are given length 1.
    pub normalize: bool,
}

impl Thresholds {
    /// Whether this class is wanted.
    fn wants(&self, class_id: u32) -> bool {
        self.classes.as_ref().is_none_or(|classes| classes.contains(&class_id))
    }

    /// Whether a box of this class and confidence is wanted.
    fn pass(&self, confidence: f32, class_id: u32) -> bool {
        confidence > self.conf && self.wants(class_id)
    }
}

impl TaskPlan {
    /// Works out what the model is: from the options, from its metadata, from its inputs and outputs, in this order.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] with the model's inputs and outputs and the choices; errors about options, metadata and labels
    /// that do not fit.
    pub fn recognise(info: &ModelInfo, options: &TaskOptions) -> Result<Self, Error> {
        recognise::plan(info, options).map_err(|error| info.cards.blame(error))
    }

    /// The shape of a batch of one (or of the model's fixed size), for finding out the outputs of a model that does not tell.
    ///
    /// # Errors
    /// As [`TaskPlan::recognise`], of the input.
    pub fn trial_shape(info: &ModelInfo, options: &TaskOptions) -> Result<Vec<usize>, Error> {
        recognise::trial_shape(info, options).map_err(|error| info.cards.blame(error))
    }
    /// The family that the model was recognised as.
    pub fn family(&self) -> &'static str {
        self.family
    }
    /// What it gives.
    pub fn task(&self) -> Task {
        self.task
    }
    /// The input to make: of those that may be of several sizes, the largest.
    pub fn spec(&self) -> &TensorSpec {
        &self.spec
    }
    /// The input to make of a displayed frame of this size.
    pub fn spec_for(&self, displayed: Size) -> TensorSpec {
        TensorSpec { size: self.sizing.size(displayed, self.spec.size), ..self.spec.clone() }
    }
    /// Has all inputs be of the largest size, for who can run the model on nothing else.
    pub fn fix_size(&mut self) {
        self.sizing = Sizing::Fixed;
    }
    /// The class that a user means by `text`: a name or a number.
    ///
    /// # Errors
    /// When there is no such class.
    pub fn class(&self, text: &str) -> Result<u32, Error> {
        self.labels.class(text, None)
    }
    /// The batches that the model takes.
    pub fn batch(&self) -> Batch {
        self.batch
    }
    /// Detections that are told of are surer than this.
    pub fn conf(&self) -> f32 {
        self.conf
    }
    /// The names of the classes.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }
    /// The names of its detections' keypoints, in their order; numbers where the model gives no names, empty where it gives no
    /// keypoints.
    pub fn keypoint_names(&self) -> &[String] {
        &self.decoder.keypoints().names
    }
    /// Which keypoints are drawn with a line between them: pairs of places in [`TaskPlan::keypoint_names`].
    pub fn skeleton(&self) -> &[[usize; 2]] {
        &self.decoder.keypoints().skeleton
    }
    /// What decides over single results.
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }
    /// What a model card would say to the same effect.
    pub fn card(&self) -> &[CardLine] {
        &self.card
    }
    /// What was inferred from what, one sentence a line.
    pub fn why(&self) -> &[String] {
        &self.why
    }

    /// What was found in item `item` of a batch: detections by falling confidence (ties as the model ordered them), in pixels
    /// of the displayed frame that `geometry` tells. Boxes of which nothing lies in the frame are left out.
    ///
    /// # Errors
    /// When outputs are missing, have another shape than planned, or hold NaN or infinity: the frame has failed.
    pub fn decode(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        geometry: &Geometry,
    ) -> Result<Found, DecodeError> {
        self.decode_in(&Memory::default(), outputs, item, geometry)
    }

    /// The same for who decodes frame after frame: it asks for no memory where `memory` has some of earlier frames.
    ///
    /// # Errors
    /// As [`TaskPlan::decode`].
    pub fn decode_in(
        &self,
        memory: &Memory,
        outputs: &Outputs<'_>,
        item: usize,
        geometry: &Geometry,
    ) -> Result<Found, DecodeError> {
        self.decoder.decode(outputs, item, &Scope { thresholds: &self.thresholds, geometry, memory })
    }
}

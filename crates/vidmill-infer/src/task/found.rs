//! What was found in a frame.

use serde::{Deserialize, Serialize};
use vidmill_image::{Mask, Rect};

/// What was found in a frame, or in a part of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Objects, by falling confidence; `None` where the model is no detector.
    pub detections: Option<Vec<Detection>>,
    /// A class name for each detection, where they have names of their own; empty where [`TaskPlan::labels`](super::TaskPlan::labels)
    /// has them.
    pub names: Vec<String>,
    /// The same for each of `classes`.
    pub class_names: Vec<String>,
    /// The same for each of `regions`.
    pub region_names: Vec<String>,
    /// What it is as a whole: classes by falling confidence.
    pub classes: Option<Vec<Class>>,
    /// Which class each pixel belongs to: one mask for each class that is there, by rising class number.
    pub regions: Option<Vec<Region>>,
    /// What it reads.
    pub text: Option<Text>,
    /// Its place in the space that the model makes.
    pub embedding: Option<Vec<f32>>,
    /// Anything else, as JSON.
    pub outputs: Option<String>,
}

/// A found object. Places are in pixels of the displayed frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Where, clipped to the frame; of an oriented box the upright box around it.
    pub rect: Rect,
    /// How sure, 0..=1 in all usual models.
    pub confidence: f32,
    /// Which class; [`TaskPlan::labels`](super::TaskPlan::labels) has the names.
    pub class_id: u32,
    /// Of an oriented box its corners, clockwise; not clipped.
    pub corners: Option<[[f32; 2]; 4]>,
    /// In the model's order; empty where it gives none. Not clipped.
    pub keypoints: Vec<Keypoint>,
    /// Which pixels of the frame it covers.
    pub mask: Option<Mask>,
    /// What the next model of a cascade makes of it.
    pub inside: Option<Box<Found>>,
}

/// A point of an object.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keypoint {
    /// Pixels from the left.
    pub x: f32,
    /// Pixels from the top.
    pub y: f32,
    /// How sure that it is seen there; `None` where the model does not say.
    pub confidence: Option<f32>,
}

/// A class with its probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Which.
    pub class_id: u32,
    /// How sure, 0..=1.
    pub confidence: f32,
}

/// The pixels of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Which class.
    pub class_id: u32,
    /// Its pixels.
    pub mask: Mask,
}

/// Recognised text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// What it says.
    pub text: String,
    /// How sure, 0..=1: the mean over its characters.
    pub confidence: f32,
}

impl Detection {
    /// An upright box.
    pub fn new(rect: Rect, confidence: f32, class_id: u32) -> Self {
        Self { rect, confidence, class_id, ..Self::default() }
    }
}

impl From<Vec<Detection>> for Found {
    fn from(detections: Vec<Detection>) -> Self {
        Self { detections: Some(detections), ..Self::default() }
    }
}

//! The record: what is known of one sampled frame. One line of JSON each; other programs rely on its fields.

use std::sync::Arc;

use serde::Serialize;

/// One sampled frame and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// The source as the user named it; for image folders, the image's path.
    pub source: Arc<str>,
    /// Index among decoded frames, from 0, as cv2 counts them.
    pub frame: u64,
    /// The container's own timestamp in units of the stream's time base; `null` where there is none (images).
    pub pts: Option<i64>,
    /// The same in seconds; `null` where there is none.
    pub time: Option<f64>,
    /// What became of the frame.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a sampled frame: nothing else can happen to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Outcome {
    /// The model's result.
    Ok {
        /// Sorted by falling confidence, in pixels of the displayed frame, clipped to it.
        detections: Vec<Detection>,
    },
    /// The frame could not be processed.
    Failed {
        /// Why.
        error: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The frame was given up on purpose.
    Dropped {
        /// Why.
        reason: String,
    },
}

/// One detected object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// Left, top, right, bottom in pixels of the displayed frame.
    pub xyxy: [f32; 4],
    /// 0 to 1.
    pub confidence: f32,
    /// The model's own class number.
    pub class_id: u32,
    /// The class's name, or its number where the model has no names.
    pub class: Arc<str>,
}

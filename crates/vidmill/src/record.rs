//! The record: what is known of one sampled frame. One line of JSON each; other programs rely on its fields.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One sampled frame and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Line")]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// A record as it stands in a line of JSON. Reading goes through this flat form, because serde reads flattened and
/// tagged values through a buffer that turns every `f32` into an `f64`; unknown keys are skipped, for the record
/// may gain some.
#[derive(Deserialize)]
struct Line {
    source: Arc<str>,
    frame: u64,
    pts: Option<i64>,
    time: Option<f64>,
    status: Status,
    detections: Option<Vec<Detection>>,
    error: Option<String>,
    attempts: Option<u32>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Failed,
    Dropped,
}

/// A line without a key that its status calls for.
#[derive(Debug, thiserror::Error)]
#[error("the record has no `{0}`, which its status calls for")]
struct MissingKey(&'static str);

impl TryFrom<Line> for Record {
    type Error = MissingKey;

    fn try_from(line: Line) -> Result<Self, MissingKey> {
        let outcome = match line.status {
            Status::Ok => Outcome::Ok { detections: line.detections.ok_or(MissingKey("detections"))? },
            Status::Failed => Outcome::Failed {
                error: line.error.ok_or(MissingKey("error"))?,
                attempts: line.attempts.ok_or(MissingKey("attempts"))?,
            },
            Status::Dropped => Outcome::Dropped { reason: line.reason.ok_or(MissingKey("reason"))? },
        };
        Ok(Record { source: line.source, frame: line.frame, pts: line.pts, time: line.time, outcome })
    }
}

//! The record: what is known of one sampled frame. One line of JSON each; other programs rely on its fields.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
    Ok(Found),
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

/// What a model made of a frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Found {
    /// Sorted by falling confidence, in pixels of the displayed frame, clipped to it; `None` where the model is no detector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detections: Option<Vec<Detection>>,
    /// What a model gives that vidmill does not decode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Json>,
}

impl Found {
    /// The detections, if there are any.
    pub fn detections(&self) -> &[Detection] {
        self.detections.as_deref().unwrap_or_default()
    }
}

impl From<Vec<Detection>> for Found {
    fn from(detections: Vec<Detection>) -> Self {
        Self { detections: Some(detections), outputs: None }
    }
}

/// A JSON value, as text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Checks that `text` is JSON, on one line.
    ///
    /// # Errors
    /// When it is not.
    pub fn new(text: String) -> Result<Self, serde_json::Error> {
        let text = if text.contains('\n') { text.replace('\n', " ") } else { text };
        RawValue::from_string(text).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
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
    // `null` is a value, too.
    #[serde(default, deserialize_with = "present")]
    outputs: Option<Json>,
    error: Option<String>,
    attempts: Option<u32>,
    reason: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(value).map(Some)
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
            Status::Ok if line.detections.is_none() && line.outputs.is_none() => {
                return Err(MissingKey("detections"));
            }
            Status::Ok => Outcome::Ok(Found { detections: line.detections, outputs: line.outputs }),
            Status::Failed => Outcome::Failed {
                error: line.error.ok_or(MissingKey("error"))?,
                attempts: line.attempts.ok_or(MissingKey("attempts"))?,
            },
            Status::Dropped => Outcome::Dropped { reason: line.reason.ok_or(MissingKey("reason"))? },
        };
        Ok(Record { source: line.source, frame: line.frame, pts: line.pts, time: line.time, outcome })
    }
}

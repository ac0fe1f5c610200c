//! The record: what is known of one sampled frame. One line of JSON each; other programs rely on its fields.

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use vidmill_image::Mask;

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
    /// Sorted by falling confidence; `None` where the model is no detector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detections: Option<Vec<Detection>>,
    /// What the frame is as a whole: classes by falling confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Class>>,
    /// Which pixels belong to which class: one mask for each class that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<Vec<Region>>,
    /// What the frame reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How sure the text is, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_confidence: Option<f32>,
    /// The frame as a vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Vec<f32>>,
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
        Self { detections: Some(detections), ..Self::default() }
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

/// One detected object. Places are in pixels of the displayed frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Left, top, right, bottom, clipped to the frame; of an oriented box the upright box around it.
    pub xyxy: [f32; 4],
    /// 0 to 1.
    pub confidence: f32,
    /// The model's own class number.
    pub class_id: u32,
    /// The class's name, or its number where the model has no names.
    pub class: Arc<str>,
    /// The same for the same object in other frames, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_id: Option<u64>,
    /// Of an oriented box the corners, clockwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corners: Option<[[f32; 2]; 4]>,
    /// In the model's order, whose names the manifest has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keypoints: Option<Vec<Keypoint>>,
    /// The pixels of the object, as COCO's run-length encoding, which pycocotools reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// Of a cascade's next model: what the object is, by falling confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Class>>,
    /// What it reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How sure the text is, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_confidence: Option<f32>,
    /// It as a vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Vec<f32>>,
    /// What was found in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detections: Option<Vec<Detection>>,
    /// Which of its pixels belong to which class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<Vec<Region>>,
    /// What the next model gives that vidmill does not decode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Json>,
}

/// A class with its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// The model's own class number.
    pub class_id: u32,
    /// Its name, or its number where the model has no names.
    pub class: Arc<str>,
    /// 0 to 1.
    pub confidence: f32,
}

/// The pixels of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// The model's own class number.
    pub class_id: u32,
    /// Its name, or its number where the model has no names.
    pub class: Arc<str>,
    /// Its pixels in the displayed frame.
    pub mask: Mask,
}

/// A keypoint: `[x, y, confidence]`, or `[x, y]` where the model gives no confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Keypoint {
    /// With the confidence that it is seen there, 0 to 1.
    Sure([f32; 3]),
    /// Without.
    Plain([f32; 2]),
}

impl Keypoint {
    /// Pixels from the left and from the top.
    pub fn xy(&self) -> [f32; 2] {
        match *self {
            Self::Sure([x, y, _]) | Self::Plain([x, y]) => [x, y],
        }
    }
    /// How sure that it is seen there, where the model says.
    pub fn confidence(&self) -> Option<f32> {
        match *self {
            Self::Sure([.., confidence]) => Some(confidence),
            Self::Plain(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Keypoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match *Vec::<f32>::deserialize(deserializer)? {
            [x, y, confidence] => Ok(Self::Sure([x, y, confidence])),
            [x, y] => Ok(Self::Plain([x, y])),
            ref other => Err(D::Error::invalid_length(other.len(), &"two or three numbers of a keypoint")),
        }
    }
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
    classes: Option<Vec<Class>>,
    masks: Option<Vec<Region>>,
    text: Option<String>,
    text_confidence: Option<f32>,
    embedding: Option<Vec<f32>>,
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
            Status::Ok => {
                let Line { detections, classes, masks, text, text_confidence, embedding, outputs, .. } = line;
                let found = Found { detections, classes, masks, text, text_confidence, embedding, outputs };
                if found == Found::default() {
                    return Err(MissingKey("detections"));
                }
                return Ok(Self {
                    source: line.source,
                    frame: line.frame,
                    pts: line.pts,
                    time: line.time,
                    outcome: Outcome::Ok(found),
                });
            }
            Status::Failed => Outcome::Failed {
                error: line.error.ok_or(MissingKey("error"))?,
                attempts: line.attempts.ok_or(MissingKey("attempts"))?,
            },
            Status::Dropped => Outcome::Dropped { reason: line.reason.ok_or(MissingKey("reason"))? },
        };
        Ok(Record { source: line.source, frame: line.frame, pts: line.pts, time: line.time, outcome })
    }
}

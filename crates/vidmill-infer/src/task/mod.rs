//! What a model's outputs mean.
//!
//! In: a model's description and the user's options. Out: a [`TaskPlan`]: the input tensor to make, and the way from the
//! outputs of a batch to the [`Detection`]s of one frame.

mod end_to_end;
mod feed;
mod head;
mod input;
mod item;
mod outputs;
mod recognise;
mod ssd;
mod yolo;
mod yolox;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vidmill_image::{Geometry, Rect, Size, TensorSpec};

pub(crate) use input::ImageInput;

use crate::nms::{Candidate, sort, suppress};
use crate::{DecodeError, Error, Labels, ModelInfo, Outputs};

/// A found object.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Where, in pixels of the displayed frame, clipped to it.
    pub rect: Rect,
    /// How sure, 0..=1 in all usual models.
    pub confidence: f32,
    /// Which class; [`TaskPlan::labels`] has the names.
    pub class_id: u32,
}

/// What was found in a frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Objects, by falling confidence; `None` where the model is no detector.
    pub detections: Option<Vec<Detection>>,
    /// A class name for each detection, where they have names of their own; empty where [`TaskPlan::labels`] has them.
    pub names: Vec<String>,
    /// Anything else, as JSON.
    pub outputs: Option<String>,
}

impl From<Vec<Detection>> for Found {
    fn from(detections: Vec<Detection>) -> Self {
        Self { detections: Some(detections), ..Self::default() }
    }
}

/// What the user may choose.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Detections must be surer than this.
    pub conf: f32,
    /// Boxes of a class that overlap more than this are one.
    pub iou: f32,
    /// At most this many detections a frame.
    pub max_det: usize,
    /// Only these classes, by name or number; empty means all.
    pub classes: Vec<String>,
    /// Input size, for models that take any; rounded up to the model's stride.
    pub imgsz: Option<Size>,
    /// A file of class names, one a line, in place of the model's own.
    pub labels: Option<PathBuf>,
    /// The model's kind by name (see [`TaskKind::CHOICES`]), where it is not recognised or wrongly so.
    pub task: Option<String>,
}

impl Default for TaskOptions {
    /// Ultralytics' defaults.
    fn default() -> Self {
        Self {
            conf: 0.25,
            iou: 0.7,
            max_det: 300,
            classes: Vec::new(),
            imgsz: None,
            labels: None,
            task: None,
        }
    }
}

/// The kinds of models that vidmill reads the outputs of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// One output `[n, boxes, 5 + classes]`: cx, cy, w, h in input pixels, objectness, class scores (YOLOv5, v6, v7).
    Yolov5,
    /// One output `[n, 4 + classes, boxes]`: cx, cy, w, h in input pixels, class scores (YOLOv8, v9, 11, 26).
    Yolov8,
    /// One output `[n, boxes, 6]`: x1, y1, x2, y2 in input pixels, score, class (YOLOv10, 26, exports with NMS).
    EndToEnd,
    /// One output `[n, cells, 5 + classes]` relative to its grid cells (YOLOX as exported by default).
    Yolox,
    /// The same, already in input pixels (YOLOX with `--decode_in_inference`).
    YoloxDecoded,
    /// Boxes `[n, boxes, 4]` with scores `[n, boxes, classes]`, or with scores and classes `[n, boxes]` each.
    Ssd,
    /// Any outputs whose first dimension is the batch: they are given as they are.
    Outputs,
}

impl TaskKind {
    /// What [`FromStr`] takes: the kinds and the names of models that are one of them.
    pub const CHOICES: &'static str = "yolov5 (yolov6, yolov7), yolov8 (yolov9, yolo11, yolo12, yolo26), end-to-end (yolov10), yolox, yolox-decoded, ssd, outputs";
}

impl FromStr for TaskKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "yolov5" | "yolov6" | "yolov7" => Ok(Self::Yolov5),
            "yolov8" | "yolov9" | "yolo11" | "yolo12" | "yolo26" => Ok(Self::Yolov8),
            "end-to-end" | "yolov10" => Ok(Self::EndToEnd),
            "yolox" => Ok(Self::Yolox),
            "yolox-decoded" => Ok(Self::YoloxDecoded),
            "ssd" => Ok(Self::Ssd),
            "outputs" => Ok(Self::Outputs),
            _ => {
                Err(Error::Choice { what: "task", given: text.to_owned(), choices: Self::CHOICES.to_owned() })
            }
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yolov5 => "yolov5",
            Self::Yolov8 => "yolov8",
            Self::EndToEnd => "end-to-end",
            Self::Yolox => "yolox",
            Self::YoloxDecoded => "yolox-decoded",
            Self::Ssd => "ssd",
            Self::Outputs => "outputs",
        })
    }
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

/// How to feed a model and read its outputs.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    kind: TaskKind,
    spec: TensorSpec,
    batch: Batch,
    labels: Labels,
    decoder: Decoder,
    thresholds: Thresholds,
    why: Vec<String>,
}

/// Arithmetic in half precision can end a little above 1.
const CERTAIN: f32 = 1.01;

/// The decoder of each kind, with what it needs to know about the outputs.
#[derive(Clone, Debug, PartialEq)]
enum Decoder {
    Rows(yolo::Rows),
    Columns(yolo::Columns),
    EndToEnd(end_to_end::EndToEnd),
    Yolox(yolox::Yolox),
    Ssd(ssd::Ssd),
    Final(ssd::Final),
    /// None: what comes out is given as it is.
    Outputs,
}

impl Decoder {
    /// Whether the outputs hold one part for each item of a batch.
    fn is_batched(&self) -> bool {
        match self {
            Self::Rows(rows) => rows.output.batched,
            Self::Columns(columns) => columns.output.batched,
            Self::EndToEnd(last) => last.output.batched,
            Self::Yolox(yolox) => yolox.output.batched,
            Self::Ssd(ssd) => ssd.boxes.batched,
            Self::Final(last) => last.boxes.batched,
            Self::Outputs => true,
        }
    }
}

/// What of the options decides over single boxes.
#[derive(Clone, Debug, PartialEq)]
struct Thresholds {
    conf: f32,
    iou: f32,
    max_det: usize,
    classes: Option<Vec<u32>>,
}

/// Whether boxes of the same object are still to be thinned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suppression {
    Needed,
    Done,
}

impl Thresholds {
    /// Whether a box of this class and confidence is wanted.
    fn pass(&self, confidence: f32, class_id: u32) -> bool {
        confidence > self.conf && self.classes.as_ref().is_none_or(|classes| classes.contains(&class_id))
    }
}

impl TaskPlan {
    /// Works out what the model is: from the options, from its metadata, from its inputs and outputs, in this order.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] with the model's inputs and outputs and the choices; errors about options, metadata and labels
    /// that do not fit.
    pub fn recognise(info: &ModelInfo, options: &TaskOptions) -> Result<Self, Error> {
        recognise::plan(info, options)
    }

    /// The shape of a batch of one (or of the model's fixed size), for finding out the outputs of a model that does not tell.
    ///
    /// # Errors
    /// As [`TaskPlan::recognise`], of the input.
    pub fn trial_shape(info: &ModelInfo, options: &TaskOptions) -> Result<Vec<usize>, Error> {
        recognise::trial_shape(info, options)
    }
    /// What was recognised.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }
    /// The input to make.
    pub fn spec(&self) -> &TensorSpec {
        &self.spec
    }
    /// The batches that the model takes.
    pub fn batch(&self) -> Batch {
        self.batch
    }
    /// The names of the classes.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }
    /// What was inferred from what, one sentence a line.
    pub fn why(&self) -> &[String] {
        &self.why
    }

    /// Whether outputs become detections, and are not given as they are.
    pub fn is_detector(&self) -> bool {
        self.kind != TaskKind::Outputs
    }

    /// What was found in item `item` of a batch: the detections by falling confidence (ties as the model ordered them), in
    /// pixels of the displayed frame that `geometry` tells. Boxes of which nothing lies in the frame are left out.
    ///
    /// # Errors
    /// When outputs are missing, have another shape than planned, or hold NaN or infinity: the frame has failed.
    pub fn decode(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        geometry: &Geometry,
    ) -> Result<Found, DecodeError> {
        let t = &self.thresholds;
        let (candidates, suppression) = match &self.decoder {
            Decoder::Rows(rows) => (rows.candidates(outputs, item, t)?, Suppression::Needed),
            Decoder::Columns(columns) => (columns.candidates(outputs, item, t)?, Suppression::Needed),
            Decoder::EndToEnd(last) => (last.candidates(outputs, item, t)?, last.suppression),
            Decoder::Yolox(yolox) => (yolox.candidates(outputs, item, t)?, Suppression::Needed),
            Decoder::Ssd(ssd) => (ssd.candidates(outputs, item, t)?, Suppression::Needed),
            Decoder::Final(last) => (last.candidates(outputs, item, t)?, last.suppression),
            Decoder::Outputs => {
                let outputs = Some(outputs::to_json(outputs, item)?);
                return Ok(Found { outputs, ..Found::default() });
            }
        };
        if let Some(sure) = candidates.iter().find(|candidate| candidate.confidence > CERTAIN) {
            return Err(DecodeError::Confidence { confidence: sure.confidence });
        }
        Ok(self.finish(candidates, suppression, geometry).into())
    }

    /// Detections that somebody else made, in pixels of the input, as [`TaskPlan::decode`] gives its own: with the thresholds
    /// applied, but no suppression. Each comes with its place among those given.
    ///
    /// # Errors
    /// When a number is not finite or a confidence is above 1.
    pub fn finish_given(
        &self,
        given: &[Detection],
        geometry: &Geometry,
    ) -> Result<Vec<(usize, Detection)>, DecodeError> {
        for (index, Detection { rect, confidence, .. }) in given.iter().enumerate() {
            let numbers = [rect.x1, rect.y1, rect.x2, rect.y2, *confidence];
            if let Some(&value) = numbers.iter().find(|number| !number.is_finite()) {
                return Err(DecodeError::NonFinite { output: "detections".to_owned(), index, value });
            }
            if *confidence > CERTAIN {
                return Err(DecodeError::Confidence { confidence: *confidence });
            }
        }
        let t = &self.thresholds;
        let mut kept: Vec<_> =
            given.iter().enumerate().filter(|(_, d)| t.pass(d.confidence, d.class_id)).collect();
        kept.sort_by(|(_, a), (_, b)| b.confidence.total_cmp(&a.confidence));
        kept.truncate(t.max_det);
        let displayed = kept.into_iter().filter_map(|(place, detection)| {
            visible(detection.rect, detection.confidence, detection.class_id, geometry).map(|d| (place, d))
        });
        Ok(displayed.collect())
    }

    fn finish(
        &self,
        mut candidates: Vec<Candidate>,
        suppression: Suppression,
        geometry: &Geometry,
    ) -> Vec<Detection> {
        let Thresholds { iou, max_det, .. } = self.thresholds;
        let kept = match suppression {
            Suppression::Needed => suppress(candidates, iou, max_det),
            Suppression::Done => {
                sort(&mut candidates);
                candidates.truncate(max_det);
                candidates
            }
        };
        let displayed = |c: &Candidate| visible(c.rect, c.confidence, c.class_id, geometry);
        kept.iter().filter_map(displayed).collect()
    }
}

/// A detection in pixels of the displayed frame, if any of it lies there.
fn visible(rect: Rect, confidence: f32, class_id: u32, geometry: &Geometry) -> Option<Detection> {
    let rect = geometry.to_displayed(rect).clip(geometry.displayed);
    let is_visible = rect.x2 > rect.x1 && rect.y2 > rect.y1;
    is_visible.then_some(Detection { rect, confidence: confidence.min(1.0), class_id })
}

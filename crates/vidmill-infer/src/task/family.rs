//! A family of models: those that are fed and read alike.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use vidmill_image::{ChannelOrder, Rect, ResizeMode, Size};

use super::found::{Detection, Found};
use super::keypoints::Keypoints;
use super::{
    Memory, Sizing, Thresholds, centerface, classify, ctc, db, detr, dfl, embed, end_to_end, fastestdet,
    flat, obb, outputs, points, pose, scrfd, segment, semantic, ssd, yolo, yolox, yunet,
};
use crate::metadata::Metadata;
use crate::nms::{Candidate, sort, suppress};
use crate::{DecodeError, Dim, Labels, ModelInfo, Outputs, TensorInfo};

/// All families. Where a model fits several equally well, it is of the first.
pub(super) const FAMILIES: &[&dyn Family] = &[
    &yolo::Yolov5,
    &dfl::NanoDet,
    &yolox::Yolox,
    &yolox::YoloxDecoded,
    &pose::YoloPose,
    &segment::YoloSegment,
    &obb::YoloObb,
    &yolo::Yolov8,
    &detr::RtDetr,
    &detr::RfDetr,
    &detr::Detr,
    &detr::DeformableDetr,
    &end_to_end::EndToEnd,
    &flat::Yolov7EndToEnd,
    &points::YoloNas,
    &points::DamoYolo,
    &points::PpYoloe,
    &dfl::PicoDet,
    &fastestdet::FastestDet,
    &yunet::YuNet,
    &scrfd::Scrfd,
    &centerface::CenterFace,
    &ssd::Ssd,
    &db::Db,
    &ctc::Ctc,
    &classify::Classifier,
    &semantic::ClassMap,
    &semantic::ClassMaps,
    &semantic::Foreground,
    &embed::Embedding,
    &outputs::Raw,
];

/// A kind of result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Boxes of objects.
    Detect,
    /// Boxes with a mask each.
    Segment,
    /// Boxes with keypoints.
    Pose,
    /// Boxes at any angle.
    Obb,
    /// The class of the whole picture.
    Classify,
    /// The class of each pixel.
    Semantic,
    /// Boxes of text.
    FindText,
    /// What a picture of a line of text says.
    ReadText,
    /// A vector for the whole picture.
    Embed,
    /// Whatever the model gives.
    Outputs,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Detect,
        Self::Segment,
        Self::Pose,
        Self::Obb,
        Self::Classify,
        Self::Semantic,
        Self::FindText,
        Self::ReadText,
        Self::Embed,
        Self::Outputs,
    ];

    /// The task called `name`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }

    /// What `--task` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Segment => "segment",
            Self::Pose => "pose",
            Self::Obb => "obb",
            Self::Classify => "classify",
            Self::Semantic => "semantic",
            Self::FindText => "find-text",
            Self::ReadText => "read-text",
            Self::Embed => "embed",
            Self::Outputs => "outputs",
        }
    }

    /// Whether it gives detections.
    pub fn gives_detections(self) -> bool {
        matches!(self, Self::Detect | Self::Segment | Self::Pose | Self::Obb | Self::FindText)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A family of models.
pub(super) trait Family: Sync {
    /// Its name, as `--task` and `vidmill.task` give it, and after it the names of models that are read just so.
    fn names(&self) -> &'static [&'static str];

    /// What it gives.
    fn task(&self) -> Task;

    /// The names of its classes, where all models of it have the same.
    fn class_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// The least confidence, where nobody says one: Ultralytics' default, unless boxes below its authors' own are none.
    fn usual_conf(&self) -> f32 {
        0.25
    }

    /// How much boxes of one class may overlap, where nobody says it: its authors' default, or Ultralytics'.
    fn usual_iou(&self) -> f32 {
        0.7
    }

    /// How a model shows that it is of this family, if it does.
    fn recognise(&self, look: &Look<'_>) -> Option<Clue>;

    /// How a model of it is fed and read.
    ///
    /// # Errors
    /// Why the model cannot be of this family, as a sentence without its end.
    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String>;

    /// How the input's size follows from the picture's, where the model takes any; and its largest size, where nobody says one.
    fn sizing(&self) -> (Sizing, Option<Size>) {
        (Sizing::Fixed, None)
    }
}

/// What is known of a model when its family is looked for.
pub(super) struct Look<'a> {
    pub info: &'a ModelInfo,
    pub metadata: &'a Metadata,
    /// Size of its input.
    pub size: Size,
    /// What the user or the metadata says that it gives.
    pub task: Option<Task>,
    /// Names of its classes, where somebody gives them.
    pub labels: Option<&'a Labels>,
}

/// How a model shows its family, the strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// Nothing speaks against it.
    Possible,
    /// The shapes are typical.
    Likely,
    /// The shapes fit the input's size, or the names of the outputs are its own.
    Sure,
    /// Its metadata says so.
    Said,
}

/// What a model was recognised by: "output 'x' has ...".
#[derive(Clone, Debug)]
pub(super) struct Clue {
    pub certainty: Certainty,
    pub because: String,
}

impl Clue {
    pub(super) fn new(certainty: Certainty, because: impl Into<String>) -> Option<Self> {
        Some(Self { certainty, because: because.into() })
    }
}

/// How a model is fed and read.
pub(super) struct Head {
    pub decoder: Arc<dyn Decode>,
    /// How many classes it has, where that is known.
    pub classes: Option<usize>,
    /// What its authors feed it with.
    pub usual: Usual,
}

/// How pictures become tensors where nobody says otherwise: what the authors' own programs do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    pub channels: ChannelOrder,
    pub resize: ResizeMode,
    /// What is around a letterboxed picture, 0..=255.
    pub pad: u8,
    pub values: Values,
}

/// How values of the input are made: `(code * scale - mean) / std`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Values {
    pub scale: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

pub(super) const TO_ONE: f32 = 1.0 / 255.0;

impl Values {
    /// 0..1.
    pub(super) const UNIT: Self = Self::plain(TO_ONE);
    /// 0..255.
    pub(super) const BYTES: Self = Self::plain(1.0);

    /// As for the models of torchvision: ImageNet's mean and deviation in 0..1, for red, green and blue.
    pub(super) const IMAGENET: Self =
        Self { scale: TO_ONE, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    const fn plain(scale: f32) -> Self {
        Self { scale, mean: [0.0; 3], std: [1.0; 3] }
    }
}

impl Usual {
    /// RGB in 0..1, letterboxed on grey (Ultralytics).
    pub(super) const LETTERBOX: Self =
        Self { channels: ChannelOrder::Rgb, resize: ResizeMode::Letterbox, pad: 114, values: Values::UNIT };
    /// RGB in 0..1, stretched.
    pub(super) const STRETCH: Self = Self { resize: ResizeMode::Stretch, ..Self::LETTERBOX };
}

/// Turns the outputs of one item into what was found.
pub(super) trait Decode: fmt::Debug + Send + Sync {
    /// Whether the outputs hold one part for each item of a batch.
    fn is_batched(&self) -> bool;

    /// The keypoints of its detections.
    fn keypoints(&self) -> &Keypoints {
        static NONE: Keypoints = Keypoints::NONE;
        &NONE
    }

    /// What of a card it was made by: key, value, and what [`Head`]'s reasons begin with that are about it.
    fn card(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        Vec::new()
    }

    /// What is in item `item`.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError>;
}

/// What a decoder is told beside the outputs.
pub(super) struct Scope<'a> {
    pub thresholds: &'a Thresholds,
    /// From the model's input to the displayed frame.
    pub geometry: &'a vidmill_image::Geometry,
    pub memory: &'a Memory,
}

/// Whether boxes of the same object are still to be thinned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suppression {
    Needed,
    Done,
}

/// Arithmetic in half precision can end a little above 1.
pub(super) const CERTAIN: f32 = 1.01;

impl Scope<'_> {
    /// An empty list for candidates.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        self.memory.candidates()
    }

    /// Of the candidates, given in pixels of the input, those that count: thinned out, by falling confidence (ties by index), in
    /// pixels of the displayed frame. Boxes of which nothing lies in the frame are left out. Each comes with its candidate.
    ///
    /// # Errors
    /// When a confidence is above 1.
    pub(super) fn finish(
        &self,
        candidates: Vec<Candidate>,
        suppression: Suppression,
    ) -> Result<Vec<(Detection, Candidate)>, DecodeError> {
        let kept = self.thin_out(candidates, suppression)?;
        Ok(kept.into_iter().filter_map(|candidate| Some((self.detection(&candidate)?, candidate))).collect())
    }

    /// The same, for decoders whose detections are nothing but boxes.
    pub(super) fn boxes(
        &self,
        candidates: Vec<Candidate>,
        suppression: Suppression,
    ) -> Result<Found, DecodeError> {
        let kept = self.thin_out(candidates, suppression)?;
        let mut detections = self.memory.detections();
        detections.extend(kept.iter().filter_map(|candidate| self.detection(candidate)));
        self.memory.reuse_candidates(kept);
        Ok(detections.into())
    }

    fn thin_out(
        &self,
        mut candidates: Vec<Candidate>,
        suppression: Suppression,
    ) -> Result<Vec<Candidate>, DecodeError> {
        if let Some(sure) = candidates.iter().find(|candidate| candidate.confidence > CERTAIN) {
            return Err(DecodeError::Confidence { confidence: sure.confidence });
        }
        let Thresholds { iou, max_det, .. } = *self.thresholds;
        Ok(match suppression {
            Suppression::Needed => suppress(candidates, iou, max_det),
            Suppression::Done => {
                sort(&mut candidates);
                candidates.truncate(max_det);
                candidates
            }
        })
    }

    fn detection(&self, candidate: &Candidate) -> Option<Detection> {
        self.visible(candidate.rect, candidate.confidence, candidate.class_id)
    }

    /// A box of the input as a detection, if any of it lies in the displayed frame.
    pub(super) fn visible(&self, rect: Rect, confidence: f32, class_id: u32) -> Option<Detection> {
        let rect = self.geometry.to_displayed(rect).clip(self.geometry.displayed);
        let is_visible = rect.x2 > rect.x1 && rect.y2 > rect.y1;
        is_visible.then(|| Detection::new(rect, confidence.min(1.0), class_id))
    }
}

/// The first output of three dimensions, with its dimensions after the batch.
pub(super) fn three_dims<'a>(
    family: &dyn Family,
    info: &'a ModelInfo,
) -> Result<(&'a TensorInfo, [Option<usize>; 2]), String> {
    let found = info.outputs.iter().find_map(|output| match output.dims().as_slice() {
        &[_, rows, columns] => Some((output, [rows, columns])),
        _ => None,
    });
    found.ok_or_else(|| format!("a model of kind {} has an output of 3 dimensions", family.names()[0]))
}

/// The model's only output of three dimensions beside none of fewer, with its name and its dimensions after the batch: what most
/// detectors look like.
pub(super) fn only_table(info: &ModelInfo) -> Option<(&str, [Option<usize>; 2])> {
    let [output] = info.outputs.as_slice() else { return None };
    match *output.dims().as_slice() {
        [_, rows, columns] => Some((output.name.as_str(), [rows, columns])),
        _ => None,
    }
}

/// Whether the first dimension of an output counts rows, as detections, and not the items of a batch: it differs from the input's, or
/// the graph suppresses boxes.
pub(super) fn has_rows_of_its_own(info: &ModelInfo, output: &TensorInfo) -> bool {
    let batch = info.inputs.first().and_then(|input| input.shape.first()).and_then(Dim::fixed);
    let rows = output.shape.first().and_then(Dim::fixed);
    batch.is_some_and(|batch| rows != Some(batch)) || info.operators.contains_key("NonMaxSuppression")
}

/// How many of `numbers` numbers a box are classes, where `others` are not; by the labels where the model does not say.
pub(super) fn class_count(
    family: &dyn Family,
    numbers: Option<usize>,
    others: usize,
    labels: Option<&Labels>,
) -> Result<usize, String> {
    match (numbers, labels) {
        (Some(numbers), _) if numbers > others => Ok(numbers - others),
        (Some(numbers), _) => {
            Err(format!("{numbers} numbers a box are too few for the kind {}", family.names()[0]))
        }
        (None, Some(labels)) => Ok(labels.len()),
        (None, None) => {
            Err("its number of classes is known from neither shapes nor names; give --labels".to_owned())
        }
    }
}

/// Cells of all grids over an input of `size`.
pub(super) fn cells(size: Size, strides: &[u32]) -> usize {
    strides.iter().map(|stride| (size.width / stride) as usize * (size.height / stride) as usize).sum()
}

/// "8400 cells of strides 8, 16, 32 over 640x640".
pub(super) fn cells_text(size: Size, count: usize) -> String {
    format!("{count} cells of strides 8, 16, 32 over {}x{}", size.width, size.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_the_usual_exports() {
        assert_eq!(cells(Size::new(640, 640), &[8, 16, 32]), 8400);
        assert_eq!(cells(Size::new(416, 416), &[8, 16, 32]), 3549);
        assert_eq!(cells(Size::new(640, 384), &[8, 16, 32]), 5040);
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<_> = FAMILIES.iter().flat_map(|family| family.names()).copied().collect();
        // A family may be called as its task only where it is the task's only one.
        names.extend(Task::ALL.iter().map(|task| task.name()).filter(|name| *name != "outputs"));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

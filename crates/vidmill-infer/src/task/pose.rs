//! YOLO heads that give keypoints beside each box.

use std::sync::Arc;

use super::boxes::{Boxes, is_cells};
use super::family::{
    Certainty, Clue, Decode, Family, Head, Look, Scope, Task, Usual, only_table, three_dims,
};
use super::found::{Found, Keypoint};
use super::keypoints::Keypoints;
use crate::{DecodeError, Outputs};

/// A person with COCO's keypoints: 4 numbers of a box, 1 class, 17 times x, y and visibility.
const COCO_PERSON: usize = 4 + 1 + 17 * 3;
const COCO_KEYPOINTS: (usize, usize) = (17, 3);

/// YOLOv8-pose, YOLO11-pose: one output `[n, 4 + classes + numbers * keypoints, boxes]`; YOLO26-pose and exports with `nms=True`:
/// `[n, boxes, 6 + numbers * keypoints]`. A keypoint is x, y in pixels of the input and, of three numbers, its visibility.
pub(super) struct YoloPose;

impl Family for YoloPose {
    fn names(&self) -> &'static [&'static str] {
        &["yolov8-pose", "yolo11-pose", "yolo26-pose"]
    }
    fn task(&self) -> Task {
        Task::Pose
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let (name, [rows, columns]) = only_table(look.info)?;
        if let Some((count, numbers)) = look.metadata.keypoint_shape {
            return Clue::new(
                Certainty::Said,
                format!("its metadata says that output '{name}' has {count} keypoints of {numbers} numbers"),
            );
        }
        let classes = look.labels.map(crate::Labels::len);
        // Who names 52 classes has a detector of them.
        let is_person = classes.is_none_or(|classes| classes == 1);
        match (rows, columns) {
            (Some(COCO_PERSON), Some(_)) if is_person && is_cells(look, columns) => Clue::new(
                Certainty::Sure,
                format!(
                    "output '{name}' has {COCO_PERSON} numbers a box, as persons with 17 keypoints; for a detector of 52 \
                     classes, which has as many, say --task yolov8"
                ),
            ),
            (_, Some(57)) if is_person && !is_cells(look, rows) => Clue::new(
                Certainty::Likely,
                format!("output '{name}' has rows of 57 numbers, as final boxes with 17 keypoints"),
            ),
            _ => None,
        }
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let (output, _) = three_dims(self, look.info)?;
        let (count, numbers) = look.metadata.keypoint_shape.unwrap_or_else(|| {
            why.push("17 keypoints of 3 numbers each: COCO's, as the metadata has no kpt_shape".to_owned());
            COCO_KEYPOINTS
        });
        let boxes = Boxes::of(output, count * numbers, look, why)?;
        let metadata = look.metadata;
        let keypoints =
            Keypoints::of(count, metadata.keypoints.as_deref(), metadata.skeleton.as_deref(), why);
        let classes = boxes.classes(look);
        Ok(Head { decoder: Arc::new(Poses { boxes, numbers, keypoints }), classes, usual: Usual::LETTERBOX })
    }
}

#[derive(Debug)]
struct Poses {
    boxes: Boxes,
    /// Of a keypoint: 2, or 3 with its visibility.
    numbers: usize,
    keypoints: Keypoints,
}

impl Decode for Poses {
    fn is_batched(&self) -> bool {
        true
    }
    fn keypoints(&self) -> &Keypoints {
        &self.keypoints
    }

    /// As Ultralytics' `PosePredictor` does, but for points outside of the frame, which stay where the model puts them.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let table = self.boxes.table(outputs, item)?;
        let candidates = self.boxes.candidates(&table, scope.thresholds)?;
        let kept = scope.finish(candidates, self.boxes.suppression())?;
        let mut detections = Vec::with_capacity(kept.len());
        for (mut detection, candidate) in kept {
            let index = candidate.index as usize;
            let number = |number| self.boxes.extra(&table, index, number);
            let point = |point: usize| {
                let first = point * self.numbers;
                let [x, y] = scope.geometry.point_to_displayed([number(first), number(first + 1)]);
                if !(x.is_finite() && y.is_finite()) {
                    return Err(table.not_finite(index, x + y));
                }
                Ok(Keypoint { x, y, confidence: (self.numbers == 3).then(|| number(first + 2)) })
            };
            detection.keypoints = (0..self.keypoints.names.len()).map(point).collect::<Result<_, _>>()?;
            detections.push(detection);
        }
        Ok(detections.into())
    }
}

//! Heads that give final boxes: `[n, boxes, 6]`, a row being x1, y1, x2, y2, score, class.

use std::sync::Arc;

use vidmill_image::Rect;

use super::family::{
    Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, has_rows_of_its_own,
};
use super::found::Found;
use super::item::{Expected, place};
use crate::metadata::{Metadata, Nms};
use crate::{Candidate, DecodeError, Labels, ModelInfo, Outputs, TensorInfo};

/// YOLOv10, YOLO26, exports with suppression built in.
pub(super) struct EndToEnd;

impl Family for EndToEnd {
    fn names(&self) -> &'static [&'static str] {
        &["end-to-end", "yolov10"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let [output] = look.info.outputs.as_slice() else { return None };
        let is_said = look.metadata.end_to_end == Some(true);
        match *output.dims().as_slice() {
            [_, _, Some(6)] if is_said => {
                Clue::new(Certainty::Said, "its metadata says that suppression is built in")
            }
            [_, _, Some(6)] => rows_of_six(output),
            // One row for each item of the batch would be a classifier's.
            [_, Some(6)] if has_rows_of_its_own(look.info, output) => rows_of_six(output),
            _ => None,
        }
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let suppression = suppression(look.metadata, why);
        let output = final_rows(look.info)?;
        let decoder = Arc::new(FinalRows { output, suppression });
        Ok(Head { decoder, classes: look.labels.map(Labels::len), usual: Usual::LETTERBOX })
    }
}

fn rows_of_six(output: &TensorInfo) -> Option<Clue> {
    Clue::new(Certainty::Likely, format!("output '{}' has rows of 6 numbers", output.name))
}

/// Whether boxes that look final are.
pub(super) fn suppression(metadata: &Metadata, why: &mut Vec<String>) -> Suppression {
    match metadata.nms {
        Some(Nms::Needed) => {
            why.push("suppression: applied, as the metadata says vidmill.nms = needed".to_owned());
            Suppression::Needed
        }
        Some(Nms::Done) | None => {
            why.push("suppression: none, as the boxes come out final".to_owned());
            Suppression::Done
        }
    }
}

/// The same for a card.
pub(super) fn nms_line(suppression: Suppression) -> (&'static str, &'static str, &'static str) {
    let value = match suppression {
        Suppression::Needed => "needed",
        Suppression::Done => "done",
    };
    ("nms", value, "suppression")
}

/// `[n, boxes, 6]`, or `[boxes, 6]`.
fn final_rows(info: &ModelInfo) -> Result<Expected, String> {
    for output in &info.outputs {
        let (batched, dims) = match *output.dims() {
            [_, rows, columns] => (true, [rows, columns]),
            [rows, columns] => (false, [rows, columns]),
            _ => continue,
        };
        if dims[1].is_none_or(|columns| columns == 6) {
            return Ok(Expected { name: output.name.clone(), batched, dims: vec![dims[0], Some(6)] });
        }
    }
    Err("a model of kind end-to-end has an output with rows of 6 numbers".to_owned())
}

/// Final boxes in pixels of the input.
#[derive(Debug)]
struct FinalRows {
    output: Expected,
    suppression: Suppression,
}

impl Decode for FinalRows {
    fn card(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        vec![nms_line(self.suppression)]
    }
    fn is_batched(&self) -> bool {
        self.output.batched
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        scope.boxes(self.candidates(outputs, item, scope)?, self.suppression)
    }
}

impl FinalRows {
    /// Rows that pass, as they are; unused rows have score 0 (or a negative class, which some exports write).
    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        scope: &Scope<'_>,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let table = self.output.table(outputs, item)?;
        let candidate = |index| {
            let row = table.row(index);
            let class_id = class_number(row[5])?;
            let rect = Rect { x1: row[0], y1: row[1], x2: row[2], y2: row[3] };
            let candidate = Candidate { rect, confidence: row[4], class_id, index: place(index) };
            scope.thresholds.pass(row[4], class_id).then_some(candidate)
        };
        let mut found = scope.candidates();
        found.extend((0..table.rows).filter_map(candidate));
        Ok(found)
    }
}

/// A class given as a float.
pub(super) fn class_number(value: f32) -> Option<u32> {
    (value >= 0.0).then(|| value.round() as u32)
}

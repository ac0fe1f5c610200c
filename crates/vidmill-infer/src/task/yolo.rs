//! YOLO heads that give boxes in pixels of the input.

use super::Thresholds;
use super::item::{Expected, best, centred, place};
use crate::{Candidate, DecodeError, Outputs};

/// YOLOv5, v6, v7: `[n, boxes, 5 + classes]`, a row being cx, cy, w, h, objectness, class scores.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub output: Expected,
}

/// YOLOv8, v9, 11, 26: `[n, 4 + classes, boxes]`, a column being cx, cy, w, h, class scores.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Columns {
    pub output: Expected,
}

impl Rows {
    /// Confidence is objectness times the best class's score; both it and the objectness must pass, as in Ultralytics'
    /// `non_max_suppression` of yolov5.
    pub(super) fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        thresholds: &Thresholds,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let table = self.output.table(outputs, item)?;
        let mut found = Vec::new();
        for index in 0..table.rows {
            let row = table.row(index);
            let objectness = row[4];
            if objectness <= thresholds.conf {
                continue;
            }
            let (class, score) = best(&row[5..]);
            let (class_id, confidence) = (place(class), objectness * score);
            if thresholds.pass(confidence, class_id) {
                let rect = table.finite(centred(row[0], row[1], row[2], row[3]), index * table.columns)?;
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        Ok(found)
    }
}

impl Columns {
    /// Confidence is the best class's score.
    pub(super) fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        thresholds: &Thresholds,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let table = self.output.table(outputs, item)?;
        // Class by class over all boxes, as the numbers lie in memory.
        let mut confidences = table.row(4).to_vec();
        let mut classes = vec![0u32; table.columns];
        for class in 1..table.rows - 4 {
            let class_id = place(class);
            let scores = table.row(4 + class);
            for ((best, id), &score) in confidences.iter_mut().zip(&mut classes).zip(scores) {
                let higher = score > *best;
                *best = if higher { score } else { *best };
                *id = if higher { class_id } else { *id };
            }
        }
        let [cx, cy, w, h] = [0, 1, 2, 3].map(|row| table.row(row));
        let mut found = Vec::new();
        for (index, (&confidence, &class_id)) in confidences.iter().zip(&classes).enumerate() {
            if thresholds.pass(confidence, class_id) {
                let rect = table.finite(centred(cx[index], cy[index], w[index], h[index]), index)?;
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        Ok(found)
    }
}

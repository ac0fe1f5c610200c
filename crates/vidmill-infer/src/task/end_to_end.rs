//! Heads that give final boxes: `[n, boxes, 6]`, a row being x1, y1, x2, y2, score, class.

use vidmill_image::Rect;

use super::item::{Expected, place};
use super::{Suppression, Thresholds};
use crate::{Candidate, DecodeError, Outputs};

/// Final boxes in pixels of the input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EndToEnd {
    pub output: Expected,
    pub suppression: Suppression,
}

impl EndToEnd {
    /// Rows that pass, as they are; unused rows have score 0 (or a negative class, which some exports write).
    pub(super) fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        thresholds: &Thresholds,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let table = self.output.table(outputs, item)?;
        let row = |index| (index, table.row(index));
        Ok((0..table.rows)
            .map(row)
            .filter_map(|(index, row)| {
                let class_id = class_number(row[5])?;
                let rect = Rect { x1: row[0], y1: row[1], x2: row[2], y2: row[3] };
                let candidate = Candidate { rect, confidence: row[4], class_id, index: place(index) };
                thresholds.pass(row[4], class_id).then_some(candidate)
            })
            .collect())
    }
}

/// A class given as a float.
pub(super) fn class_number(value: f32) -> Option<u32> {
    (value >= 0.0).then(|| value.round() as u32)
}

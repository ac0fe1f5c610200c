//! SSD-style models: boxes and scores as outputs of their own.

use vidmill_image::{Rect, Size};

use super::end_to_end::class_number;
use super::item::{Expected, best, place};
use super::{Suppression, Thresholds};
use crate::metadata::Background;
use crate::{Candidate, DecodeError, Outputs};

/// How the four numbers of a box are to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BoxFormat {
    pub order: Order,
    /// Multiplies x and y to give pixels of the input.
    pub scale: [f32; 2],
}

/// Order of a box's corners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// x1, y1, x2, y2.
    Xyxy,
    /// y1, x1, y2, x2 (TensorFlow).
    Yxyx,
}

impl BoxFormat {
    /// Boxes in 0..1 of an input of `size`.
    pub(super) fn normalised(order: Order, size: Size) -> Self {
        Self { order, scale: [size.width as f32, size.height as f32] }
    }
    /// Boxes in pixels of the input.
    pub(super) fn pixels(order: Order) -> Self {
        Self { order, scale: [1.0, 1.0] }
    }

    fn rect(self, row: &[f32]) -> Rect {
        let [sx, sy] = self.scale;
        let [x1, y1, x2, y2] = match self.order {
            Order::Xyxy => [row[0], row[1], row[2], row[3]],
            Order::Yxyx => [row[1], row[0], row[3], row[2]],
        };
        Rect { x1: x1 * sx, y1: y1 * sy, x2: x2 * sx, y2: y2 * sy }
    }
}

/// Boxes `[n, boxes, 4]` and scores `[n, boxes, classes]`, not yet thinned out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ssd {
    pub boxes: Expected,
    pub scores: Expected,
    pub format: BoxFormat,
    pub background: Background,
}

/// Boxes `[n, boxes, 4]`, scores `[n, boxes]`, classes `[n, boxes]`, and how many of them count.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Final {
    pub boxes: Expected,
    pub scores: Expected,
    pub classes: Expected,
    pub count: Option<Expected>,
    pub format: BoxFormat,
    pub suppression: Suppression,
}

impl Ssd {
    /// Confidence is the best score that is not background's; class 0 is the first such.
    pub(super) fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        thresholds: &Thresholds,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let boxes = self.boxes.table(outputs, item)?;
        let scores = self.scores.table(outputs, item)?;
        same_rows(&self.scores, scores.rows, boxes.rows)?;
        let skipped = usize::from(self.background == Background::First);
        let mut found = Vec::new();
        for index in 0..boxes.rows {
            let (class, confidence) = best(&scores.row(index)[skipped..]);
            let class_id = place(class);
            if thresholds.pass(confidence, class_id) {
                let rect = boxes.finite(self.format.rect(boxes.row(index)), index * boxes.columns)?;
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        Ok(found)
    }
}

impl Final {
    /// The boxes that count and pass; classes are the model's own numbers.
    pub(super) fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        thresholds: &Thresholds,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let boxes = self.boxes.table(outputs, item)?;
        let scores = self.scores.table(outputs, item)?;
        let classes = self.classes.table(outputs, item)?;
        same_rows(&self.scores, scores.rows, boxes.rows)?;
        same_rows(&self.classes, classes.rows, boxes.rows)?;
        let count = match &self.count {
            Some(count) => count.table(outputs, item)?.data.first().map_or(0, |&n| n.max(0.0) as usize),
            None => boxes.rows,
        };
        let mut found = Vec::new();
        for index in 0..boxes.rows.min(count) {
            let confidence = scores.data[index];
            let Some(class_id) = class_number(classes.data[index]) else { continue };
            if thresholds.pass(confidence, class_id) {
                let rect = boxes.finite(self.format.rect(boxes.row(index)), index * boxes.columns)?;
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        Ok(found)
    }
}

fn same_rows(output: &Expected, found: usize, wanted: usize) -> Result<(), DecodeError> {
    if found == wanted {
        return Ok(());
    }
    let expected = format!("as many rows as there are boxes ({wanted})");
    Err(DecodeError::Shape { output: output.name.clone(), expected, found: vec![found] })
}

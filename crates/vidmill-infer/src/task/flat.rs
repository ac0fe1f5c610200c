//! Boxes of all items of a batch in one table, with suppression built in: super-gradients' `flat` format, YOLOv7's end-to-end export,
//! and PaddleDetection's.

use std::ops::Range;
use std::sync::Arc;

use vidmill_image::Rect;

use super::end_to_end::{class_number, suppression};
use super::family::{
    Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, has_rows_of_its_own,
};
use super::found::Found;
use super::item::{Expected, Table, place};
use crate::{Candidate, DecodeError, Element, Labels, ModelInfo, Outputs, TensorInfo};

/// YOLOv7's export with `--end2end --max-wh`: rows of number of the frame, x1, y1, x2, y2, class, score.
pub(super) struct Yolov7EndToEnd;

impl Family for Yolov7EndToEnd {
    fn names(&self) -> &'static [&'static str] {
        &["yolov7-end-to-end"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let output = rows_of_seven(look.info).filter(|output| has_rows_of_its_own(look.info, output))?;
        let because = format!(
            "output '{}' has rows of 7 numbers, the first taken for the frame's, as in YOLOv7's end-to-end export",
            output.name
        );
        Clue::new(Certainty::Likely, because)
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let output =
            rows_of_seven(look.info).ok_or("a model of kind yolov7-end-to-end has one output [rows, 7]")?;
        why.push("rows: number of the frame, x1, y1, x2, y2 in pixels of the input, class, score".to_owned());
        let decoder = Arc::new(FlatRows::numbered(output, Columns::YOLOV7));
        Ok(Head { decoder, classes: look.labels.map(Labels::len), usual: Usual::LETTERBOX })
    }
}

/// The only output, `[rows, 7]`.
fn rows_of_seven(info: &ModelInfo) -> Option<&TensorInfo> {
    let [output] = info.outputs.as_slice() else { return None };
    matches!(output.dims().as_slice(), [_, Some(7)]).then_some(output)
}

/// super-gradients' flat format.
pub(super) fn of_super_gradients(info: &ModelInfo) -> Option<&TensorInfo> {
    rows_of_seven(info).filter(|output| output.name.ends_with("flat_predictions"))
}

/// PaddleDetection's outputs: rows `[boxes, 6]` of all frames, and how many there are of each.
pub(super) fn of_paddle(info: &ModelInfo) -> Option<(&TensorInfo, &TensorInfo)> {
    let [rows, counts] = info.outputs.as_slice() else { return None };
    let fits = matches!(rows.dims().as_slice(), [_, Some(6)])
        && counts.shape.len() == 1
        && matches!(counts.element, Element::I32 | Element::I64);
    fits.then_some((rows, counts))
}

/// Whether a model with such outputs is a PicoDet: its backbone has an operator that PP-YOLOE does without.
pub(super) fn is_pico(info: &ModelInfo) -> bool {
    info.operators.contains_key("HardSwish") || info.operators.contains_key("HardSigmoid")
}

pub(super) fn paddle_head(
    rows: &TensorInfo,
    counts: &TensorInfo,
    usual: Usual,
    look: &Look<'_>,
    why: &mut Vec<String>,
) -> Head {
    why.push("rows: class, score, x1, y1, x2, y2 in pixels of the input".to_owned());
    let decoder = Arc::new(FlatRows {
        rows: expected(rows),
        columns: Columns::PADDLE,
        parts: Parts::Counted(Expected { name: counts.name.clone(), batched: false, dims: vec![None] }),
        suppression: suppression(look.metadata, why),
    });
    Head { decoder, classes: look.labels.map(Labels::len), usual }
}

fn expected(rows: &TensorInfo) -> Expected {
    Expected { name: rows.name.clone(), batched: false, dims: vec![None, rows.dims()[1]] }
}

/// Where the numbers of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// x1; y1, x2 and y2 follow it.
    x1: usize,
    score: usize,
    class: usize,
}

impl Columns {
    pub(super) const SUPER_GRADIENTS: Self = Self { x1: 1, score: 5, class: 6 };
    const YOLOV7: Self = Self { x1: 1, score: 6, class: 5 };
    const PADDLE: Self = Self { x1: 2, score: 1, class: 0 };
}

/// Final boxes of all items.
#[derive(Debug)]
pub(super) struct FlatRows {
    rows: Expected,
    columns: Columns,
    parts: Parts,
    suppression: Suppression,
}

/// Which rows are of an item.
#[derive(Debug)]
enum Parts {
    /// The first number of each is the item's.
    Numbered,
    /// This output has how many each item has, one item's after another's.
    Counted(Expected),
}

impl FlatRows {
    /// Rows whose first number is the item's.
    pub(super) fn numbered(rows: &TensorInfo, columns: Columns) -> Self {
        Self { rows: expected(rows), columns, parts: Parts::Numbered, suppression: Suppression::Done }
    }
}

impl Decode for FlatRows {
    fn is_batched(&self) -> bool {
        true
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let batch = outputs.batch();
        if item >= batch {
            return Err(DecodeError::Item { item, batch });
        }
        let table = self.rows.of_all(outputs)?;
        let mine = match &self.parts {
            Parts::Numbered => 0..table.rows,
            Parts::Counted(counts) => part(&counts.of_all(outputs)?, item, batch, &table)?,
        };
        let mut found = scope.candidates();
        for index in mine {
            let row = table.row(index);
            if matches!(self.parts, Parts::Numbered) && row[0] != item as f32 {
                continue;
            }
            // Where nothing was found some exports leave one row of class -1.
            let Some(class_id) = class_number(row[self.columns.class]) else { continue };
            let confidence = row[self.columns.score];
            if scope.thresholds.pass(confidence, class_id) {
                let [x1, y1, x2, y2] = [0, 1, 2, 3].map(|side| row[self.columns.x1 + side]);
                let rect = Rect { x1, y1, x2, y2 };
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        scope.boxes(found, self.suppression)
    }
}

/// The rows of an item, where those of each follow those of the one before.
fn part(
    counts: &Table<'_>,
    item: usize,
    batch: usize,
    rows: &Table<'_>,
) -> Result<Range<usize>, DecodeError> {
    counts.has_rows(batch)?;
    // More than there are rows is as wrong as one more: so limited, sums cannot overflow.
    let count = |count: &f32| (count.max(0.0) as usize).min(rows.rows + 1);
    let start: usize = counts.data[..item].iter().map(count).sum();
    let end = start + count(&counts.data[item]);
    if end > rows.rows {
        rows.has_rows(end)?;
    }
    Ok(start..end)
}

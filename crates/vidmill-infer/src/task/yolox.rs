//! YOLOX: `[n, cells, 5 + classes]`, a row being cx, cy, w, h, objectness, class scores, raw or decoded.

use std::sync::Arc;

use vidmill_image::{ChannelOrder, ResizeMode, Size};

use super::family::{
    self, Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, Values, cells_text,
    only_table,
};
use super::found::Found;
use super::item::{Expected, best, centred, place};
use super::yolo::rows;
use crate::{Candidate, DecodeError, Outputs};

/// Strides of the three grids.
const STRIDES: [u32; 3] = [8, 16, 32];

/// BGR in 0..255, letterboxed to the top left (YOLOX's `preproc`).
const USUAL: Usual = Usual {
    channels: ChannelOrder::Bgr,
    resize: ResizeMode::LetterboxTopLeft,
    pad: 114,
    values: Values::BYTES,
};

/// YOLOX as exported by default: one output `[n, cells, 5 + classes]`, relative to its grid cells.
pub(super) struct Yolox;

/// The same, already in pixels of the input (YOLOX with `--decode_in_inference`).
pub(super) struct YoloxDecoded;

impl Family for Yolox {
    fn names(&self) -> &'static [&'static str] {
        &["yolox"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let because = looks_like_one(look)?;
        let how = match (look.info.operators.is_empty(), look.info.operators.contains_key("Exp")) {
            (_, true) => return None,
            (true, _) => "taken to be raw; name --task yolox-decoded if it is not, or yolov6 if it is one",
            (false, _) => "raw, as the graph has no Exp; name --task yolov6 if it is one",
        };
        Clue::new(Certainty::Sure, format!("{because}; {how}"))
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let cells = cells(look.size);
        let (output, classes) = rows(self, look, Some(cells.len()))?;
        Ok(Head { decoder: Arc::new(Grid { output, cells }), classes: Some(classes), usual: USUAL })
    }
}

impl Family for YoloxDecoded {
    fn names(&self) -> &'static [&'static str] {
        &["yolox-decoded"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    /// Decoding takes an exponential, and nothing else in a YOLOX does.
    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let because = looks_like_one(look)?;
        let is_decoded = look.info.operators.contains_key("Exp");
        let because = format!("{because}, and the graph has the Exp that decodes boxes");
        is_decoded.then_some(Clue { certainty: Certainty::Sure, because })
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let (output, classes) = rows(self, look, None)?;
        let decoder = Arc::new(Grid { output, cells: Vec::new() });
        Ok(Head { decoder, classes: Some(classes), usual: USUAL })
    }
}

fn looks_like_one(look: &Look<'_>) -> Option<String> {
    let (name, [rows, columns]) = only_table(look.info)?;
    let count = family::cells(look.size, &STRIDES);
    let fits = rows == Some(count) && columns.is_some_and(|columns| columns >= 6);
    fits.then(|| format!("output '{name}' has one row for each of {}", cells_text(look.size, count)))
}

/// Boxes on grids.
#[derive(Debug)]
struct Grid {
    output: Expected,
    /// Cells in output order; empty when the model has decoded its boxes itself.
    cells: Vec<Cell>,
}

impl Decode for Grid {
    fn is_batched(&self) -> bool {
        self.output.batched
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        scope.boxes(self.candidates(outputs, item, scope)?, Suppression::Needed)
    }
}

/// A grid cell, in units of its own stride.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    x: f32,
    y: f32,
    stride: f32,
}

/// The cells of all grids over an input of `size`, row by row, finest grid first.
fn cells(size: Size) -> Vec<Cell> {
    STRIDES
        .into_iter()
        .flat_map(|stride| {
            let (columns, rows) = (size.width / stride, size.height / stride);
            (0..rows).flat_map(move |y| (0..columns).map(move |x| (x, y, stride)))
        })
        .map(|(x, y, stride)| Cell { x: x as f32, y: y as f32, stride: stride as f32 })
        .collect()
}

impl Grid {
    /// Centre is (offset + cell) * stride, size exp(value) * stride (Megvii YOLOX, `demo_postprocess`).
    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        scope: &Scope<'_>,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let table = self.output.table(outputs, item)?;
        let mut found = scope.candidates();
        for index in 0..table.rows {
            let row = table.row(index);
            // Class scores are sigmoids, at most 1.
            if row[4] <= scope.thresholds.conf {
                continue;
            }
            let (class, score) = best(&row[5..]);
            let (class_id, confidence) = (place(class), row[4] * score);
            if !scope.thresholds.pass(confidence, class_id) {
                continue;
            }
            let [x, y, w, h] = [row[0], row[1], row[2], row[3]];
            let rect = match self.cells.get(index) {
                Some(cell) => centred(
                    (x + cell.x) * cell.stride,
                    (y + cell.y) * cell.stride,
                    w.exp() * cell.stride,
                    h.exp() * cell.stride,
                ),
                None => centred(x, y, w, h),
            };
            let rect = table.finite(rect, index * table.columns)?;
            found.push(Candidate { rect, confidence, class_id, index: place(index) });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_cells_as_rows_in_the_usual_exports() {
        assert_eq!(cells(Size::new(416, 416)).len(), 3549);
        assert_eq!(cells(Size::new(640, 384)).len(), 5040);
    }
}

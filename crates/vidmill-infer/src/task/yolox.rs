//! YOLOX: `[n, cells, 5 + classes]`, a row being cx, cy, w, h, objectness, class scores, raw or decoded.

use vidmill_image::Size;

use super::Thresholds;
use super::item::{Expected, best, centred, place};
use crate::{Candidate, DecodeError, Outputs};

/// Strides of the three grids.
pub(super) const STRIDES: [u32; 3] = [8, 16, 32];

/// A YOLOX head.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Yolox {
    pub output: Expected,
    /// Cells in output order; empty when the model has decoded its boxes itself.
    pub cells: Vec<Cell>,
}

/// A grid cell, in units of its own stride.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    x: f32,
    y: f32,
    stride: f32,
}

/// The cells of all grids over an input of `size`, row by row, finest grid first.
pub(super) fn cells(size: Size) -> Vec<Cell> {
    STRIDES
        .into_iter()
        .flat_map(|stride| {
            let (columns, rows) = (size.width / stride, size.height / stride);
            (0..rows).flat_map(move |y| (0..columns).map(move |x| (x, y, stride)))
        })
        .map(|(x, y, stride)| Cell { x: x as f32, y: y as f32, stride: stride as f32 })
        .collect()
}

impl Yolox {
    /// Centre is (offset + cell) * stride, size exp(value) * stride (Megvii YOLOX, `demo_postprocess`).
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
            // Class scores are sigmoids, at most 1.
            if row[4] <= thresholds.conf {
                continue;
            }
            let (class, score) = best(&row[5..]);
            let (class_id, confidence) = (place(class), row[4] * score);
            if !thresholds.pass(confidence, class_id) {
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

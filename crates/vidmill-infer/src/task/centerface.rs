//! CenterFace: maps of a face's centre, size, offset and points, a cell for each 4 pixels.

use std::sync::Arc;

use vidmill_image::Rect;

use super::faces::{CLASSES, faces, five_points};
use super::family::{Certainty, Clue, Decode, Family, Head, Look, Scope, Task, Usual, Values};
use super::found::Found;
use super::grid::Grid;
use super::item::{Expected, place};
use super::keypoints::Keypoints;
use crate::{Candidate, DecodeError, Outputs};

pub(super) struct CenterFace;

const STRIDE: u32 = 4;

/// RGB in 0..255, stretched (CenterFace's prj-python/centerface.py).
const USUAL: Usual = Usual { values: Values::BYTES, ..Usual::STRETCH };

impl Family for CenterFace {
    fn names(&self) -> &'static [&'static str] {
        &["centerface"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }
    fn class_names(&self) -> &'static [&'static str] {
        CLASSES
    }
    fn usual_iou(&self) -> f32 {
        0.3
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        maps(look).and_then(|_| {
            let because =
                "it has maps of 1, 2, 2 and 10 channels with a cell for each 4 pixels, as CenterFace has";
            Clue::new(Certainty::Sure, because)
        })
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let maps = maps(look).ok_or(
            "a model of kind centerface has four maps of 1, 2, 2 and 10 channels with a cell for each 4 pixels",
        )?;
        Ok(Head { decoder: Arc::new(maps), classes: Some(1), usual: USUAL })
    }
}

fn maps(look: &Look<'_>) -> Option<Maps> {
    let grid = Grid::over(look.size, STRIDE);
    let [centre, size, offset, points] = look.info.outputs.as_slice() else { return None };
    let read = |output: &crate::TensorInfo, channels: usize| {
        let fits = |found: Option<usize>, wanted: usize| found.is_none_or(|found| found == wanted);
        match *output.dims().as_slice() {
            [_, Some(found), rows, columns]
                if found == channels && fits(rows, grid.rows) && fits(columns, grid.columns) =>
            {
                let dims = vec![Some(channels), Some(grid.rows), Some(grid.columns)];
                Some(Expected { name: output.name.clone(), batched: true, dims })
            }
            _ => None,
        }
    };
    let (centre, size, offset, points) =
        (read(centre, 1)?, read(size, 2)?, read(offset, 2)?, read(points, 10)?);
    let input = [look.size.width as f32, look.size.height as f32];
    Some(Maps { centre, size, offset, points, grid, input, names: five_points() })
}

/// The four outputs; sizes, offsets and points have y first.
#[derive(Debug)]
struct Maps {
    centre: Expected,
    size: Expected,
    offset: Expected,
    points: Expected,
    grid: Grid,
    input: [f32; 2],
    names: Keypoints,
}

impl Decode for Maps {
    fn is_batched(&self) -> bool {
        true
    }
    fn keypoints(&self) -> &Keypoints {
        &self.names
    }

    /// As `CenterFace.decode`: the size is exp(value) * 4, the centre (cell + offset + 0.5) * 4; the box begins in the input and ends
    /// there, and points are parts of the size from its corner.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let centre = self.centre.planes(outputs, item)?.0;
        let size = self.size.planes(outputs, item)?.0;
        let offset = self.offset.planes(outputs, item)?.0;
        let points = self.points.planes(outputs, item)?.0;
        let (stride, [width, height]) = (self.grid.stride, self.input);
        let mut candidates = Vec::new();
        let mut all_points: Vec<Vec<[f32; 2]>> = Vec::new();
        for (cell, &confidence) in centre.data.iter().enumerate() {
            if !scope.thresholds.pass(confidence, 0) {
                continue;
            }
            let [column, row] = self.grid.cell(cell);
            let (h, w) = (size.row(0)[cell].exp() * stride, size.row(1)[cell].exp() * stride);
            let (cx, cy) =
                ((column + offset.row(1)[cell] + 0.5) * stride, (row + offset.row(0)[cell] + 0.5) * stride);
            let (x1, y1) = ((cx - w / 2.0).clamp(0.0, width), (cy - h / 2.0).clamp(0.0, height));
            let rect = Rect { x1, y1, x2: (x1 + w).min(width), y2: (y1 + h).min(height) };
            let rect = size.finite(rect, cell)?;
            candidates.push(Candidate { rect, confidence, class_id: 0, index: place(all_points.len()) });
            let point =
                |at: usize| [points.row(2 * at + 1)[cell] * w + x1, points.row(2 * at)[cell] * h + y1];
            all_points.push((0..5).map(point).collect());
        }
        faces(scope, candidates, |index| all_points[index].clone())
    }
}

//! SCRFD (InsightFace): scores, distances and five points of faces, of three strides with two boxes a cell or five with one.

use std::sync::Arc;

use vidmill_image::{Rect, ResizeMode};

use super::faces::{CLASSES, check_sides, faces, five_points};
use super::family::{Certainty, Clue, Decode, Family, Head, Look, Scope, Task, Usual, Values};
use super::found::Found;
use super::grid::{Grid, grids};
use super::item::{Expected, place};
use super::keypoints::Keypoints;
use crate::{Candidate, DecodeError, Outputs, TensorInfo};

pub(super) struct Scrfd;

const STRIDES: [u32; 5] = [8, 16, 32, 64, 128];

/// RGB less 127.5 by 128, at the top left on black (insightface's scrfd.py).
const USUAL: Usual = Usual {
    resize: ResizeMode::LetterboxTopLeft,
    pad: 0,
    values: Values { scale: 1.0, mean: [127.5; 3], std: [128.0; 3] },
    ..Usual::LETTERBOX
};

impl Family for Scrfd {
    fn names(&self) -> &'static [&'static str] {
        &["scrfd"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }
    fn class_names(&self) -> &'static [&'static str] {
        CLASSES
    }
    fn usual_iou(&self) -> f32 {
        0.4
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let levels = levels(look)?;
        let because = format!(
            "it has scores, then boxes{} of {} strides with {} rows a cell, as SCRFD has",
            if levels[0].points.is_some() { ", then points" } else { "" },
            levels.len(),
            levels[0].anchors
        );
        Clue::new(Certainty::Sure, because)
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let levels = levels(look).ok_or(
            "a model of kind scrfd has outputs of 3 strides with two rows a cell, or of 5 with one: scores, boxes and perhaps points",
        )?;
        check_sides(look.size, STRIDES[levels.len() - 1])?;
        let names = if levels[0].points.is_some() { five_points() } else { Keypoints::NONE };
        Ok(Head { decoder: Arc::new(Levels { levels, names }), classes: Some(1), usual: USUAL })
    }
}

/// The outputs in the authors' order: all scores, all boxes, all points; with the batch dimension or without.
fn levels(look: &Look<'_>) -> Option<Vec<Level>> {
    let outputs = &look.info.outputs;
    let (count, anchors) = match outputs.len() {
        6 | 9 => (3, 2),
        10 | 15 => (5, 1),
        _ => return None,
    };
    let has_points = outputs.len() == 3 * count;
    let of_grid = |(level, grid): (usize, Grid)| {
        let rows = grid.len() * anchors;
        let read = |group: usize, columns: usize| expected(&outputs[group * count + level], rows, columns);
        let points = if has_points { Some(read(2, 10)?) } else { None };
        Some(Level { scores: read(0, 1)?, boxes: read(1, 4)?, points, grid, anchors })
    };
    let levels: Vec<Level> =
        grids(look.size, &STRIDES[..count]).into_iter().enumerate().map(of_grid).collect::<Option<_>>()?;
    let batched = levels[0].scores.batched;
    let alike = |level: &Level| {
        level.scores.batched == batched
            && level.boxes.batched == batched
            && level.points.as_ref().is_none_or(|points| points.batched == batched)
    };
    levels.iter().all(alike).then_some(levels)
}

fn expected(output: &TensorInfo, rows: usize, columns: usize) -> Option<Expected> {
    let (batched, found, last) = match *output.dims().as_slice() {
        [_, found, last] => (true, found, last),
        [found, last] => (false, found, last),
        _ => return None,
    };
    let fits = found.is_none_or(|found| found == rows) && last == Some(columns);
    fits.then(|| Expected { name: output.name.clone(), batched, dims: vec![Some(rows), Some(columns)] })
}

#[derive(Debug)]
struct Levels {
    levels: Vec<Level>,
    names: Keypoints,
}

/// The outputs of one stride.
#[derive(Debug)]
struct Level {
    scores: Expected,
    boxes: Expected,
    points: Option<Expected>,
    grid: Grid,
    /// Rows for each cell.
    anchors: usize,
}

impl Decode for Levels {
    fn is_batched(&self) -> bool {
        self.levels.iter().all(|level| level.scores.batched)
    }
    fn keypoints(&self) -> &Keypoints {
        &self.names
    }

    /// As `SCRFD.forward` of insightface: boxes are distances from the corner of the cell, points offsets from it, both times the stride.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let mut candidates = Vec::new();
        let mut all_points: Vec<Vec<[f32; 2]>> = Vec::new();
        for level in &self.levels {
            let scores = level.scores.table(outputs, item)?;
            let boxes = level.boxes.table(outputs, item)?;
            let points = level.points.as_ref().map(|points| points.table(outputs, item)).transpose()?;
            let stride = level.grid.stride;
            for (row, &confidence) in scores.data.iter().enumerate() {
                if !scope.thresholds.pass(confidence, 0) {
                    continue;
                }
                let [x, y] = level.grid.cell(row / level.anchors).map(|at| at * stride);
                let [left, top, right, bottom] = [0, 1, 2, 3].map(|at| boxes.row(row)[at] * stride);
                let rect = Rect { x1: x - left, y1: y - top, x2: x + right, y2: y + bottom };
                let rect = boxes.finite(rect, row * boxes.columns)?;
                candidates.push(Candidate { rect, confidence, class_id: 0, index: place(all_points.len()) });
                let point = |pair: &[f32]| [x + pair[0] * stride, y + pair[1] * stride];
                let of_row =
                    points.as_ref().map(|points| points.row(row).chunks_exact(2).map(point).collect());
                all_points.push(of_row.unwrap_or_default());
            }
        }
        faces(scope, candidates, |index| all_points[index].clone())
    }
}

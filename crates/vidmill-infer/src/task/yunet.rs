//! YuNet: class scores, objectness, boxes and five points of faces, of strides 8, 16 and 32.

use std::sync::Arc;

use vidmill_image::{ChannelOrder, ResizeMode};

use super::faces::{CLASSES, check_sides, faces, five_points};
use super::family::{Certainty, Clue, Decode, Family, Head, Look, Scope, Task, Usual, Values};
use super::found::Found;
use super::grid::{Grid, grids};
use super::item::{Expected, centred, place};
use super::keypoints::Keypoints;
use crate::{Candidate, DecodeError, Outputs};

pub(super) struct YuNet;

const STRIDES: [u32; 3] = [8, 16, 32];

/// BGR in 0..255, at the top left on black (OpenCV's `FaceDetectorYN` pads frames so, and does not resize them).
const USUAL: Usual = Usual {
    channels: ChannelOrder::Bgr,
    resize: ResizeMode::LetterboxTopLeft,
    pad: 0,
    values: Values::BYTES,
};

impl Family for YuNet {
    fn names(&self) -> &'static [&'static str] {
        &["yunet"]
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
        levels(look).and_then(|_| {
            Clue::new(Certainty::Sure, "its outputs cls_8, obj_8, bbox_8, kps_8 and so on are YuNet's")
        })
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        check_sides(look.size, 32)?;
        let levels = levels(look).ok_or(
            "a model of kind yunet has outputs cls_8, obj_8, bbox_8, kps_8, and the same of 16 and 32",
        )?;
        Ok(Head {
            decoder: Arc::new(Levels { levels, names: five_points() }),
            classes: Some(1),
            usual: USUAL,
        })
    }
}

/// All twelve outputs, if the model has them.
fn levels(look: &Look<'_>) -> Option<Vec<Level>> {
    let of_grid = |grid: Grid| {
        let find = |kind: &str, columns: usize| {
            let name = format!("{kind}_{}", grid.stride);
            let output = look.info.outputs.iter().find(|output| output.name == name)?;
            let fits = matches!(*output.dims().as_slice(), [_, rows, last]
                if rows.is_none_or(|rows| rows == grid.len()) && last.is_none_or(|last| last == columns));
            fits.then(|| Expected { name, batched: true, dims: vec![Some(grid.len()), Some(columns)] })
        };
        Some(Level {
            classes: find("cls", 1)?,
            objectness: find("obj", 1)?,
            boxes: find("bbox", 4)?,
            points: find("kps", 10)?,
            grid,
        })
    };
    grids(look.size, &STRIDES).into_iter().map(of_grid).collect()
}

#[derive(Debug)]
struct Levels {
    levels: Vec<Level>,
    names: Keypoints,
}

/// The outputs of one stride.
#[derive(Debug)]
struct Level {
    classes: Expected,
    objectness: Expected,
    boxes: Expected,
    points: Expected,
    grid: Grid,
}

impl Decode for Levels {
    fn is_batched(&self) -> bool {
        true
    }
    fn keypoints(&self) -> &Keypoints {
        &self.names
    }

    /// As OpenCV's `FaceDetectorYNImpl::postProcess`: confidence is sqrt(class * objectness), the centre cell + offset and the size
    /// exp(value), both times the stride, and points cell + offset, times the stride.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let mut candidates = Vec::new();
        let mut all_points: Vec<Vec<[f32; 2]>> = Vec::new();
        for level in &self.levels {
            let classes = level.classes.table(outputs, item)?;
            let objectness = level.objectness.table(outputs, item)?;
            let boxes = level.boxes.table(outputs, item)?;
            let points = level.points.table(outputs, item)?;
            let grid = level.grid;
            for cell in 0..grid.len() {
                let of_one = |value: f32| value.clamp(0.0, 1.0);
                let confidence = (of_one(classes.data[cell]) * of_one(objectness.data[cell])).sqrt();
                if !scope.thresholds.pass(confidence, 0) {
                    continue;
                }
                let [column, row] = grid.cell(cell);
                let [x, y, w, h] = [0, 1, 2, 3].map(|at| boxes.row(cell)[at]);
                let rect = centred(
                    (column + x) * grid.stride,
                    (row + y) * grid.stride,
                    w.exp() * grid.stride,
                    h.exp() * grid.stride,
                );
                let rect = boxes.finite(rect, cell * boxes.columns)?;
                candidates.push(Candidate { rect, confidence, class_id: 0, index: place(all_points.len()) });
                let point = |pair: &[f32]| [(pair[0] + column) * grid.stride, (pair[1] + row) * grid.stride];
                all_points.push(points.row(cell).chunks_exact(2).map(point).collect());
            }
        }
        faces(scope, candidates, |index| all_points[index].clone())
    }
}

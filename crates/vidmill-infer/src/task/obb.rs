//! YOLO heads that give boxes at any angle.

use std::sync::Arc;

use vidmill_image::{Geometry, Rect};

use super::boxes::Boxes;
use super::family::{
    CERTAIN, Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, three_dims,
};
use super::found::{Detection, Found};
use crate::{DecodeError, Outputs};

/// YOLOv8-obb, YOLO11-obb: one output `[n, 4 + classes + 1, boxes]`; YOLO26-obb and exports with `nms=True`: `[n, boxes, 7]`. Of a box
/// the first numbers are cx, cy, w, h in pixels of the input, the last is its angle in radians, clockwise.
pub(super) struct YoloObb;

impl Family for YoloObb {
    fn names(&self) -> &'static [&'static str] {
        &["yolov8-obb", "yolo11-obb", "yolo26-obb"]
    }
    fn task(&self) -> Task {
        Task::Obb
    }

    /// Only where somebody says that it is one: one number more a box may be one class more.
    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let is_said = look.task == Some(Task::Obb);
        is_said.then(|| Clue::new(Certainty::Said, "its boxes are said to have an angle"))?
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let boxes = Boxes::of(three_dims(self, look.info)?.0, 1, look, why)?;
        let classes = boxes.classes(look);
        Ok(Head { decoder: Arc::new(Oriented { boxes }), classes, usual: Usual::LETTERBOX })
    }
}

#[derive(Debug)]
struct Oriented {
    boxes: Boxes,
}

/// A box at an angle.
#[derive(Clone, Copy, Debug)]
struct Turned {
    centre: [f32; 2],
    size: [f32; 2],
    angle: f32,
    confidence: f32,
    class_id: u32,
    index: usize,
}

impl Decode for Oriented {
    fn is_batched(&self) -> bool {
        true
    }

    /// As Ultralytics' `OBBPredictor` does: suppression of what overlaps by probability, and corners as `xywhr2xyxyxyxy` has them.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let table = self.boxes.table(outputs, item)?;
        let turned = |(index, confidence, class_id)| {
            let [cx, cy, w, h] = self.boxes.place(&table, index);
            let angle = self.boxes.extra(&table, index, 0);
            Turned { centre: [cx, cy], size: [w, h], angle, confidence, class_id, index }
        };
        let mut found: Vec<Turned> =
            self.boxes.scored(&table, scope.thresholds).into_iter().map(turned).collect();
        if let Some(sure) = found.iter().find(|found| found.confidence > CERTAIN) {
            return Err(DecodeError::Confidence { confidence: sure.confidence });
        }
        found.sort_unstable_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.index.cmp(&b.index)));
        if self.boxes.suppression() == Suppression::Needed {
            found = suppress(found, scope.thresholds.iou);
        }
        found.truncate(scope.thresholds.max_det);
        let mut detections = Vec::with_capacity(found.len());
        for turned in found {
            let corners = turned.corners(scope.geometry);
            if let Some(value) = corners.as_flattened().iter().find(|value| !value.is_finite()) {
                return Err(table.not_finite(turned.index, *value));
            }
            detections.extend(turned.detection(corners, scope.geometry));
        }
        Ok(detections.into())
    }
}

impl Turned {
    /// Its corners in the displayed frame, clockwise; at angle 0 the first is at the top left.
    fn corners(&self, geometry: &Geometry) -> [[f32; 2]; 4] {
        let [x, y] = geometry.point_to_displayed(self.centre);
        let half = |axis: usize| (f64::from(self.size[axis]) / geometry.scale[axis]) as f32 / 2.0;
        let (half_width, half_height) = (half(0), half(1));
        let (sin, cos) = self.angle.sin_cos();
        let along = [half_width * cos, half_width * sin];
        let down = [-half_height * sin, half_height * cos];
        [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
            .map(|[a, d]| [x + a * along[0] + d * down[0], y + a * along[1] + d * down[1]])
    }

    /// The detection, if any of the upright box around it lies in the frame.
    fn detection(&self, corners: [[f32; 2]; 4], geometry: &Geometry) -> Option<Detection> {
        let rect = Rect::around(&corners).clip(geometry.displayed);
        let is_visible = rect.x2 > rect.x1 && rect.y2 > rect.y1;
        let detection = Detection::new(rect, self.confidence.min(1.0), self.class_id);
        is_visible.then_some(Detection { corners: Some(corners), ..detection })
    }

    /// Its covariance as a Gaussian: the variances across and down, and their covariance (`_get_covariance_matrix` of Ultralytics).
    fn covariance(&self) -> [f32; 3] {
        let [a, b] = self.size.map(|side| side * side / 12.0);
        let (sin, cos) = self.angle.sin_cos();
        [a * cos * cos + b * sin * sin, a * sin * sin + b * cos * cos, (a - b) * cos * sin]
    }
}

/// More candidates than this are not looked at (Ultralytics' `max_nms`).
const LOOKED_AT: usize = 30_000;

/// Leaves out each box that overlaps a surer one of its class more than `threshold`, be that one left out itself or not (`fast_nms` of
/// `ultralytics/utils/nms.py`). `found` comes by falling confidence, and stays so.
fn suppress(mut found: Vec<Turned>, threshold: f32) -> Vec<Turned> {
    found.truncate(LOOKED_AT);
    let gaussians: Vec<[f32; 3]> = found.iter().map(Turned::covariance).collect();
    let is_covered = |place: usize| {
        let (one, gaussian) = (&found[place], gaussians[place]);
        let surer = found.iter().zip(&gaussians).take(place);
        surer.filter(|(other, _)| other.class_id == one.class_id).any(|(other, covariance)| {
            overlap((other.centre, *covariance), (one.centre, gaussian)) > threshold
        })
    };
    (0..found.len()).filter(|place| !is_covered(*place)).map(|place| found[place]).collect()
}

/// How much two Gaussians overlap, 0..=1: one minus their Hellinger distance (`batch_probiou` of `ultralytics/utils/metrics.py`, after
/// <https://arxiv.org/abs/2106.06072>).
fn overlap((first, [a1, b1, c1]): ([f32; 2], [f32; 3]), (second, [a2, b2, c2]): ([f32; 2], [f32; 3])) -> f32 {
    const LEAST: f32 = 1e-7;
    let (dx, dy) = (second[0] - first[0], first[1] - second[1]);
    let (a, b, c) = (a1 + a2, b1 + b2, c1 + c2);
    let determinant = a * b - c * c;
    let t1 = (a * dy * dy + b * dx * dx) / (determinant + LEAST) * 0.25;
    let t2 = c * dx * dy / (determinant + LEAST) * 0.5;
    let both = (a1 * b1 - c1 * c1).max(0.0) * (a2 * b2 - c2 * c2).max(0.0);
    let t3 = (determinant / (4.0 * both.sqrt() + LEAST) + LEAST).ln() * 0.5;
    let distance = (t1 + t2 + t3).clamp(LEAST, 100.0);
    1.0 - (1.0 - (-distance).exp() + LEAST).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_overlaps_itself_wholly_and_a_far_one_not_at_all() {
        let turned = |x: f32, angle: f32| Turned {
            centre: [x, 50.0],
            size: [40.0, 20.0],
            angle,
            confidence: 0.5,
            class_id: 0,
            index: 0,
        };
        let of = |a: Turned, b: Turned| overlap((a.centre, a.covariance()), (b.centre, b.covariance()));
        assert!(of(turned(50.0, 0.3), turned(50.0, 0.3)) > 0.99);
        assert!(of(turned(50.0, 0.3), turned(500.0, 0.3)) < 0.01);
        assert!(of(turned(50.0, 0.0), turned(50.0, 1.5)) < of(turned(50.0, 0.0), turned(50.0, 0.2)));
        // The same box, told by its other side.
        let other = Turned { size: [20.0, 40.0], ..turned(50.0, std::f32::consts::FRAC_PI_2) };
        assert!(of(turned(50.0, 0.0), other) > 0.99);
    }
}

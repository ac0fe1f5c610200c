//! YOLO heads that give a mask for each box, as coefficients of prototypes.

use std::ops::Range;
use std::sync::Arc;

use vidmill_image::{Mask, Rect, Size};

use super::boxes::Boxes;
use super::family::{Certainty, Clue, Decode, Family, Head, Look, Scope, Task, Usual};
use super::found::Found;
use super::item::{Expected, Table};
use super::resample::{Resampler, Window};
use crate::{DecodeError, ModelInfo, Outputs, TensorInfo};

/// YOLOv5-seg, YOLOv8-seg, YOLO11-seg: boxes `[n, 4 + classes + coefficients, boxes]` (YOLOv5 `[n, boxes, 5 + classes + coefficients]`,
/// YOLO26 and exports with `nms=True` `[n, boxes, 6 + coefficients]`) and prototypes `[n, coefficients, height, width]`.
pub(super) struct YoloSegment;

impl Family for YoloSegment {
    fn names(&self) -> &'static [&'static str] {
        &["yolov8-seg", "yolov5-seg", "yolo11-seg", "yolo26-seg"]
    }
    fn task(&self) -> Task {
        Task::Segment
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let (boxes, prototypes) = outputs(look.info)?;
        let count = prototypes.dims()[1]?;
        Clue::new(
            Certainty::Sure,
            format!(
                "output '{}' has boxes, output '{}' {count} prototypes of masks",
                boxes.name, prototypes.name
            ),
        )
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let unlike = "a model of kind yolov8-seg has boxes of 3 dimensions and prototypes [n, coefficients, height, width]";
        let (boxes, prototypes) = outputs(look.info).ok_or(unlike)?;
        let &[_, Some(count), height, width] = prototypes.dims().as_slice() else {
            return Err(unlike.to_owned());
        };
        let boxes = Boxes::of(boxes, count, look, why)?;
        let prototypes =
            Expected { name: prototypes.name.clone(), batched: true, dims: vec![Some(count), height, width] };
        let classes = boxes.classes(look);
        Ok(Head { decoder: Arc::new(Masks { boxes, prototypes }), classes, usual: Usual::LETTERBOX })
    }
}

/// Boxes and prototypes: the first output of three and the first of four dimensions. Maps of five dimensions may be beside them.
fn outputs(info: &ModelInfo) -> Option<(&TensorInfo, &TensorInfo)> {
    let of = |dims: usize| {
        let mut all = info.outputs.iter().filter(move |output| output.shape.len() == dims);
        Some((all.next()?, all.next()))
    };
    let ((boxes, None), (prototypes, None)) = (of(3)?, of(4)?) else { return None };
    info.outputs.iter().all(|output| (3..=5).contains(&output.shape.len())).then_some((boxes, prototypes))
}

#[derive(Debug)]
struct Masks {
    boxes: Boxes,
    prototypes: Expected,
}

impl Decode for Masks {
    fn is_batched(&self) -> bool {
        true
    }

    /// As Ultralytics' `SegmentationPredictor` does with `retina_masks=True`, whose masks have the size of the frame
    /// (`process_mask_native` in `ultralytics/utils/ops.py`): a mask is set where the sum of the prototypes, times the coefficients, is
    /// over 0 inside of the box; a detection of whose mask nothing is left is left out.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let table = self.boxes.table(outputs, item)?;
        let (prototypes, size) = self.prototypes.planes(outputs, item)?;
        let candidates = self.boxes.candidates(&table, scope.thresholds)?;
        let kept = scope.finish(candidates, self.boxes.suppression())?;
        let displayed = scope.geometry.displayed;
        let resampler = Resampler::new(scope.geometry, size);
        let mut detections = Vec::with_capacity(kept.len());
        for (mut detection, candidate) in kept {
            let coefficient = |number| self.boxes.extra(&table, candidate.index as usize, number);
            let coefficients: Vec<f32> = (0..prototypes.rows).map(coefficient).collect();
            let part = pixels(detection.rect, displayed);
            let [columns, rows] = resampler.window(&part, size);
            let values = sums(&coefficients, &prototypes, size, &columns, &rows);
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(prototypes.not_finite(0, *value));
            }
            let spans = resampler.positive(&part, &Window { columns, rows, values });
            if !spans.is_empty() {
                detection.mask = Some(Mask::from_spans(displayed, &spans)?);
                detections.push(detection);
            }
        }
        Ok(detections.into())
    }
}

/// The columns and rows of pixels that a box covers: those whose number is not below its left or top, but below its right or bottom
/// (Ultralytics' `crop_mask`).
pub(super) fn pixels(rect: Rect, frame: Size) -> [Range<u32>; 2] {
    let axis = |from: f32, to: f32, most: u32| {
        let end = (to.ceil().max(0.0) as u32).min(most);
        (from.ceil().max(0.0) as u32).min(end)..end
    };
    [axis(rect.x1, rect.x2, frame.width), axis(rect.y1, rect.y2, frame.height)]
}

/// The prototypes in some columns and rows, times the coefficients and summed: column by column.
fn sums(
    coefficients: &[f32],
    prototypes: &Table<'_>,
    size: Size,
    columns: &Range<usize>,
    rows: &Range<usize>,
) -> Vec<f32> {
    let (width, height) = (size.width as usize, rows.len());
    let mut values = vec![0.0; columns.len() * height];
    let mut sums = vec![0.0f32; columns.len()];
    for (y, row) in rows.clone().enumerate() {
        sums.fill(0.0);
        for (plane, coefficient) in coefficients.iter().enumerate() {
            let from = row * width + columns.start;
            let prototype = &prototypes.row(plane)[from..from + columns.len()];
            sums.iter_mut().zip(prototype).for_each(|(sum, value)| *sum += coefficient * value);
        }
        for (x, sum) in sums.iter().enumerate() {
            values[x * height + y] = *sum;
        }
    }
    values
}

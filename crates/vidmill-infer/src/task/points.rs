//! Anchor-free detectors that give boxes and class scores of each cell, already in pixels: YOLO-NAS, DAMO-YOLO, PP-YOLOE.

use std::sync::Arc;

use vidmill_image::{Rect, ResizeMode};

use super::family::{
    Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, Values, cells, cells_text,
};
use super::flat::{self, FlatRows};
use super::found::Found;
use super::item::{Expected, place};
use super::ssd;
use crate::metadata::Units;
use crate::{Candidate, DecodeError, Labels, ModelInfo, Outputs, TensorInfo};

const STRIDES: [u32; 3] = [8, 16, 32];

/// YOLO-NAS as super-gradients exports it: boxes and scores, or with suppression built in, `flat` or `batch`.
pub(super) struct YoloNas;

/// DAMO-YOLO: scores, then boxes.
pub(super) struct DamoYolo;

/// PP-YOLOE and PP-YOLOE+ of PaddleDetection: boxes with scores, classes first, or with suppression built in.
pub(super) struct PpYoloe;

/// RGB in 0..255, letterboxed to the top left on black (DAMO-YOLO's `demo.py`).
const DAMO: Usual =
    Usual { resize: ResizeMode::LetterboxTopLeft, pad: 0, values: Values::BYTES, ..Usual::LETTERBOX };

impl Family for YoloNas {
    fn names(&self) -> &'static [&'static str] {
        &["yolo-nas", "yolonas"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        if flat::of_super_gradients(look.info).is_some() {
            return Clue::new(Certainty::Sure, "its output 'flat_predictions' is that of super-gradients");
        }
        if in_batches(look.info).is_some() {
            let because = "its outputs num_predictions, pred_boxes, pred_scores and pred_classes are those of super-gradients";
            return Clue::new(Certainty::Sure, because);
        }
        let (boxes, _) =
            scored_outputs(look.info).filter(|(boxes, scores)| !is_first(look.info, scores, boxes))?;
        of_cells(look, boxes, "boxes come first, as in YOLO-NAS; name --task damo-yolo or ssd if it is one")
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let usual = Usual::LETTERBOX;
        if let Some(rows) = flat::of_super_gradients(look.info) {
            why.push(
                "rows: number of the frame, x1, y1, x2, y2 in pixels of the input, score, class".to_owned(),
            );
            let decoder = Arc::new(FlatRows::numbered(rows, flat::Columns::SUPER_GRADIENTS));
            return Ok(Head { decoder, classes: look.labels.map(Labels::len), usual });
        }
        if let Some([count, boxes, scores, classes]) = in_batches(look.info) {
            return Ok(ssd::settled(boxes, scores, classes, Some(count), Units::Pixels, usual, look, why));
        }
        let (boxes, scores) = scored_outputs(look.info).ok_or_else(|| expected_text(self))?;
        scored(self, boxes, scores, look, usual)
    }
}

impl Family for DamoYolo {
    fn names(&self) -> &'static [&'static str] {
        &["damo-yolo"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let (boxes, _) =
            scored_outputs(look.info).filter(|(boxes, scores)| is_first(look.info, scores, boxes))?;
        of_cells(look, boxes, "scores come first, as in DAMO-YOLO; name --task yolo-nas or ssd if it is one")
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let (boxes, scores) = scored_outputs(look.info).ok_or_else(|| expected_text(self))?;
        scored(self, boxes, scores, look, DAMO)
    }
}

impl Family for PpYoloe {
    fn names(&self) -> &'static [&'static str] {
        &["pp-yoloe", "ppyoloe", "pp-yoloe+"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        if flat::of_paddle(look.info).is_some() {
            return (!flat::is_pico(look.info)).then(|| {
                Clue::new(
                    Certainty::Sure,
                    "its outputs are PaddleDetection's, rows of 6 and how many there are of each frame; name --task picodet if it is one",
                )
            })?;
        }
        let (boxes, scores) = class_rows(look.info)?;
        let cells = boxes.dims()[1].filter(|count| *count == cells(look.size, &STRIDES));
        let because = format!(
            "output '{}' has boxes and output '{}' a row for each class, of {}",
            boxes.name,
            scores.name,
            cells_text(look.size, cells.unwrap_or_default())
        );
        cells.and_then(|_| Clue::new(Certainty::Sure, because))
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        if let Some((rows, counts)) = flat::of_paddle(look.info) {
            return Ok(flat::paddle_head(rows, counts, Usual::STRETCH, look, why));
        }
        let (boxes, scores) = class_rows(look.info).ok_or(
            "a model of kind pp-yoloe has boxes [n, cells, 4] with scores [n, classes, cells], or rows of 6 with their counts",
        )?;
        let classes = class_count(self, scores.dims()[1], look)?;
        let decoder = Arc::new(PointScores {
            boxes: Expected { name: boxes.name.clone(), batched: true, dims: vec![boxes.dims()[1], Some(4)] },
            scores: Expected {
                name: scores.name.clone(),
                batched: true,
                dims: vec![Some(classes), scores.dims()[2]],
            },
            is_by_class: true,
        });
        why.push("boxes: x1, y1, x2, y2 in pixels of the input".to_owned());
        Ok(Head { decoder, classes: Some(classes), usual: Usual::STRETCH })
    }
}

fn expected_text(family: &dyn Family) -> String {
    format!("a model of kind {} has boxes [n, cells, 4] with scores [n, cells, classes]", family.names()[0])
}

/// Boxes `[n, rows, 4]` and scores `[n, rows, classes]`, the model's only outputs. Where both have four columns, names tell, or boxes come
/// first.
pub(super) fn scored_outputs(info: &ModelInfo) -> Option<(&TensorInfo, &TensorInfo)> {
    let [a, b] = info.outputs.as_slice() else { return None };
    let (&[_, rows_a, last_a], &[_, rows_b, last_b]) = (a.dims().as_slice(), b.dims().as_slice()) else {
        return None;
    };
    let is_scores = |output: &TensorInfo| {
        let name = output.name.to_lowercase();
        ["score", "cls", "conf", "logit"].iter().any(|part| name.contains(part))
    };
    match (last_a, last_b) {
        _ if rows_a != rows_b => None,
        (Some(4), Some(4)) if is_scores(a) && !is_scores(b) => Some((b, a)),
        (Some(4), _) => Some((a, b)),
        (_, Some(4)) => Some((b, a)),
        _ => None,
    }
}

/// Boxes `[n, rows, 4]` and scores `[n, classes, rows]`.
fn class_rows(info: &ModelInfo) -> Option<(&TensorInfo, &TensorInfo)> {
    let [a, b] = info.outputs.as_slice() else { return None };
    let fits = |boxes: &TensorInfo, scores: &TensorInfo| {
        matches!((boxes.dims().as_slice(), scores.dims().as_slice()),
            (&[_, Some(rows), Some(4)], &[_, _, Some(columns)]) if rows == columns)
    };
    if fits(a, b) {
        return Some((a, b));
    }
    fits(b, a).then_some((b, a))
}

/// Outputs of super-gradients' `batch` format; their names may have something before them.
fn in_batches(info: &ModelInfo) -> Option<[&TensorInfo; 4]> {
    let find = |name: &str| info.outputs.iter().find(|output| output.name.ends_with(name));
    let [count, boxes, scores, classes] =
        ["num_predictions", "pred_boxes", "pred_scores", "pred_classes"].map(find);
    let found = [count?, boxes?, scores?, classes?];
    (boxes?.shape.len() == 3 && scores?.shape.len() == 2 && classes?.shape.len() == 2).then_some(found)
}

/// Whether output `a` comes before output `b`.
fn is_first(info: &ModelInfo, a: &TensorInfo, b: &TensorInfo) -> bool {
    info.outputs.first().is_some_and(|first| first.name == a.name && first.name != b.name)
}

/// That there is a box for each cell of the three grids.
fn of_cells(look: &Look<'_>, boxes: &TensorInfo, which: &str) -> Option<Clue> {
    let count = cells(look.size, &STRIDES);
    let of = cells_text(look.size, count);
    (boxes.dims()[1] == Some(count)).then(|| Clue {
        certainty: Certainty::Sure,
        because: format!("output '{}' has one box for each of {of}; {which}", boxes.name),
    })
}

fn class_count(family: &dyn Family, shown: Option<usize>, look: &Look<'_>) -> Result<usize, String> {
    super::family::class_count(family, shown, 0, look.labels)
}

fn scored(
    family: &dyn Family,
    boxes: &TensorInfo,
    scores: &TensorInfo,
    look: &Look<'_>,
    usual: Usual,
) -> Result<Head, String> {
    let classes = class_count(family, scores.dims()[2], look)?;
    let expected = |output: &TensorInfo, columns: usize| Expected {
        name: output.name.clone(),
        batched: true,
        dims: vec![output.dims()[1], Some(columns)],
    };
    let decoder = Arc::new(PointScores {
        boxes: expected(boxes, 4),
        scores: expected(scores, classes),
        is_by_class: false,
    });
    Ok(Head { decoder, classes: Some(classes), usual })
}

/// Boxes x1, y1, x2, y2 in pixels of the input, and scores of classes. Each class that passes makes a box of its own (super-gradients'
/// `PPYoloEPostPredictionCallback`, DAMO-YOLO's and PaddleDetection's `multiclass_nms`).
#[derive(Debug)]
struct PointScores {
    boxes: Expected,
    scores: Expected,
    /// Whether scores have a row for each class, not for each box.
    is_by_class: bool,
}

impl Decode for PointScores {
    fn is_batched(&self) -> bool {
        true
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let boxes = self.boxes.table(outputs, item)?;
        let scores = self.scores.table(outputs, item)?;
        let (points, classes) = match self.is_by_class {
            true => (scores.columns, scores.rows),
            false => (scores.rows, scores.columns),
        };
        boxes.has_rows(points)?;
        let mut found = scope.candidates();
        for (at, &confidence) in scores.data.iter().enumerate() {
            if confidence <= scope.thresholds.conf {
                continue;
            }
            let (point, class) = match self.is_by_class {
                true => (at % points, at / points),
                false => (at / classes, at % classes),
            };
            let class_id = place(class);
            if scope.thresholds.pass(confidence, class_id) {
                let [x1, y1, x2, y2] = [0, 1, 2, 3].map(|side| boxes.row(point)[side]);
                let index = place(point * classes + class);
                found.push(Candidate { rect: Rect { x1, y1, x2, y2 }, confidence, class_id, index });
            }
        }
        scope.boxes(found, Suppression::Needed)
    }
}

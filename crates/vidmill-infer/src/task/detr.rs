//! DETR and its descendants: a fixed number of queries, each with a box and class scores; nothing is suppressed.

use std::sync::Arc;

use vidmill_image::{Rect, Size};

use super::family::{
    Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, Values, only_table,
};
use super::found::Found;
use super::item::{Expected, Table, best, centred, place, sigmoid};
use super::points::scored_outputs;
use crate::nms::sort;
use crate::{Candidate, DecodeError, Labels, Outputs, TensorInfo};

/// RT-DETR, D-FINE, DEIM: as Ultralytics exports it (one output), as its authors do (labels, boxes, scores), or as Hugging Face does
/// (logits and boxes).
pub(super) struct RtDetr;

/// DETR, YOLOS, Table Transformer: class logits with "no object" last, and boxes.
pub(super) struct Detr;

/// Deformable, Conditional, DAB and Grounding-free DETRs: class logits without "no object", and boxes.
pub(super) struct DeformableDetr;

/// RF-DETR: outputs `dets` and `labels`.
pub(super) struct RfDetr;

/// RGB in 0..1, stretched, less ImageNet's mean and by its deviation.
const IMAGENET: Usual = Usual { values: Values::IMAGENET, ..Usual::STRETCH };

/// How many pairs of query and class Deformable DETR and RF-DETR look at: `top_k` of Hugging Face's
/// `post_process_object_detection`, `num_select` of RF-DETR's `PostProcess`.
const DEFORMABLE_TOP: usize = 100;
const RF_DETR_TOP: usize = 300;

/// The most queries that a DETR has whose classes are a softmax (100 by default; Table Transformer has 15 or 125).
const FEW_QUERIES: usize = 200;

/// COCO's annotations number classes up to 90; "no object" is one more.
const COCO_NUMBERS: usize = 91;

impl Family for RtDetr {
    fn names(&self) -> &'static [&'static str] {
        &["rt-detr", "rtdetr", "rt-detrv2", "d-fine", "deim"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        if authors_outputs(look).is_some() {
            let because =
                "its outputs labels, boxes and scores are of queries, and it is told the size of the frame";
            return Clue::new(Certainty::Sure, because);
        }
        if let Some((logits, _)) = hugging_face(look) {
            let (kind, how) = of_logits(look, logits);
            return (kind == Kind::RtDetr).then(|| logits_clue(logits, how))?;
        }
        let (name, [queries, columns]) = only_table(look.info)?;
        let numbers = columns.filter(|columns| *columns >= 5)?;
        let says = |key: &str, word: &str| {
            look.info.metadata.get(key).is_some_and(|text| text.to_lowercase().contains(word))
        };
        if says("head", "rtdetr") || says("description", "rtdetr") {
            return Clue::new(Certainty::Said, "its metadata says that its head is RT-DETR's");
        }
        let has = |operator: &str| look.info.operators.contains_key(operator);
        (has("GridSample") && has("TopK") && queries.is_none_or(|queries| queries <= 1000)).then(|| {
            let because = format!(
                "output '{name}' has rows of {numbers} numbers, and the graph has RT-DETR's GridSample and TopK"
            );
            Clue { certainty: Certainty::Sure, because }
        })
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        if let Some((labels, boxes, scores)) = triple(look) {
            why.push(
                "boxes: x1, y1, x2, y2 in pixels of the size that the model is told, its input's own"
                    .to_owned(),
            );
            let expected = |output: &TensorInfo, last: Option<usize>| Expected {
                name: output.name.clone(),
                batched: true,
                dims: [output.dims().get(1).copied().flatten()].into_iter().chain(last.map(Some)).collect(),
            };
            let decoder = Arc::new(Chosen {
                labels: expected(labels, None),
                boxes: expected(boxes, Some(4)),
                scores: expected(scores, None),
            });
            return Ok(Head { decoder, classes: look.labels.map(Labels::len), usual: Usual::STRETCH });
        }
        if let Some((logits, boxes)) = hugging_face(look) {
            return queries(self, logits, boxes, look, Scores::Sigmoid { top: None }, Usual::STRETCH);
        }
        let (name, [queries, columns]) = only_table(look.info)
            .ok_or("a model of kind rt-detr has one output [n, queries, numbers], outputs logits and pred_boxes, or labels, boxes and scores")?;
        let columns = columns.filter(|columns| *columns >= 5).ok_or_else(|| {
            format!("its output '{name}' has not rows of cx, cy, w, h and scores or a score and a class")
        })?;
        let names = look.labels.map(Labels::len);
        // Since version 8.4 Ultralytics picks the class within the model; a model of two classes looks the same.
        let is_chosen = columns == 6 && names != Some(2);
        why.push(match is_chosen {
            true => "rows: cx, cy, w, h in 0..1 of the input, score, class".to_owned(),
            false => format!("rows: cx, cy, w, h in 0..1 of the input, scores of {} classes", columns - 4),
        });
        let output = Expected { name: name.to_owned(), batched: true, dims: vec![queries, Some(columns)] };
        let classes = if is_chosen { names } else { Some(columns - 4) };
        let decoder = Arc::new(OneTable { output, is_chosen, scale: scale(look.size) });
        Ok(Head { decoder, classes, usual: Usual::STRETCH })
    }
}

impl Family for Detr {
    fn names(&self) -> &'static [&'static str] {
        &["detr", "yolos", "table-transformer"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let (logits, _) = hugging_face(look)?;
        let (kind, how) = of_logits(look, logits);
        (kind == Kind::Detr).then(|| logits_clue(logits, how))?
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let (logits, boxes) = two_outputs(self, look)?;
        queries(self, logits, boxes, look, Scores::Softmax, IMAGENET)
    }
}

impl Family for DeformableDetr {
    fn names(&self) -> &'static [&'static str] {
        &["deformable-detr", "conditional-detr", "dab-detr"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let (logits, _) = hugging_face(look)?;
        let (kind, how) = of_logits(look, logits);
        (kind == Kind::Deformable).then(|| logits_clue(logits, how))?
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let (logits, boxes) = two_outputs(self, look)?;
        queries(self, logits, boxes, look, Scores::Sigmoid { top: Some(DEFORMABLE_TOP) }, IMAGENET)
    }
}

impl Family for RfDetr {
    fn names(&self) -> &'static [&'static str] {
        &["rf-detr", "rfdetr", "lw-detr"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        named(look, "labels", "dets")
            .and_then(|_| Clue::new(Certainty::Sure, "its outputs 'dets' and 'labels' are RF-DETR's"))
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let (logits, boxes) = match named(look, "labels", "dets") {
            Some(outputs) => outputs,
            None => two_outputs(self, look)?,
        };
        queries(self, logits, boxes, look, Scores::Sigmoid { top: Some(RF_DETR_TOP) }, IMAGENET)
    }
}

/// What logits and boxes may be of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    RtDetr,
    Detr,
    Deformable,
}

/// Which of the families with logits and boxes it is, and what says so.
fn of_logits(look: &Look<'_>, logits: &TensorInfo) -> (Kind, &'static str) {
    let dims = logits.dims();
    let (queries, columns) = (dims[1], dims[2]);
    let names = look.labels.map(Labels::len);
    let has = |operator: &str| look.info.operators.contains_key(operator);
    let is_one_more = names.is_some_and(|names| columns == Some(names + 1));
    match columns {
        _ if is_one_more => (Kind::Detr, "there is one score more than classes have names"),
        Some(columns) if columns == COCO_NUMBERS + 1 => {
            (Kind::Detr, "COCO has 91 class numbers, and 'no object' is one more")
        }
        Some(COCO_NUMBERS) => (Kind::Deformable, "COCO has 91 class numbers, none of them for 'no object'"),
        _ if has("TopK") => (Kind::RtDetr, "the graph has the TopK that picks RT-DETR's queries"),
        _ if has("GridSample") => {
            (Kind::Deformable, "the graph has Deformable DETR's GridSample, and no TopK")
        }
        _ if queries.is_some_and(|queries| queries <= FEW_QUERIES) => {
            (Kind::Detr, "there are few queries, as in DETR")
        }
        _ => (Kind::RtDetr, "there are many queries, as in RT-DETR"),
    }
}

fn logits_clue(logits: &TensorInfo, how: &str) -> Option<Clue> {
    let name = &logits.name;
    let others = "name --task detr, deformable-detr, rt-detr or rf-detr if it is another";
    Clue::new(Certainty::Sure, format!("it has outputs '{name}' and boxes of queries; {how}; {others}"))
}

/// `logits` `[n, queries, classes]` and `pred_boxes` `[n, queries, 4]`, as Hugging Face and DETR's authors name them.
fn hugging_face<'a>(look: &Look<'a>) -> Option<(&'a TensorInfo, &'a TensorInfo)> {
    named(look, "logits", "pred_boxes").or_else(|| named(look, "pred_logits", "pred_boxes"))
}

fn named<'a>(look: &Look<'a>, logits: &str, boxes: &str) -> Option<(&'a TensorInfo, &'a TensorInfo)> {
    let find = |name: &str| look.info.outputs.iter().find(|output| output.name == name);
    let (logits, boxes) = (find(logits)?, find(boxes)?);
    let fits =
        logits.shape.len() == 3 && boxes.shape.len() == 3 && boxes.dims()[2].is_none_or(|last| last == 4);
    fits.then_some((logits, boxes))
}

/// The same under any names: boxes are what has four numbers.
fn two_outputs<'a>(family: &dyn Family, look: &Look<'a>) -> Result<(&'a TensorInfo, &'a TensorInfo), String> {
    hugging_face(look)
        .or_else(|| scored_outputs(look.info).map(|(boxes, scores)| (scores, boxes)))
        .ok_or_else(|| {
            format!(
                "a model of kind {} has boxes [n, queries, 4] with logits [n, queries, classes]",
                family.names()[0]
            )
        })
}

/// `labels` `[n, queries]`, `boxes` `[n, queries, 4]`, `scores` `[n, queries]`.
fn triple<'a>(look: &Look<'a>) -> Option<(&'a TensorInfo, &'a TensorInfo, &'a TensorInfo)> {
    let find = |name: &str| look.info.outputs.iter().find(|output| output.name == name);
    let (labels, boxes, scores) = (find("labels")?, find("boxes")?, find("scores")?);
    let fits = boxes.shape.len() == 3 && labels.shape.len() == 2 && scores.shape.len() == 2;
    fits.then_some((labels, boxes, scores))
}

/// The same, of a model that is told the size of the frame, as the authors' exports are.
fn authors_outputs<'a>(look: &Look<'a>) -> Option<(&'a TensorInfo, &'a TensorInfo, &'a TensorInfo)> {
    let is_told = look.info.inputs.iter().any(|input| input.name == "orig_target_sizes");
    triple(look).filter(|_| is_told)
}

fn scale(size: Size) -> [f32; 2] {
    [size.width as f32, size.height as f32]
}

fn queries(
    family: &dyn Family,
    logits: &TensorInfo,
    boxes: &TensorInfo,
    look: &Look<'_>,
    scores: Scores,
    usual: Usual,
) -> Result<Head, String> {
    let extra = usize::from(scores == Scores::Softmax);
    let columns = match (logits.dims()[2], look.labels) {
        (Some(columns), _) => columns,
        (None, Some(labels)) => labels.len() + extra,
        (None, None) => {
            return Err(
                "its number of classes is known from neither shapes nor names; give --labels".to_owned()
            );
        }
    };
    if columns <= extra {
        return Err(format!("{columns} scores a query are too few for the kind {}", family.names()[0]));
    }
    let expected = |output: &TensorInfo, columns: usize| Expected {
        name: output.name.clone(),
        batched: true,
        dims: vec![output.dims()[1], Some(columns)],
    };
    let (logits, boxes) = (expected(logits, columns), expected(boxes, 4));
    let decoder = Arc::new(Queries { logits, boxes, scores, scale: scale(look.size) });
    Ok(Head { decoder, classes: Some(columns - extra), usual })
}

/// How logits become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scores {
    /// A query has one class, or none: the last.
    Softmax,
    /// Each class for itself; of all pairs of query and class the best count, as many as there are queries or `top`.
    Sigmoid { top: Option<usize> },
}

/// Logits and boxes of queries.
#[derive(Debug)]
struct Queries {
    logits: Expected,
    boxes: Expected,
    scores: Scores,
    scale: [f32; 2],
}

impl Decode for Queries {
    fn is_batched(&self) -> bool {
        true
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let logits = self.logits.table(outputs, item)?;
        let boxes = self.boxes.table(outputs, item)?;
        boxes.has_rows(logits.rows)?;
        let rect = |query: usize| boxes.finite(self.rect(boxes.row(query)), query * boxes.columns);
        let found = match self.scores {
            Scores::Softmax => softmax(&logits, scope, rect)?,
            Scores::Sigmoid { top } => pairs(&logits, top.unwrap_or(logits.rows), scope, rect)?,
        };
        scope.boxes(found, Suppression::Done)
    }
}

impl Queries {
    fn rect(&self, row: &[f32]) -> Rect {
        scaled(centred(row[0], row[1], row[2], row[3]), self.scale)
    }
}

fn scaled(rect: Rect, [x, y]: [f32; 2]) -> Rect {
    Rect { x1: rect.x1 * x, y1: rect.y1 * y, x2: rect.x2 * x, y2: rect.y2 * y }
}

/// The best class of each query (Hugging Face's `DetrImageProcessor.post_process_object_detection`).
fn softmax(
    logits: &Table<'_>,
    scope: &Scope<'_>,
    rect: impl Fn(usize) -> Result<Rect, DecodeError>,
) -> Result<Vec<Candidate>, DecodeError> {
    let mut found = scope.candidates();
    for query in 0..logits.rows {
        let row = logits.row(query);
        let (_, highest) = best(row);
        let sum: f32 = row.iter().map(|logit| (logit - highest).exp()).sum();
        let (class, logit) = best(&row[..row.len() - 1]);
        let (class_id, confidence) = (place(class), (logit - highest).exp() / sum);
        if scope.thresholds.pass(confidence, class_id) {
            found.push(Candidate { rect: rect(query)?, confidence, class_id, index: place(query) });
        }
    }
    Ok(found)
}

/// The best pairs of query and class (`DeformableDetrImageProcessor.post_process_object_detection`, RT-DETR's the same, RF-DETR's
/// `PostProcess`).
fn pairs(
    logits: &Table<'_>,
    top: usize,
    scope: &Scope<'_>,
    rect: impl Fn(usize) -> Result<Rect, DecodeError>,
) -> Result<Vec<Candidate>, DecodeError> {
    let mut found = scope.candidates();
    for query in 0..logits.rows {
        for (class, &logit) in logits.row(query).iter().enumerate() {
            let confidence = sigmoid(logit);
            if confidence > scope.thresholds.conf {
                let index = place(query * logits.columns + class);
                found.push(Candidate { rect: rect(query)?, confidence, class_id: place(class), index });
            }
        }
    }
    sort(&mut found);
    found.truncate(top);
    found.retain(|candidate| scope.thresholds.pass(candidate.confidence, candidate.class_id));
    Ok(found)
}

/// Ultralytics' RT-DETR: cx, cy, w, h in 0..1, and a score and a class, or scores of all classes.
#[derive(Debug)]
struct OneTable {
    output: Expected,
    is_chosen: bool,
    scale: [f32; 2],
}

impl Decode for OneTable {
    fn is_batched(&self) -> bool {
        true
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let table = self.output.table(outputs, item)?;
        let mut found = scope.candidates();
        for index in 0..table.rows {
            let row = table.row(index);
            let (class_id, confidence) = match self.is_chosen {
                true => (row[5].max(0.0).round() as u32, row[4]),
                false => {
                    let (class, score) = best(&row[4..]);
                    (place(class), score)
                }
            };
            if scope.thresholds.pass(confidence, class_id) {
                let rect = scaled(centred(row[0], row[1], row[2], row[3]), self.scale);
                let rect = table.finite(rect, index * table.columns)?;
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        scope.boxes(found, Suppression::Done)
    }
}

/// What RT-DETR's authors export: classes, boxes in pixels and scores, sorted.
#[derive(Debug)]
struct Chosen {
    labels: Expected,
    boxes: Expected,
    scores: Expected,
}

impl Decode for Chosen {
    fn is_batched(&self) -> bool {
        true
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let boxes = self.boxes.table(outputs, item)?;
        let scores = self.scores.table(outputs, item)?;
        let labels = self.labels.table(outputs, item)?;
        scores.has_rows(boxes.rows)?;
        labels.has_rows(boxes.rows)?;
        let mut found = scope.candidates();
        for (index, (&confidence, &class)) in scores.data.iter().zip(labels.data).enumerate() {
            let class_id = class.max(0.0).round() as u32;
            if scope.thresholds.pass(confidence, class_id) {
                let [x1, y1, x2, y2] = [0, 1, 2, 3].map(|side| boxes.row(index)[side]);
                let rect = Rect { x1, y1, x2, y2 };
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        scope.boxes(found, Suppression::Done)
    }
}

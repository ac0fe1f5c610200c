//! SSD-style models: boxes and scores as outputs of their own.

use std::sync::Arc;

use vidmill_image::{Rect, Size};

use super::end_to_end::{class_number, nms_line, suppression};
use super::family::{Certainty, Clue, Decode, Family, Head, Look, Scope, Suppression, Task, Usual, Values};
use super::found::Found;
use super::item::{Expected, best, place};
use crate::metadata::{Background, Units};
use crate::{Candidate, DecodeError, Element, Labels, ModelInfo, Outputs, TensorInfo};

/// Boxes `[n, boxes, 4]` with scores `[n, boxes, classes]`, or with scores and classes `[n, boxes]` each.
pub(super) struct Ssd;

impl Family for Ssd {
    fn names(&self) -> &'static [&'static str] {
        &["ssd"]
    }
    fn task(&self) -> Task {
        Task::Detect
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        ssd_outputs(look.info).and_then(|_| Clue::new(Certainty::Likely, "its outputs are boxes with scores"))
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let outputs = ssd_outputs(look.info).ok_or(
            "a model of kind ssd has boxes [n, boxes, 4] with scores [n, boxes, classes], or boxes, scores and classes",
        )?;
        match outputs {
            SsdOutputs::Scored { boxes, scores } => scored(boxes, scores, look, why),
            SsdOutputs::Final { boxes, scores, classes, count } => {
                let (units, usual) = final_usual(boxes);
                Ok(settled(boxes, scores, classes, count, units, usual, look, why))
            }
        }
    }
}

/// The outputs of an SSD-style model.
enum SsdOutputs<'a> {
    /// Boxes, and scores of all classes.
    Scored { boxes: &'a TensorInfo, scores: &'a TensorInfo },
    /// Boxes, their scores, their classes, and how many there are.
    Final {
        boxes: &'a TensorInfo,
        scores: &'a TensorInfo,
        classes: &'a TensorInfo,
        count: Option<&'a TensorInfo>,
    },
}

/// Tells an SSD-style model's outputs apart by shape, and where shapes are alike by name.
fn ssd_outputs(info: &ModelInfo) -> Option<SsdOutputs<'_>> {
    let rank = |output: &TensorInfo| output.shape.len();
    let last = |output: &TensorInfo| output.dims().last().copied().flatten();
    let named = |output: &TensorInfo, parts: &[&str]| {
        let name = output.name.to_lowercase();
        parts.iter().any(|part| name.contains(part))
    };
    if let [a, b] = info.outputs.as_slice()
        && rank(a) == 3
        && rank(b) == 3
        && a.dims()[1] == b.dims()[1]
    {
        let pair = |boxes, scores| Some(SsdOutputs::Scored { boxes, scores });
        return match (last(a), last(b)) {
            (Some(4), Some(4)) if named(b, &["score", "conf", "cls", "prob"]) => pair(a, b),
            (Some(4), Some(4)) if named(a, &["score", "conf", "cls", "prob"]) => pair(b, a),
            (Some(4), Some(classes)) if classes != 4 && named_score_like(b) => pair(a, b),
            (Some(classes), Some(4)) if classes != 4 && named_score_like(a) => pair(b, a),
            _ => None,
        };
    }
    if let Some(outputs) = torchvision(info) {
        return Some(outputs);
    }
    let find = |parts: &[&str]| info.outputs.iter().find(|output| named(output, parts));
    let boxes = find(&["box"]).filter(|boxes| last(boxes).is_none_or(|last| last == 4))?;
    let scores = find(&["score", "conf"])?;
    let classes = find(&["label", "class"])?;
    let fits = matches!(rank(boxes), 2 | 3)
        && [scores, classes].iter().all(|output| rank(output) + 1 == rank(boxes));
    fits.then(|| SsdOutputs::Final { boxes, scores, classes, count: find(&["num"]) })
}

/// Torchvision's boxes `[boxes, 4]`, scores `[boxes]` and labels `[boxes]` by their shapes and types: their order differs from model to
/// model, and PyTorch's exporter calls them by numbers.
fn torchvision(info: &ModelInfo) -> Option<SsdOutputs<'_>> {
    let [_, _, _] = info.outputs.as_slice() else { return None };
    let is_whole = |output: &TensorInfo| matches!(output.element, Element::I32 | Element::I64);
    let find = |fits: &dyn Fn(&TensorInfo) -> bool| info.outputs.iter().find(|output| fits(output));
    let boxes = find(&|output| matches!(output.dims().as_slice(), [_, Some(4)]))?;
    let scores = find(&|output| output.shape.len() == 1 && !is_whole(output))?;
    let classes = find(&|output| output.shape.len() == 1 && is_whole(output))?;
    Some(SsdOutputs::Final { boxes, scores, classes, count: None })
}

/// Keeps landmark and distance outputs from passing for scores.
fn named_score_like(output: &TensorInfo) -> bool {
    let name = output.name.to_lowercase();
    !["landmark", "kps", "dis_", "anchor", "loc"].iter().any(|part| name.contains(part))
}

fn scored(
    boxes: &TensorInfo,
    scores: &TensorInfo,
    look: &Look<'_>,
    why: &mut Vec<String>,
) -> Result<Head, String> {
    let columns =
        scores.dims()[2].ok_or("its scores have any number of classes; only a fixed number can be read")?;
    let metadata = look.metadata;
    let named = look.labels.map(Labels::len);
    let background = match metadata.background {
        Some(background) => background,
        None if columns == 1 || named == Some(columns) => Background::None,
        None => Background::First,
    };
    let classes = match background {
        Background::First if columns < 2 => {
            return Err("its scores have no room for a background class".to_owned());
        }
        Background::First => {
            why.push(format!("background: the first of {columns} scores"));
            columns - 1
        }
        Background::None => columns,
    };
    let format = match metadata.units.unwrap_or(Units::Normalised) {
        Units::Normalised => BoxFormat::normalised(Order::Xyxy, look.size),
        Units::Pixels => BoxFormat::pixels(Order::Xyxy),
    };
    why.push(format!("boxes: x1, y1, x2, y2 {}", unit_text(metadata.units, Units::Normalised)));
    let expected = |output: &TensorInfo, columns: usize| Expected {
        name: output.name.clone(),
        batched: true,
        dims: vec![output.dims()[1], Some(columns)],
    };
    let decoder =
        Arc::new(Scored { boxes: expected(boxes, 4), scores: expected(scores, columns), format, background });
    let values = Values { scale: 1.0, mean: [127.0; 3], std: [128.0; 3] };
    Ok(Head { decoder, classes: Some(classes), usual: Usual { values, ..Usual::STRETCH } })
}

/// What each box is comes out beside it. The boxes are measured in `units`, unless the metadata says otherwise.
#[expect(clippy::too_many_arguments, reason = "the outputs, and how they are read")]
pub(super) fn settled(
    boxes: &TensorInfo,
    scores: &TensorInfo,
    classes: &TensorInfo,
    count: Option<&TensorInfo>,
    units: Units,
    usual: Usual,
    look: &Look<'_>,
    why: &mut Vec<String>,
) -> Head {
    let suppression = suppression(look.metadata, why);
    let format = final_format(boxes, units, look, why);
    let batched = boxes.shape.len() == 3;
    let expected =
        |output: &TensorInfo, dims: Vec<Option<usize>>| Expected { name: output.name.clone(), batched, dims };
    let per_box = |output: &TensorInfo| expected(output, vec![output.dims().last().copied().flatten()]);
    let count = count.map(|count| {
        let batched = batched && !count.shape.is_empty();
        let dims = count.dims().into_iter().skip(usize::from(batched)).collect();
        Expected { name: count.name.clone(), batched, dims }
    });
    let rows = boxes.dims()[usize::from(batched)];
    let decoder = Arc::new(Final {
        boxes: expected(boxes, vec![rows, Some(4)]),
        scores: per_box(scores),
        classes: per_box(classes),
        count,
        format,
        suppression,
    });
    Head { decoder, classes: look.labels.map(Labels::len), usual }
}

/// What boxes are measured in, and how their models are fed: torchvision's outputs have no batch, and pixels; exporters of YOLO models copy
/// the outputs of TensorRT's EfficientNMS plugin.
fn final_usual(boxes: &TensorInfo) -> (Units, Usual) {
    match (boxes.name.as_str(), boxes.shape.len()) {
        ("det_boxes", _) => (Units::Pixels, Usual::LETTERBOX),
        (_, 2) => (Units::Pixels, Usual::STRETCH),
        _ => (Units::Normalised, Usual::STRETCH),
    }
}

fn final_format(boxes: &TensorInfo, usual: Units, look: &Look<'_>, why: &mut Vec<String>) -> BoxFormat {
    // TensorFlow's detection API names its outputs detection_* and puts y first.
    let (order, text) = match boxes.name.to_lowercase().contains("detection_boxes") {
        true => (Order::Yxyx, "y1, x1, y2, x2"),
        false => (Order::Xyxy, "x1, y1, x2, y2"),
    };
    why.push(format!("boxes: {text} {}", unit_text(look.metadata.units, usual)));
    match look.metadata.units.unwrap_or(usual) {
        Units::Normalised => BoxFormat::normalised(order, look.size),
        Units::Pixels => BoxFormat::pixels(order),
    }
}

fn unit_text(said: Option<Units>, usual: Units) -> String {
    let unit = match said.unwrap_or(usual) {
        Units::Normalised => "in 0..1 of the input",
        Units::Pixels => "in pixels of the input",
    };
    let source = if said.is_some() { "by metadata" } else { "the usual for such outputs" };
    format!("{unit} ({source})")
}

/// How the four numbers of a box are to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
struct BoxFormat {
    order: Order,
    /// Multiplies x and y to give pixels of the input.
    scale: [f32; 2],
}

/// Order of a box's corners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// x1, y1, x2, y2.
    Xyxy,
    /// y1, x1, y2, x2 (TensorFlow).
    Yxyx,
}

impl BoxFormat {
    /// Boxes in 0..1 of an input of `size`.
    fn normalised(order: Order, size: Size) -> Self {
        Self { order, scale: [size.width as f32, size.height as f32] }
    }
    /// Boxes in pixels of the input.
    fn pixels(order: Order) -> Self {
        Self { order, scale: [1.0, 1.0] }
    }

    /// What a card says of it.
    fn units_line(self) -> (&'static str, &'static str, &'static str) {
        ("units", if self.scale == [1.0, 1.0] { "pixels" } else { "normalised" }, "boxes")
    }

    fn rect(self, row: &[f32]) -> Rect {
        let [sx, sy] = self.scale;
        let [x1, y1, x2, y2] = match self.order {
            Order::Xyxy => [row[0], row[1], row[2], row[3]],
            Order::Yxyx => [row[1], row[0], row[3], row[2]],
        };
        Rect { x1: x1 * sx, y1: y1 * sy, x2: x2 * sx, y2: y2 * sy }
    }
}

/// Boxes `[n, boxes, 4]` and scores `[n, boxes, classes]`, not yet thinned out.
#[derive(Debug)]
struct Scored {
    boxes: Expected,
    scores: Expected,
    format: BoxFormat,
    background: Background,
}

/// Boxes `[n, boxes, 4]`, scores `[n, boxes]`, classes `[n, boxes]`, and how many of them count.
#[derive(Debug)]
struct Final {
    boxes: Expected,
    scores: Expected,
    classes: Expected,
    count: Option<Expected>,
    format: BoxFormat,
    suppression: Suppression,
}

impl Decode for Scored {
    fn card(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        let background = match self.background {
            Background::First => "first",
            Background::None => "none",
        };
        vec![self.format.units_line(), ("background", background, "background")]
    }
    fn is_batched(&self) -> bool {
        self.boxes.batched
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        scope.boxes(self.candidates(outputs, item, scope)?, Suppression::Needed)
    }
}

impl Scored {
    /// Confidence is the best score that is not background's; class 0 is the first such.
    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        scope: &Scope<'_>,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let boxes = self.boxes.table(outputs, item)?;
        let scores = self.scores.table(outputs, item)?;
        scores.has_rows(boxes.rows)?;
        let skipped = usize::from(self.background == Background::First);
        let mut found = scope.candidates();
        for index in 0..boxes.rows {
            let (class, confidence) = best(&scores.row(index)[skipped..]);
            let class_id = place(class);
            if scope.thresholds.pass(confidence, class_id) {
                let rect = boxes.finite(self.format.rect(boxes.row(index)), index * boxes.columns)?;
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        Ok(found)
    }
}

impl Decode for Final {
    fn card(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        vec![nms_line(self.suppression), self.format.units_line()]
    }
    fn is_batched(&self) -> bool {
        self.boxes.batched
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        scope.boxes(self.candidates(outputs, item, scope)?, self.suppression)
    }
}

impl Final {
    /// The boxes that count and pass; classes are the model's own numbers.
    fn candidates(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        scope: &Scope<'_>,
    ) -> Result<Vec<Candidate>, DecodeError> {
        let boxes = self.boxes.table(outputs, item)?;
        let scores = self.scores.table(outputs, item)?;
        let classes = self.classes.table(outputs, item)?;
        scores.has_rows(boxes.rows)?;
        classes.has_rows(boxes.rows)?;
        let count = match &self.count {
            Some(count) => count.table(outputs, item)?.data.first().map_or(0, |&n| n.max(0.0) as usize),
            None => boxes.rows,
        };
        let mut found = scope.candidates();
        for index in 0..boxes.rows.min(count) {
            let confidence = scores.data[index];
            let Some(class_id) = class_number(classes.data[index]) else { continue };
            if scope.thresholds.pass(confidence, class_id) {
                let rect = boxes.finite(self.format.rect(boxes.row(index)), index * boxes.columns)?;
                found.push(Candidate { rect, confidence, class_id, index: place(index) });
            }
        }
        Ok(found)
    }
}

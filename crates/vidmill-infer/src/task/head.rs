//! Which outputs a decoder reads, and the shapes they must have.

use vidmill_image::Size;

use super::item::Expected;
use super::{Decoder, Suppression, TaskKind, end_to_end, ssd, yolo, yolox};
use crate::metadata::{Background, Metadata, Nms, Units};
use crate::{Labels, ModelInfo, TensorInfo};

/// A decoder, and the number of classes, where it is known.
pub(super) struct Head {
    pub decoder: Decoder,
    pub classes: Option<usize>,
}

/// The decoder of `kind` for this model, or why the model's outputs do not suit it.
pub(super) fn head(
    kind: TaskKind,
    info: &ModelInfo,
    metadata: &Metadata,
    size: Size,
    labels: Option<&Labels>,
    why: &mut Vec<String>,
) -> Result<Head, String> {
    match kind {
        TaskKind::Yolov5 => {
            let (output, classes) = rows(kind, info, labels, None)?;
            Ok(Head { decoder: Decoder::Rows(yolo::Rows { output }), classes: Some(classes) })
        }
        TaskKind::Yolov8 => {
            let (output, classes) = columns(kind, info, labels)?;
            Ok(Head { decoder: Decoder::Columns(yolo::Columns { output }), classes: Some(classes) })
        }
        TaskKind::Yolox => {
            let cells = yolox::cells(size);
            let (output, classes) = rows(kind, info, labels, Some(cells.len()))?;
            Ok(Head { decoder: Decoder::Yolox(yolox::Yolox { output, cells }), classes: Some(classes) })
        }
        TaskKind::YoloxDecoded => {
            let (output, classes) = rows(kind, info, labels, None)?;
            let decoder = Decoder::Yolox(yolox::Yolox { output, cells: Vec::new() });
            Ok(Head { decoder, classes: Some(classes) })
        }
        TaskKind::EndToEnd => {
            let suppression = suppression(metadata, why);
            let output = final_rows(info)?;
            let decoder = Decoder::EndToEnd(end_to_end::EndToEnd { output, suppression });
            Ok(Head { decoder, classes: labels.map(Labels::len) })
        }
        TaskKind::Ssd => ssd_head(info, metadata, size, labels, why),
        TaskKind::Outputs => Ok(Head { decoder: Decoder::Outputs, classes: None }),
    }
}

fn suppression(metadata: &Metadata, why: &mut Vec<String>) -> Suppression {
    match metadata.nms {
        Some(Nms::Needed) => {
            why.push("suppression: applied, as the metadata says vidmill.nms = needed".to_owned());
            Suppression::Needed
        }
        Some(Nms::Done) | None => {
            why.push("suppression: none, as the boxes come out final".to_owned());
            Suppression::Done
        }
    }
}

/// The first output of three dimensions, with its dimensions after the batch.
fn three_dims(kind: TaskKind, info: &ModelInfo) -> Result<(&TensorInfo, [Option<usize>; 2]), String> {
    let found = info.outputs.iter().find_map(|output| match output.dims().as_slice() {
        &[_, rows, columns] => Some((output, [rows, columns])),
        _ => None,
    });
    found.ok_or_else(|| format!("a model of kind {kind} has an output of 3 dimensions"))
}

/// `[n, boxes, 5 + classes]`.
fn rows(
    kind: TaskKind,
    info: &ModelInfo,
    labels: Option<&Labels>,
    cells: Option<usize>,
) -> Result<(Expected, usize), String> {
    let (output, [rows, columns]) = three_dims(kind, info)?;
    if let (Some(rows), Some(cells)) = (rows, cells)
        && rows != cells
    {
        return Err(format!("a model of kind {kind} has {cells} rows at this input size, not {rows}"));
    }
    let classes = class_count(kind, columns, 5, labels)?;
    let dims = vec![cells.or(rows), Some(5 + classes)];
    Ok((Expected { name: output.name.clone(), batched: true, dims }, classes))
}

/// `[n, 4 + classes, boxes]`.
fn columns(kind: TaskKind, info: &ModelInfo, labels: Option<&Labels>) -> Result<(Expected, usize), String> {
    let (output, [rows, columns]) = three_dims(kind, info)?;
    let classes = class_count(kind, rows, 4, labels)?;
    Ok((
        Expected { name: output.name.clone(), batched: true, dims: vec![Some(4 + classes), columns] },
        classes,
    ))
}

fn class_count(
    kind: TaskKind,
    numbers: Option<usize>,
    others: usize,
    labels: Option<&Labels>,
) -> Result<usize, String> {
    match (numbers, labels) {
        (Some(numbers), _) if numbers > others => Ok(numbers - others),
        (Some(numbers), _) => Err(format!("{numbers} numbers a box are too few for the kind {kind}")),
        (None, Some(labels)) => Ok(labels.len()),
        (None, None) => {
            Err("its number of classes is known from neither shapes nor names; give --labels".to_owned())
        }
    }
}

/// `[n, boxes, 6]`, or `[boxes, 6]`.
fn final_rows(info: &ModelInfo) -> Result<Expected, String> {
    for output in &info.outputs {
        let (batched, dims) = match *output.dims() {
            [_, rows, columns] => (true, [rows, columns]),
            [rows, columns] => (false, [rows, columns]),
            _ => continue,
        };
        if dims[1].is_none_or(|columns| columns == 6) {
            return Ok(Expected { name: output.name.clone(), batched, dims: vec![dims[0], Some(6)] });
        }
    }
    Err("a model of kind end-to-end has an output with rows of 6 numbers".to_owned())
}

/// The outputs of an SSD-style model.
pub(super) enum SsdOutputs<'a> {
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
pub(super) fn ssd_outputs(info: &ModelInfo) -> Option<SsdOutputs<'_>> {
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
    let find = |parts: &[&str]| info.outputs.iter().find(|output| named(output, parts));
    let boxes = find(&["box"]).filter(|boxes| last(boxes).is_none_or(|last| last == 4))?;
    let scores = find(&["score", "conf"])?;
    let classes = find(&["label", "class"])?;
    let fits = matches!(rank(boxes), 2 | 3)
        && [scores, classes].iter().all(|output| rank(output) + 1 == rank(boxes));
    fits.then(|| SsdOutputs::Final { boxes, scores, classes, count: find(&["num"]) })
}

/// Keeps landmark and distance outputs from passing for scores.
fn named_score_like(output: &TensorInfo) -> bool {
    let name = output.name.to_lowercase();
    !["landmark", "kps", "dis_", "anchor", "loc"].iter().any(|part| name.contains(part))
}

fn ssd_head(
    info: &ModelInfo,
    metadata: &Metadata,
    size: Size,
    labels: Option<&Labels>,
    why: &mut Vec<String>,
) -> Result<Head, String> {
    let outputs = ssd_outputs(info)
        .ok_or("a model of kind ssd has boxes [n, boxes, 4] with scores [n, boxes, classes], or boxes, scores and classes")?;
    match outputs {
        SsdOutputs::Scored { boxes, scores } => scored(boxes, scores, metadata, size, labels, why),
        SsdOutputs::Final { boxes, scores, classes, count } => {
            let suppression = suppression(metadata, why);
            let format = final_format(boxes, metadata, size, why);
            let batched = boxes.shape.len() == 3;
            let expected = |output: &TensorInfo, dims: Vec<Option<usize>>| Expected {
                name: output.name.clone(),
                batched,
                dims,
            };
            let per_box =
                |output: &TensorInfo| expected(output, vec![output.dims().last().copied().flatten()]);
            let count = count.map(|count| {
                let batched = batched && !count.shape.is_empty();
                let dims = count.dims().into_iter().skip(usize::from(batched)).collect();
                Expected { name: count.name.clone(), batched, dims }
            });
            let rows = boxes.dims()[usize::from(batched)];
            let decoder = Decoder::Final(ssd::Final {
                boxes: expected(boxes, vec![rows, Some(4)]),
                scores: per_box(scores),
                classes: per_box(classes),
                count,
                format,
                suppression,
            });
            Ok(Head { decoder, classes: labels.map(Labels::len) })
        }
    }
}

fn scored(
    boxes: &TensorInfo,
    scores: &TensorInfo,
    metadata: &Metadata,
    size: Size,
    labels: Option<&Labels>,
    why: &mut Vec<String>,
) -> Result<Head, String> {
    let columns =
        scores.dims()[2].ok_or("its scores have any number of classes; only a fixed number can be read")?;
    let named = labels.map(Labels::len);
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
        Units::Normalised => ssd::BoxFormat::normalised(ssd::Order::Xyxy, size),
        Units::Pixels => ssd::BoxFormat::pixels(ssd::Order::Xyxy),
    };
    why.push(format!("boxes: x1, y1, x2, y2 {}", unit_text(metadata.units, Units::Normalised)));
    let expected = |output: &TensorInfo, columns: usize| Expected {
        name: output.name.clone(),
        batched: true,
        dims: vec![output.dims()[1], Some(columns)],
    };
    let decoder = Decoder::Ssd(ssd::Ssd {
        boxes: expected(boxes, 4),
        scores: expected(scores, columns),
        format,
        background,
    });
    Ok(Head { decoder, classes: Some(classes) })
}

fn final_format(
    boxes: &TensorInfo,
    metadata: &Metadata,
    size: Size,
    why: &mut Vec<String>,
) -> ssd::BoxFormat {
    // TensorFlow's detection API names its outputs detection_* and puts y first; torchvision's have no batch, and pixels.
    let (order, text) = match boxes.name.to_lowercase().contains("detection_boxes") {
        true => (ssd::Order::Yxyx, "y1, x1, y2, x2"),
        false => (ssd::Order::Xyxy, "x1, y1, x2, y2"),
    };
    let usual = if boxes.shape.len() == 2 { Units::Pixels } else { Units::Normalised };
    why.push(format!("boxes: {text} {}", unit_text(metadata.units, usual)));
    match metadata.units.unwrap_or(usual) {
        Units::Normalised => ssd::BoxFormat::normalised(order, size),
        Units::Pixels => ssd::BoxFormat::pixels(order),
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

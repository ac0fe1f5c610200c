//! From a model's description to a plan.

use std::str::FromStr;

use vidmill_image::{Size, TensorLayout};

use super::head::{Head, head};
use super::input::ImageInput;
use super::{Batch, TaskKind, TaskOptions, TaskPlan, Thresholds, feed};
use crate::metadata::Metadata;
use crate::{Error, Labels, ModelInfo};

/// An output's dimensions, `None` where any number goes.
type Dims = Vec<Option<usize>>;

pub(super) fn plan(info: &ModelInfo, options: &TaskOptions) -> Result<TaskPlan, Error> {
    check(options)?;
    let input = ImageInput::of(info)?;
    let metadata = Metadata::of(info)?;
    let mut why = metadata.ignored.clone();
    let size = feed::size(&input, &metadata, options, &mut why)?;
    let named = named_kind(&metadata, options, &mut why)?;
    let kind = match named {
        Some(kind) => kind,
        None => infer(info, &metadata, size, &mut why).map_err(|reason| unrecognised(info, reason))?,
    };
    let given = given_labels(&metadata, options, &mut why)?;
    let Head { decoder, classes } = head(kind, info, &metadata, size, given.as_ref(), &mut why)
        .map_err(|reason| unrecognised(info, reason))?;
    let spec = feed::spec(kind, &decoder, &input, &metadata, size, &mut why)?;
    let labels = labels(given, classes, options, &mut why)?;
    let wanted = wanted_classes(&labels, classes, options)?;
    let thresholds =
        Thresholds { conf: options.conf, iou: options.iou, max_det: options.max_det, classes: wanted };
    let batch = match input.batch {
        Some(count) => Batch::Fixed(count),
        // Outputs that have no batch dimension hold one item, whatever the input would take.
        None if !decoder.is_batched() => Batch::Fixed(1),
        None => Batch::Dynamic,
    };
    Ok(TaskPlan { kind, spec, batch, labels, decoder, thresholds, why })
}

pub(super) fn trial_shape(info: &ModelInfo, options: &TaskOptions) -> Result<Vec<usize>, Error> {
    let input = ImageInput::of(info)?;
    let Size { width, height } = feed::size(&input, &Metadata::of(info)?, options, &mut Vec::new())?;
    let (batch, width, height) = (input.batch.unwrap_or(1), width as usize, height as usize);
    Ok(match input.layout {
        TensorLayout::Nchw => vec![batch, input.channels, height, width],
        TensorLayout::Nhwc => vec![batch, height, width, input.channels],
    })
}

fn check(options: &TaskOptions) -> Result<(), Error> {
    for (option, value) in [("--conf", options.conf), ("--iou", options.iou)] {
        if !(0.0..=1.0).contains(&value) {
            let reason = "a number from 0 to 1 is expected".to_owned();
            return Err(Error::Option { option: format!("{option} {value}"), reason });
        }
    }
    if options.max_det == 0 {
        let reason = "at least 1 is expected".to_owned();
        return Err(Error::Option { option: "--max-det 0".to_owned(), reason });
    }
    Ok(())
}

fn unrecognised(info: &ModelInfo, reason: String) -> Error {
    Error::Unrecognised { reason, signature: info.signature(), choices: TaskKind::CHOICES.to_owned() }
}

/// The kind that the user or the model names; "detect" names none.
fn named_kind(
    metadata: &Metadata,
    options: &TaskOptions,
    why: &mut Vec<String>,
) -> Result<Option<TaskKind>, Error> {
    if let Some(name) = options.task.as_deref().filter(|name| *name != "detect") {
        let kind = TaskKind::from_str(name)?;
        why.push(format!("kind {kind}: named by --task {name}"));
        return Ok(Some(kind));
    }
    if let Some(name) = metadata.kind.as_deref().filter(|name| *name != "detect") {
        let kind = TaskKind::from_str(name).map_err(|error| Error::Metadata {
            key: "vidmill.task".to_owned(),
            value: name.to_owned(),
            reason: error.to_string(),
        })?;
        why.push(format!("kind {kind}: the model's metadata says vidmill.task = {name}"));
        return Ok(Some(kind));
    }
    Ok(None)
}

/// The kind that metadata and shapes tell, or why they tell none.
fn infer(
    info: &ModelInfo,
    metadata: &Metadata,
    size: Size,
    why: &mut Vec<String>,
) -> Result<TaskKind, String> {
    if let Some(task) = metadata.task.as_deref().filter(|task| *task != "detect") {
        return Err(format!("its metadata says that its task is '{task}', and only detection is decoded"));
    }
    let shapes: Vec<(&str, Dims)> =
        info.outputs.iter().map(|output| (output.name.as_str(), output.dims())).collect();
    let (kind, because) = match shapes.as_slice() {
        [(name, dims)] => infer_from_one(info, metadata, size, name, dims)?,
        // YOLOv5 may also give the maps that its rows were made of.
        [(name, dims), maps @ ..] if dims.len() == 3 && maps.iter().all(|(_, dims)| dims.len() == 5) => {
            infer_from_one(info, metadata, size, name, dims)?
        }
        _ if super::head::ssd_outputs(info).is_some() => {
            (TaskKind::Ssd, "its outputs are boxes with scores".to_owned())
        }
        _ => return Err(format!("its {} outputs are those of no known kind", shapes.len())),
    };
    why.push(format!("kind {kind}: {because}"));
    Ok(kind)
}

fn infer_from_one(
    info: &ModelInfo,
    metadata: &Metadata,
    size: Size,
    name: &str,
    dims: &Dims,
) -> Result<(TaskKind, String), String> {
    let &[_, rows, columns] = dims.as_slice() else {
        return match dims.as_slice() {
            [_, Some(6)] => Ok((TaskKind::EndToEnd, format!("output '{name}' has rows of 6 numbers"))),
            _ => Err(format!("its output '{name}' has {} dimensions, 3 are expected", dims.len())),
        };
    };
    let (cells, with_p6) = (cells(size, &[8, 16, 32]), cells(size, &[8, 16, 32, 64]));
    let of = |count: usize| format!("{count} cells of strides 8, 16, 32 over {}x{}", size.width, size.height);
    let wide = |dim: Option<usize>, least: usize| dim.is_some_and(|dim| dim >= least);
    if metadata.end_to_end == Some(true) && columns == Some(6) {
        return Ok((TaskKind::EndToEnd, "its metadata says that suppression is built in".to_owned()));
    }
    if (rows == Some(3 * cells) || rows == Some(3 * with_p6)) && wide(columns, 6) {
        return Ok((TaskKind::Yolov5, format!("output '{name}' has three rows for each of {}", of(cells))));
    }
    if rows == Some(cells) && wide(columns, 6) {
        return Ok(yolox_form(info, format!("output '{name}' has one row for each of {}", of(cells))));
    }
    if (columns == Some(cells) || columns == Some(with_p6)) && wide(rows, 5) {
        return Ok((TaskKind::Yolov8, format!("output '{name}' has one column for each of {}", of(cells))));
    }
    if columns == Some(6) {
        return Ok((TaskKind::EndToEnd, format!("output '{name}' has rows of 6 numbers")));
    }
    if columns.is_none() && wide(rows, 5) {
        return Ok((TaskKind::Yolov8, format!("output '{name}' has any number of columns")));
    }
    // YOLOv5's exporter writes its stride, YOLOX's does not.
    if rows.is_none() && wide(columns, 6) && metadata.stride.is_some() {
        let because = format!("output '{name}' has any number of rows, and the metadata is Ultralytics'");
        return Ok((TaskKind::Yolov5, because));
    }
    Err(format!(
        "its output '{name}' fits none of the known shapes for an input of {}x{} ({})",
        size.width,
        size.height,
        of(cells)
    ))
}

/// Raw or decoded: decoding takes an exponential, and nothing else in a YOLOX does.
fn yolox_form(info: &ModelInfo, because: String) -> (TaskKind, String) {
    if info.operators.contains_key("Exp") {
        return (TaskKind::YoloxDecoded, format!("{because}, and the graph has the Exp that decodes boxes"));
    }
    let how = match info.operators.is_empty() {
        true => "taken to be raw; name --task yolox-decoded if it is not, or yolov6 if it is one",
        false => "raw, as the graph has no Exp; name --task yolov6 if it is one",
    };
    (TaskKind::Yolox, format!("{because}; {how}"))
}

/// Cells of all grids over an input of `size`.
fn cells(size: Size, strides: &[u32]) -> usize {
    strides.iter().map(|stride| (size.width / stride) as usize * (size.height / stride) as usize).sum()
}

fn given_labels(
    metadata: &Metadata,
    options: &TaskOptions,
    why: &mut Vec<String>,
) -> Result<Option<Labels>, Error> {
    if let Some(path) = &options.labels {
        let labels = Labels::from_file(path)?;
        why.push(format!("names of {} classes: from {}", labels.len(), path.display()));
        return Ok(Some(labels));
    }
    if let Some(names) = &metadata.names {
        why.push(format!("names of {} classes: from the model's metadata", names.len()));
    }
    Ok(metadata.names.clone())
}

/// COCO detectors have 80 classes; hardly any other model does.
const COCO_CLASSES: usize = 80;

fn labels(
    given: Option<Labels>,
    classes: Option<usize>,
    options: &TaskOptions,
    why: &mut Vec<String>,
) -> Result<Labels, Error> {
    match (given, classes) {
        (Some(labels), Some(classes)) if labels.len() != classes => {
            let reason = format!("it names {} classes, the model has {classes}", labels.len());
            if let Some(path) = &options.labels {
                return Err(Error::Labels { path: path.clone(), reason });
            }
            why.push(format!("the metadata does not fit: {reason}"));
            Ok(labels)
        }
        (Some(labels), _) => Ok(labels),
        (None, Some(COCO_CLASSES)) => {
            why.push("names of 80 classes: COCO's, as the model names none and has just 80".to_owned());
            Ok(Labels::coco80())
        }
        (None, _) => {
            why.push("names of classes: none, so classes go by their numbers; give --labels".to_owned());
            Ok(Labels::default())
        }
    }
}

fn wanted_classes(
    labels: &Labels,
    classes: Option<usize>,
    options: &TaskOptions,
) -> Result<Option<Vec<u32>>, Error> {
    if options.classes.is_empty() {
        return Ok(None);
    }
    options.classes.iter().map(|text| labels.class(text, classes)).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_the_usual_exports() {
        assert_eq!(cells(Size::new(640, 640), &[8, 16, 32]), 8400);
        assert_eq!(cells(Size::new(416, 416), &[8, 16, 32]), 3549);
        assert_eq!(cells(Size::new(640, 384), &[8, 16, 32]), 5040);
        assert_eq!(super::super::yolox::cells(Size::new(416, 416)).len(), 3549);
    }
}

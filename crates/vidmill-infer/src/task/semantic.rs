//! Models that give the class of each pixel.

use std::ops::Range;
use std::sync::Arc;

use vidmill_image::{Geometry, Mask, Span};

use super::classify::IMAGENET_VALUES;
use super::family::{Certainty, Clue, Decode, Family, Head, Look, Scope, Task, Usual};
use super::found::{Found, Region};
use super::item::{Expected, place};
use super::resample::{Resampler, Window, nearest};
use crate::metadata::Scores;
use crate::{DecodeError, Element, Outputs, TensorInfo};

/// How many classes the usual data sets have: Pascal VOC with its background, Cityscapes, ADE20K.
const USUAL_CLASSES: [usize; 3] = [21, 19, 150];

/// Scores of all classes, `[n, classes, height, width]`, the map as large as the input or smaller: torchvision's models, SegFormer.
pub(super) struct ClassMaps;

/// The class itself at each pixel, `[n, height, width]` or `[n, 1, height, width]`: Ultralytics' YOLO26-sem, PP-LiteSeg.
pub(super) struct ClassMap;

/// How much each pixel belongs to what is meant, `[n, 1, height, width]`, `[n, height, width]` or `[n, height, width, 1]`.
pub(super) struct Foreground;

/// RGB, stretched, as SegFormer and torchvision's models take it.
const STRETCH: Usual = Usual { values: IMAGENET_VALUES, ..Usual::STRETCH };

impl Family for ClassMaps {
    fn names(&self) -> &'static [&'static str] {
        &["class-maps", "segformer", "deeplab"]
    }
    fn task(&self) -> Task {
        Task::Semantic
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let (output, classes) = class_maps(look)?;
        let name = &output.name;
        if look.task == Some(Task::Semantic) {
            return Clue::new(
                Certainty::Said,
                format!("output '{name}' is said to have a map for each class"),
            );
        }
        let classes = classes?;
        let named = look.labels.map(crate::Labels::len);
        if named == Some(classes) {
            return Clue::new(
                Certainty::Sure,
                format!("output '{name}' has as many maps as there are names of classes"),
            );
        }
        (named.is_none() && USUAL_CLASSES.contains(&classes)).then(|| {
            Clue::new(
                Certainty::Likely,
                format!("output '{name}' has {classes} maps, as many as a usual data set has classes"),
            )
        })?
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let (output, classes) =
            class_maps(look).ok_or("class maps are an output [n, classes, height, width]")?;
        if classes.is_some_and(|classes| classes > usize::from(u16::MAX)) {
            return Err("class maps of more than 65535 classes are none".to_owned());
        }
        let dims = output.dims()[1..].to_vec();
        let output = Expected { name: output.name.clone(), batched: true, dims };
        let is_ultralytics = look.metadata.task.as_deref() == Some("semantic");
        let usual = if is_ultralytics { Usual::LETTERBOX } else { STRETCH };
        Ok(Head { decoder: Arc::new(Maps { output }), classes, usual })
    }
}

/// The output with maps of all classes: the only one, or one that is called `out` (torchvision's, beside `aux`); two classes at least.
fn class_maps<'a>(look: &Look<'a>) -> Option<(&'a TensorInfo, Option<usize>)> {
    let output = match look.info.outputs.as_slice() {
        [output] => output,
        outputs => outputs.iter().find(|output| output.name == "out")?,
    };
    let &[_, classes, height, width] = output.dims().as_slice() else { return None };
    let fits = |map: Option<usize>, input: u32| map.is_none_or(|map| (1..=input as usize).contains(&map));
    let is_map = fits(height, look.size.height) && fits(width, look.size.width);
    (is_map && classes.is_none_or(|classes| classes > 1)).then_some((output, classes))
}

#[derive(Debug)]
struct Maps {
    output: Expected,
}

impl Decode for Maps {
    fn is_batched(&self) -> bool {
        true
    }

    /// Scores are interpolated to the frame before the highest is taken, as transformers' `post_process_semantic_segmentation` does
    /// with the frame's size as target.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let (maps, size) = self.output.planes(outputs, item)?;
        // Only where the model does not say how many there are can there be more.
        if maps.rows == 0 || maps.rows > usize::from(u16::MAX) {
            let expected = format!("1 to {} maps", u16::MAX);
            let found = vec![maps.rows, size.height as usize, size.width as usize];
            return Err(DecodeError::Shape { output: self.output.name.clone(), expected, found });
        }
        let spans = Resampler::new(scope.geometry, size).classes(size, maps.data);
        regions(spans.into_iter().enumerate(), scope)
    }
}

impl Family for ClassMap {
    fn names(&self) -> &'static [&'static str] {
        &["class-map", "yolo26-sem"]
    }
    fn task(&self) -> Task {
        Task::Semantic
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let [output] = look.info.outputs.as_slice() else { return None };
        let [_, height, width] = plane(output)?;
        let fits = |map: Option<usize>, input: u32| map.is_none_or(|map| (1..=input as usize).contains(&map));
        let is_map = is_whole(output) && fits(height, look.size.height) && fits(width, look.size.width);
        is_map.then(|| {
            Clue::new(Certainty::Sure, format!("output '{}' has a whole number for each pixel", output.name))
        })?
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let found = look.info.outputs.iter().find(|output| plane(output).is_some());
        let output = found.ok_or("a class map is an output [n, height, width] or [n, 1, height, width]")?;
        let output = Expected { name: output.name.clone(), batched: true, dims: output.dims()[1..].to_vec() };
        let is_ultralytics = look.metadata.task.as_deref() == Some("semantic");
        let usual = if is_ultralytics { Usual::LETTERBOX } else { STRETCH };
        let classes = look.labels.map(crate::Labels::len);
        Ok(Head { decoder: Arc::new(Map { output }), classes, usual })
    }
}

/// Whether an output holds whole numbers.
fn is_whole(output: &TensorInfo) -> bool {
    use Element::{I8, I16, I32, I64, U8, U16, U32, U64};
    matches!(output.element, U8 | I8 | I16 | U16 | I32 | U32 | I64 | U64)
}

/// Batch, height and width of an output that has one number for each pixel.
fn plane(output: &TensorInfo) -> Option<[Option<usize>; 3]> {
    match *output.dims().as_slice() {
        [batch, height, width] | [batch, Some(1), height, width] | [batch, height, width, Some(1)] => {
            Some([batch, height, width])
        }
        _ => None,
    }
}

#[derive(Debug)]
struct Map {
    output: Expected,
}

impl Decode for Map {
    fn is_batched(&self) -> bool {
        true
    }

    /// The class of the nearest number, as Ultralytics' `scale_masks(mode="nearest")` takes it.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let (map, size) = self.output.planes(outputs, item)?;
        let mut classes = Vec::with_capacity(map.data.len());
        for (index, &value) in map.data.iter().enumerate() {
            if value < 0.0 || value.fract() != 0.0 || value > MOST_CLASSES {
                return Err(DecodeError::Class { output: self.output.name.clone(), index, value });
            }
            classes.push(value as u16);
        }
        let spans = nearest(scope.geometry, size, &classes);
        regions(spans.into_iter().enumerate(), scope)
    }
}

/// No model has more classes than this.
const MOST_CLASSES: f32 = 65_535.0;

impl Family for Foreground {
    fn names(&self) -> &'static [&'static str] {
        &["foreground", "u2net"]
    }
    fn task(&self) -> Task {
        Task::Semantic
    }

    /// Only where somebody says so: a map of one number for each pixel may be of depth as well.
    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let [output, ..] = look.info.outputs.as_slice() else { return None };
        plane(output)?;
        let is_said = look.task == Some(Task::Semantic) && !is_whole(output);
        is_said.then(|| {
            Clue::new(Certainty::Said, format!("output '{}' has one number for each pixel", output.name))
        })?
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        // Of several the first is the finest (U2-Net).
        let found = look.info.outputs.iter().find(|output| plane(output).is_some());
        let output = found.ok_or("a foreground is an output [n, 1, height, width] or [n, height, width]")?;
        let operators = &look.info.operators;
        let (threshold, because) = match look.metadata.scores {
            Some(Scores::Probabilities) => (0.5, "as the metadata says vidmill.scores = probabilities"),
            Some(Scores::Logits) => (0.0, "as the metadata says vidmill.scores = logits"),
            None if look.metadata.task.as_deref() == Some("semantic") => {
                (0.0, "as Ultralytics' models give logits")
            }
            None if !operators.is_empty()
                && !operators.contains_key("Sigmoid")
                && !operators.contains_key("Softmax") =>
            {
                (0.0, "as the graph has no Sigmoid; vidmill.scores in the metadata settles it")
            }
            None => (0.5, "as for probabilities; vidmill.scores in the metadata settles it"),
        };
        why.push(format!("foreground: over {threshold}, {because}"));
        let output = Expected { name: output.name.clone(), batched: true, dims: output.dims()[1..].to_vec() };
        Ok(Head { decoder: Arc::new(OneMap { output, threshold }), classes: Some(1), usual: Usual::STRETCH })
    }
}

#[derive(Debug)]
struct OneMap {
    output: Expected,
    threshold: f32,
}

impl Decode for OneMap {
    fn is_batched(&self) -> bool {
        true
    }

    /// Where the interpolated map is over the threshold.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let (map, size) = self.output.planes(outputs, item)?;
        let (width, height) = (size.width as usize, size.height as usize);
        let resampler = Resampler::new(scope.geometry, size);
        let part = resampler.all();
        let columns: Range<usize> = 0..width;
        let value = |x: usize, y: usize| map.data[y * width + x] - self.threshold;
        let values = columns.clone().flat_map(|x| (0..height).map(move |y| value(x, y))).collect();
        let spans = resampler.positive(&part, &Window { columns, rows: 0..height, values });
        regions([(0, spans)].into_iter(), scope)
    }
}

/// A mask of each class that is there and wanted.
fn regions(spans: impl Iterator<Item = (usize, Vec<Span>)>, scope: &Scope<'_>) -> Result<Found, DecodeError> {
    let Geometry { displayed, .. } = *scope.geometry;
    let wanted = spans.filter(|(class, spans)| !spans.is_empty() && scope.thresholds.wants(place(*class)));
    let region = |(class, spans): (usize, Vec<Span>)| {
        Ok(Region { class_id: place(class), mask: Mask::from_spans(displayed, &spans)? })
    };
    Ok(Found { regions: Some(wanted.map(region).collect::<Result<_, DecodeError>>()?), ..Found::default() })
}

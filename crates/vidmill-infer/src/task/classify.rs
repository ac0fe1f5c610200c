//! Classifiers: one score for each class.

use std::cmp::Reverse;
use std::sync::Arc;

use vidmill_image::{ChannelOrder, ResizeMode, Size};

use super::family::{
    CERTAIN, Certainty, Clue, Decode, Family, Head, Look, Scope, TO_ONE, Task, Usual, Values,
};
use super::found::{Class, Found};
use super::item::{Expected, place};
use crate::metadata::Scores;
use crate::{DecodeError, Outputs, TensorInfo};

/// One output `[n, classes]` (or `[n, classes, 1, 1]`): logits or probabilities.
pub(super) struct Classifier;

/// ImageNet-1k's classes, alone and with "background" before them (TensorFlow's).
const IMAGENET: [usize; 2] = [1000, 1001];

/// The mean and deviation of ImageNet's pictures in 0..1, which nearly all models trained on them take.
pub(super) const IMAGENET_VALUES: Values =
    Values { scale: TO_ONE, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

impl Family for Classifier {
    fn names(&self) -> &'static [&'static str] {
        &["classifier"]
    }
    fn task(&self) -> Task {
        Task::Classify
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let [output] = look.info.outputs.as_slice() else { return None };
        let (_, classes) = vector(output)?;
        let name = &output.name;
        if look.task == Some(Task::Classify) {
            return Clue::new(
                Certainty::Said,
                format!("output '{name}' is said to have a score for each class"),
            );
        }
        let but = "for a vector that means something else, say --task embed or --task outputs";
        match (classes?, look.labels.map(crate::Labels::len)) {
            (count, Some(named)) if count == named && count > 1 => Clue::new(
                Certainty::Sure,
                format!("output '{name}' has as many numbers as there are names of classes; {but}"),
            ),
            (count, _) if IMAGENET.contains(&count) => Clue::new(
                Certainty::Likely,
                format!("output '{name}' has {count} numbers, as many as ImageNet has classes; {but}"),
            ),
            _ => None,
        }
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let found = look.info.outputs.iter().find_map(|output| Some((output, vector(output)?)));
        let (output, (dims, classes)) = found.ok_or("a classifier has an output [n, classes]")?;
        let output = Expected { name: output.name.clone(), batched: true, dims };
        let scores = scores(look, why);
        let usual = match look.metadata.task.as_deref() {
            // `classify_transforms` of ultralytics/data/augment.py.
            Some("classify") => Usual { resize: ResizeMode::CenterCrop, ..Usual::LETTERBOX },
            _ => imagenet_input(look.size),
        };
        Ok(Head { decoder: Arc::new(ClassScores { output, scores }), classes, usual })
    }
}

/// The dimensions of an output `[n, numbers]`, with further ones of 1 or not, after the batch; and the numbers.
pub(super) fn vector(output: &TensorInfo) -> Option<(Vec<Option<usize>>, Option<usize>)> {
    match output.dims().as_slice() {
        [_, count, rest @ ..] if rest.iter().all(|dim| *dim == Some(1)) => {
            let dims = [*count].into_iter().chain(rest.iter().copied());
            Some((dims.collect(), *count))
        }
        _ => None,
    }
}

/// What models that were trained on ImageNet are fed with: the middle of a picture whose shorter side is 256 where the input's is 224
/// (torchvision's `ImageClassification` in its usual sizes, timm's `crop_pct` of 0.875). Inputs that are not square are for crops of
/// objects, which are stretched.
pub(super) fn imagenet_input(size: Size) -> Usual {
    let resize = match size.width == size.height {
        true => ResizeMode::CenterCropFrom(cropped_from(size, 0.875)),
        false => ResizeMode::Stretch,
    };
    Usual { channels: ChannelOrder::Rgb, resize, pad: 0, values: IMAGENET_VALUES }
}

/// The size of which `size` is a part of `fraction`, 0 to 1, of either side.
pub(super) fn cropped_from(size: Size, fraction: f32) -> Size {
    // As timm does it; a side that is whole but for rounding stays so.
    let side = |side: u32| (f64::from(side) / f64::from(fraction) + 1e-3).floor() as u32;
    Size::new(side(size.width).max(size.width), side(size.height).max(size.height))
}

/// What scores are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Probabilities,
    Logits,
    /// Probabilities where they are such: all in 0..1, and 1 together.
    ByValue,
}

fn scores(look: &Look<'_>, why: &mut Vec<String>) -> Reading {
    let operators = &look.info.operators;
    let (reading, because) = match (look.metadata.scores, look.metadata.task.as_deref()) {
        (Some(Scores::Probabilities), _) => {
            (Reading::Probabilities, "as the metadata says vidmill.scores = probabilities")
        }
        (Some(Scores::Logits), _) => (Reading::Logits, "as the metadata says vidmill.scores = logits"),
        (None, Some("classify")) => (Reading::Probabilities, "as Ultralytics' classifiers give them"),
        (None, _) if !operators.is_empty() && !operators.keys().any(|name| name.contains("Softmax")) => {
            (Reading::Logits, "as the graph has no Softmax")
        }
        (None, _) => (
            Reading::ByValue,
            "where they are 0 to 1 and 1 together, else logits; vidmill.scores in the metadata settles it",
        ),
    };
    let what = match reading {
        Reading::Logits => "logits, turned into probabilities by softmax",
        Reading::Probabilities | Reading::ByValue => "probabilities",
    };
    why.push(format!("scores: {what}, {because}"));
    reading
}

#[derive(Debug)]
struct ClassScores {
    output: Expected,
    scores: Reading,
}

impl Decode for ClassScores {
    fn is_batched(&self) -> bool {
        true
    }

    /// The surest classes, whatever `conf` is, as Ultralytics' and other programs show them.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let scores = self.output.table(outputs, item)?.data;
        let probabilities = match self.scores {
            Reading::Probabilities => scores.to_vec(),
            Reading::ByValue if is_distribution(scores) => scores.to_vec(),
            Reading::Logits | Reading::ByValue => softmax(scores),
        };
        if let Some(&confidence) = probabilities.iter().find(|confidence| **confidence > CERTAIN) {
            return Err(DecodeError::Confidence { confidence });
        }
        let thresholds = scope.thresholds;
        let class = |(id, confidence): (usize, f32)| Class {
            class_id: place(id),
            confidence: confidence.clamp(0.0, 1.0),
        };
        let mut classes: Vec<Class> = probabilities
            .into_iter()
            .enumerate()
            .map(class)
            .filter(|class| thresholds.wants(class.class_id))
            .collect();
        // The first of equals stays so.
        classes.sort_by_key(|class| Reverse(class.confidence.to_bits()));
        classes.truncate(thresholds.top_k);
        Ok(Found { classes: Some(classes), ..Found::default() })
    }
}

/// Whether scores are probabilities of classes of which one is right; half precision may be off by some thousandths.
fn is_distribution(scores: &[f32]) -> bool {
    const SLACK: f32 = 0.01;
    let sum: f32 = scores.iter().sum();
    scores.iter().all(|score| (0.0..=1.0 + SLACK).contains(score)) && (sum - 1.0).abs() < SLACK
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut shares: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_cut_from_the_usual_sizes() {
        let square = |side| Size::new(side, side);
        for (input, fraction, from) in
            [(224, 0.875, 256), (224, 1.0, 224), (299, 0.875, 341), (384, 0.95, 404)]
        {
            assert_eq!(cropped_from(square(input), fraction), square(from));
        }
    }

    #[test]
    fn logits_of_any_size_make_probabilities() {
        let all = softmax(&[1e30, -1e30, 0.0, f32::MAX]);
        assert_eq!(all, [0.0, 0.0, 0.0, 1.0]);
        assert!(is_distribution(&softmax(&[1.0, 2.0, 3.0])));
        assert!(!is_distribution(&[0.5, 0.6, 0.1]) && !is_distribution(&[1.5, -0.5]));
    }
}

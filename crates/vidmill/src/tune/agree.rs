//! Whether two ways of running a model give the same results.

use serde::{Deserialize, Serialize};
use vidmill_image::Mask;
use vidmill_infer::{Detection, Found, Region, iou};

use super::samples::Outcome;

/// Boxes overlap at least so much to be the same object (intersection over union).
const LEAST_IOU: f32 = 0.9;
/// What lies so close to the least confidence may be missing on the other side: a threshold must cut somewhere.
const MARGIN: f32 = 0.03;
/// The share of results that must be the same.
const LEAST_SHARE: f64 = 0.99;
/// With fewer results than this their share says little, and the raw outputs decide.
const ENOUGH_RESULTS: u64 = 20;
/// Then these may differ by so much: the root mean square of the differences over that of the values.
const MOST_ERROR: f64 = 0.01;
/// Embeddings are the same where their cosine is at least this.
const LEAST_COSINE: f32 = 0.999;

/// How far results agree with the reference's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Results compared, of both sides: objects, first classes of a frame, regions, texts, embeddings.
    pub results: u64,
    /// Of these, results that the other side has too: of an object one of the same class, with an IoU of at least 0.9.
    pub same: u64,
    /// How far raw outputs are apart: the root mean square of the differences over that of the reference's values, of the worst
    /// output; null where outputs cannot be compared value by value.
    pub error: Option<f64>,
}

impl Agreement {
    /// Compares what was made of the same samples.
    pub(super) fn of(reference: &[Outcome], other: &[Outcome], conf: f32) -> Self {
        let mut agreement = Self { error: error(reference, other), ..Self::default() };
        for (a, b) in reference.iter().zip(other) {
            agreement.compare(&a.found, &b.found, conf);
        }
        agreement
    }

    /// The share of results that are the same, 0 to 1; `None` where there are too few for it to say anything.
    pub fn share(&self) -> Option<f64> {
        (self.results >= ENOUGH_RESULTS).then(|| self.same as f64 / self.results as f64)
    }

    /// Whether the results can be called the same: 99 % of them are; or, where there are fewer than 20, raw outputs differ by at
    /// most 1 %.
    pub fn is_enough(&self) -> bool {
        match self.share() {
            Some(share) => share >= LEAST_SHARE,
            None => self.error.is_some_and(|error| error <= MOST_ERROR),
        }
    }

    fn compare(&mut self, a: &Found, b: &Found, conf: f32) {
        for (one, other) in [(a, b), (b, a)] {
            self.count_detections(one.detections.as_deref(), other.detections.as_deref(), conf);
            self.count_regions(one.regions.as_deref(), other.regions.as_deref());
        }
        let first = |found: &Found| found.classes.as_ref().and_then(|list| Some(list.first()?.class_id));
        self.count_equal(first(a), first(b));
        self.count_equal(a.text.as_ref().map(|text| &text.text), b.text.as_ref().map(|text| &text.text));
        if let (Some(a), Some(b)) = (&a.embedding, &b.embedding) {
            self.results += 1;
            self.same += u64::from(cosine(a, b) >= LEAST_COSINE);
        }
    }

    fn count_equal<T: PartialEq>(&mut self, a: Option<T>, b: Option<T>) {
        if a.is_some() || b.is_some() {
            self.results += 1;
            self.same += u64::from(a == b);
        }
    }

    fn count_detections(&mut self, ours: Option<&[Detection]>, theirs: Option<&[Detection]>, conf: f32) {
        let (ours, theirs) = (ours.unwrap_or_default(), theirs.unwrap_or_default());
        let mut free = vec![true; theirs.len()];
        for ours in ours.iter().filter(|detection| detection.confidence >= conf + MARGIN) {
            self.results += 1;
            let best = theirs
                .iter()
                .enumerate()
                .filter(|(n, theirs)| free[*n] && theirs.class_id == ours.class_id)
                .map(|(n, theirs)| (n, iou(ours.rect, theirs.rect)))
                .max_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((n, _)) = best.filter(|(_, overlap)| *overlap >= LEAST_IOU) {
                free[n] = false;
                self.same += 1;
            }
        }
    }

    fn count_regions(&mut self, ours: Option<&[Region]>, theirs: Option<&[Region]>) {
        for ours in ours.unwrap_or_default() {
            let theirs = theirs.unwrap_or_default().iter().find(|region| region.class_id == ours.class_id);
            self.results += 1;
            self.same +=
                u64::from(theirs.is_some_and(|theirs| mask_iou(&ours.mask, &theirs.mask) >= LEAST_IOU));
        }
    }
}

/// The worst output's error over all samples.
fn error(reference: &[Outcome], other: &[Outcome]) -> Option<f64> {
    let outputs = reference.iter().map(|outcome| outcome.raw.len()).max()?;
    let mut sums = vec![(0.0, 0.0); outputs];
    for (a, b) in reference.iter().zip(other) {
        for ((difference, size), (a, b)) in sums.iter_mut().zip(a.raw.iter().zip(&b.raw)) {
            if a.len() != b.len() {
                return None;
            }
            for (&a, &b) in a.iter().zip(b) {
                *difference += f64::from(a - b).powi(2);
                *size += f64::from(a).powi(2);
            }
        }
    }
    let errors = sums.iter().map(|(difference, size)| (difference / size.max(f64::MIN_POSITIVE)).sqrt());
    // NaN counts as the largest.
    errors.max_by(f64::total_cmp)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f32::MIN_POSITIVE)
}

fn mask_iou(a: &Mask, b: &Mask) -> f32 {
    if a.size() != b.size() {
        return 0.0;
    }
    let both = a.to_rows().iter().zip(&b.to_rows()).filter(|(a, b)| **a > 0 && **b > 0).count() as f32;
    both / (a.area() as f32 + b.area() as f32 - both).max(1.0)
}

#[cfg(test)]
mod tests {
    use vidmill_image::Rect;
    use vidmill_infer::{Class, Text};

    use super::*;

    fn outcome(detections: &[(f32, f32, u32)]) -> Outcome {
        let detection = |&(left, confidence, class)| {
            let rect = Rect { x1: left, y1: 0.0, x2: left + 100.0, y2: 100.0 };
            Detection::new(rect, confidence, class)
        };
        Outcome { found: Found::from(detections.iter().map(detection).collect::<Vec<_>>()), raw: Vec::new() }
    }

    fn agreement(a: &[(f32, f32, u32)], b: &[(f32, f32, u32)]) -> (u64, u64) {
        let Agreement { results, same, .. } = Agreement::of(&[outcome(a)], &[outcome(b)], 0.25);
        (results, same)
    }

    #[test]
    fn objects_are_the_same_by_class_and_place() {
        assert_eq!(agreement(&[(0.0, 0.9, 1)], &[(2.0, 0.5, 1)]), (2, 2));
        assert_eq!(agreement(&[(0.0, 0.9, 1)], &[(20.0, 0.9, 1)]), (2, 0));
        assert_eq!(agreement(&[(0.0, 0.9, 1)], &[(0.0, 0.9, 2)]), (2, 0));
        // One cannot stand for two.
        assert_eq!(agreement(&[(0.0, 0.9, 1), (1.0, 0.8, 1)], &[(0.0, 0.9, 1)]), (3, 2));
    }

    #[test]
    fn what_barely_passes_the_threshold_may_be_missing_but_serves_as_a_partner() {
        assert_eq!(agreement(&[(0.0, 0.27, 1)], &[]), (0, 0));
        assert_eq!(agreement(&[(0.0, 0.29, 1)], &[]), (1, 0));
        assert_eq!(agreement(&[(0.0, 0.29, 1)], &[(0.0, 0.26, 1)]), (1, 1));
    }

    #[test]
    fn frames_agree_by_first_class_text_and_embedding() {
        let of = |class_id, text: &str, embedding: [f32; 2]| {
            let found = Found {
                classes: Some(vec![Class { class_id, confidence: 0.5 }]),
                text: Some(Text { text: text.to_owned(), confidence: 0.9 }),
                embedding: Some(embedding.to_vec()),
                ..Found::default()
            };
            vec![Outcome { found, raw: Vec::new() }]
        };
        let reference = of(3, "ab", [1.0, 0.0]);
        let same = |other: &[Outcome]| Agreement::of(&reference, other, 0.25).same;
        assert_eq!(same(&of(3, "ab", [2.0, 0.01])), 3);
        assert_eq!(same(&of(4, "ab", [1.0, 0.0])), 2);
        assert_eq!(same(&of(3, "a", [0.0, 1.0])), 1);
    }

    #[test]
    fn few_results_leave_it_to_the_raw_outputs() {
        let raw = |values: &[f32]| vec![Outcome { found: Found::default(), raw: vec![values.to_vec()] }];
        let of = |values: &[f32]| Agreement::of(&raw(&[3.0, 4.0]), &raw(values), 0.25);
        assert_eq!(of(&[3.0, 4.0]).error, Some(0.0));
        assert!((of(&[3.0, 4.5]).error.unwrap() - 0.1).abs() < 1e-6);
        assert!(of(&[3.0, 4.04]).is_enough());
        assert!(!of(&[3.0, 4.5]).is_enough());
        assert!(!of(&[3.0, f32::NAN]).is_enough());
        // Of another length they cannot be compared.
        assert!(!of(&[3.0]).is_enough());
        let many = Agreement { results: 1000, same: 990, error: None };
        assert!(many.is_enough() && !Agreement { same: 989, ..many }.is_enough());
    }
}

//! Non-maximum suppression, as Ultralytics and torchvision do it.

use vidmill_image::Rect;

/// A box that a model proposes, in pixels of its input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Where.
    pub rect: Rect,
    /// How sure, higher is surer.
    pub confidence: f32,
    /// Which class.
    pub class_id: u32,
    /// Its place in the model's output: breaks ties of confidence.
    pub index: u32,
}

/// Of more candidates only the surest are looked at (Ultralytics' `max_nms`).
const LOOKED_AT: usize = 30_000;

/// Area of the intersection over area of the union; NaN when both are empty.
pub fn iou(a: Rect, b: Rect) -> f32 {
    let width = (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0);
    let height = (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    let both = width * height;
    both / (area(a) + area(b) - both)
}

fn area(rect: Rect) -> f32 {
    (rect.x2 - rect.x1) * (rect.y2 - rect.y1)
}

/// Orders by falling confidence, ties by index.
pub(crate) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.index.cmp(&b.index)));
}

/// Keeps the surest boxes: going by falling confidence (ties by index), a box is dropped when its [`iou`] with a kept one
/// of its class is over `threshold`. At most `most` are kept; they come out in that order. Every confidence is a
/// number.
///
/// The greedy rule and its strict "over" are torchvision's (`torchvision.ops.batched_nms`).
pub fn suppress(mut candidates: Vec<Candidate>, threshold: f32, most: usize) -> Vec<Candidate> {
    sort(&mut candidates);
    candidates.truncate(LOOKED_AT);
    // Those that are kept come first; no more are kept than have been looked at.
    let mut kept = 0;
    for at in 0..candidates.len() {
        if kept == most {
            break;
        }
        let candidate = candidates[at];
        let covered = |other: &Candidate| {
            other.class_id == candidate.class_id && iou(other.rect, candidate.rect) > threshold
        };
        if !candidates[..kept].iter().any(covered) {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    candidates.truncate(kept);
    candidates
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook form: take the surest, strike out what it covers, repeat.
    fn textbook(candidates: &[Candidate], threshold: f32, most: usize) -> Vec<Candidate> {
        let mut open: Vec<Candidate> = candidates.to_vec();
        let mut kept = Vec::new();
        while !open.is_empty() && kept.len() < most {
            let best = (0..open.len())
                .reduce(|a, b| {
                    let (x, y) = (&open[a], &open[b]);
                    let b_wins =
                        y.confidence > x.confidence || (y.confidence == x.confidence && y.index < x.index);
                    if b_wins { b } else { a }
                })
                .unwrap();
            let taken = open.remove(best);
            let covered = |c: &Candidate| iou(c.rect, taken.rect) > threshold;
            open.retain(|c| c.class_id != taken.class_id || !covered(c));
            kept.push(taken);
        }
        kept
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        // Coarse numbers, so that equal confidences, equal boxes and empty boxes all come up.
        let one = (0..20u8, 0..20u8, 0..12u8, 0..12u8, 0..10u8, 0..3u32);
        prop::collection::vec(one, 0..60).prop_map(|all| {
            (0..)
                .zip(all)
                .map(|(index, (x, y, w, h, confidence, class_id))| {
                    let (x, y, w, h) = (f32::from(x), f32::from(y), f32::from(w), f32::from(h));
                    let rect = Rect { x1: x, y1: y, x2: x + w, y2: y + h };
                    Candidate { rect, confidence: f32::from(confidence) / 10.0, class_id, index }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn equals_the_textbook(all in candidates(), threshold in 0.0f32..1.0, most in 0usize..40) {
            prop_assert_eq!(suppress(all.clone(), threshold, most), textbook(&all, threshold, most));
        }

        #[test]
        fn no_kept_pair_of_a_class_overlaps_more(all in candidates(), threshold in 0.0f32..1.0) {
            let kept = suppress(all, threshold, usize::MAX);
            for (i, a) in kept.iter().enumerate() {
                for b in &kept[i + 1..] {
                    let over = iou(a.rect, b.rect) > threshold;
                    prop_assert!(a.class_id != b.class_id || !over);
                    prop_assert!((a.confidence, b.index) >= (b.confidence, a.index));
                }
            }
        }

        #[test]
        fn every_dropped_box_is_covered_by_a_surer_kept_one(all in candidates(), threshold in 0.0f32..1.0) {
            let kept = suppress(all.clone(), threshold, usize::MAX);
            for dropped in all.iter().filter(|c| !kept.contains(c)) {
                let covers = |k: &Candidate| {
                    k.class_id == dropped.class_id
                        && k.confidence >= dropped.confidence
                        && iou(k.rect, dropped.rect) > threshold
                };
                prop_assert!(kept.iter().any(covers));
            }
        }

        #[test]
        fn a_second_pass_changes_nothing(all in candidates(), threshold in 0.0f32..1.0) {
            let once = suppress(all, threshold, usize::MAX);
            prop_assert_eq!(suppress(once.clone(), threshold, usize::MAX), once);
        }
    }

    #[test]
    fn known_overlaps() {
        let a = Rect { x1: 0.0, y1: 0.0, x2: 10.0, y2: 10.0 };
        let b = Rect { x1: 5.0, y1: 0.0, x2: 15.0, y2: 10.0 };
        assert_eq!(iou(a, a), 1.0);
        assert_eq!(iou(a, b), 50.0 / 150.0);
        assert_eq!(iou(a, Rect { x1: 10.0, y1: 0.0, x2: 20.0, y2: 10.0 }), 0.0);
    }

    #[test]
    fn an_overlap_equal_to_the_threshold_stays() {
        let rect = Rect { x1: 0.0, y1: 0.0, x2: 10.0, y2: 10.0 };
        let half = Rect { x2: 5.0, ..rect };
        let make = |rect, index| Candidate { rect, confidence: 0.5, class_id: 0, index };
        assert_eq!(suppress(vec![make(rect, 0), make(half, 1)], 0.5, 10).len(), 2);
        assert_eq!(suppress(vec![make(rect, 0), make(half, 1)], 0.49, 10).len(), 1);
    }
}

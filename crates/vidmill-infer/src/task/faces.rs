//! What detectors of faces share: one class, five points.

use vidmill_image::Size;

use super::family::{Scope, Suppression};
use super::found::{Found, Keypoint};
use super::keypoints::Keypoints;
use crate::{Candidate, DecodeError};

/// The one class.
pub(super) const CLASSES: &[&str] = &["face"];

/// Five points, in the order that all of these models give them; left and right are the person's own, as in COCO.
const POINTS: [&str; 5] = ["right_eye", "left_eye", "nose", "right_mouth", "left_mouth"];

/// The five points of a face.
pub(super) fn five_points() -> Keypoints {
    Keypoints::named(&POINTS)
}

/// Whether an input holds whole cells of the coarsest grid only, as these models need it.
pub(super) fn check_sides(Size { width, height }: Size, stride: u32) -> Result<(), String> {
    if width % stride == 0 && height % stride == 0 {
        return Ok(());
    }
    Err(format!("an input of {width}x{height} has sides that are no multiples of {stride}; see --imgsz"))
}

/// Thins out faces, and gives those that stay their points, which `points` finds by a candidate's index, in pixels of the input.
pub(super) fn faces(
    scope: &Scope<'_>,
    candidates: Vec<Candidate>,
    points: impl Fn(usize) -> Vec<[f32; 2]>,
) -> Result<Found, DecodeError> {
    let mut found = Vec::new();
    for (mut detection, candidate) in scope.finish(candidates, Suppression::Needed)? {
        for point in points(candidate.index as usize) {
            let [x, y] = scope.geometry.point_to_displayed(point);
            if !(x.is_finite() && y.is_finite()) {
                let index = candidate.index as usize;
                let value = if x.is_finite() { y } else { x };
                return Err(DecodeError::NonFinite { output: "points of a face".to_owned(), index, value });
            }
            detection.keypoints.push(Keypoint { x, y, confidence: None });
        }
        found.push(detection);
    }
    Ok(found.into())
}

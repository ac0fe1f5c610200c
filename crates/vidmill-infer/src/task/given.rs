//! Results that somebody else made: a predictor that decodes its outputs itself.

use vidmill_image::Geometry;

use super::family::CERTAIN;
use super::found::{Detection, Found, Keypoint, Region};
use super::{Memory, Scope, TaskPlan};
use crate::DecodeError;

impl TaskPlan {
    /// What somebody else found, in pixels of the input, as [`TaskPlan::decode`] gives its own: in pixels of the displayed frame,
    /// with the thresholds applied to the detections (not to those within them), but no suppression. Boxes of which nothing lies
    /// in the frame are left out.
    ///
    /// # Errors
    /// When a number is not finite, a confidence is above 1, or a mask is not of the input's size.
    pub fn finish_given(&self, mut found: Found, geometry: &Geometry) -> Result<Found, DecodeError> {
        let scope = Scope { thresholds: &self.thresholds, geometry, memory: &Memory::default() };
        let detections = found.detections.take();
        let mut found = place_rest(found, geometry)?;
        let Some(given) = detections else { return Ok(found) };
        check_all(&found, &given)?;
        let t = &self.thresholds;
        let mut kept: Vec<_> =
            given.into_iter().enumerate().filter(|(_, d)| t.pass(d.confidence, d.class_id)).collect();
        kept.sort_by(|(_, a), (_, b)| b.confidence.total_cmp(&a.confidence));
        kept.truncate(t.max_det);
        place_all(&mut found, kept, &scope)?;
        Ok(found)
    }
}

/// Puts detections, each with its index among those given, in the displayed frame, and with them their names, which are still those
/// of all that were given.
fn place_all(
    found: &mut Found,
    kept: impl IntoIterator<Item = (usize, Detection)>,
    scope: &Scope<'_>,
) -> Result<(), DecodeError> {
    let (mut names, mut displayed) = (Vec::new(), Vec::new());
    for (index, detection) in kept {
        if let Some(detection) = place(detection, scope)? {
            names.extend(found.names.get(index).cloned());
            displayed.push(detection);
        }
    }
    found.names = names;
    found.detections = Some(displayed);
    Ok(())
}

/// Whatever has no place in the picture is as it was; masks of classes are put in the frame.
fn place_rest(found: Found, geometry: &Geometry) -> Result<Found, DecodeError> {
    for class in found.classes.iter().flatten() {
        check_confidence("classes", class.class_id as usize, class.confidence)?;
    }
    if let Some(text) = &found.text {
        check_confidence("text", 0, text.confidence)?;
    }
    check_finite("embedding", 0, found.embedding.as_deref().unwrap_or_default())?;
    let displayed = |Region { class_id, mask }| {
        Ok::<_, DecodeError>(Region { class_id, mask: mask.to_displayed(geometry)? })
    };
    let regions = found.regions.map(|all| all.into_iter().map(displayed).collect()).transpose()?;
    Ok(Found { regions, ..found })
}

/// A detection in the displayed frame, if any of its box is in there.
fn place(detection: Detection, scope: &Scope<'_>) -> Result<Option<Detection>, DecodeError> {
    let Detection { rect, confidence, class_id, corners, keypoints, mask, inside } = detection;
    let Some(plain) = scope.visible(rect, confidence, class_id) else { return Ok(None) };
    let point = |point| scope.geometry.point_to_displayed(point);
    let keypoint = |given: Keypoint| {
        let [x, y] = point([given.x, given.y]);
        Keypoint { x, y, ..given }
    };
    Ok(Some(Detection {
        corners: corners.map(|corners| corners.map(point)),
        keypoints: keypoints.into_iter().map(keypoint).collect(),
        mask: mask.map(|mask| mask.to_displayed(scope.geometry)).transpose()?,
        inside: inside.map(|inside| place_inside(*inside, scope).map(Box::new)).transpose()?,
        ..plain
    }))
}

/// What was found within a detection: all of it, as it was ordered.
fn place_inside(mut found: Found, scope: &Scope<'_>) -> Result<Found, DecodeError> {
    let detections = found.detections.take();
    let mut found = place_rest(found, scope.geometry)?;
    let Some(given) = detections else { return Ok(found) };
    check_all(&found, &given)?;
    place_all(&mut found, given.into_iter().enumerate(), scope)?;
    Ok(found)
}

fn check_all(found: &Found, given: &[Detection]) -> Result<(), DecodeError> {
    let (names, detections) = (found.names.len(), given.len());
    if names != 0 && names != detections {
        return Err(DecodeError::Names { names, detections });
    }
    given.iter().enumerate().try_for_each(|(index, detection)| check(detection, index))
}

fn check(detection: &Detection, index: usize) -> Result<(), DecodeError> {
    let Detection { rect, confidence, corners, keypoints, .. } = detection;
    check_finite("detections", index, &[rect.x1, rect.y1, rect.x2, rect.y2])?;
    check_confidence("detections", index, *confidence)?;
    check_finite("corners", index, corners.as_ref().map_or(&[], |corners| corners.as_flattened()))?;
    for Keypoint { x, y, confidence } in keypoints {
        check_finite("keypoints", index, &[*x, *y, confidence.unwrap_or(0.0)])?;
    }
    Ok(())
}

fn check_finite(what: &str, index: usize, numbers: &[f32]) -> Result<(), DecodeError> {
    match numbers.iter().find(|number| !number.is_finite()) {
        Some(&value) => Err(DecodeError::NonFinite { output: what.to_owned(), index, value }),
        None => Ok(()),
    }
}

fn check_confidence(what: &str, index: usize, confidence: f32) -> Result<(), DecodeError> {
    check_finite(what, index, &[confidence])?;
    if confidence > CERTAIN { Err(DecodeError::Confidence { confidence }) } else { Ok(()) }
}

//! Joints and bones.

use super::canvas::{Area, Canvas, Paint};
use super::palette;
use super::stroke::Stroke;

/// Pairs of joints in COCO's order of 17 (nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right) that are
/// drawn as bones: the `skeleton` of COCO's category `person`, counted from 0.
pub const COCO_BONES: [[usize; 2]; 19] = [
    [15, 13],
    [13, 11],
    [16, 14],
    [14, 12],
    [11, 12],
    [5, 11],
    [6, 12],
    [5, 6],
    [5, 7],
    [6, 8],
    [7, 9],
    [8, 10],
    [1, 2],
    [0, 1],
    [0, 2],
    [1, 3],
    [2, 4],
    [3, 5],
    [4, 6],
];

/// Joints that are sure enough, as points.
pub(super) fn seen(keypoints: &[[f32; 3]], least: f32) -> impl Iterator<Item = (usize, [f32; 2])> + '_ {
    let is_seen = move |[x, y, confidence]: [f32; 3]| x.is_finite() && y.is_finite() && confidence >= least;
    let numbered = keypoints.iter().copied().enumerate();
    numbered.filter(move |(_, keypoint)| is_seen(*keypoint)).map(|(i, [x, y, _])| (i, [x, y]))
}

/// The smallest box around all joints that are sure enough.
pub(super) fn bounds(keypoints: &[[f32; 3]], least: f32) -> Option<[f32; 4]> {
    seen(keypoints, least).fold(None, |bounds, (_, [x, y])| {
        let [x1, y1, x2, y2] = bounds.unwrap_or([x, y, x, y]);
        Some([x1.min(x), y1.min(y), x2.max(x), y2.max(y)])
    })
}

/// Draws bones, then joints over them, at most `line` pixels wide and thinner on small figures.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    keypoints: &[[f32; 3]],
    bones: &[[usize; 2]],
    least: f32,
    line: f32,
) {
    let Some([x1, y1, x2, y2]) = bounds(keypoints, least) else { return };
    let width = ((x2 - x1).max(y2 - y1) / 45.0).clamp((line / 2.0).max(1.5), line);
    let picture = canvas.area();
    let mut points = vec![None; keypoints.len()];
    for (i, point) in seen(keypoints, least) {
        points[i] = Some(point);
    }
    let point = |i: usize| points.get(i).copied().flatten();
    let mut paint = |from, to, width, rgb| {
        if let Some(stroke) = Stroke::new(from, to, width, picture) {
            canvas.paint(&stroke, rgb, Paint::Solid);
        }
    };
    for &[a, b] in bones {
        if let (Some(from), Some(to)) = (point(a), point(b)) {
            paint(from, to, width, palette::bone_color([a, b], keypoints.len()));
        }
    }
    for (i, at) in seen(keypoints, least) {
        // A dark rim, so that joints can be told from bones of the same colour.
        paint(at, at, 2.2 * width, [20; 3]);
        paint(at, at, 1.5 * width, palette::joint_color(i, keypoints.len()));
    }
}

/// The area around joints in whole pixels, if it is inside `picture`.
pub(super) fn area(keypoints: &[[f32; 3]], least: f32, picture: Area) -> Option<Area> {
    let [x1, y1, x2, y2] = bounds(keypoints, least)?;
    super::outline(crate::Rect::new(x1, y1, x2, y2), picture)
}

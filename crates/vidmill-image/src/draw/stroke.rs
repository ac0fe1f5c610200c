//! Lines in any direction, and discs.

use super::canvas::{Area, Canvas, Paint, Shape};

/// A line with round ends, its edges smoothed. One whose ends are the same is a disc.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    from: [f32; 2],
    to: [f32; 2],
    radius: f32,
    area: Area,
}

impl Stroke {
    /// A line `width` pixels wide, in pixel-edge coordinates. None if nothing of it is inside `picture`, or an end is not finite.
    pub(super) fn new(from: [f32; 2], to: [f32; 2], width: f32, picture: Area) -> Option<Self> {
        let radius = width / 2.0;
        let margin = f64::from(radius) + 1.0;
        let [from, to] = clip([from, to].map(|point| point.map(f64::from)), picture, margin)?;
        let side = |low: f64, high: f64| ((low - margin).floor() as i64, (high + margin).ceil() as i64);
        let (left, right) = side(from[0].min(to[0]), from[0].max(to[0]));
        let (top, bottom) = side(from[1].min(to[1]), from[1].max(to[1]));
        let area = Area { left, top, right, bottom }.intersect(picture);
        let [from, to] = [from, to].map(|point| point.map(|value| value as f32));
        (!area.is_empty()).then_some(Self { from, to, radius, area })
    }
}

impl Shape for Stroke {
    fn area(&self) -> Area {
        self.area
    }
    fn row(&self, y: i64, within: Area, coverage: &mut Vec<u8>) -> i64 {
        let reach = self.radius + 0.5;
        let [x0, y0] = self.from;
        let (across, down) = (self.to[0] - x0, self.to[1] - y0);
        let center = y as f32 + 0.5;
        // The part of the line that is near enough to the row, from 0 (its beginning) to 1.
        let (mut first, mut last) = (0.0, 1.0);
        if down.abs() > 1e-3 {
            let (a, b) = ((center - reach - y0) / down, (center + reach - y0) / down);
            (first, last) = (a.min(b).clamp(0.0, 1.0), a.max(b).clamp(0.0, 1.0));
        }
        let (a, b) = (x0 + first * across, x0 + last * across);
        let left = ((a.min(b) - reach).floor() as i64).clamp(within.left, within.right);
        let right = ((a.max(b) + reach).ceil() as i64).clamp(left, within.right);
        let square = across * across + down * down;
        // Of a disc, every point is nearest to its beginning.
        let (across_part, down_part) =
            if square > 1e-6 { (across / square, down / square) } else { (0.0, 0.0) };
        let dy = center - y0;
        let first = left as f32 + 0.5 - x0;
        coverage.extend((0..(right - left) as i32).map(|x| {
            let dx = first + x as f32;
            let along = (dx * across_part + dy * down_part).clamp(0.0, 1.0);
            let (ox, oy) = (dx - along * across, dy - along * down);
            let inside = (reach - (ox * ox + oy * oy).sqrt()).clamp(0.0, 1.0) * 255.0;
            // Rounds as a conversion would, but eight at a time: from 2^23 on, floats are whole numbers.
            (inside + 8_388_608.0).to_bits() as u8
        }));
        left
    }
}

/// Paints the closed outline through `corners`.
pub(super) fn outline(canvas: &mut Canvas<'_>, corners: [[f32; 2]; 4], width: f32, rgb: [u8; 3]) {
    for i in 0..4 {
        if let Some(stroke) = Stroke::new(corners[i], corners[(i + 1) % 4], width, canvas.area()) {
            canvas.paint(&stroke, rgb, Paint::Solid);
        }
    }
}

/// The part of a line within `picture` and `margin` around it, if any (Liang and Barsky's way).
fn clip(ends: [[f64; 2]; 2], picture: Area, margin: f64) -> Option<[[f64; 2]; 2]> {
    if ends.as_flattened().iter().any(|value| !value.is_finite()) {
        return None;
    }
    let [from, to] = ends;
    let step = [to[0] - from[0], to[1] - from[1]];
    let limits = [[picture.left, picture.right], [picture.top, picture.bottom]];
    let (mut first, mut last) = (0.0f64, 1.0f64);
    for axis in 0..2 {
        let [low, high] = limits[axis].map(|limit| limit as f64);
        let (low, high) = (low - margin, high + margin);
        if step[axis] == 0.0 {
            if from[axis] < low || from[axis] > high {
                return None;
            }
            continue;
        }
        let (a, b) = ((low - from[axis]) / step[axis], (high - from[axis]) / step[axis]);
        (first, last) = (first.max(a.min(b)), last.min(a.max(b)));
    }
    let at = |t: f64| [from[0] + t * step[0], from[1] + t * step[1]];
    (first <= last).then(|| [at(first), at(last)])
}

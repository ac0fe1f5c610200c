//! DB ("Real-time Scene Text Detection with Differentiable Binarization", 2020): a map of where text is, as PP-OCR's detectors
//! give it.

mod blobs;
mod rectangle;

use std::sync::Arc;

use vidmill_image::{ChannelOrder, Geometry, Rect, ResizeMode, Size};

use super::Sizing;
use super::family::{CERTAIN, Certainty, Clue, Decode, Family, Head, Look, Scope, Task, Usual, Values};
use super::found::{Detection, Found};
use super::item::Expected;
use crate::{DecodeError, Outputs};
use rectangle::Rectangle;

/// One output `[n, 1, h, w]`: for each pixel how likely it is text.
pub(super) struct Db;

/// Above this a pixel is text; RapidOCR's `thresh`.
const THRESHOLD: f32 = 0.3;
/// How much boxes are widened: the map shows text shrunk; RapidOCR's `unclip_ratio`.
const WIDEN: f64 = 1.6;
/// Boxes that are narrower, in pixels of the map, are none; after widening, two more are asked for.
const NARROWEST: f32 = 3.0;
/// In pixels of the frame, they must be wider than this.
const NARROWEST_SHOWN: i32 = 3;
/// More outlines are not looked at; RapidOCR's `max_candidates`.
const MOST: usize = 1000;
/// Longest side of the input where nobody says one; PaddleOCR's `limit_side_len`.
const LONGEST_SIDE: u32 = 960;

impl Family for Db {
    fn names(&self) -> &'static [&'static str] {
        &["db"]
    }
    fn task(&self) -> Task {
        Task::FindText
    }
    fn usual_conf(&self) -> f32 {
        0.5
    }

    /// Paddle's exporters name the outputs of its models in their own way.
    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let [output] = look.info.outputs.as_slice() else { return None };
        let is_map = matches!(output.dims().as_slice(), [_, Some(1), _, _]);
        if is_map && look.task == Some(Task::FindText) {
            return Clue::new(
                Certainty::Said,
                format!("output '{}' is said to show where text is", output.name),
            );
        }
        let is_paddles = ["sigmoid_", "fetch_name_"].iter().any(|start| output.name.starts_with(start));
        let because =
            format!("output '{}' is one map, named as those of PaddleOCR's text detectors", output.name);
        (is_map && is_paddles).then(|| Clue::new(Certainty::Likely, because))?
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let is_map = |dims: &[Option<usize>]| matches!(dims, [_, Some(1) | None, _, _]);
        let output = look.info.outputs.iter().find(|output| is_map(&output.dims()));
        let output = output.ok_or("a model of kind db has an output of one map, [n, 1, height, width]")?;
        why.push(format!("where text is: output '{}'", output.name));
        let map = Expected { name: output.name.clone(), batched: true, dims: vec![Some(1), None, None] };
        let values = Values { mean: [0.5; 3], std: [0.5; 3], ..Values::UNIT };
        let resize = ResizeMode::Stretch;
        let usual = Usual { channels: ChannelOrder::Bgr, resize, pad: 0, values };
        Ok(Head { decoder: Arc::new(Map { map }), classes: Some(1), usual })
    }

    fn class_names(&self) -> &'static [&'static str] {
        &["text"]
    }

    fn sizing(&self) -> (Sizing, Option<Size>) {
        (Sizing::Whole { step: 32 }, Some(Size::new(LONGEST_SIDE, LONGEST_SIDE)))
    }
}

#[derive(Debug)]
struct Map {
    map: Expected,
}

impl Decode for Map {
    fn is_batched(&self) -> bool {
        true
    }

    /// As RapidOCR's `DBPostProcess` and `filter_tag_det_res` do (rapidocr-onnxruntime 1.4.4, ch_ppocr_det), `box_score_fast` included;
    /// only that detections come by falling confidence.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let (table, size) = self.map.planes(outputs, item)?;
        let map = table.row(0);
        let place = Place { geometry: scope.geometry, map: size };
        let mut found = Vec::new();
        for mut outline in blobs::outlines(size, &text(map, size), MOST) {
            let Some(tight) = Rectangle::around(&mut outline).filter(|tight| tight.shorter >= NARROWEST)
            else {
                continue;
            };
            let confidence = mean_inside(map, size, &tight.corners);
            if confidence > CERTAIN {
                return Err(DecodeError::Confidence { confidence });
            }
            if !scope.thresholds.pass(confidence, 0) {
                continue;
            }
            let mut wide = tight.widened(tight.area * WIDEN / tight.perimeter);
            let Some(wide) = Rectangle::around(&mut wide).filter(|wide| wide.shorter >= NARROWEST + 2.0)
            else {
                continue;
            };
            found.extend(place.put(&wide.corners, confidence.min(1.0)));
        }
        found.sort_by(|a: &Detection, b| b.confidence.total_cmp(&a.confidence));
        found.truncate(scope.thresholds.max_det);
        Ok(found.into())
    }
}

/// Which pixels are text, and those to their right, below, and both: `cv2.dilate` with a kernel of 2x2.
fn text(map: &[f32], size: Size) -> Vec<bool> {
    let width = size.width as usize;
    let mut is_text = vec![false; map.len()];
    for (line, values) in is_text.chunks_exact_mut(width).zip(map.chunks_exact(width)) {
        line.iter_mut().zip(values).for_each(|(is_text, &value)| *is_text = value > THRESHOLD);
        for x in (1..width).rev() {
            line[x] |= line[x - 1];
        }
    }
    for row in (1..size.height as usize).rev() {
        let (above, below) = is_text.split_at_mut(row * width);
        let above = &above[(row - 1) * width..];
        below[..width].iter_mut().zip(above).for_each(|(below, &above)| *below |= above);
    }
    is_text
}

/// From the map to the displayed frame.
struct Place<'a> {
    geometry: &'a Geometry,
    map: Size,
}

impl Place<'_> {
    fn put(&self, corners: &[[f32; 2]; 4], confidence: f32) -> Option<Detection> {
        let Geometry { displayed, input, .. } = *self.geometry;
        let corner = |[x, y]: [f32; 2]| {
            let x = x * (input.width as f32 / self.map.width as f32);
            let y = y * (input.height as f32 / self.map.height as f32);
            let [x, y] = self.geometry.point_to_displayed([x, y]).map(f32::round_ties_even);
            [x.clamp(0.0, displayed.width as f32), y.clamp(0.0, displayed.height as f32)]
        };
        let last = [displayed.width, displayed.height].map(|side| side.saturating_sub(1) as f32);
        let corners = clockwise(corners.map(corner)).map(|[x, y]| [x.min(last[0]), y.min(last[1])]);
        let length = |a: [f32; 2], b: [f32; 2]| ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt() as i32;
        let [a, b, _, d] = corners;
        if length(a, b) <= NARROWEST_SHOWN || length(a, d) <= NARROWEST_SHOWN {
            return None;
        }
        let rect = Rect::around(&corners);
        let is_visible = rect.x2 > rect.x1 && rect.y2 > rect.y1;
        is_visible.then(|| Detection { corners: Some(corners), ..Detection::new(rect, confidence, 0) })
    }
}

/// `order_points_clockwise`: of the two on the left, and of the two on the right, the upper one first.
fn clockwise(mut points: [[f32; 2]; 4]) -> [[f32; 2]; 4] {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [a, b, c, d] = points;
    let (top_left, bottom_left) = if b[1] < a[1] { (b, a) } else { (a, b) };
    let (top_right, bottom_right) = if d[1] < c[1] { (d, c) } else { (c, d) };
    [top_left, top_right, bottom_right, bottom_left]
}

/// The mean of the map within a rectangle, whose corners are cut to whole pixels, its sides included: `cv2.mean` over what
/// `cv2.fillPoly` fills.
fn mean_inside(map: &[f32], size: Size, corners: &[[f32; 2]; 4]) -> f32 {
    let (right, bottom) = (size.width as i32 - 1, size.height as i32 - 1);
    let Rect { x1, y1, x2, y2 } = Rect::around(corners);
    let (left, right) = ((x1.floor() as i32).clamp(0, right), (x2.ceil() as i32).clamp(0, right));
    let (top, bottom) = ((y1.floor() as i32).clamp(0, bottom), (y2.ceil() as i32).clamp(0, bottom));
    let points = corners.map(|[x, y]| [(x - left as f32) as i32, (y - top as f32) as i32]);
    let mut rows = vec![(i32::MAX, i32::MIN); (bottom - top + 1) as usize];
    let mut reach = |x: i32, y: i32| {
        if let Some((first, last)) = usize::try_from(y).ok().and_then(|y| rows.get_mut(y)) {
            (*first, *last) = ((*first).min(x), (*last).max(x));
        }
    };
    // What is filled is convex: of each row, all between the outermost pixels of its sides.
    for at in 0..4 {
        side(points[at], points[(at + 1) % 4], [right - left, bottom - top], &mut reach);
    }
    let (mut sum, mut count) = (0.0_f64, 0_u32);
    for (y, (first, last)) in (top..).zip(rows) {
        let (first, last) = (first.max(0), last.min(right - left));
        if first <= last {
            let start = y as usize * size.width as usize + left as usize;
            let values = &map[start + first as usize..=start + last as usize];
            sum += values.iter().map(|&value| f64::from(value)).sum::<f64>();
            count += values.len() as u32;
        }
    }
    if count == 0 { 0.0 } else { (sum / f64::from(count)) as f32 }
}

/// The outermost pixels that `cv2.fillPoly` fills at a side of its polygon, whose picture has pixels up to `last`: those of a line, as
/// `LineIterator` with 8 neighbours goes over them, and of each row the one that is nearest (OpenCV 4.10, imgproc/src/drawing.cpp,
/// `CollectPolyEdges` and `FillEdgeCollection`).
fn side(from: [i32; 2], to: [i32; 2], last: [i32; 2], reach: &mut impl FnMut(i32, i32)) {
    const ONE: i64 = 1 << 16;
    let (top, bottom) = (from[1].min(to[1]), from[1].max(to[1]));
    let is_inside = [from, to].iter().all(|end| (0..2).all(|axis| (0..=last[axis]).contains(&end[axis])));
    let Clipped { ends: [a, b], is_visible } = clipped(from, to, last);
    // Of a side that was cut, places are not rounded, but cut as well.
    let [a, b] = if a[1] == b[1] { [from, to] } else { [a, b] };
    let half = if is_inside { ONE / 2 } else { 0 };
    if a[1] != b[1] {
        let step = i64::from(b[0] - a[0]) * ONE / i64::from(b[1] - a[1]);
        for y in top.max(0)..bottom.min(last[1] + 1) {
            let at = i64::from(a[0]) * ONE + half + step * i64::from(y - a[1]);
            reach((at >> 16) as i32, y);
        }
    }
    if is_visible {
        let Clipped { ends: [from, to], .. } = clipped(from, to, last);
        line(from, to, reach);
    }
}

/// The pixels of a line.
fn line(from: [i32; 2], to: [i32; 2], reach: &mut impl FnMut(i32, i32)) {
    let ([x1, y1], [x2, y2]) = if to[0] < from[0] { (to, from) } else { (from, to) };
    let (dx, dy) = (x2 - x1, (y2 - y1).abs());
    let down = (y2 - y1).signum();
    let is_steep = dy > dx;
    let (long, short) = if is_steep { (dy, dx) } else { (dx, dy) };
    let mut error = long - 2 * short;
    let (mut x, mut y) = (x1, y1);
    for _ in 0..=long {
        reach(x, y);
        let steps_aside = error < 0;
        error += if steps_aside { 2 * long - 2 * short } else { -2 * short };
        if is_steep {
            y += down;
            x += i32::from(steps_aside);
        } else {
            x += 1;
            y += if steps_aside { down } else { 0 };
        }
    }
}

/// A line that was cut at the edges of a picture.
struct Clipped {
    ends: [[i32; 2]; 2],
    is_visible: bool,
}

/// The part of a line within the pixels from 0, 0 to `last`, as OpenCV's `clipLine` cuts it: its ends are whole pixels again. Of a line that
/// turns out to lie outside, what had been cut by then.
fn clipped(from: [i32; 2], to: [i32; 2], last: [i32; 2]) -> Clipped {
    let mut ends = [from, to];
    let beyond = |end: [i32; 2], axis: usize| (end[axis] < 0, end[axis] > last[axis]);
    let is_off = |ends: [[i32; 2]; 2], axis: usize| {
        let [a, b] = ends.map(|end| beyond(end, axis));
        (a.0 && b.0) || (a.1 && b.1)
    };
    if is_off(ends, 0) || is_off(ends, 1) {
        return Clipped { ends, is_visible: false };
    }
    for axis in [1, 0] {
        for at in 0..2 {
            let edge = match beyond(ends[at], axis) {
                (true, _) => 0,
                (_, true) => last[axis],
                (false, false) => continue,
            };
            let along = f64::from(ends[1][axis] - ends[0][axis]);
            let across = f64::from(ends[1][1 - axis] - ends[0][1 - axis]);
            ends[at][1 - axis] += (f64::from(edge - ends[at][axis]) * across / along) as i32;
            ends[at][axis] = edge;
        }
        if is_off(ends, 0) {
            return Clipped { ends, is_visible: false };
        }
    }
    Clipped { ends, is_visible: true }
}

//! The smallest rectangle around points, and how it is widened.
//!
//! The authors' boxes come out of OpenCV and Clipper, some steps of which round or cut to whole pixels; so these are their very
//! steps: `cv2.minAreaRect` and `cv2.boxPoints` (OpenCV 4.10, imgproc/src/rotcalipers.cpp and core/src/types.cpp), and Clipper 6.4.2's
//! `ClipperOffset` with round joins.

use std::f64::consts::PI;

use super::blobs::Pixel;

/// A rectangle at any angle: its corners, and the length of its shorter side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rectangle {
    /// Top left, top right, bottom right, bottom left.
    pub corners: [[f32; 2]; 4],
    pub shorter: f32,
    pub area: f64,
    pub perimeter: f64,
}

impl Rectangle {
    /// The smallest around points; `None` where they lie on a line.
    pub fn around(points: &mut Vec<Pixel>) -> Option<Self> {
        let hull = hull(points);
        if hull.len() < 3 {
            return None;
        }
        let [corner, across, down] = calipers(&hull)?;
        let centre = [0, 1].map(|axis| corner[axis] + (across[axis] + down[axis]) * 0.5);
        let length = |v: [f32; 2]| (f64::from(v[0]).powi(2) + f64::from(v[1]).powi(2)).sqrt() as f32;
        let (width, height) = (length(across), length(down));
        let degrees =
            (f64::from(f64::from(across[1]).atan2(f64::from(across[0])) as f32) * 180.0 / PI) as f32;
        let angle = f64::from(degrees) * PI / 180.0;
        let (b, a) = (angle.cos() as f32 * 0.5, angle.sin() as f32 * 0.5);
        let [x, y] = centre;
        let p0 = [x - a * height - b * width, y + b * height - a * width];
        let p1 = [x + a * height - b * width, y - b * height - a * width];
        let opposite = |p: [f32; 2]| [2.0 * x - p[0], 2.0 * y - p[1]];
        let corners = ordered([p0, p1, opposite(p0), opposite(p1)]);
        let points = corners.map(|corner| corner.map(f64::from));
        let sides = (0..4).map(|at| (points[at], points[(at + 1) % 4]));
        let (mut area, mut perimeter) = (0.0, 0.0);
        for ([x1, y1], [x2, y2]) in sides {
            area += x1 * y2 - x2 * y1;
            perimeter += ((x2 - x1).powi(2) + (y2 - y1).powi(2)).sqrt();
        }
        Some(Self { corners, shorter: width.min(height), area: area.abs() / 2.0, perimeter })
    }

    /// Corners, in whole pixels, of the outline that runs at `distance` from the rectangle, rounded at its corners.
    pub fn widened(&self, distance: f64) -> Vec<Pixel> {
        let mut corners: Vec<[f64; 2]> =
            self.corners.iter().map(|corner| corner.map(|value| f64::from(value).trunc())).collect();
        corners.dedup();
        while corners.len() > 1 && corners.first() == corners.last() {
            corners.pop();
        }
        let steps = (PI / (1.0 - 0.25_f64.min(distance * 0.25) / distance).acos()).min(distance * PI);
        if corners.len() < 3 || !(distance > 0.0 && distance < 1e6 && steps > 0.0) {
            return Vec::new();
        }
        if signed_area(&corners) < 0.0 {
            corners.reverse();
        }
        offset(&corners, distance, steps)
    }
}

fn signed_area(points: &[[f64; 2]]) -> f64 {
    let next = points.iter().cycle().skip(1);
    points.iter().zip(next).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum()
}

/// `ClipperOffset::DoOffset` of a closed polygon.
fn offset(corners: &[[f64; 2]], distance: f64, steps: f64) -> Vec<Pixel> {
    let count = corners.len();
    let (sin, cos) = (2.0 * PI / steps).sin_cos();
    let steps_per_radian = steps / (2.0 * PI);
    let normal = |at: usize| {
        let ([x1, y1], [x2, y2]) = (corners[at], corners[(at + 1) % count]);
        let (dx, dy) = (x2 - x1, y2 - y1);
        let factor = 1.0 / (dx * dx + dy * dy).sqrt();
        [dy * factor, -dx * factor]
    };
    let round = |value: f64| if value < 0.0 { (value - 0.5) as i32 } else { (value + 0.5) as i32 };
    let mut out = Vec::new();
    for (at, &[x, y]) in corners.iter().enumerate() {
        let (before, after) = (normal((at + count - 1) % count), normal(at));
        let mut put = |[dx, dy]: [f64; 2]| out.push([round(x + dx * distance), round(y + dy * distance)]);
        let turn = before[0] * after[1] - after[0] * before[1];
        let dot = before[0] * after[0] + before[1] * after[1];
        if (turn * distance).abs() < 1.0 && dot > 0.0 {
            put(before);
            continue;
        }
        let turn = turn.clamp(-1.0, 1.0);
        if turn < 0.0 {
            put(before);
            put([0.0, 0.0]);
            put(after);
            continue;
        }
        let angle = turn.atan2(dot);
        let [mut dx, mut dy] = before;
        for _ in 0..(steps_per_radian * angle.abs()).round().max(1.0) as usize {
            put([dx, dy]);
            (dx, dy) = (dx * cos - sin * dy, dx * sin + dy * cos);
        }
        put(after);
    }
    out
}

/// The corners of the points' convex hull, counter-clockwise as OpenCV counts, without those on its sides.
fn hull(points: &mut Vec<Pixel>) -> Vec<[f32; 2]> {
    points.sort_unstable();
    points.dedup();
    let cross = |o: Pixel, a: Pixel, b: Pixel| {
        let d = |p: Pixel, axis: usize| i64::from(p[axis]) - i64::from(o[axis]);
        d(a, 0) * d(b, 1) - d(a, 1) * d(b, 0)
    };
    let chain = |points: &mut dyn Iterator<Item = Pixel>| {
        let mut chain: Vec<Pixel> = Vec::new();
        for point in points {
            while chain.len() >= 2 && cross(chain[chain.len() - 2], chain[chain.len() - 1], point) <= 0 {
                chain.pop();
            }
            chain.push(point);
        }
        chain
    };
    let (mut one, two) = (chain(&mut points.iter().copied()), chain(&mut points.iter().rev().copied()));
    one.pop();
    one.extend(&two[..two.len().saturating_sub(1)]);
    // Which of several rectangles of one size is found hangs on where the hull begins: behind its topmost point.
    let top = (0..one.len()).min_by_key(|&at| (one[at][1], one[at][0]));
    if let Some(top) = top.filter(|top| top + 1 < one.len()) {
        one.rotate_left(top + 1);
    }
    one.iter().map(|point| point.map(|value| value as f32)).collect()
}

/// A rectangle that the calipers have been at.
struct Candidate {
    area: f32,
    left: usize,
    bottom: usize,
    /// Where its first side points to.
    along: [f32; 2],
    size: [f32; 2],
}

/// A corner of the smallest rectangle around a hull, and its two sides from there.
fn calipers(points: &[[f32; 2]]) -> Option<[[f32; 2]; 3]> {
    let count = points.len();
    let next = |at: usize| if at + 1 == count { 0 } else { at + 1 };
    let sides: Vec<[f32; 2]> = (0..count)
        .map(|at| [points[next(at)][0] - points[at][0], points[next(at)][1] - points[at][1]])
        .collect();
    let length = |[x, y]: [f32; 2]| (1.0 / (f64::from(x).powi(2) + f64::from(y).powi(2)).sqrt()) as f32;
    let extreme = |axis: usize, sign: f32| {
        (1..count)
            .fold(0, |best, at| if points[at][axis] * sign > points[best][axis] * sign { at } else { best })
    };
    // The points that the calipers' sides touch: those of the lowest, highest coordinates.
    let mut touched = [extreme(1, -1.0), extreme(0, 1.0), extreme(1, 1.0), extreme(0, -1.0)];
    let mut best: Option<Candidate> = None;
    for _ in 0..count {
        // Sides seen from the calipers' own; the one that is met first when they turn.
        let turned = |at: usize| {
            let [x, y] = sides[touched[at]];
            match at {
                0 => [x, y],
                1 => [y, -x],
                2 => [-x, -y],
                _ => [-y, x],
            }
        };
        let is_right = |a: [f32; 2], b: [f32; 2]| a[0] * b[1] - a[1] * b[0] > 0.0;
        let main = (1..4).fold(0, |main, at| if is_right(turned(at), turned(main)) { at } else { main });
        let scale = length(sides[touched[main]]);
        let [a, b] = turned(main).map(|value| value * scale);
        touched[main] = next(touched[main]);
        let between = |from: usize, to: usize| {
            let (from, to) = (points[touched[from]], points[touched[to]]);
            [to[0] - from[0], to[1] - from[1]]
        };
        let ([dx, dy], [ex, ey]) = (between(3, 1), between(0, 2));
        let (width, height) = (dx * a + dy * b, -ex * b + ey * a);
        let area = width * height;
        // Of equals the last, which is the authors' too.
        if best.as_ref().is_none_or(|best| area <= best.area) {
            let [bottom, _, _, left] = touched;
            best = Some(Candidate { area, left, bottom, along: [a, b], size: [width, height] });
        }
    }
    let Candidate { left, bottom, along: [a1, b1], size: [width, height], .. } = best?;
    let (a2, b2) = (-b1, a1);
    let c1 = a1 * points[left][0] + points[left][1] * b1;
    let c2 = a2 * points[bottom][0] + points[bottom][1] * b2;
    let factor = 1.0 / (a1 * b2 - a2 * b1);
    let corner = [(c1 * b2 - c2 * b1) * factor, (a1 * c2 - a2 * c1) * factor];
    let all = [corner, [a1 * width, b1 * width], [a2 * height, b2 * height]];
    all.iter().flatten().all(|value| value.is_finite()).then_some(all)
}

/// Top left, top right, bottom right, bottom left: `get_mini_boxes` of the authors.
fn ordered(mut points: [[f32; 2]; 4]) -> [[f32; 2]; 4] {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [a, b, c, d] = points;
    let (top_left, bottom_left) = if b[1] > a[1] { (a, b) } else { (b, a) };
    let (top_right, bottom_right) = if d[1] > c[1] { (c, d) } else { (d, c) };
    [top_left, top_right, bottom_right, bottom_left]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_of_pixels_is_its_own_smallest() {
        let mut points = vec![[10, 20], [30, 20], [30, 25], [10, 25], [20, 20], [12, 23]];
        let rectangle = Rectangle::around(&mut points).unwrap();
        assert_eq!(rectangle.corners, [[10.0, 20.0], [30.0, 20.0], [30.0, 25.0], [10.0, 25.0]]);
        assert_eq!((rectangle.shorter, rectangle.area, rectangle.perimeter), (5.0, 100.0, 50.0));
        assert!(Rectangle::around(&mut vec![[1, 1], [2, 2], [3, 3]]).is_none());
        assert!(Rectangle::around(&mut Vec::new()).is_none());
    }

    #[test]
    fn a_widened_rectangle_reaches_as_far_on_every_side() {
        let rectangle = Rectangle::around(&mut vec![[10, 20], [60, 20], [60, 40], [10, 40]]).unwrap();
        let mut wide = rectangle.widened(7.0);
        let wide = Rectangle::around(&mut wide).unwrap();
        assert_eq!(wide.corners, [[3.0, 13.0], [67.0, 13.0], [67.0, 47.0], [3.0, 47.0]]);
        assert!(rectangle.widened(0.0).is_empty() && rectangle.widened(f64::NAN).is_empty());
    }
}

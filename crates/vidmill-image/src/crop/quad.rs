//! A part between four corners, straightened as PaddleOCR's `get_rotate_crop_image` does it.

use super::Crop;
use crate::{Rect, Size};

/// Taller than this many times their width, straightened parts are turned: lines of text run from the bottom up then.
const UPRIGHT: f64 = 1.5;
/// Longest side of a straightened part, in pixels.
const LONGEST: f32 = 16_384.0;
/// How many times the pixels of its picture a straightened part may have.
const LARGEST: u64 = 4;
/// Pixels that cubic interpolation looks at beyond the corners.
const MARGIN: f32 = 3.0;
/// Steps that places between pixels are told in, as OpenCV's `warpPerspective` does.
const STEPS: i64 = 32;

/// Four corners that become a picture: the first its top left, then clockwise.
///
/// The picture is as wide as the longer of the upper and lower side, as high as the longer of the others, in whole pixels; places between
/// pixels are interpolated by cubics (a = -0.75) at steps of 1/32, and edges of the frame repeat: what OpenCV's
/// `warpPerspective(INTER_CUBIC, BORDER_REPLICATE)` does. A picture at least 1.5 times as high as wide is turned counter-clockwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Quad {
    /// From a pixel of the straightened picture to one of the frame, in homogeneous coordinates; row by row.
    matrix: [f64; 9],
    /// Before it is turned.
    size: Size,
    is_turned: bool,
    bounds: Rect,
}

/// Corners that span no picture.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum QuadError {
    /// They lie on a line, cross over, or are no numbers.
    #[error("its corners {0:?} span no picture")]
    Degenerate([[f32; 2]; 4]),
    /// They are absurdly far apart.
    #[error("its corners span {width:.0}x{height:.0} pixels, too many for a frame of {}x{}", .picture.width, .picture.height)]
    TooLarge {
        /// Pixels across.
        width: f32,
        /// Pixels down.
        height: f32,
        /// The frame.
        picture: Size,
    },
}

impl Quad {
    /// The part of a `picture` between `corners`.
    ///
    /// # Errors
    /// When the corners span nothing, or far more than the picture.
    pub fn new(corners: [[f32; 2]; 4], picture: Size) -> Result<Self, QuadError> {
        let degenerate = || QuadError::Degenerate(corners);
        if !corners.iter().flatten().all(|number| number.is_finite() && number.abs() < 1e6) {
            return Err(degenerate());
        }
        let [a, b, c, d] = corners;
        let side = |from: [f32; 2], to: [f32; 2]| {
            let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
            (dx * dx + dy * dy).sqrt()
        };
        let (width, height) = (side(a, b).max(side(c, d)), side(a, d).max(side(b, c)));
        let pixels = f64::from(width) * f64::from(height);
        let most = LARGEST * u64::from(picture.width) * u64::from(picture.height);
        if width > LONGEST || height > LONGEST || pixels > most as f64 {
            return Err(QuadError::TooLarge { width, height, picture });
        }
        let size = Size::new((width as u32).max(1), (height as u32).max(1));
        let matrix = from_rectangle(size, corners).ok_or_else(degenerate)?;
        let is_turned = f64::from(size.height) / f64::from(size.width) >= UPRIGHT;
        Ok(Self { matrix, size, is_turned, bounds: Rect::around(&corners) })
    }

    /// The straightened picture's.
    pub fn size(&self) -> Size {
        if self.is_turned { Size::new(self.size.height, self.size.width) } else { self.size }
    }

    /// A point of the straightened picture in the frame (the edges of pixels are at whole numbers in both).
    pub fn to_picture(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (x, y) = (f64::from(x), f64::from(y));
        let (x, y) = if self.is_turned { (f64::from(self.size.width) - y, x) } else { (x, y) };
        let [x, y] = self.place(x - 0.5, y - 0.5);
        [(x + 0.5) as f32, (y + 0.5) as f32]
    }

    /// A point of the frame in the straightened picture.
    pub fn from_picture(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d, e, f, g, h, i] = self.matrix;
        let (x, y) = (f64::from(x) - 0.5, f64::from(y) - 0.5);
        // The adjugate is the inverse but for a factor, which does not count.
        let u = (e * i - f * h) * x + (c * h - b * i) * y + (b * f - c * e);
        let v = (f * g - d * i) * x + (a * i - c * g) * y + (c * d - a * f);
        let w = (d * h - e * g) * x + (b * g - a * h) * y + (a * e - b * d);
        let (u, v) = (u / w + 0.5, v / w + 0.5);
        let (u, v) = if self.is_turned { (v, f64::from(self.size.width) - u) } else { (u, v) };
        [u as f32, v as f32]
    }

    /// The pixels of the frame that are looked at.
    pub(super) fn reach(&self, picture: Size) -> Crop {
        let Rect { x1, y1, x2, y2 } = self.bounds;
        let axis = |from: f32, to: f32, length: u32| {
            let last = length.max(1) - 1;
            let first = ((from - MARGIN).floor().max(0.0) as u32).min(last);
            let end = ((to + MARGIN).ceil().max(0.0) as u32).min(last);
            (first, end.max(first) - first + 1)
        };
        let (left, width) = axis(x1, x2, picture.width);
        let (top, height) = axis(y1, y2, picture.height);
        Crop { left, top, size: Size::new(width, height) }
    }

    /// A pixel of the picture that is not turned, as a place among the frame's pixels.
    fn place(&self, x: f64, y: f64) -> [f64; 2] {
        let [a, b, c, d, e, f, g, h, i] = self.matrix;
        let w = g * x + h * y + i;
        let scale = if w == 0.0 { 0.0 } else { 1.0 / w };
        [(a * x + b * y + c) * scale, (d * x + e * y + f) * scale]
    }

    /// Draws the straightened picture, packed RGB, from the part of the frame that begins at `rgb`.
    pub(super) fn draw(&self, rgb: &[u8], stride: usize, part: Crop, out: &mut Vec<u8>) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let table = cubics();
        out.clear();
        out.resize(width * height * 3, 0);
        let (last_x, last_y) = (i64::from(part.size.width) - 1, i64::from(part.size.height) - 1);
        let (left, top) = (i64::from(part.left), i64::from(part.top));
        for y in 0..height {
            for x in 0..width {
                let steps =
                    self.place(x as f64, y as f64).map(|at| (at * STEPS as f64).round_ties_even() as i64);
                let [sx, sy] = steps.map(|steps| steps.div_euclid(STEPS));
                let [wx, wy] = steps.map(|steps| &table[steps.rem_euclid(STEPS) as usize]);
                let columns: [usize; 4] =
                    std::array::from_fn(|k| (sx - 1 + k as i64 - left).clamp(0, last_x) as usize * 3);
                let mut sums = [0.0_f32; 3];
                for (k, weight) in wy.iter().enumerate() {
                    if *weight == 0.0 {
                        continue;
                    }
                    let row = &rgb[(sy - 1 + k as i64 - top).clamp(0, last_y) as usize * stride..];
                    for (channel, sum) in sums.iter_mut().enumerate() {
                        let at = |k: usize| f32::from(row[columns[k] + channel]) * wx[k];
                        *sum += weight * (at(0) + at(1) + at(2) + at(3));
                    }
                }
                let pixel = if self.is_turned { (width - 1 - x) * height + y } else { y * width + x };
                let bytes = sums.map(|sum| sum.round().clamp(0.0, 255.0) as u8);
                out[pixel * 3..pixel * 3 + 3].copy_from_slice(&bytes);
            }
        }
    }
}

/// The perspective map that takes the rectangle from 0, 0 to `size` to the corners (Heckbert, "Fundamentals of texture mapping and
/// image warping", 1989, section 2.2.3). Corners of a parallelogram give an affine one, exactly.
fn from_rectangle(size: Size, corners: [[f32; 2]; 4]) -> Option<[f64; 9]> {
    let [p0, p1, p2, p3] = corners.map(|corner| corner.map(f64::from));
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let cross =
        |a: [f64; 2], b: [f64; 2], c: [f64; 2]| (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]);
    let turns = [cross(p0, p1, p2), cross(p1, p2, p3), cross(p2, p3, p0), cross(p3, p0, p1)];
    // Convex, whichever way round: nothing of the rectangle lies at infinity.
    if !(turns.iter().all(|&turn| turn > 0.0) || turns.iter().all(|&turn| turn < 0.0)) {
        return None;
    }
    let sum = [0, 1].map(|axis| p0[axis] - p1[axis] + p2[axis] - p3[axis]);
    let (g, h) = if sum == [0.0, 0.0] {
        (0.0, 0.0)
    } else {
        let [d1, d2] = [p1, p3].map(|p| [p[0] - p2[0], p[1] - p2[1]]);
        let area = d1[0] * d2[1] - d2[0] * d1[1];
        ((sum[0] * d2[1] - d2[0] * sum[1]) / area, (d1[0] * sum[1] - sum[0] * d1[1]) / area)
    };
    let row = |axis: usize| {
        [
            (p1[axis] - p0[axis] + g * p1[axis]) / width,
            (p3[axis] - p0[axis] + h * p3[axis]) / height,
            p0[axis],
        ]
    };
    let ([a, b, c], [d, e, f]) = (row(0), row(1));
    let matrix = [a, b, c, d, e, f, g / width, h / height, 1.0];
    matrix.iter().all(|number| number.is_finite()).then_some(matrix)
}

/// The four weights of cubic interpolation at every step between two pixels, as OpenCV's `interpolateCubic` makes them.
fn cubics() -> [[f32; 4]; STEPS as usize] {
    const A: f32 = -0.75;
    std::array::from_fn(|step| {
        let x = step as f32 / STEPS as f32;
        let outer = ((A * (x + 1.0) - 5.0 * A) * (x + 1.0) + 8.0 * A) * (x + 1.0) - 4.0 * A;
        let inner = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let (near, far) = (inner(x), inner(1.0 - x));
        [outer, near, far, 1.0 - outer - near - far]
    })
}

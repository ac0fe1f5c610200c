//! Shapes onto planes: full-resolution luma, half-resolution chroma by coverage.

use crate::Picture;
use crate::picture::codes;

/// Whole pixels from `left`, `top` up to but not including `right`, `bottom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) right: i64,
    pub(super) bottom: i64,
}

impl Area {
    pub(super) fn intersect(self, other: Self) -> Self {
        Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
    }
    pub(super) fn is_empty(self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }
    /// Pixels, 0 where it is empty.
    pub(super) fn pixels(self) -> i64 {
        (self.right - self.left).max(0) * (self.bottom - self.top).max(0)
    }
    /// Larger by `by` on all sides.
    pub(super) fn grown(self, by: i64) -> Self {
        Self { left: self.left - by, top: self.top - by, right: self.right + by, bottom: self.bottom + by }
    }
}

/// Something to be painted in one colour, as coverage: 0 (none of a pixel) to 255 (all).
pub(super) trait Shape {
    /// Where it may cover anything.
    fn area(&self) -> Area;
    /// Adds the coverage of row `y` to the empty `coverage`, beginning at the column that is returned. `within` is a part of the
    /// area that has the row; what is written must not reach out of its columns.
    fn row(&self, y: i64, within: Area, coverage: &mut Vec<u8>) -> i64;
}

/// How a shape lies on the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// Hides what is below as far as it covers it.
    Solid,
    /// Takes chroma more than luma, so that what is below can still be seen: of a coverage `c`, chroma gets `1 - (1 - c)^2`.
    Sheer,
}

impl Paint {
    /// What chroma takes of a coverage of `sum` of `whole`.
    fn of_chroma(self, sum: u32, whole: u32) -> u32 {
        match self {
            Self::Solid => sum,
            Self::Sheer => whole - (whole - sum.min(whole)).pow(2) / whole,
        }
    }
}

/// A shape as coverage, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stencil<'a> {
    pub(super) area: Area,
    pub(super) coverage: &'a [u8],
}

impl Shape for Stencil<'_> {
    fn area(&self) -> Area {
        self.area
    }
    fn row(&self, y: i64, within: Area, coverage: &mut Vec<u8>) -> i64 {
        let Area { left, top, right, .. } = self.area;
        let row = ((y - top) * (right - left)) as usize;
        let columns = row + (within.left - left) as usize..row + (within.right - left) as usize;
        coverage.extend_from_slice(&self.coverage[columns]);
        within.left
    }
}

/// An area that is covered equally everywhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pane {
    pub(super) area: Area,
    pub(super) coverage: u8,
}

impl Shape for Pane {
    fn area(&self) -> Area {
        self.area
    }
    fn row(&self, _: i64, within: Area, coverage: &mut Vec<u8>) -> i64 {
        coverage.resize((within.right - within.left) as usize, self.coverage);
        within.left
    }
}

/// A picture being drawn on.
pub(super) struct Canvas<'a> {
    picture: &'a mut Picture,
    area: Area,
    /// Coverage of the two rows that share a row of chroma.
    rows: [Vec<u8>; 2],
    /// Coverage of chroma samples: that of their pixels together.
    sums: Vec<u16>,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(picture: &'a mut Picture) -> Self {
        let size = picture.size();
        let area = Area { left: 0, top: 0, right: i64::from(size.width), bottom: i64::from(size.height) };
        Self { picture, area, rows: Default::default(), sums: Vec::new() }
    }

    /// The whole picture.
    pub(super) fn area(&self) -> Area {
        self.area
    }

    /// Fills the part of `area` that is inside the picture.
    pub(super) fn fill(&mut self, area: Area, rgb: [u8; 3]) {
        let area = area.intersect(self.area);
        if area.is_empty() {
            return;
        }
        let [luma, u, v] = codes(rgb, self.picture.color());
        let stride = self.picture.stride(0);
        let columns = area.left as usize..area.right as usize;
        for y in area.top as usize..area.bottom as usize {
            self.picture.planes_mut()[0][y * stride..][columns.clone()].fill(luma);
        }
        let width = (area.right - area.left) as usize;
        for y in area.top / 2..(area.bottom + 1) / 2 {
            let rows = (2 * y + 2).min(area.bottom) - (2 * y).max(area.top);
            self.begin_chroma(area);
            for _ in 0..rows {
                add_pairs(&mut self.sums, area.left % 2 != 0, Covered::All(width));
            }
            self.blend_chroma(y, area.left / 2, [u, v], Paint::Solid);
        }
    }

    /// Paints a shape in one colour.
    pub(super) fn paint(&mut self, shape: &impl Shape, rgb: [u8; 3], paint: Paint) {
        let area = shape.area().intersect(self.area);
        if area.is_empty() {
            return;
        }
        let [luma, u, v] = codes(rgb, self.picture.color());
        let stride = self.picture.stride(0);
        for y in area.top / 2..(area.bottom + 1) / 2 {
            let mut lefts = [area.left; 2];
            let [mut first, mut end] = [area.right, area.left];
            for half in 0..2 {
                let row = &mut self.rows[half];
                row.clear();
                let y = 2 * y + half as i64;
                if y < area.top || y >= area.bottom {
                    continue;
                }
                let left = shape.row(y, area, row);
                if !row.is_empty() {
                    lefts[half] = left;
                    (first, end) = (first.min(left), end.max(left + row.len() as i64));
                    let start = y as usize * stride + left as usize;
                    let pixels = &mut self.picture.planes_mut()[0][start..start + row.len()];
                    blend_row(pixels, row, luma);
                }
            }
            if first < end {
                let touched = Area { left: first, right: end, ..area };
                self.begin_chroma(touched);
                for (row, left) in self.rows.iter().zip(lefts).filter(|(row, _)| !row.is_empty()) {
                    let sums = &mut self.sums[(left / 2 - first / 2) as usize..];
                    add_pairs(sums, left % 2 != 0, Covered::By(row));
                }
                self.blend_chroma(y, first / 2, [u, v], paint);
            }
        }
    }

    /// Makes room for the sums of the chroma samples under the columns of `area`.
    fn begin_chroma(&mut self, area: Area) {
        self.sums.clear();
        self.sums.resize(((area.right + 1) / 2 - area.left / 2) as usize, 0);
    }

    /// Blends the chroma samples of row `y` from column `left` on by the sums of their pixels' coverage.
    fn blend_chroma(&mut self, y: i64, left: i64, uv: [u8; 2], paint: Paint) {
        let stride = self.picture.stride(1);
        let picture = self.area;
        let start = y as usize * stride + left as usize;
        // At an odd edge a chroma sample stands for fewer than four pixels.
        let rows = (picture.bottom - 2 * y).min(2) as u32;
        let columns = |x: usize| (picture.right - 2 * (left + x as i64)).min(2) as u32;
        let [_, u, v] = self.picture.planes_mut();
        let sums = &self.sums;
        // Only the last sample may be such.
        let even = if columns(sums.len() - 1) == 2 { sums.len() } else { sums.len() - 1 };
        let whole_columns = if rows == 2 { even } else { 0 };
        for (plane, code) in [u, v].into_iter().zip(uv) {
            let samples = &mut plane[start..start + sums.len()];
            for (sample, sum) in samples.iter_mut().zip(&sums[..whole_columns]) {
                *sample = mix(*sample, code, paint.of_chroma(u32::from(*sum), FOUR), FOUR);
            }
            for (x, sum) in sums.iter().enumerate().skip(whole_columns) {
                let whole = columns(x) * rows * 255;
                samples[x] = mix(samples[x], code, paint.of_chroma(u32::from(*sum), whole), whole);
            }
        }
    }
}

/// Four pixels wholly covered.
const FOUR: u32 = 4 * 255;

/// A row's coverage.
#[derive(Clone, Copy)]
enum Covered<'a> {
    /// So many pixels, all of them.
    All(usize),
    By(&'a [u8]),
}

/// Adds a row's coverage to the sums of the samples that its pixels share by twos; the first one stands alone if it `is_odd`.
fn add_pairs(sums: &mut [u16], is_odd: bool, covered: Covered<'_>) {
    match covered {
        Covered::All(width) => {
            let start = usize::from(is_odd);
            for x in start..start + width {
                sums[x / 2] += 255;
            }
        }
        Covered::By(row) => {
            let (row, sums) = if is_odd {
                sums[0] += u16::from(row[0]);
                (&row[1..], &mut sums[1..])
            } else {
                (row, sums)
            };
            let (pairs, rest) = row.as_chunks::<2>();
            for (sum, [a, b]) in sums.iter_mut().zip(pairs) {
                *sum += u16::from(*a) + u16::from(*b);
            }
            if let [last] = rest {
                sums[pairs.len()] += u16::from(*last);
            }
        }
    }
}

/// Blends a row of pixels.
fn blend_row(pixels: &mut [u8], coverage: &[u8], code: u8) {
    for (pixel, cover) in pixels.iter_mut().zip(coverage) {
        let (cover, code) = (u16::from(*cover), u16::from(code));
        let sum = u16::from(*pixel) * (255 - cover) + code * cover + 128;
        // Divided by 255 and rounded, exactly.
        *pixel = ((sum + (sum >> 8)) >> 8) as u8;
    }
}

/// `part` of `whole` of the way from `old` to `new`.
fn mix(old: u8, new: u8, part: u32, whole: u32) -> u8 {
    let part = part.min(whole);
    ((u32::from(old) * (whole - part) + u32::from(new) * part + whole / 2) / whole) as u8
}
